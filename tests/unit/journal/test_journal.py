"""The sink: every entry once and in order for whoever reads, wherever it is; what it tells of itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.sections import JournalSection
from gateway.journal import journal as module
from gateway.journal.archive import entries_in
from gateway.journal.entry import Entry
from gateway.journal.journal import Journal
from gateway.journal.store import GAP
from gateway.types import LevelResult, Outcome, Result, Snapshot, Tick, iso_utc
from tests.support.clock import FakeClock
from tests.unit.journal.samples import SECOND_NS, UTC_NS, alert, measurement, outcome, tick


def run(
    file: Path | None,
    work: Callable[[Journal, FakeClock], Awaitable[Any]],
    clock: FakeClock | None = None,
    options: dict[str, Any] | None = None,
) -> Any:
    """What `work` gives with a journal that runs."""
    clock = clock or FakeClock()

    async def main() -> Any:
        journal = Journal(file, JournalSection(**(options or {})), clock, {"level", "seen"}, {"level"})
        await journal.start()
        try:
            return await work(journal, clock)
        finally:
            await journal.close()

    return asyncio.run(main())


def offer(journal: Journal, clock: FakeClock, *others: Result, done: Outcome | None = None) -> None:
    """A second's measurement."""
    now_ns = clock.monotonic_ns()
    journal.offer(tick(now_ns, (measurement(now_ns), *others)), done or Outcome())
    clock.advance(1.0)


async def settled(journal: Journal) -> None:
    """Nothing is going on."""
    if working := [task for task in (journal._working, journal._upkeep) if task is not None]:
        await asyncio.wait(working)


async def all_of(journal: Journal, number: int, limit: int = 100) -> list[Entry]:
    found = []
    while number < journal.newest:
        some, number = await journal.after(number, limit)
        found += some
    return found


def test_what_is_offered_is_on_the_disk_after_the_end_and_numbers_go_on(tmp_path: Path) -> None:
    file, clock = tmp_path / "deep" / "box.journal", FakeClock()

    async def work(journal: Journal, clock: FakeClock) -> list[Entry]:
        for _ in range(25):
            offer(journal, clock, done=outcome())
        return await all_of(journal, 0)

    first = run(file, work, clock)
    assert list(entries_in(file)) == first
    assert first[0].id == clock.utc_ns() // 1000 - 25_000_000
    clock.now_ns -= 3600 * SECOND_NS  # the clock was put back meanwhile
    second = run(file, work, clock)
    assert list(entries_in(file)) == second
    assert second[:50] == first
    assert second[50].id == first[-1].id + GAP


def test_only_whole_periods_go_to_the_disk_but_alerts_and_commands_at_once(tmp_path: Path) -> None:
    file = tmp_path / "box.journal"

    async def work(journal: Journal, clock: FakeClock) -> list[int]:
        counts = []
        for second in range(40):
            now_ns = clock.monotonic_ns()
            alerts = (alert(now_ns),) if second == 25 else ()
            journal.offer(tick(now_ns, (measurement(now_ns),), alerts), Outcome())
            clock.advance(1.0)
            await settled(journal)
            counts.append(len(list(entries_in(file))))
        return counts

    counts = run(file, work)
    assert [second for second in range(1, 40) if counts[second] != counts[second - 1]] == [10, 20, 25, 35]
    assert counts[25] == 27


def test_a_flood_of_alerts_is_committed_five_times_a_second(tmp_path: Path) -> None:
    async def work(journal: Journal, clock: FakeClock) -> int:
        commits, disk = 0, journal._disk
        assert disk is not None
        for _ in range(1000):
            journal.offer(tick(clock.monotonic_ns(), (), (alert(clock.monotonic_ns()),)), Outcome())
            before = disk.committed_ns
            await settled(journal)
            commits += disk.committed_ns != before
            clock.advance(0.01)
        return commits

    assert run(tmp_path / "box.journal", work) == 50


def test_results_that_are_watched_only_are_handed_on_and_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "box.journal"

    async def work(journal: Journal, clock: FakeClock) -> list[Entry]:
        offer(journal, clock, *(LevelResult(node, clock.monotonic_ns(), 0.1, 0.2) for node in ("level", "seen", "no")))
        journal.reconfigure({"no"}, {"no"})
        offer(journal, clock, *(LevelResult(node, clock.monotonic_ns(), 0.1, 0.2) for node in ("level", "seen", "no")))
        return await all_of(journal, 0)

    told = run(file, work)
    assert [entry.subject for entry in told] == ["co2", "level", "seen", "co2", "no"]
    assert list(entries_in(file)) == [entry for entry in told if entry.kept]
    assert [entry.subject for entry in entries_in(file)] == ["co2", "level", "co2", "no"]


def test_without_a_file_all_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING", 20)

    async def work(journal: Journal, clock: FakeClock) -> list[Entry]:
        for _ in range(50):
            offer(journal, clock)
        journal.reached("redis", journal.newest - 3)
        assert journal.cursor("redis") == journal.newest - 3
        assert journal.status() == {"file": None, "entries": 50, "newest": journal.newest}
        return await all_of(journal, 0)

    told = run(None, work)
    assert len(told) == 20
    assert [entry.id - told[0].id for entry in told] == list(range(20))


def test_cursors_outlast_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "box.journal"

    async def first(journal: Journal, clock: FakeClock) -> int:
        assert journal.cursor("kafka") is None
        for _ in range(5):
            offer(journal, clock)
        journal.reached("kafka", journal.newest - 2)
        return journal.newest

    async def second(journal: Journal, clock: FakeClock) -> list[Entry]:
        offer(journal, clock)
        number = journal.cursor("kafka")
        assert number == newest - 2
        return await all_of(journal, number)

    newest = run(file, first)
    assert [entry.id - newest for entry in run(file, second)[:2]] == [-1, 0]
    assert len(run(file, second)) == 4


def test_who_waits_for_newer_entries_is_woken_by_the_next(tmp_path: Path) -> None:
    async def work(journal: Journal, clock: FakeClock) -> None:
        await journal.newer(journal.newest - 1)
        waiting = [asyncio.create_task(journal.newer(journal.newest)) for _ in range(3)]
        far = asyncio.create_task(journal.newer(journal.newest + 1))
        await asyncio.sleep(0)
        waiting.pop().cancel()
        journal.offer(tick(0), Outcome())
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        offer(journal, clock)
        await asyncio.gather(*waiting)
        assert not far.done()
        offer(journal, clock)
        await far

    run(None, work)


@settings(max_examples=25)
@given(
    steps=st.lists(st.sampled_from(["offer", "offers", "commit", "read", "restart"]), min_size=5, max_size=30),
    ring=st.integers(1, 30),
    limits=st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
def test_every_entry_comes_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], ring: int, limits: list[int]
) -> None:
    """Whatever the size of the ring, and whatever is committed, read, or ended and begun again when."""
    file, clock = tmp_path_factory.mktemp("journal") / "box.journal", FakeClock()
    made: list[Entry] = []
    read: list[Entry] = []

    async def one_run(steps: list[str], last: bool) -> None:
        journal = Journal(file, JournalSection(commit_s=600), clock, (), ())
        await journal.start()
        number, turn = journal.cursor("reader") or 0, 0
        for step in steps:
            if step.startswith("offer"):
                for _ in range(1 if step == "offer" else 15):
                    offer(journal, clock)
                    made.extend(journal._ring.after(journal.newest - 1, 1)[0])
            elif step == "commit":
                assert journal._disk is not None
                await journal._commit(journal._disk)
            else:
                some, number = await journal.after(number, limits[turn % len(limits)])
                turn += 1
                read.extend(some)
                journal.reached("reader", number)
        if last:
            read.extend(await all_of(journal, number, limits[0]))
        await journal.close()

    async def main() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "RING", ring)
            rest = steps
            while "restart" in rest:
                await one_run(rest[: rest.index("restart")], last=False)
                rest = rest[rest.index("restart") + 1 :]
            await one_run(rest, last=True)

    asyncio.run(main())
    assert read == made
    assert list(entries_in(file)) == made


def test_a_journal_that_is_too_large_is_thinned_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "box.journal"

    async def work(journal: Journal, clock: FakeClock) -> dict[str, Any]:
        for second in range(14_000):
            offer(journal, clock)
            if second % 500 == 499:
                await settled(journal)
        return journal.status()

    status = run(file, work, options={"max_mb": 1})
    assert status["size_bytes"] <= 1.1e6
    assert (status["lost"], status["dropped"], status["problem"]) == (0, 0, "")
    assert status["thinned"] == 14_000 - len(list(entries_in(file)))
    assert status["thinned"] > 3000
    assert status["integrity"] == "good"
    assert status["oldest"] == next(iter(entries_in(file))).fields["time"]


def test_a_disk_that_fails_keeps_all_in_memory_and_tells_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "spectrophone.journal")
    monkeypatch.setattr(module, "RING", 10)
    monkeypatch.setattr(module, "MOST", 100)
    place = tmp_path / "place"
    place.write_text("a file where the directory should be")

    async def work(journal: Journal, clock: FakeClock) -> None:
        for _ in range(60):
            offer(journal, clock)
            await settled(journal)
        status = journal.status()
        assert (status["waiting"], status["lost"]) == (60, 0)
        assert "it cannot be written" in status["problem"]
        assert len(await all_of(journal, 0)) == 60
        for _ in range(60):
            offer(journal, clock)
            await settled(journal)
        assert (journal.status()["waiting"], journal.status()["lost"]) == (100, 20)
        place.unlink()
        for _ in range(11):
            offer(journal, clock)
            await settled(journal)
        status = journal.status()
        assert status["problem"] == ""
        lost.append(status["lost"])

    lost: list[int] = []
    run(place / "box.journal", work)
    assert 20 <= lost[0] <= 31
    assert len(list(entries_in(place / "box.journal"))) == 131 - lost[0]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_newer_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "box.journal"
    run(file, lambda journal, clock: asyncio.sleep(0))
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    async def work(journal: Journal, clock: FakeClock) -> str:
        offer(journal, clock)
        return str(journal.status()["problem"])

    assert "is of version 99" in run(file, work)
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT count(*) FROM measurement").fetchone() == (0,)
    connection.close()


def test_a_journal_that_another_program_locks_is_written_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "box.journal"

    async def work(journal: Journal, clock: FakeClock) -> None:
        offer(journal, clock)
        await settled(journal)
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(11):
            offer(journal, clock)
        await settled(journal)
        assert "another program keeps it locked" in journal.status()["problem"]
        other.execute("ROLLBACK")
        other.close()
        for _ in range(11):
            offer(journal, clock)
            await settled(journal)
        assert (journal.status()["problem"], journal.status()["lost"]) == ("", 0)

    run(file, work)
    assert len(list(entries_in(file))) == 23


def test_a_clock_that_was_behind_an_unreadable_journal_mixes_nothing(tmp_path: Path) -> None:
    """It could not be read at the start, and has greater ids than were given since: it waits for the next start."""
    file, hidden, clock = tmp_path / "box.journal", tmp_path / "hidden", FakeClock()

    async def first(journal: Journal, clock: FakeClock) -> None:
        offer(journal, clock)

    run(file, first, clock)
    file.rename(hidden)
    file.mkdir()
    clock.now_ns -= 86_400 * SECOND_NS

    async def second(journal: Journal, clock: FakeClock) -> None:
        offer(journal, clock)
        file.rmdir()
        hidden.rename(file)
        for _ in range(11):
            offer(journal, clock)
            await settled(journal)
        assert "the clock was behind it" in journal.status()["problem"]
        assert journal.status()["waiting"] == 12

    run(file, second, clock)
    assert len(list(entries_in(file))) == 1


def test_what_was_measured_before_the_clock_was_set_gets_its_time_then(tmp_path):
    async def scene():
        clock = FakeClock(utc_ns=UTC_NS - 3600 * SECOND_NS)  # it goes on where it was when the power went
        clock.believed = False
        for life in range(2):  # the gateway starts again, the machine does not
            journal = Journal(tmp_path / "j", JournalSection(commit_s=0.1), clock)
            await journal.start()
            for _ in range(700):
                undated(journal, clock)
                await asyncio.sleep(0)
            if life == 0:
                await journal.close()
        assert all(e.fields["time"] is None for e in entries_in(tmp_path / "j"))
        right_ns = UTC_NS + 5000 * SECOND_NS
        clock.set(right_ns)
        set_at_ns = clock.monotonic_ns()
        while journal.undated:
            undated(journal, clock, right_ns - set_at_ns + clock.monotonic_ns())
            await asyncio.sleep(0.005)
        found, _ = await journal.after(0, 10_000)
        await journal.close()
        return found, list(entries_in(tmp_path / "j")), right_ns - set_at_ns

    found, kept, offset_ns = asyncio.run(scene())
    assert [e.id for e in kept] == [e.id for e in found]
    assert len(kept) > 1400
    for entry in (*found, *kept):
        assert entry.time_ns == entry.fields["t_s"] * 1e9 + offset_ns
        assert entry.fields["time"] == iso_utc(entry.time_ns)
    assert tables(tmp_path / "j") == (len(kept), 0, 0)


def test_without_ever_a_time_server_times_stay_unknown(tmp_path):
    async def scene():
        clock = FakeClock(utc_ns=UTC_NS)
        clock.believed, clock.booted = False, "one"
        journal = Journal(tmp_path / "j", JournalSection(commit_s=0.1), clock)
        await journal.start()
        undated(journal, clock)
        await journal.close()
        clock.booted = "another"
        clock.set(UTC_NS + 10**15)
        journal = Journal(tmp_path / "j", JournalSection(commit_s=0.1), clock)
        await journal.start()
        assert not journal.undated
        undated(journal, clock, clock.utc_ns())
        await journal.close()
        return list(entries_in(tmp_path / "j"))

    before, after = asyncio.run(scene())
    assert before.fields["time"] is None
    assert after.fields["time"] == iso_utc(UTC_NS + 10**15)


def undated(journal, clock, utc_ns=None):
    """A second more, and a measurement, whose time is known if `utc_ns` says so."""
    now_ns = clock.monotonic_ns()
    end = Tick(0, now_ns, utc_ns, (measurement(now_ns),), (), (), Snapshot())
    journal.offer(end, Outcome())
    clock.advance(1.0)


def tables(file):
    """How many rows the tables measurement, event and undated have."""
    with closing(sqlite3.connect(file)) as connection:
        return tuple(
            connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("measurement", "event", "undated")
        )
