"""How one function of a script fares: calls, what failed, and how long they took."""

from __future__ import annotations

from typing import Any

from gateway.times import Times


class Meter:
    """Counts since the start or the last reset, and times from the event loop's sending to its hearing."""

    def __init__(self) -> None:
        self.errors = self.timeouts = self.killed = 0
        self._times = Times()

    @property
    def calls(self) -> int:
        """How many there were."""
        return self._times.calls

    def called(self, ns: int) -> None:
        """A call took that long, whatever came of it."""
        self._times.add(ns)

    def as_object(self) -> dict[str, Any]:
        """Counts, and times in milliseconds once there is a call."""
        times = self._times
        return {
            "calls": times.calls,
            "errors": self.errors,
            "timeouts": self.timeouts,
            "killed": self.killed,
            **({**times.percentiles(), "max_ms": times.max_ms} if times.calls else {}),
        }
