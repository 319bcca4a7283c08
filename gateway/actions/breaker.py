"""When a target that does not answer is asked again: back-off with full jitter, and a circuit breaker. No I/O.

    closed     a failure                   -> closed, pause uniform in [0, min(LONGEST, FIRST 2^n)]
    closed     OPENS_AFTER failures        -> open, the same pause but at least a second
    open       the pause is over           -> half open: one entry is offered, not a whole batch
    half open  success -> closed           failure -> open

Full jitter spreads a fleet whose server comes back better than any other (M. Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015). What the target itself asks for (Retry-After) is waited for whatever it is.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

FIRST_S = 0.5
LONGEST_S = 30.0
OPENS_AFTER = 5
LEAST_OPEN_S = 1.0


class Breaker:
    """The failures in a row of one target, and what follows from them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.failures = 0
        self.half_open = False
        self._rng = rng

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        """As above."""
        if self.half_open:
            return "half_open"
        return "open" if self.failures >= OPENS_AFTER else "closed"

    def failed(self, retry_after_s: float | None) -> float:
        """A failure: the seconds to wait before the next attempt."""
        self.failures += 1
        self.half_open = False
        most_s = min(LONGEST_S, FIRST_S * 2.0 ** min(self.failures - 1, 32))
        least_s = LEAST_OPEN_S if self.state == "open" else 0.0
        return max(least_s, float(self._rng.uniform(0.0, most_s)), retry_after_s or 0.0)

    def paused(self) -> None:
        """The pause is over."""
        self.half_open = self.state == "open"

    def succeeded(self) -> None:
        """The target took what it was offered."""
        self.failures, self.half_open = 0, False
