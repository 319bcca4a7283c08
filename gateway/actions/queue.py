"""Where an action's driver gets its batches from: out of the journal, or the newest only.

`Durable` reads behind its own cursor in the journal, so that a target that was away gets everything, in order. `Newest`
is for what a person or a script looks at now: of each node the newest result, and every alert.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.journal.entry import Entry
from gateway.journal.journal import Journal

BATCH = 500
"""Entries that a driver is given at once."""
ALERTS = 1000
"""Alerts that wait for a script at most."""


class Queue(Protocol):
    """What an action delivers from."""

    dropped: int
    """Entries that were not delivered because newer ones came, since the start or the last reset."""

    def put(self, entry: Entry) -> None:
        """An entry for this action has come."""
        ...

    async def wait(self) -> None:
        """Return when there may be something to deliver."""
        ...

    async def batch(self, most: int) -> Sequence[Entry]:
        """What is to be delivered next, oldest first, until done() is told of it."""
        ...

    def done(self, batch: Sequence[Entry]) -> None:
        """This batch is delivered, or refused for good."""
        ...

    def oldest_ns(self) -> int | None:
        """The wall clock time of the oldest entry that waits; None where none does."""
        ...


class Durable:
    """The journal behind the cursor of the action's node. A new action begins with what comes from now on."""

    def __init__(self, name: str, journal: Journal, wanted: Callable[[Entry], bool]) -> None:
        self.dropped = 0
        self._name = name
        self._journal = journal
        self._wanted = wanted
        cursor = journal.cursor(name)
        self._read = journal.newest if cursor is None else cursor
        self._waiting: list[Entry] = []
        self._since_ns: int | None = None
        journal.reached(name, self._read)

    def put(self, entry: Entry) -> None:
        """See Queue: it comes out of the journal."""
        if self._since_ns is None:
            self._since_ns = entry.time_ns

    async def wait(self) -> None:
        """See Queue."""
        if not self._waiting:
            await self._journal.newer(self._read)

    async def batch(self, most: int) -> Sequence[Entry]:
        """See Queue."""
        while len(self._waiting) < most:
            found, read = await self._journal.after(self._read, BATCH)
            if read == self._read:
                break
            self._read = read
            self._waiting += [entry for entry in found if self._wanted(entry)]
        if not self._waiting:
            self._since_ns = None
            self._journal.reached(self._name, self._read)
        return self._waiting[:most]

    def done(self, batch: Sequence[Entry]) -> None:
        """See Queue."""
        del self._waiting[: len(batch)]
        self._since_ns = None
        self._journal.reached(self._name, batch[-1].id if self._waiting else self._read)

    def oldest_ns(self) -> int | None:
        """See Queue."""
        return self._waiting[0].time_ns if self._waiting else self._since_ns


class Newest:
    """The newest entry of each node, and every alert, in the order in which they came."""

    def __init__(self) -> None:
        self.dropped = 0
        self._results: dict[str, Entry] = {}
        self._alerts: deque[Entry] = deque()
        self._some = asyncio.Event()

    def put(self, entry: Entry) -> None:
        """See Queue. A result takes the place of the node's older one; of too many alerts the oldest goes."""
        if entry.kind == "alert":
            self._alerts.append(entry)
            if len(self._alerts) > ALERTS:
                self._alerts.popleft()
                self.dropped += 1
        else:
            self.dropped += entry.subject in self._results
            self._results[entry.subject] = entry
        self._some.set()

    async def wait(self) -> None:
        """See Queue."""
        await self._some.wait()

    async def batch(self, most: int) -> Sequence[Entry]:
        """See Queue."""
        return sorted((*self._alerts, *self._results.values()), key=lambda entry: entry.id)[:most]

    def done(self, batch: Sequence[Entry]) -> None:
        """See Queue."""
        over = {entry.id for entry in batch}
        self._alerts = deque(entry for entry in self._alerts if entry.id not in over)
        self._results = {node: entry for node, entry in self._results.items() if entry.id not in over}
        if not self._alerts and not self._results:
            self._some.clear()

    def oldest_ns(self) -> int | None:
        """See Queue."""
        return min((entry.time_ns for entry in (*self._alerts, *self._results.values())), default=None)
