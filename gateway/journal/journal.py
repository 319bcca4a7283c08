"""The journal: a sink that keeps every tick's entries, and from which others read them, each behind its own cursor.

`offer` numbers the entries and puts them into a ring in memory; that is all that the measurement waits for. They go to
the disk once in `commit_s`, alerts and commands at once, on one thread that does all that touches the file: commits,
reading what the ring has no more, thinning, and taking over what a damaged file still had. Who reads (`after`) gets
the same entries in the same order wherever they are, those on the disk and those that are not there yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gateway.clock import Clock
from gateway.config.sections import JournalSection
from gateway.errors import SpectrophoneError
from gateway.journal.archive import count_after
from gateway.journal.disk import Disk
from gateway.journal.entry import Entry, dated, is_dated, told
from gateway.journal.ring import Ring
from gateway.journal.store import GAP
from gateway.types import Outcome, Tick, iso_utc

log = logging.getLogger("spectrophone.journal")

P = ParamSpec("P")
T = TypeVar("T")

RING = 4096
"""The newest entries, which are kept in memory in any case."""
MOST = 20_000
"""Entries in memory when the disk does not take them; beyond these the oldest are lost."""
URGENT = frozenset({"alert", "command"})
"""What is committed at once."""
_COALESCE_NS = 200_000_000
_TIDY_NS = 300_000_000_000
_AGAIN_NS = 1_000_000_000
_CLOSE_S = 2.0
_DAY_NS = 86_400_000_000_000


class Journal:
    """The journal of a running gateway."""

    def __init__(
        self,
        file: Path | None,
        settings: JournalSection,
        clock: Clock,
        watched: Collection[str] = (),
        kept: Collection[str] = (),
    ) -> None:
        """Without a `file` all is in memory only. `watched` nodes' results become entries beside the measurements,
        those of `kept` ones are written down too (gateway.journal.entry.told).
        """
        self.fresh: tuple[Entry, ...] = ()
        """What the newest tick brought."""
        self._settings = settings
        self._clock = clock
        self._watched = watched
        self._kept = kept
        self._disk = None if file is None else Disk(file, clock)
        self._thread = ThreadPoolExecutor(1, "journal")
        self._offset_ns = clock.utc_ns() - clock.monotonic_ns()  # what it is taken for until the clock is set
        self._dating: asyncio.Task[None] | None = None
        self.undated = False
        """Whether there are entries that will get their time when the clock is set."""
        self._begin(clock.utc_ns() // 1000)
        self._cursors: dict[str, int] = {}
        self._moved: dict[str, int] = {}  # those that are not on the disk yet
        self._due_ns = self._tidy_ns = clock.monotonic_ns()
        self._committed_ns = self._due_ns
        self._waiting: list[asyncio.Future[None]] = []
        self._working: asyncio.Task[None] | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._checked = False
        self._thinned = self._dropped = 0

    async def start(self) -> None:
        """See Sink. Whatever is wrong with the file, the gateway begins: `status` says what."""
        if self._disk is None:
            return
        await self._on_thread(self._disk.open)
        self._begin(max(self._disk.last_id + GAP, self._clock.utc_ns() // 1000))
        if self._disk.undated_ns is not None:
            self._offset_ns, self.undated = self._disk.undated_ns, True

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        self.fresh = ()
        if tick.results or tick.alerts or outcome.results:
            self._take(tick, outcome)
        if self.undated and self._dating is None and self._clock.is_set():
            self._dating = asyncio.get_running_loop().create_task(self._date())
        if self._disk is not None:
            self._set_to_work(self._disk, self._clock.monotonic_ns())

    async def close(self) -> None:
        """See Sink: commits what there is."""
        if self._disk is None:
            self._thread.shutdown(wait=False)
            return
        self._disk.stop()
        try:
            async with asyncio.timeout(_CLOSE_S):
                if self._upkeep is not None:
                    self._upkeep.cancel()
                    await asyncio.wait([self._upkeep])
                if self._working is not None:
                    await self._working
                await self._commit(self._disk)
                await self._on_thread(self._disk.close)
        except TimeoutError:
            log.warning("%s: the disk did not take all in time", self._disk.file)
        self._thread.shutdown(wait=False)

    @property
    def newest(self) -> int:
        """The id of the newest entry."""
        return self._ring.newest

    async def newer(self, number: int) -> None:
        """Return when there is an entry of an id greater than `number`."""
        while self._ring.newest <= number:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    async def after(self, number: int, limit: int) -> tuple[list[Entry], int]:
        """The next entries of ids greater than `number`, in order, `limit` at most, and the id that they reach: there
        is nothing else up to it. Waits for a disk that cannot be read just now.
        """
        while number < self._ring.floor:
            floor = self._ring.floor
            found = await self._stored(number, limit, floor)
            if found is None:
                await self._clock.sleep_until(self._clock.monotonic_ns() + _AGAIN_NS)
                continue
            if len(found) == limit:
                return found, found[-1].id
            if found and self._ring.floor > floor:
                return found, floor
            if found:
                more, reached = self._ring.after(floor, limit - len(found))
                return found + more, reached
            number = floor
        return self._ring.after(number, limit)

    async def count(self, number: int, upto: int, kinds: Collection[str]) -> int:
        """How many entries of these kinds the file has of ids greater than `number` and up to `upto`. Reads them all,
        in a thread of its own; 0 where it cannot.
        """
        if self._disk is None:
            return 0
        try:
            return await asyncio.to_thread(count_after, self._disk.file, number, upto, kinds)
        except SpectrophoneError:
            return 0

    @property
    def file(self) -> Path | None:
        """Where it is kept, None where it is in memory only."""
        return None if self._disk is None else self._disk.file

    def held(self) -> list[Entry]:
        """What its file does not have yet, in order; without a file all that there is in memory."""
        if self._disk is None:
            return self._ring.after(self._ring.floor, MOST)[0]
        return self._ring.uncommitted()

    def cursor(self, sink: str) -> int | None:
        """How far `sink` has got, None if it never got anything."""
        kept = None if self._disk is None else self._disk.cursors.get(sink)
        return self._cursors.get(sink, kept)

    def reached(self, sink: str, number: int) -> None:
        """Remember that `sink` has got all up to `number`; on the disk with the next commit."""
        self._cursors[sink] = self._moved[sink] = number

    def reconfigure(self, watched: Collection[str], kept: Collection[str]) -> None:
        """From the next tick on other nodes are watched and written down."""
        self._watched, self._kept = watched, kept

    def status(self) -> dict[str, Any]:
        """How it stands, for people and programs."""
        ring, disk = self._ring, self._disk
        told: dict[str, Any] = {"entries": ring.newest + 1 - self._first, "newest": ring.newest}
        if disk is None:
            return {"file": None, **told}
        age_ns = None if disk.committed_ns is None else self._clock.monotonic_ns() - disk.committed_ns
        return {
            "file": str(disk.file),
            **told,
            "waiting": ring.waiting,
            "lost": ring.lost,
            "thinned": self._thinned,
            "dropped": self._dropped,
            "size_bytes": disk.size_bytes,
            "oldest": iso_utc(disk.oldest_ns),
            "committed_s_ago": None if age_ns is None else age_ns / 1e9,
            "problem": disk.problem,
            "integrity": disk.found or ("good" if self._checked else "not checked yet"),
        }

    def _begin(self, first: int) -> None:
        self._first = first
        self._ring = Ring(first, RING, MOST)

    def _take(self, tick: Tick, outcome: Outcome) -> None:
        known = self._clock.is_set()
        now_ns = self._clock.utc_ns() if known else self._clock.monotonic_ns() + self._offset_ns
        entries = list(told(tick, outcome, self._watched, self._kept, self._ring.newest + 1, now_ns))
        if not entries:
            return
        self.undated = self.undated or not known
        self.fresh = tuple(entries)
        self._ring.add(entries)
        if self._disk is None:
            self._ring.settle(self._ring.newest)
        elif any(entry.kind in URGENT for entry in entries) and not self._disk.problem:
            self._due_ns = min(self._due_ns, self._committed_ns + _COALESCE_NS)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def _set_to_work(self, disk: Disk, now_ns: int) -> None:
        """Commit, and look after the file, as they are due and not going on already."""
        if self._due_ns <= now_ns and (self._working is None or self._working.done()):
            self._committed_ns, self._due_ns = now_ns, now_ns + round(self._settings.commit_s * 1e9)
            self._working = asyncio.get_running_loop().create_task(_told(self._commit, disk))
        if (self._tidy_ns <= now_ns or disk.rescuing) and (self._upkeep is None or self._upkeep.done()):
            self._tidy_ns = now_ns + _TIDY_NS
            self._upkeep = asyncio.get_running_loop().create_task(_told(self._look_after, disk))

    async def _commit(self, disk: Disk) -> None:
        entries, moved, upto = self._ring.uncommitted(), dict(self._moved), self._ring.newest
        offset_ns = self._offset_ns if self.undated else None
        if (entries or moved) and not await self._on_thread(disk.commit, entries, moved, offset_ns):
            return
        self._ring.settle(upto)
        for sink, number in moved.items():
            if self._moved.get(sink) == number:
                del self._moved[sink]

    async def _date(self) -> None:
        """The clock is set: correct the times of this boot's entries from before, in memory, then in the file."""
        step_ns = self._clock.utc_ns() - self._clock.monotonic_ns() - self._offset_ns
        log.info("the clock is set, by %+.3f s, and so are the times of what was measured before", step_ns / 1e9)
        self._ring.change(lambda entry: entry if is_dated(entry) else dated(entry, step_ns))
        while self._disk is not None and await self._on_thread(self._disk.date, step_ns):
            pass
        self.undated = False

    async def _look_after(self, disk: Disk) -> None:
        """Check the file once, mend it, keep it within its bounds; in slices, between which commits go."""
        if not self._checked and not disk.rescuing:
            renewed = disk.renewed
            wrong = await asyncio.to_thread(disk.check)
            self._checked = wrong is not None
            if wrong and disk.renewed == renewed:
                await self._on_thread(disk.renew, wrong)
        while await self._on_thread(disk.rescue):
            pass
        max_bytes = self._settings.max_mb * 1_000_000
        more = True
        while more:
            oldest_ns = self._clock.utc_ns() - round(self._settings.max_days * _DAY_NS)
            done = await self._on_thread(disk.tidy, max_bytes, oldest_ns)
            self._thinned += done.thinned
            self._dropped += done.dropped
            more = done.more

    async def _stored(self, number: int, limit: int, last: int) -> list[Entry] | None:
        """As Disk.after; None too while entries of a damaged file are still to come."""
        if self._disk is None:
            return []
        return None if self._disk.rescuing else await self._on_thread(self._disk.after, number, limit, last)

    async def _on_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))


async def _told(work: Callable[[Disk], Awaitable[None]], disk: Disk) -> None:
    """Work that nobody waits for: what goes wrong in it is told in the log."""
    try:
        await work(disk)
    except Exception:
        log.exception("the journal's work failed")
