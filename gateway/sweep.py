"""`sweep`: the laser's modulation frequency is stepped across the cell's resonance, and a resonance is fitted.

The phasors come from gateway.stepper, where it is said how the laser's phase is known. What windows and walls add is
fitted beside the resonance wherever there are 6 points or more (gateway.dsp.resonance says why), and f0 and Q hold
with it. Two clocks turn the phasors. So little that it is not seen, this is a background too; where it is seen, no
background is fitted, the fit is not good, and the user is told of the clocks.

All frequencies, f0 with them, are those that the laser says it has: they are told in the laser's clock, whichever way
the phase is known, as everything is that is told to the laser later. The microphone's clock would tell f0 larger by the
offset of the two, 0.2 Hz at 100 ppm.
"""

from __future__ import annotations

import cmath
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gateway import build, hardware, jsonlines
from gateway.board import Board
from gateway.check import acquisition
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.dsp.resonance import FEWEST_WITH_BACKGROUND, NoResonance, Resonance, fit_resonance
from gateway.errors import SpectrophoneError, UsageError
from gateway.inputs import Inputs
from gateway.outputs import Outputs
from gateway.service import guarded, temper, until_told
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
            "background": None if b is None else [b.real, b.imag],
            "sigma_background": None if b is None else found.sigma_background,
            "chi2": found.chi2,
            "dof": found.dof,
            "p_value": found.p_value,
            "good": found.good,
        }


async def sweep(
    config: Config,
    board: Board,
    clock: Clock,
    plan: Plan,
    *,
    told: Callable[[str], None],
    seen: Callable[[float], None],
) -> Sweep | None:
    """Sweep the configured laser; None if SIGINT or SIGTERM ended it. `told` and `seen` as in measure().

    Raises SpectrophoneError where the box cannot sweep, or no resonance is found.
    """
    loopback = _loopback(config, board)
    parts = build.parts(config.model_copy(update={"mqtt": None}), board, clock)
    made: list[Sweep] = []

    async def take() -> None:
        made.append(await measure(parts.inputs, parts.outputs, config.laser.frequency_hz, plan, told, seen, loopback))

    try:
        with guarded(parts):
            temper(parts.outputs, config)
            await until_told(take())
    finally:
        parts.outputs.close()
        parts.inputs.microphone.close()
    return made[0] if made else None


async def measure(
    inputs: Inputs,
    outputs: Outputs,
    frequency_hz: float,
    plan: Plan,
    told: Callable[[str], None] = lambda note: None,
    seen: Callable[[float], None] = lambda part: None,
    loopback: int | None = None,
) -> Sweep:
    """Find the resonance near `frequency_hz`; the outputs are safe afterwards, whatever happens.

    `told` is called with what the user should know, in sentences; `seen` with the part of a pass that is done;
    `loopback` is the channel that the modulation comes in on, None for one clock. Raises SpectrophoneError where no
    resonance is found, sound or modulation is lost, or the laser goes dark.
    """
    stepper = Stepper(inputs, outputs, plan.seconds, loopback)
    try:
        await stepper.begin()
        made = await _search(stepper, frequency_hz, plan, told, seen)
    except NoResonance as reason:
        remedy = "Let in gas that the laser is absorbed by, take longer --seconds, or set laser.frequency_hz nearer"
        raise SpectrophoneError(f"no resonance: {reason}", stepper.two_clocks() or remedy) from None
    finally:
        outputs.make_safe()
        await stepper.close()
    if not made.resonance.good and (note := stepper.two_clocks()):
        told(note)
    return made


async def _search(
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


def check_out(path: Path) -> None:
    """Raises UsageError, before anything is measured, where write() could not write."""
    if path.suffix != ".json":
        raise UsageError(f"--out {path}: a sweep is written as JSON", "Give a name that ends in .json")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no directory {path.parent}", "Make it, or give another")


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


def _loopback(config: Config, board: Board) -> int | None:
    """The channel that the laser's modulation comes in on, None where its phase is counted. Raises SpectrophoneError
    where sound and laser do not belong together, or nothing tells the laser's phase.
    """
    if "laser" not in hardware.verbs(config, board):
        raise SpectrophoneError(
            f"board '{board.name}' has no laser to sweep", "Give it a table [laser] (docs/boards.md)"
        )
    heard, laser = acquisition(config, board), config.laser
    device = heard.device or "default"
    if (device == "sim") != board.simulated or device.startswith("file:"):
        other = "the simulated laser" if board.simulated else f"the laser of board '{board.name}'"
        raise SpectrophoneError(f"microphone '{device}' does not hear {other}", "Leave the device out")
    if laser.reference != "loopback":
        if board.simulated:
            return None
        message = f"nobody knows at which frame the laser of board '{board.name}' begins a new frequency"
        raise SpectrophoneError(message, "Lead its modulation to a channel, and write laser.reference: loopback")
    channel = "AB".index(laser.reference_channel)
    if heard.channels < 2:
        message = f"the laser's modulation should come in on channel {laser.reference_channel}, but the sound is mono"
        raise SpectrophoneError(message, "Set acquisition.channels: 2")
    return channel


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


def lines(made: Sweep) -> list[str]:
    """The points as a table and the result in words, for people."""
    table = [f"{'Hz':>10} {'amplitude':>10} {'phase/deg':>10} {'sigma':>9} {'off/sigma':>9}"]
    model = made.resonance.at(np.array([point.frequency_hz for point in made.points]))
    for point, expected in zip(made.points, model, strict=True):
        degrees = math.degrees(cmath.phase(point.value))
        off = abs(point.value - complex(expected)) / point.sigma
        amplitude = f"{abs(point.value):>10.3e}"
        table.append(f"{point.frequency_hz:>10.3f} {amplitude} {degrees:>10.2f} {point.sigma:>9.1e} {off:>9.1f}")
    found = made.resonance
    fit = f"chi2 {found.chi2:.1f} for {found.dof} degrees of freedom, p {found.p_value:.2g}"
    if found.good:
        verdict = f"the fit is good: {fit}"
    else:
        verdict = f"the fit is NOT good: {fit}; the uncertainties are multiplied by {found.scale:.1f}"
    f0, q = _plus_minus(found.f0_hz, found.sigma_f0_hz), _plus_minus(found.q, found.sigma_q)
    return [*table, _background(found), verdict, f"f0 {f0[0]} ± {f0[1]} Hz, Q {q[0]} ± {q[1]}"]


def _background(found: Resonance) -> str:
    """How large the background is against the sound at resonance."""
    if found.background is None:
        return "no background was fitted: if there is one, f0 and Q are off"
    percent = 100.0 / abs(found.peak)
    part, sigma = _plus_minus(percent * abs(found.background), percent * found.sigma_background)
    return f"background {part} ± {sigma} % of the sound at resonance"


def _plus_minus(value: float, sigma: float) -> tuple[str, str]:
    """Both with as many decimals as show two digits of sigma, at least one."""
    decimals = max(1, 1 - math.floor(math.log10(sigma))) if sigma > 0 else 6
    return f"{value:.{decimals}f}", f"{sigma:.{decimals}f}"


def objects(made: Sweep) -> list[str]:
    """The points and the result as JSON lines."""
    return [jsonlines.line(fields) for fields in (*(point.fields() for point in made.points), made.fields())]
