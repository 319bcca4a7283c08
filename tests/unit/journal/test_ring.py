"""The ring: what stays, what goes, what is lost."""

from __future__ import annotations

from gateway.journal.entry import Entry
from gateway.journal.ring import Ring


def some(first: int, count: int, kept: bool = True) -> list[Entry]:
    return [Entry(number, 0, "measurement", "co2", {}, kept) for number in range(first, first + count)]


def ids(entries: list[Entry]) -> list[int]:
    return [entry.id for entry in entries]


def test_what_is_committed_stays_up_to_its_size() -> None:
    ring = Ring(100, size=10, most=50)
    assert (ring.newest, ring.floor) == (99, 99)
    ring.add(some(100, 30))
    assert (ring.newest, ring.floor, ring.waiting) == (129, 99, 30)
    ring.settle(109)
    assert (ring.floor, ring.waiting, ring.lost) == (109, 20, 0)
    ring.settle(129)
    assert (ring.floor, ring.waiting, ring.lost) == (119, 0, 0)


def test_what_cannot_be_committed_is_lost_beyond_the_bound_and_counted() -> None:
    ring = Ring(1, size=10, most=50)
    ring.add(some(1, 20, kept=False))
    ring.add(some(21, 60))
    assert (ring.floor, ring.lost, ring.waiting) == (30, 10, 50)
    assert ids(ring.uncommitted()) == list(range(31, 81))


def test_only_what_is_kept_is_to_be_committed() -> None:
    ring = Ring(1, size=10, most=50)
    ring.add([*some(1, 2), *some(3, 2, kept=False), *some(5, 1)])
    assert ids(ring.uncommitted()) == [1, 2, 5]
    assert ring.waiting == 3


def test_reading_goes_on_where_it_ended() -> None:
    ring = Ring(1, size=10, most=50)
    ring.add(some(1, 7))
    assert [(ids(found), reached) for found, reached in (ring.after(0, 3), ring.after(3, 3), ring.after(6, 3))] == [
        ([1, 2, 3], 3),
        ([4, 5, 6], 6),
        ([7], 7),
    ]
    assert ring.after(7, 3) == ([], 7)
    assert ring.after(1000, 3) == ([], 1000)
