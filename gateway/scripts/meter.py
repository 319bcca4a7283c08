"""How one function of a script fares: calls, what failed, and how long they took."""

from __future__ import annotations

from collections import deque
from typing import Any

KEPT = 1000
"""Times that the percentiles are taken of: the newest."""


class Meter:
    """Counts since the start or the last reset."""

    def __init__(self) -> None:
        self.calls = self.errors = self.timeouts = self.killed = 0
        self._longest_ms = 0.0
        self._newest_ms: deque[float] = deque(maxlen=KEPT)

    def called(self, ns: int) -> None:
        """A call took that long, from the event loop's sending to its hearing, whatever came of it."""
        self.calls += 1
        self._longest_ms = max(self._longest_ms, ns / 1e6)
        self._newest_ms.append(ns / 1e6)

    def as_object(self) -> dict[str, Any]:
        """Counts, and times in milliseconds."""
        ordered = sorted(self._newest_ms)
        last = len(ordered) - 1
        percentiles = {f"p{part}_ms": ordered[-(-part * last // 100)] for part in (50, 95, 99)} if ordered else {}
        return {
            "calls": self.calls,
            "errors": self.errors,
            "timeouts": self.timeouts,
            "killed": self.killed,
            **percentiles,
            **({"max_ms": self._longest_ms} if ordered else {}),
        }
