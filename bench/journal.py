"""What the journal costs: bytes a day at one measurement a second, what is written to the card for it, how often, and
what a block waits for it.

Time is accelerated, the file and its syncs are real. The kernel counts what is written (write_bytes: pages that go to
the disk, those of the log and those of the file), without the file system's own.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.config.sections import JournalSection
from gateway.journal.bounds import tidy
from gateway.journal.journal import Journal
from gateway.journal.store import Store
from gateway.types import Flag, LockInResult, Measurement, Outcome, Snapshot, Tick
from tests.support.clock import FakeClock

HOURS = 6
UTC_NS = 1_790_000_000_000_000_000
OFFERS = 20_000


def one(t_ns: int, second: int) -> Tick:
    """A second's measurement, all numbers of full length."""
    ppm = 400.0 + second / 7
    source = LockInResult("co2_lock_in", t_ns, 2012.5 + ppm / 1e4, ppm * 1e-6 / 3, 1e-8, 3.3e-7, 93, 1.0)
    flags = frozenset({Flag.IMPULSE}) if second % 50 == 0 else frozenset()
    numbers = (ppm, ppm / 3e3, ppm / 1.5e3, 93, ppm / 1e3)
    result = Measurement("co2", t_ns, *numbers, True, flags, source, "ppm", ppm + 1 / 3, ppm / 9e3)
    return Tick(second, t_ns, UTC_NS + t_ns, (result,), (), (), Snapshot())


def written_bytes() -> int:
    """What this process has had written to disks."""
    return int(Path("/proc/self/io").read_text().split("write_bytes:")[1].split()[0])


async def hours(file: Path) -> None:
    """Some hours of a measurement a second, two sinks that keep up."""
    clock = FakeClock()
    journal = Journal(file, JournalSection(), clock, (), ())
    await journal.start()
    began, took, before = journal.newest, [], written_bytes()
    for second in range(HOURS * 3600):
        journal.offer(one(clock.monotonic_ns(), second), Outcome())
        journal.reached("kafka", journal.newest)
        journal.reached("redis", journal.newest)
        if journal._working is not None and not journal._working.done():
            begin = time.perf_counter()
            await journal._working
            took.append((time.perf_counter() - begin) * 1e3)
        clock.advance(1.0)
    await journal.close()
    went, days, count = written_bytes() - before, HOURS / 24, journal.newest - began
    store = Store(file)
    size = store.file_bytes()
    store.close()
    print(f"journal             {size / days / 1e6:8.2f} MB a day at 1 Hz, {size / count:.0f} bytes a measurement")
    print(f"                    {512e6 / (size / days):8.0f} days whole in 512 MB, before anything is thinned")
    if went:
        print(f"written to the disk {went / days / 1e6:8.1f} MB a day, a commit every 10 s, cursors of two sinks in it")
    else:
        print("written to the disk: the kernel does not count it here (a disk in memory?)")
    print(f"commits             {len(took) / HOURS / 60:8.1f} a minute, each {went / len(took) / 1e3:.1f} kB")
    print(f"a commit takes      {statistics.median(took):8.2f} ms, longest {max(took):.1f} ms, on the journal's thread")


async def offers(file: Path) -> None:
    """What `offer` takes of a block."""
    clock = FakeClock()
    journal = Journal(file, JournalSection(commit_s=600), clock, (), ())
    await journal.start()
    empty = Tick(0, 0, UTC_NS, (), (), (), Snapshot())
    for name, tick in (("without results", empty), ("with a measurement", one(0, 1))):
        journal.offer(empty, Outcome())
        await asyncio.sleep(0.2)
        took = []
        for _ in range(10):
            begin = time.perf_counter()
            for _ in range(OFFERS // 10):
                journal.offer(tick, Outcome())
            took.append((time.perf_counter() - begin) / (OFFERS // 10) * 1e6)
        print(f"offer               {statistics.median(took):8.2f} µs a block {name}")
    await journal.close()


def tidying(file: Path) -> None:
    """What a slice of thinning takes, for which a commit may have to wait."""
    store = Store(file)
    bound, took, before = store.size_bytes() // 2, [], written_bytes()
    more, thinned = True, 0
    while more:
        begin = time.perf_counter()
        done = tidy(store, bound, 0)
        took.append((time.perf_counter() - begin) * 1e3)
        more, thinned = done.more, thinned + done.thinned
    went = written_bytes() - before
    store.close()
    print(f"a slice of thinning {statistics.median(took):8.2f} ms, longest {max(took):.1f} ms", end="")
    print(f"; {went / max(thinned, 1):.0f} bytes written for each of {thinned} measurements that went")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "box.journal"
        asyncio.run(hours(file))
        tidying(file)
        asyncio.run(offers(Path(directory) / "offers.journal"))


if __name__ == "__main__":
    main()
