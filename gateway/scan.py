"""The laser stepped across the cell's resonance, point by point, and a resonance fitted to what is heard.

The phasors come from gateway.stepper, where it is said how the laser's phase is known. What windows and walls add is
fitted beside the resonance wherever there are 6 points or more (gateway.dsp.resonance says why), and f0 and Q hold
with it. Two clocks turn the phasors. So little that it is not seen, this is a background too; where it is seen, no
background is fitted, the fit is not good, and the user is told of the clocks.

All frequencies, f0 with them, are those that the laser says it has: they are told in the laser's clock, whichever way
the phase is known, as everything is that is told to the laser later. The microphone's clock would tell f0 larger by the
offset of the two, 0.2 Hz at 100 ppm.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gateway.dsp.resonance import FEWEST_WITH_BACKGROUND, NoResonance, Resonance, fit_resonance
from gateway.errors import SpectrophoneError, UsageError
from gateway.stepper import Point, Stepper

EXPECTED_Q = 50.0
"""Sets the half-width f / (2 Q) that spans are counted in."""
COARSE_PART = 0.05
"""Part of the frequency that is searched on either side where the resonance is not near it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`points` frequencies to `span` half-widths on either side, `seconds` of sound at each."""

    points: int = 11
    span: float = 1.5
    seconds: float = 0.5

    def __post_init__(self) -> None:
        """Raises UsageError for a plan that cannot be carried out."""
        if not 4 <= self.points <= 201:
            raise UsageError(f"--points {self.points}: a sweep has 4 to 201 points")
        if not 0.1 <= self.span <= 10.0:
            raise UsageError(f"--span {self.span:g}: a sweep goes 0.1 to 10 half-widths to either side")
        if not 0.1 <= self.seconds <= 60.0:
            raise UsageError(f"--seconds {self.seconds:g}: a point takes 0.1 to 60 seconds")


@dataclass(frozen=True, slots=True)
class Sweep:
    """The points of the last pass, and the resonance in them."""

    points: tuple[Point, ...]
    resonance: Resonance

    def fields(self) -> dict[str, Any]:
        """The object of kind sweep."""
        found = self.resonance
        b = found.background
        return {
            "kind": "sweep",
            "f0_hz": found.f0_hz,
            "sigma_f0_hz": found.sigma_f0_hz,
            "q": found.q,
            "sigma_q": found.sigma_q,
            "peak": [found.peak.real, found.peak.imag],
            "background": None if b is None else [b.real, b.imag],
            "sigma_background": None if b is None else found.sigma_background,
            "chi2": found.chi2,
            "dof": found.dof,
            "p_value": found.p_value,
            "good": found.good,
        }


async def search(
    stepper: Stepper, frequency_hz: float, plan: Plan, told: Callable[[str], None], seen: Callable[[float], None]
) -> Sweep:
    """A pass at `frequency_hz`; if the resonance is not there, a coarse one and a fine one where that finds it.

    Raises NoResonance.
    """

    def near(middle_hz: float) -> list[float]:
        return frequencies(middle_hz, plan.span * middle_hz / (2.0 * EXPECTED_Q), plan.points)

    reach_hz = COARSE_PART * frequency_hz
    try:
        return await _pass(stepper, near(frequency_hz), seen)
    except NoResonance as reason:
        told(f"{reason}; looking for it from {frequency_hz - reach_hz:.0f} to {frequency_hz + reach_hz:.0f} Hz")
    steps = 2 * math.ceil(COARSE_PART * 2.0 * EXPECTED_Q) + 1
    found_hz = (await _pass(stepper, frequencies(frequency_hz, reach_hz, steps), seen)).resonance.f0_hz
    told(f"the resonance is near {found_hz:.1f} Hz; sweeping it")
    return await _pass(stepper, near(found_hz), seen)


def frequencies(middle_hz: float, reach_hz: float, points: int) -> list[float]:
    """`points` frequencies from `middle_hz - reach_hz` to `middle_hz + reach_hz`, in whole millihertz."""
    return [round(float(f), 3) for f in np.linspace(middle_hz - reach_hz, middle_hz + reach_hz, points)]


async def _pass(stepper: Stepper, steps: Sequence[float], seen: Callable[[float], None]) -> Sweep:
    """One pass over the frequencies. Raises NoResonance where there is no resonance among them."""
    points = []
    for frequency_hz in steps:
        points.append(await stepper.point(frequency_hz))
        seen(len(points) / len(steps))
    columns = zip(*((point.frequency_hz, point.value, point.sigma) for point in points), strict=True)
    f, z, sigma = (np.array(column) for column in columns)
    background = len(points) >= FEWEST_WITH_BACKGROUND and not stepper.two_clocks()
    return Sweep(tuple(points), fit_resonance(f, z, sigma, background=background))


def write(path: Path, made: Sweep, about: dict[str, Any]) -> None:
    """Write the result, `about` and the points as one JSON object into `path`, whole or not at all.

    Raises SpectrophoneError where that fails.
    """
    points = [{key: value for key, value in point.fields().items() if key != "kind"} for point in made.points]
    new = path.with_name(f".{path.name}.part")
    try:
        new.write_text(json.dumps({**made.fields(), **about, "points": points}, indent=1) + "\n", "utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise SpectrophoneError(f"{path} cannot be written: {error.strerror}", "Give another --out") from None


def plus_minus(value: float, sigma: float) -> tuple[str, str]:
    """Both with as many decimals as show two digits of sigma, at least one."""
    decimals = max(1, 1 - math.floor(math.log10(sigma))) if sigma > 0 else 6
    return f"{value:.{decimals}f}", f"{sigma:.{decimals}f}"
