"""How an action fares: calls of its driver, their times, what failed, what was dropped."""

from __future__ import annotations

from collections import deque
from typing import Any

KEPT = 1000
"""Times that the percentiles are taken of: the newest."""


class Statistics:
    """Counts since the start or the last reset, and the times of the newest calls."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.calls = 0  # of the driver, whatever came of them
        self.delivered = 0  # entries that the target has
        self.errors = 0  # calls that failed, and will be repeated
        self.refused = 0  # entries that the target will never take
        self.dropped = 0  # entries that nobody will deliver: a newer one came, or a queue was full
        self.last_error = ""
        self._total_ms = 0.0
        self._longest_ms = 0.0
        self._newest_ms: deque[float] = deque(maxlen=KEPT)

    def called(self, ns: int) -> None:
        """A call of the driver took that long."""
        ms = ns / 1e6
        self.calls += 1
        self._total_ms += ms
        self._longest_ms = max(self._longest_ms, ms)
        self._newest_ms.append(ms)

    def as_object(self) -> dict[str, Any]:
        """Counts and times (milliseconds; None before the first call) as JSON values."""
        ordered = sorted(self._newest_ms)
        return {
            "calls": self.calls,
            "delivered": self.delivered,
            "errors": self.errors,
            "refused": self.refused,
            "dropped": self.dropped,
            "mean_ms": self._total_ms / self.calls if self.calls else None,
            **{f"p{part}_ms": _percentile(ordered, part) for part in (50, 95, 99)},
            "max_ms": self._longest_ms if self.calls else None,
            "last_error": self.last_error,
        }


def _percentile(ordered: list[float], part: int) -> float | None:
    """The smallest value that at least `part` percent do not exceed (nearest rank); None of nothing."""
    return ordered[max(0, -(-part * len(ordered) // 100) - 1)] if ordered else None
