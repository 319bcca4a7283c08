"""From readings and their truth to bias, RMSE, efficiency, coverage and flags, with the uncertainty of each.

Bias and efficiency are of readings whose calibration is right, and have the luck of the draw taken out: with e the
errors and l those of the best reading on the same noise (E l = 0, E l^2 = bound^2),

    bias = mean(e - l),    efficiency = mean(l^2) / mean(e^2)

converge to mean(e) and bound^2 / MSE, and need far fewer trials for the same confidence. Coverage is that of readings
whose calibration is wrong by as much as its covariance says: the gateway's u95 against the ppm that it would have
given with a calibration drawn from the file's covariance, every reading with every draw (the curve has no memory, so
that this is the same as running the gateway anew with each).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.precision.readings import Trial, valid
from bench.precision.world import Wave

EVENTS = frozenset({"impulse", "lost_samples", "overload"})
"""Flags that are owed by readings in which such a thing happened, and by those only."""
_DRAWS = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its standard error."""

    value: float
    error: float


@dataclass(frozen=True, slots=True)
class Score:
    """How one estimator did in one scenario; `coverage` is NaN where no interval is claimed.

    `missed` counts readings that lack a flag they owe, `false` those with one they must not have; `flags` tells how
    often each was raised.
    """

    readings: int
    valid: int
    bias_ppm: Estimate
    rmse_ppm: float
    bound_ppm: float
    efficiency: Estimate
    coverage: Estimate
    u95_ppm: float
    largest_ppm: float
    missed: int
    false: int
    flags: dict[str, int]


@dataclass(frozen=True, slots=True)
class Uncertain:
    """What a calibration file does not know: standard deviations of its background, in ppm, and of its slope,
    relative; and its bend, 1/ppm.
    """

    zero_ppm: float
    span: float
    bend_per_ppm: float = 0.0

    def drawn(self, ppm: Wave, rng: np.random.Generator, draws: int = _DRAWS) -> Wave:
        """What calibrations from that distribution make of readings `ppm` [n] of the right one: [draws, n]."""
        zero, span = rng.standard_normal((2, draws, 1))
        return recalibrated(ppm, self.zero_ppm * zero, self.span * span, self.bend_per_ppm)


def recalibrated(ppm: Wave, zero_ppm: Wave, span: Wave, bend_per_ppm: float) -> Wave:
    """What a calibration makes of readings of the right one, c = y / (1 - bend y), that has a background too large by
    `zero_ppm` and a slope too steep by the part `span` of it.
    """
    y = ppm / (1.0 + bend_per_ppm * ppm)
    other = (y - zero_ppm) / (1.0 + span)
    return np.asarray(other / (1.0 - bend_per_ppm * other))


def score(
    trials: Sequence[Trial],
    must: frozenset[str] = frozenset(),
    may: frozenset[str] = frozenset(),
    uncertain: Uncertain | None = None,
    wrongly_told: Sequence[Trial] | None = None,
) -> Score:
    """The score of an estimator that gave these; `uncertain` None for one that claims no interval.

    `wrongly_told`: readings for the coverage, where they are others.
    """
    good = valid(trials)
    owed = [_owed(trial, must) for trial in trials]
    missed = sum(bool(due - trial.reading.flags) for due, trial in zip(owed, trials, strict=True))
    false = sum(bool(trial.reading.flags - due - may) for due, trial in zip(owed, trials, strict=True))
    raised = sorted({flag for trial in trials for flag in trial.reading.flags})
    counts = {flag: sum(flag in trial.reading.flags for trial in trials) for flag in raised}
    if not good:
        none = Estimate(math.nan, math.nan)
        return Score(len(trials), 0, none, math.nan, math.nan, none, none, math.nan, math.nan, missed, false, counts)
    ppm, true, u95 = _columns(good)
    luck, bound = (np.array(column) for column in zip(*((t.luck_ppm, t.bound_ppm) for t in good), strict=True))
    told = (ppm, true, u95) if wrongly_told is None else _columns(valid(wrongly_told))
    error = ppm - true
    return Score(
        readings=len(trials),
        valid=len(good),
        bias_ppm=bias(error, luck),
        rmse_ppm=math.sqrt(float(np.mean(error**2))),
        bound_ppm=math.sqrt(float(np.mean(bound**2))),
        efficiency=efficiency(error, luck),
        coverage=Estimate(math.nan, math.nan) if uncertain is None else coverage(*told, uncertain),
        u95_ppm=float(np.mean(u95)),
        largest_ppm=float(np.max(np.abs(true))),
        missed=missed,
        false=false,
        flags=counts,
    )


def bias(error: Wave, luck: Wave) -> Estimate:
    """Mean error, ppm, less that of the best reading on the same noise."""
    rest = error - luck
    return Estimate(float(rest.mean()), _standard_error(rest))


def efficiency(error: Wave, luck: Wave) -> Estimate:
    """The best reading's mean square error over this one's; its standard error is that of a ratio of means."""
    square = float(np.mean(error**2))
    ratio = float(np.mean(luck**2)) / square
    return Estimate(ratio, _standard_error(luck**2 - ratio * error**2) / square)


def coverage(ppm: Wave, true: Wave, u95: Wave, uncertain: Uncertain) -> Estimate:
    """How often the interval holds the truth, over all readings [n] and draws of the calibration; where it always
    does, one in n might have been outside.
    """
    inside = np.abs(uncertain.drawn(ppm, np.random.default_rng(95)) - true) <= u95
    error = math.hypot(_standard_error(inside.mean(0)), _standard_error(inside.mean(1)))
    return Estimate(float(inside.mean()), max(error, 1.0 / len(ppm)))


def headline(efficiencies: Sequence[float]) -> float:
    """Geometric mean of min(1, efficiency)."""
    return math.exp(float(np.mean([math.log(min(1.0, max(one, 1e-12))) for one in efficiencies])))


def _standard_error(values: Wave) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _columns(trials: Sequence[Trial]) -> tuple[Wave, Wave, Wave]:
    """Readings, truth and half-width of the interval, ppm, float64 [trials]."""
    rows = np.array([(t.reading.ppm, t.true_ppm, t.reading.u95) for t in trials], np.float64).reshape(-1, 3)
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _owed(trial: Trial, must: frozenset[str]) -> frozenset[str]:
    return (must - EVENTS) | (must & trial.happened)
