"""The journal on real disks: killed at any moment, full, read-only, and damaged. It always begins, what was committed
is there, it goes on taking entries, and it says what happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.clock import RealClock
from gateway.config.sections import JournalSection
from gateway.journal import recovery
from gateway.journal.archive import entries_in
from gateway.journal.entry import Entry
from gateway.journal.journal import Journal
from gateway.journal.store import Store
from gateway.types import Outcome
from tests.unit.journal.samples import alert, entries, measurement, tick

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
PAGE = 4096


async def writing(file: Path) -> None:
    """Be a gateway that writes as fast as it can, and tells what was committed; ends by being killed."""
    journal = Journal(file, JournalSection(commit_s=0.1), RealClock(), (), ())
    await journal.start()
    print("first", journal.newest + 1, flush=True)
    told = 0
    while True:
        t_ns = time.monotonic_ns()
        journal.offer(tick(t_ns, tuple(measurement(t_ns, f"n{node}") for node in range(5)), (alert(t_ns),)), Outcome())
        journal.reached("sink", journal.newest - 3)
        await asyncio.sleep(0.002)
        if journal._ring.committed > told:
            told = journal._ring.committed
            print("committed", told, flush=True)


class Taking:
    """A journal that is offered a measurement every few milliseconds, as a gateway's is."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.made: list[Entry] = []

    async def until(self, done: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Offer until the status is so; that status."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            t_ns = time.monotonic_ns()
            before = self.journal.newest
            self.journal.offer(tick(t_ns, (measurement(t_ns),), utc_ns=time.time_ns() - t_ns), Outcome())
            self.made += self.journal._ring.after(before, 100)[0]
            await asyncio.sleep(0.005)
            if done(status := self.journal.status()):
                return status
        raise AssertionError(f"no {what}: {self.journal.status()}")


def with_journal(file: Path, work: Callable[[Taking], Any]) -> Any:
    """What `work` gives with a journal that runs on `file`."""

    async def main() -> Any:
        journal = Journal(file, JournalSection(commit_s=0.1), RealClock(), (), ())
        await journal.start()
        try:
            return await work(Taking(journal))
        finally:
            await journal.close()

    return asyncio.run(main())


@contextmanager
def small_disk(place: Path, size: str = "2m") -> Iterator[Path]:
    """A disk of its own in memory, at `place`."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "journal-test", place], check=False)
    assert mounted.returncode == 0, "a disk of its own wants root: sudo make test"
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", place], check=True)


def test_killed_at_any_moment_what_was_committed_is_there(tmp_path: Path) -> None:
    random = np.random.default_rng(20_261_123)
    file = tmp_path / "box.journal"
    newest, lives = 0, 0
    with nursery(file) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for wait_s in random.uniform(0.0, 0.25, 50):
            process.stdin.write("live\n")
            process.stdin.flush()
            pid = int(process.stdout.readline().removeprefix("pid "))
            time.sleep(wait_s)
            os.kill(pid, signal.SIGKILL)
            told: dict[str, int] = {}
            while (line := process.stdout.readline().split())[0] != "dead":
                told[line[0]] = int(line[1])
            if "first" not in told:
                continue
            assert told["first"] > newest
            store = Store(file, writing=False)
            newest = max(store.last_id(), told.get("committed", 0))
            found = [entry.id for entry in store.after(told["first"] - 1, 100_000)]
            if "committed" in told:
                lives += 1
                assert store.cursors()["sink"] <= newest
                assert found[: told["committed"] - told["first"] + 1] == list(
                    range(told["first"], told["committed"] + 1)
                )
            assert found == list(range(told["first"], told["first"] + len(found)))
            store.close()
    ids = [entry.id for entry in entries_in(file)]
    assert all(one < other for one, other in itertools.pairwise(ids))
    assert lives >= 15, "hardly any life was long enough for a commit"
    status = with_journal(file, lambda taking: taking.until(lambda status: status["integrity"] == "good", "check"))
    assert status["problem"] == ""


def test_a_disk_that_fills_up_costs_nothing_once_it_is_free_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        file = disk / "box.journal"

        async def work(taking: Taking) -> list[Entry]:
            await taking.until(lambda status: status["committed_s_ago"] is not None, "commit")
            fill(disk)
            status = await taking.until(lambda status: status["problem"], "problem")
            assert "the disk is full" in status["problem"]
            await taking.until(lambda status: status["waiting"] > 100, "entries that wait")
            (disk / "filler").unlink()
            status = await taking.until(lambda status: not status["problem"], "commit")
            assert status["lost"] == 0
            return taking.made

        made = with_journal(file, work)
        assert list(entries_in(file)) == made


def test_on_a_full_disk_it_begins_and_reads_and_writes_when_it_can(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        file = disk / "box.journal"
        before = written(file)
        fill(disk)

        async def work(taking: Taking) -> list[Entry]:
            status = await taking.until(lambda status: status["waiting"] > 20, "entries that wait")
            assert "full" in status["problem"]
            assert (await taking.journal.after(0, len(before)))[0] == before
            assert taking.journal.cursor("kafka") == before[7].id
            (disk / "filler").unlink()
            await taking.until(lambda status: not status["problem"], "commit")
            return taking.made

        made = with_journal(file, work)
        assert list(entries_in(file)) == before + made


@pytest.mark.parametrize("crashed", [False, True], ids=["after an orderly end", "after a crash"])
def test_on_a_read_only_disk_it_begins_and_reads_and_writes_when_it_can(tmp_path: Path, crashed: bool) -> None:
    with small_disk(tmp_path / "disk") as disk:
        file = disk / "box.journal"
        before = written(file)
        if crashed:
            store = Store(file)
            store.append(more := list(entries(20, first=before[-1].id + 1)))
            before += more
            log = file.with_name(f"{file.name}-wal")
            log_was, file_was = log.read_bytes(), file.read_bytes()
            store.close()
            log.write_bytes(log_was)
            file.write_bytes(file_was)
        remount(disk, "ro")

        async def work(taking: Taking) -> list[Entry]:
            status = await taking.until(lambda status: status["waiting"] > 20, "entries that wait")
            assert "Until then the newest entries are kept in memory" in status["problem"]
            if not crashed:
                assert "See that its disk is mounted for writing" in status["problem"]
                assert (await taking.journal.after(0, len(before)))[0] == before
            remount(disk, "rw")
            await taking.until(lambda status: not status["problem"], "commit")
            return taking.made

        made = with_journal(file, work)
        assert list(entries_in(file)) == before + made


def flipped(sound: bytes) -> bytes:
    """Every tenth page from the tenth on is noise."""
    damaged, random = bytearray(sound), np.random.default_rng(6)
    for page in range(10, len(sound) // PAGE, 10):
        damaged[page * PAGE : (page + 1) * PAGE] = random.bytes(PAGE)
    return bytes(damaged)


@pytest.mark.parametrize(
    ("damage", "least"),
    [
        (flipped, 0.85),
        (lambda sound: sound[: 60 * PAGE] + bytes(PAGE) + sound[61 * PAGE :], 0.98),
        (lambda sound: sound[: len(sound) // 2 + 1000], 0.4),
        (lambda sound: b"\xa5" * PAGE + sound[PAGE:], 1.0),
        (lambda sound: bytes(len(sound)), 0.0),
        (lambda sound: b"this is no journal at all", 0.0),
    ],
    ids=["pages flipped", "a page", "cut", "header", "zeros", "text"],
)
def test_of_a_damaged_file_what_can_be_read_is_there(
    tmp_path: Path, damage: Callable[[bytes], bytes], least: float
) -> None:
    file = tmp_path / "box.journal"
    before = {entry.id: entry for entry in written(file, 5000)}
    cursor = list(before)[7] if least > 0.0 else None
    file.write_bytes(damage(file.read_bytes()))

    async def work(taking: Taking) -> tuple[list[Entry], list[Entry], str]:
        status = await taking.until(lambda status: "saved" in status["integrity"], "rescue")
        assert taking.journal.cursor("kafka") == cursor
        await taking.until(lambda status: not status["waiting"], "commit")
        read, number = [], 0
        while number < taking.journal.newest:
            some, number = await taking.journal.after(number, 1000)
            read += some
        return read, taking.made, status["integrity"]

    read, made, told = with_journal(file, work)
    assert list(entries_in(file)) == read
    saved = read[: len(read) - len(made)]
    assert read[len(saved) :] == made
    assert all(before[entry.id] == entry for entry in saved)
    assert least * len(before) <= len(saved)
    number = int(told.rsplit("; ", 1)[1].removesuffix(" entries were saved"))
    assert len(saved) <= number <= len(read), "those of this run that went into the damaged file are saved too"
    (aside,) = tmp_path.glob("box.journal.damaged-*Z")
    assert aside.name in told


def test_a_rescue_that_was_cut_off_goes_on_at_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "box.journal"
    before = written(file, 5000)
    aside = recovery.set_aside(file, "20261123T000000Z")
    store = Store(file)
    store.append(before[:1000])
    store.close()
    status = with_journal(file, lambda taking: taking.until(lambda status: "saved" in status["integrity"], "rescue"))
    assert f"; {len(before) - 1000} entries were saved" in status["integrity"]
    assert list(entries_in(file))[: len(before)] == before
    assert not aside.exists()


def living(file: str) -> None:
    """For each line of standard input fork off a process that writes, and tell its id and its end."""
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            print("pid", os.getpid(), flush=True)
            asyncio.run(writing(Path(file)))
        os.waitpid(pid, 0)
        print("dead", flush=True)


@contextmanager
def nursery(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in which `living` runs, its imports done."""
    code = f"from tests.real.test_journal import living; living({str(file)!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def written(file: Path, seconds: int = 100) -> list[Entry]:
    """What an earlier run left, and committed in many turns."""
    store = Store(file)
    left = [entry for entry in entries(seconds) if entry.kind != "level"]
    for begin in range(0, len(left), 100):
        store.append(left[begin : begin + 100], {"kafka": left[7].id})
    store.close()
    return left


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
