"""When a script that keeps failing is left alone, and for how long: growing pauses, with the time as a parameter."""

from __future__ import annotations

from collections import deque

IN_A_ROW = 5
"""Calls that fail one after the other."""
DEATHS, WITHIN_NS = 5, 60_000_000_000
FIRST_S, LONGEST_S = 1.0, 600.0


class Pauses:
    """The failures of one script."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgive everything."""
        self.in_a_row = 0
        self._pauses = 0
        self._deaths: deque[int] = deque(maxlen=DEATHS)

    def failed(self) -> float:
        """A call came to nothing: the pause in seconds that this makes, 0.0 for none."""
        self.in_a_row += 1
        return self._next() if self.in_a_row >= IN_A_ROW else 0.0

    def died(self, now_ns: int) -> float:
        """A worker died: likewise."""
        self._deaths.append(now_ns)
        return self._next() if len(self._deaths) == DEATHS and now_ns - self._deaths[0] < WITHIN_NS else 0.0

    def not_loaded(self) -> float:
        """The script could not be loaded: there is always a pause."""
        return self._next()

    def succeeded(self, now_ns: int) -> None:
        """A call went well. Pauses begin small again when no worker has died of late either."""
        self.in_a_row = 0
        if not self._deaths or now_ns - self._deaths[-1] >= WITHIN_NS:
            self._pauses = 0

    def _next(self) -> float:
        self._pauses += 1
        return float(min(LONGEST_S, FIRST_S * 2 ** min(self._pauses - 1, 32)))
