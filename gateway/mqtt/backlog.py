"""The journal behind the broker's own cursor: what it has not acknowledged yet, page by page, oldest first.

The cursor is moved when the broker has acknowledged a page, and is on the card with the journal's next writing: after a
crash a few pages come again, and none is left out. What the journal thinned or dropped before it could be delivered is
counted.

While the machine's clock is not set yet, entries without a time wait for it, that they arrive with the right one; but
not for ever: where no time server ever answers they go without.

What was made up of more than an hour is told, hour by hour, when the broker has it all (gap.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.clock import Clock
from gateway.journal.entry import Entry, is_dated
from gateway.journal.journal import Journal
from gateway.mqtt.gap import HOUR_NS, Gap
from gateway.mqtt.history import COLUMNS

CURSOR = "mqtt/history"
"""The name of the cursor: no node can have it."""
PAGE = 500
"""Entries that are delivered before the cursor moves."""
GATHER_NS = 3_000_000_000
"""How long entries gather when all before them have been delivered."""
UNDATED_NS = 600_000_000_000
"""How long after the start entries without a time wait for one."""
_AGAIN_NS = 1_000_000_000


class Backlog:
    """What the broker has not acknowledged yet. A new box begins with what comes from now on."""

    def __init__(self, journal: Journal, clock: Clock, made_up: Callable[[Gap], None] = lambda gap: None) -> None:
        """`made_up` is told of a gap of more than an hour, when all of it has been delivered."""
        self.depth = 0
        """Measurements and alerts that wait."""
        self.missed = 0
        """Those that were thinned or dropped before they could be delivered, since the start."""
        self._journal = journal
        self._clock = clock
        self._made_up = made_up
        self._gap: Gap | None = None
        self._oldest_ns: int | None = None
        self._read = 0

    def offer(self) -> None:
        """A tick came: count what it brought."""
        fresh = [entry for entry in self._journal.fresh if _wanted(entry)]
        self.depth += len(fresh)
        if fresh and self._oldest_ns is None:
            self._oldest_ns = fresh[0].time_ns

    def status(self) -> dict[str, Any]:
        """How many wait, how old the oldest is (seconds), and how many were missed."""
        oldest_ns = self._oldest_ns
        age_s = 0.0 if oldest_ns is None else max(0.0, (self._clock.utc_ns() - oldest_ns) / 1e9)
        return {"queue_depth": max(0, self.depth), "queue_age_s": round(age_s, 1), "missed": self.missed}

    async def run(self, deliver: Callable[[Sequence[Entry]], Awaitable[None]]) -> None:
        """Hand page after page to `deliver`, which returns when the broker has acknowledged it; for ever."""
        await self._begin()
        begun_ns, behind = self._clock.monotonic_ns(), True
        while True:
            await self._journal.newer(self._read)
            if not behind:
                await self._clock.sleep_until(self._clock.monotonic_ns() + GATHER_NS)
            page, reached = await self._page(begun_ns + UNDATED_NS)
            behind = len(page) == PAGE
            wanted = [entry for entry in page if _wanted(entry)]
            self._oldest_ns = wanted[0].time_ns if wanted else None
            await deliver(wanted)
            self._read = reached
            self._journal.reached(CURSOR, reached)
            self._settle(len(wanted))
            if wanted and is_dated(wanted[0]):
                self._make_up(wanted)

    async def _page(self, until_ns: int) -> tuple[list[Entry], int]:
        """The next page, and the number that it reaches; before `until_ns` none that will be dated yet."""
        while True:
            page, reached = await self._journal.after(self._read, PAGE)
            if not self._journal.undated or all(map(is_dated, page)) or self._clock.monotonic_ns() >= until_ns:
                return page, reached
            await self._clock.sleep_until(self._clock.monotonic_ns() + _AGAIN_NS)

    async def _begin(self) -> None:
        """Where the last run had got to, and how many wait since."""
        newest, cursor = self._journal.newest, self._journal.cursor(CURSOR)
        self._read = newest if cursor is None else cursor
        self._journal.reached(CURSOR, self._read)
        self.depth += await self._journal.count(self._read, newest, COLUMNS)

    def _make_up(self, delivered: Sequence[Entry]) -> None:
        """Count what came late, and tell it when that was all."""
        now_ns = self._clock.utc_ns()
        if self._gap is None and now_ns - delivered[0].time_ns > HOUR_NS:
            self._gap = Gap(delivered[0].time_ns, now_ns)
        if self._gap is not None:
            self._gap.add(delivered)
            if delivered[-1].time_ns >= self._gap.end_ns:
                gap, self._gap = self._gap, None
                self._made_up(gap)

    def _settle(self, delivered: int) -> None:
        """So many of what waited were delivered; what still seems to wait when nothing does was missed."""
        self.depth -= delivered
        self._oldest_ns = self._oldest_ns if self.depth else None
        if self._read == self._journal.newest:
            self.missed += max(0, self.depth)
            self.depth, self._oldest_ns = 0, None


def _wanted(entry: Entry) -> bool:
    return entry.kept and entry.kind in COLUMNS
