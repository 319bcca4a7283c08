"""`sweep`: the laser's modulation frequency is stepped across the cell's resonance, and a resonance is fitted.

What a pass is, and how the resonance is fitted, is in gateway/scan.py. Here the laser and the microphone belong to the
sweep alone; gateway/sweeping.py does the same while the gateway measures.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import numpy as np

from gateway import build, hardware, jsonlines
from gateway.board import Board
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.dsp.resonance import NoResonance, Resonance
from gateway.errors import SpectrophoneError, UsageError
from gateway.inputs import Inputs
from gateway.outputs import Outputs
from gateway.scan import Plan, Sweep, plus_minus, search
from gateway.service import guarded, temper, until_told
from gateway.stepper import Stepper


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
    loopback = hardware.loopback(config, board)
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
    async with aclosing(inputs.settled()) as blocks:
        stepper = Stepper(blocks, inputs.microphone.rate_hz, outputs, plan.seconds, loopback)
        try:
            await stepper.begin()
            made = await search(stepper, frequency_hz, plan, told, seen)
        except NoResonance as reason:
            remedy = "Let in gas that the laser is absorbed by, take longer --seconds, or set laser.frequency_hz nearer"
            raise SpectrophoneError(f"no resonance: {reason}", stepper.two_clocks() or remedy) from None
        finally:
            outputs.make_safe()
    if not made.resonance.good and (note := stepper.two_clocks()):
        told(note)
    return made


def check_out(path: Path) -> None:
    """Raises UsageError, before anything is measured, where write() could not write."""
    if path.suffix != ".json":
        raise UsageError(f"--out {path}: a sweep is written as JSON", "Give a name that ends in .json")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no directory {path.parent}", "Make it, or give another")


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
    f0, q = plus_minus(found.f0_hz, found.sigma_f0_hz), plus_minus(found.q, found.sigma_q)
    return [*table, _background(found), verdict, f"f0 {f0[0]} ± {f0[1]} Hz, Q {q[0]} ± {q[1]}"]


def _background(found: Resonance) -> str:
    """How large the background is against the sound at resonance."""
    if found.background is None:
        return "no background was fitted: if there is one, f0 and Q are off"
    percent = 100.0 / abs(found.peak)
    part, sigma = plus_minus(percent * abs(found.background), percent * found.sigma_background)
    return f"background {part} ± {sigma} % of the sound at resonance"


def objects(made: Sweep) -> list[str]:
    """The points and the result as JSON lines."""
    return [jsonlines.line(fields) for fields in (*(point.fields() for point in made.points), made.fields())]
