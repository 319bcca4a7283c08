"""How long calls take: mean, longest, and percentiles of the newest."""

from __future__ import annotations

from collections import deque

KEPT = 1000
"""Times that the percentiles are taken of: the newest."""


class Times:
    """The times of some calls, in milliseconds; None before the first."""

    def __init__(self) -> None:
        self.calls = 0
        self._total_ms = 0.0
        self._longest_ms = 0.0
        self._newest_ms: deque[float] = deque(maxlen=KEPT)

    def add(self, ns: int) -> None:
        """A call took that many nanoseconds."""
        ms = ns / 1e6
        self.calls += 1
        self._total_ms += ms
        self._longest_ms = max(self._longest_ms, ms)
        self._newest_ms.append(ms)

    @property
    def mean_ms(self) -> float | None:
        """The mean of all."""
        return self._total_ms / self.calls if self.calls else None

    @property
    def max_ms(self) -> float | None:
        """The longest of all."""
        return self._longest_ms if self.calls else None

    def percentiles(self) -> dict[str, float | None]:
        """p50_ms, p95_ms and p99_ms of the newest: the smallest time that so many percent do not exceed."""
        ordered = sorted(self._newest_ms)
        return {f"p{part}_ms": _ranked(ordered, part) for part in (50, 95, 99)}


def _ranked(ordered: list[float], part: int) -> float | None:
    return ordered[max(0, -(-part * len(ordered) // 100) - 1)] if ordered else None
