"""How an action fares: calls of its driver, their times, what failed, what was dropped."""

from __future__ import annotations

from typing import Any

from gateway.times import Times


class Statistics:
    """Counts since the start or the last reset, and the times of the newest calls."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._times = Times()  # of the driver's calls, whatever came of them
        self.delivered = 0  # entries that the target has
        self.errors = 0  # calls that failed, and will be repeated
        self.refused = 0  # entries that the target will never take
        self.dropped = 0  # entries that nobody will deliver: a newer one came, or a queue was full
        self.last_error = ""

    def called(self, ns: int) -> None:
        """A call of the driver took that long."""
        self._times.add(ns)

    def as_object(self) -> dict[str, Any]:
        """Counts and times (milliseconds; None before the first call) as JSON values."""
        times = self._times
        return {
            "calls": times.calls,
            "delivered": self.delivered,
            "errors": self.errors,
            "refused": self.refused,
            "dropped": self.dropped,
            "mean_ms": times.mean_ms,
            **times.percentiles(),
            "max_ms": times.max_ms,
            "last_error": self.last_error,
        }
