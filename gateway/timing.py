"""How the blocks' times are spread, kept in as little as it takes: counts below fixed bounds, and their sum."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""A block is 0.01 to 1 s long; what a Pi needs for one of 0.1 s lies around a tenth of it."""
_HALF_NS = 30_000_000_000


class Histogram:
    """How many times lay between which bounds."""

    def __init__(self, bounds_s: tuple[float, ...] = BOUNDS_S) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sum_s += seconds

    def as_object(self) -> dict[str, Any]:
        """JSON values: `counts` has one more than `bounds_s`, those beyond the last; a bound belongs to the times
        below it.
        """
        return {"bounds_s": list(self._bounds_s), "counts": list(self._counts), "sum_s": self._sum_s}


class Lateness:
    """How much later than it could have been a block is taken up: what the loop, or the machine, was busy with.

    The clock of the sound and that of the machine have another origin each and run apart by some 100 ppm. So what the
    wait is counted from is the least difference of both clocks in the newest half to whole minute.
    """

    def __init__(self) -> None:
        self._begun_ns: int | None = None
        self._least_ns = self._before_ns = 0

    def of(self, now_ns: int, end_ns: int) -> float:
        """Seconds, for a block whose last frame has stream time `end_ns`, and which is taken up at `now_ns`."""
        apart_ns = now_ns - end_ns
        if self._begun_ns is None:
            self._begun_ns, self._least_ns, self._before_ns = end_ns, apart_ns, apart_ns
        elif end_ns - self._begun_ns >= _HALF_NS:
            self._begun_ns, self._before_ns, self._least_ns = end_ns, self._least_ns, apart_ns
        self._least_ns = min(self._least_ns, apart_ns)
        return (apart_ns - min(self._least_ns, self._before_ns)) * 1e-9
