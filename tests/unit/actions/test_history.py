"""What an action node has seen."""

from __future__ import annotations

from gateway.actions.history import History
from gateway.journal.entry import Entry


def entry(number: int, node: str = "co2", valid: bool = True) -> Entry:
    return Entry(number, number, "measurement", node, {"valid": valid, "flags": []})


def numbers(entries: object) -> list[int]:
    return [each.id for each in entries]  # type: ignore[attr-defined]


def test_the_newest_are_kept() -> None:
    history = History(3)
    for number in range(1, 6):
        history.append(entry(number, valid=number > 1))
    assert len(history) == 3
    assert numbers(history.newest()) == [5, 4, 3]
    assert numbers(history.newest(1)) == [5]
    assert numbers(history.newest(-1)) == []
    assert history.counts() == {"co2": {"results": 5, "valid": 4}}


def test_what_is_newer_comes_oldest_first_in_portions() -> None:
    history = History(10)
    for number in range(1, 6):
        history.append(entry(number))
    assert numbers(history.after(2, 2)) == [3, 4]
    assert numbers(history.after(4, 2)) == [5]
    assert numbers(history.after(5, 2)) == []


def test_its_size_can_change() -> None:
    history = History(3)
    for number in range(1, 4):
        history.append(entry(number))
    history.resize(2)
    assert numbers(history.newest()) == [3, 2]
    history.clear()
    assert len(history) == 0
    assert history.counts() == {}
