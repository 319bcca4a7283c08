"""What is old becomes thinner from the old end on, and is dropped at last; what is left is as it was measured."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from gateway.journal import bounds
from gateway.journal.bounds import Tidied, tidy
from gateway.journal.entry import Entry
from gateway.journal.store import Store
from tests.unit.journal.samples import SECOND_NS, UTC_NS, entries

HOUR = 3600


@pytest.fixture(scope="module")
def written() -> list[Entry]:
    return [entry for entry in entries(2 * HOUR) if entry.kind != "level"]


@pytest.fixture
def store(tmp_path: Path, written: list[Entry]) -> Store:
    store = Store(tmp_path / "journal")
    store.append(written)
    return store


def tidied(store: Store, max_bytes: int, oldest_ns: int = 0) -> Tidied:
    thinned = dropped = 0
    while (done := tidy(store, max_bytes, oldest_ns)).more:
        thinned += done.thinned
        dropped += done.dropped
    return Tidied(thinned, dropped)


def measured(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.kind == "measurement"]


def test_within_its_bounds_nothing_is_touched(store: Store, written: list[Entry]) -> None:
    assert tidied(store, store.size_bytes()) == Tidied()
    assert store.after(0, 100_000) == written


def test_only_as_much_is_thinned_as_must_be(store: Store, written: list[Entry]) -> None:
    bound = store.size_bytes() * 9 // 10
    done = tidied(store, bound)
    assert bound * 0.8 < store.size_bytes() <= bound
    assert store.file_bytes() <= bound
    left = store.after(0, 100_000)
    assert done == Tidied(thinned=len(written) - len(left))
    newest = [entry for entry in written if entry.time_ns > UTC_NS + HOUR * SECOND_NS]
    assert left[-len(newest) :] == newest


def test_real_rows_of_every_doubt_are_left_and_all_events(store: Store, written: list[Entry]) -> None:
    bound = store.size_bytes() * 6 // 10
    done = tidied(store, bound)
    left = store.after(0, 100_000)
    assert done.dropped == 0
    by_id = {entry.id: entry for entry in written}
    assert [by_id[entry.id] for entry in left] == left
    assert [entry for entry in left if entry.kind != "measurement"] == [
        entry for entry in written if entry.kind != "measurement"
    ]

    def states(entries: list[Entry]) -> Counter[object]:
        return Counter(
            (entry.time_ns // (10 * SECOND_NS), entry.fields["valid"], tuple(entry.fields["flags"]))
            for entry in measured(entries)
        )

    assert states(left).keys() == states(written).keys()
    old = [entry for entry in measured(left) if entry.time_ns < UTC_NS + HOUR / 4 * SECOND_NS]
    assert max(states(old).values()) == 1


def test_stages_go_from_the_old_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "ROWS", 500)
    tidied(store, 200_000)
    times = [(entry.time_ns - UTC_NS) / SECOND_NS for entry in measured(store.after(0, 100_000))]
    begin, span = times[0], times[-1] - times[0]

    def rate(first: float, last: float) -> float:
        return sum(begin + first * span <= time < begin + last * span for time in times) / ((last - first) * span)

    assert rate(0, 0.5) <= rate(0.5, 0.75) <= rate(0.75, 0.93) < rate(0.94, 1.0)


def test_what_does_not_fit_thinned_is_dropped_from_the_old_end(store: Store, written: list[Entry]) -> None:
    done = tidied(store, 80_000)
    left = store.after(0, 100_000)
    assert store.size_bytes() <= 80_000
    assert done.dropped > 0
    assert done.thinned + done.dropped == len(written) - len(left)
    assert left[-1] == written[-1]
    first = left[0].id
    assert [entry for entry in left if entry.kind != "measurement"] == [
        entry for entry in written if entry.kind != "measurement" and entry.id >= first
    ]


def test_what_is_too_old_is_dropped_whatever_the_size(store: Store, written: list[Entry]) -> None:
    oldest_ns = UTC_NS + HOUR * SECOND_NS
    done = tidied(store, 10**9, oldest_ns)
    left = store.after(0, 100_000)
    assert left == [entry for entry in written if entry.time_ns >= oldest_ns]
    assert done == Tidied(dropped=len(written) - len(left))


def test_thinning_goes_on_where_it_ended_after_a_restart(store: Store) -> None:
    bound = store.size_bytes() - 100_000
    tidied(store, bound)
    store.close()
    again = Store(store.file)
    done = again._connection.execute("SELECT id FROM thinned WHERE every_s = 10").fetchone()[0]
    assert again.thin(10, 2**62, 10) is not None
    assert again._connection.execute("SELECT id FROM thinned WHERE every_s = 10").fetchone()[0] > done
    again.close()
