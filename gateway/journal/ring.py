"""The newest entries, in memory: what is not on the disk yet, and what those who keep up are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.journal.entry import Entry


class Ring:
    """Entries of consecutive ids, from `floor` (the last that is here no more) to `newest`.

    It holds the newest `size` of them and beyond those what is not `committed`, up to `most`; of what leaves before it
    was committed the number is `lost`.
    """

    def __init__(self, first: int, size: int, most: int) -> None:
        """`first` is the id of the first entry to come."""
        self._size = size
        self._most = most
        self._entries: dict[int, Entry] = {}
        self.newest = self.floor = self.committed = first - 1
        self.lost = 0
        self.waiting = 0
        """How many of them are to be committed."""

    def add(self, entries: Iterable[Entry]) -> None:
        """Take the next entries."""
        for entry in entries:
            self._entries[entry.id] = entry
            self.newest = entry.id
            self.waiting += entry.kept
        self._trim()

    def uncommitted(self) -> list[Entry]:
        """What is to be written down, in order."""
        first = max(self.floor, self.committed) + 1
        return [entry for number in range(first, self.newest + 1) if (entry := self._entries[number]).kept]

    def settle(self, number: int) -> None:
        """All entries up to `number` are on the disk."""
        self.committed = max(self.committed, number)
        self.waiting = len(self.uncommitted())
        self._trim()

    def change(self, changed: Callable[[Entry], Entry]) -> None:
        """Put what `changed` makes of each entry in its place."""
        self._entries = {number: changed(entry) for number, entry in self._entries.items()}

    def after(self, number: int, limit: int) -> tuple[list[Entry], int]:
        """At most `limit` entries of ids greater than `number`, `floor` or beyond, and the id that they reach."""
        reached = max(number, min(self.newest, number + limit))
        return [self._entries[one] for one in range(number + 1, reached + 1)], reached

    def _trim(self) -> None:
        while len(self._entries) > self._size:
            oldest = self._entries[self.floor + 1]
            if oldest.id > self.committed:
                if len(self._entries) <= self._most:
                    return
                self.lost += oldest.kept
                self.waiting -= oldest.kept
            del self._entries[oldest.id]
            self.floor = oldest.id
