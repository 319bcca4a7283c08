"""How often a worker may have its say: token buckets, with the time as a parameter.

A bucket holds `burst` tokens and gains `per_s` of them a second; who finds none is suppressed, and counted, so that one
line can say how many there were.
"""

from __future__ import annotations

from typing import NamedTuple


class Rate(NamedTuple):
    """So many a second in the long run, and so many at once."""

    per_s: float
    burst: int


LOGS = Rate(20.0, 100)
NOTIFICATIONS = Rate(6 / 60, 6)
OUTPUTS = Rate(5.0, 10)


def twice(rate: Rate) -> Rate:
    """What the gateway lets through where the worker keeps `rate` itself: of what a script was told went out nothing is
    lost because it comes a little later, or from a fresh worker.
    """
    return Rate(2 * rate.per_s, 2 * rate.burst)


class Bucket:
    """One bucket, full at first.

    `suppressed` counts all that found no token since the beginning.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at_ns: int | None = None
        self._untold = 0
        self.suppressed = 0

    def take(self, now_ns: int) -> bool:
        """Whether there is a token at `now_ns` (monotonic nanoseconds; earlier than before counts as no time gone)."""
        gone_s = max(0, now_ns - (now_ns if self._at_ns is None else self._at_ns)) / 1e9
        self._at_ns = now_ns if self._at_ns is None else max(now_ns, self._at_ns)
        self._tokens = min(self._rate.burst, self._tokens + gone_s * self._rate.per_s)
        if self._tokens < 1:
            self.suppressed += 1
            self._untold += 1
            return False
        self._tokens -= 1
        return True

    def untold(self) -> int:
        """How many were suppressed since this was last asked, for the line "N suppressed"."""
        untold, self._untold = self._untold, 0
        return untold
