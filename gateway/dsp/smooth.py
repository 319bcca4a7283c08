"""Smoothing that is slow while nothing happens and gives way at once when something does.

While the value only walks, the Kalman filter of a random walk in white noise is the best smoother there is (Harvey,
Forecasting, Structural Time Series Models and the Kalman Filter (1989), section 4.1):

    p' = p + q dt,    K = p' / (p' + sigma^2),    m = m + K (value - m),    p = (1 - K) p'.

A step would take it 1 / K records. So its innovations, divided by their deviations, which is white noise of variance 1
as long as the walk is true, go into a two-sided CUSUM (Page, Biometrika 41 (1954) 100),

    S = max(0, S + z - k),    the same for -z,    alarm where S > h,

the test that finds a given shift soonest at a given rate of false alarms. An alarm also tells when the change began:
when S was last 0. The filter starts anew from the weighted mean of the values since then, as if it knew nothing older.

k = 1 and h = 5 need one record for a step of more than 6 sigma, two for one of 3.5 to 6. By Siegmund's approximation
(Sequential Analysis (1985), section 2.5), (exp(2 k b) - 2 k b - 1) / (2 k^2) with b = h + 1.166 on either side, noise
alone resets once in 56 000 records.

A steady ramp is followed by resets, between which m lags by 0.3 to 2 sigma of a raw value, the more the steeper it is.
The lag shows as a running mean of z that is not 0: what of its square is more than four times the variance that chance
gives it is added to the variance that is told. A ramp's raw values are the better ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

K, H = 1.0, 5.0
LAG = 0.05
"""What one record counts in the running mean of z."""
WALK = 0.0067
"""Random walk where none is given, in sigmas of a value per root second; in white noise of one value a second it leaves
1 / 17 of its standard deviation."""


@dataclass(frozen=True, slots=True)
class Run:
    """One side of the CUSUM: its sum, and weights and weighted values since it was 0."""

    total: float = 0.0
    weight: float = 0.0
    weighted: float = 0.0

    def step(self, z: float, value: float, weight: float) -> Run:
        """After a value that lay `z` deviations on this side."""
        total = self.total + z - K
        if total <= 0.0:
            return Run()
        return Run(total, self.weight + weight, self.weighted + weight * value)


class Smoother:
    """Smooths one quantity. What it knows is in the attributes without an underscore."""

    STATE = ("mean", "variance", "t_s", "up", "down", "sigma", "lag")
    LASTING = True

    def __init__(self, walk: float | None = None) -> None:
        """`walk`: how far the quantity itself wanders, in its unit per root second (N of an Allan deviation's random
        walk); None: `WALK` sigmas of its values.
        """
        self._walk = walk
        self.mean: float | None = None
        self.variance = 0.0
        self.t_s = 0.0
        self.up, self.down = Run(), Run()
        self.sigma = 0.0
        self.lag = 0.0  # running mean of z

    def renewed(self, gap_s: float) -> None:
        """Times are those of a new stream, which began `gap_s` after the last value."""
        self.t_s = -gap_s

    def step(self, value: float | None, sigma: float, t_s: float) -> tuple[float, float] | None:
        """The smoothed value and its standard deviation at `t_s`, None before the first value.

        `value` has standard deviation `sigma`; None, NaN or infinite: there is none, and the old one gets older.
        """
        known = value is not None and math.isfinite(value) and math.isfinite(sigma) and sigma >= 0.0
        if known:
            self.sigma = sigma
        if self.mean is not None:
            walk = WALK * self.sigma if self._walk is None else self._walk
            self.variance += walk**2 * max(0.0, t_s - self.t_s)
        self.t_s = t_s
        if value is not None and known:
            self._take(value, max(sigma**2, 1e-300))
        if self.mean is None:
            return None
        lag = self.sigma**2 * max(0.0, self.lag**2 - 4.0 * LAG / (2.0 - LAG))
        return self.mean, math.sqrt(self.variance + lag)

    def _take(self, value: float, variance: float) -> None:
        if self.mean is None:
            self.mean, self.variance = value, variance
            return
        innovation, total = value - self.mean, self.variance + variance
        z = innovation / math.sqrt(total)
        self.lag += LAG * (max(-H, min(H, z)) - self.lag)
        self.up, self.down = (
            run.step(side * z, value, 1.0 / variance) for run, side in ((self.up, 1), (self.down, -1))
        )
        change = max(self.up, self.down, key=lambda run: run.total)
        if change.total > H:
            self.mean, self.variance = change.weighted / change.weight, 1.0 / change.weight
            self.up, self.down = Run(), Run()
            return
        gain = self.variance / total
        self.mean += gain * innovation
        self.variance *= 1.0 - gain
