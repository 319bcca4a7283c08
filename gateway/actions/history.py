"""What an action node has seen: its newest results, and how many there were of each node."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from gateway.actions.records import valid
from gateway.journal.entry import Entry


class History:
    """The newest results, at most `capacity` of them."""

    def __init__(self, capacity: int = 100) -> None:
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self._results: Counter[str] = Counter()
        self._valid: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        """A result has come."""
        self._entries.append(entry)
        self._results[entry.subject] += 1
        self._valid[entry.subject] += valid(entry)

    def newest(self, count: int | None = None) -> tuple[Entry, ...]:
        """The newest results, at most `count` of them, newest first."""
        return tuple(islice(reversed(self._entries), None if count is None else max(0, count)))

    def after(self, number: int, most: int) -> Sequence[Entry]:
        """The oldest `most` results with a higher number, oldest first."""
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.id <= number:
                break
            found.append(entry)
        return found[::-1][:most]

    def counts(self) -> dict[str, dict[str, Any]]:
        """By node, how many results there were since the last `clear`, and how many of them were valid."""
        return {node: {"results": count, "valid": self._valid[node]} for node, count in self._results.items()}

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._results.clear()
        self._valid.clear()

    def resize(self, capacity: int) -> None:
        """Hold at most so many from now on."""
        if capacity != self._entries.maxlen:
            self._entries = deque(self._entries, maxlen=capacity)
