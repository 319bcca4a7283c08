"""`sweep`: the laser's modulation frequency is stepped across the cell's resonance, and a resonance is fitted.

At each step the laser is told its frequency through the ordinary door, the sound rings up for 10 time constants,
exp(-10) = 5e-5 of the step is left then, and the phasor of what follows is taken at exactly that frequency. The laser
goes on with its phase from step to step; it has turned by sum_i f_i n_i / fs when it has made n_i frames at f_i, which
is counted in fractions, so that all phasors have the laser for their reference. Time is frames; no clock is read.

Laser and microphone must share one clock, as they do in a box where one codec makes both, and in the simulated cell
with clock_offset_ppm 0: at an offset d the phasors turn by 2 pi f d t while the sweep lasts, which no resonance does.
Then the fit is not good, and the user is told of the clocks if the loudest point is seen to turn.
"""

from __future__ import annotations

import cmath
import json
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gateway import build, jsonlines
from gateway.board import Board
from gateway.check import acquisition
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.dsp.demodulator import Demodulator, Phasors, exact, sub_block_frames
from gateway.dsp.phasor import Phasor, refine
from gateway.dsp.reduce import reduce
from gateway.dsp.resonance import NoResonance, Resonance, fit_resonance
from gateway.errors import DeviceError, SpectrophoneError, UsageError
from gateway.inputs import Inputs
from gateway.outputs import Outputs
from gateway.ports import Microphone
from gateway.service import until_told
from gateway.types import INVALIDATING, Command, Flag, SampleBlock, Samples

EXPECTED_Q = 50.0
"""Sets the half-width f / (2 Q) that spans are counted in."""
LARGEST_Q = 200.0
"""The largest Q that the ring-up is waited for."""
RING_UPS = 10.0
LEAST_WAIT_S = 0.1
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
class Point:
    """The phasor at one frequency, full scale, peak, against the laser; `sigma` as in gateway.dsp.phasor.Phasor."""

    frequency_hz: float
    value: complex
    sigma: float

    def fields(self) -> dict[str, Any]:
        """The object of kind sweep_point."""
        return {
            "kind": "sweep_point",
            "frequency_hz": self.frequency_hz,
            "in_phase": self.value.real,
            "quadrature": self.value.imag,
            "sigma": self.sigma,
        }


@dataclass(frozen=True, slots=True)
class Sweep:
    """The points of the last pass, and the resonance in them."""

    points: tuple[Point, ...]
    resonance: Resonance

    def fields(self) -> dict[str, Any]:
        """The object of kind sweep."""
        found = self.resonance
        return {
            "kind": "sweep",
            "f0_hz": found.f0_hz,
            "sigma_f0_hz": found.sigma_f0_hz,
            "q": found.q,
            "sigma_q": found.sigma_q,
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
    _check(config, board)
    parts = build.parts(config.model_copy(update={"mqtt": None}), board, clock)
    made: list[Sweep] = []

    async def take() -> None:
        made.append(await measure(parts.inputs.microphone, parts.outputs, config.laser.frequency_hz, plan, told, seen))

    try:
        await until_told(take())
    finally:
        parts.outputs.close()
        parts.inputs.microphone.close()
    return made[0] if made else None


async def measure(
    microphone: Microphone,
    outputs: Outputs,
    frequency_hz: float,
    plan: Plan,
    told: Callable[[str], None] = lambda note: None,
    seen: Callable[[float], None] = lambda part: None,
) -> Sweep:
    """Find the resonance near `frequency_hz`; the outputs are safe afterwards, whatever happens.

    `told` is called with what the user should know, in sentences; `seen` with the part of a pass that is done. Raises
    SpectrophoneError where no resonance is found, sound is lost or the laser goes dark.
    """
    stepper = _Stepper(microphone, outputs, plan.seconds)
    try:
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
    stepper: _Stepper, frequency_hz: float, plan: Plan, told: Callable[[str], None], seen: Callable[[float], None]
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


def _check(config: Config, board: Board) -> None:
    """Raises SpectrophoneError where sound and laser do not belong together."""
    if not board.simulated:
        raise SpectrophoneError(
            f"this version does not drive the laser of board '{board.name}', so it cannot sweep it",
            "Take board: sim",
        )
    device = acquisition(config, board).device
    if device != "sim":
        raise SpectrophoneError(f"microphone '{device}' does not hear the simulated laser", "Leave the device out")


async def _pass(stepper: _Stepper, steps: Sequence[float], seen: Callable[[float], None]) -> Sweep:
    """One pass over the frequencies. Raises NoResonance where there is no resonance among them."""
    points = []
    for frequency_hz in steps:
        points.append(await stepper.point(frequency_hz))
        seen(len(points) / len(steps))
    columns = zip(*((point.frequency_hz, point.value, point.sigma) for point in points), strict=True)
    f, z, sigma = (np.array(column) for column in columns)
    return Sweep(tuple(points), fit_resonance(f, z, sigma))


class _Stepper:
    """Steps the laser and listens; keeps account of frames, and of the laser's phase in exact turns."""

    def __init__(self, microphone: Microphone, outputs: Outputs, seconds: float) -> None:
        self._rate_hz, self._outputs = microphone.rate_hz, outputs
        self._blocks: AsyncGenerator[SampleBlock] = Inputs(microphone, outputs).blocks()
        self._sub_block = sub_block_frames(self._rate_hz)
        self._count = max(6, round(seconds * self._rate_hz / self._sub_block))
        self._frequency, self._turns, self._frame = Fraction(0), Fraction(0), 0
        self._loudest, self._offset = 0.0, (0.0, 0.0)
        self._just_lit = False

    async def point(self, frequency_hz: float) -> Point:
        """The phasor at `frequency_hz`."""
        ahead = self._tune(exact(frequency_hz))
        wait_s = max(LEAST_WAIT_S, RING_UPS * LARGEST_Q / (math.pi * frequency_hz))
        first = math.ceil((self._frame + wait_s * self._rate_hz) / self._sub_block)
        z, images = await self._listen(first)
        found = _phasor(z, images)
        if abs(found.value) > self._loudest:
            self._loudest = abs(found.value)
            self._offset = self._clock_offset(z, images)
        return Point(frequency_hz, found.value * cmath.exp(-2j * math.pi * ahead), found.sigma)

    def two_clocks(self) -> str:
        """A sentence about the clocks, if the strongest sound so far was not at the laser's frequency, else nothing.

        Cramer-Rao bound of a tone's frequency: Rife and Boorstyn, IEEE Trans. Inf. Theory 20 (1974) 591.
        """
        offset, sigma = self._offset
        if abs(offset) <= 5.0 * sigma:
            return ""
        return "The sound is not quite at the laser's frequency: a sweep needs one clock for laser and microphone"

    def _clock_offset(self, z: Phasors, images: Phasors) -> tuple[float, float]:
        """How much faster the tone in `z` turns than the laser was told to, as a part of its frequency, and sigma."""
        turns = refine(z, self._sub_block)
        turn = np.exp(-2j * np.pi * turns * self._sub_block * np.arange(len(z)))
        found = _phasor(z * turn, images * turn**2)
        frames = len(z) * self._sub_block
        sigma = math.sqrt(3.0) / (math.pi * frames) * found.sigma / max(abs(found.value), 1e-300)
        return turns / self._turns_per_frame, sigma / self._turns_per_frame

    @property
    def _turns_per_frame(self) -> float:
        return float(self._frequency / self._rate_hz % 1)

    async def close(self) -> None:
        """Give the microphone's blocks back."""
        await self._blocks.aclose()

    def _tune(self, frequency: Fraction) -> float:
        """Tune and light the laser from the next frame on; how many turns it is ahead of frequency * frame / rate."""
        hertz = float(frequency)
        told = [Command("laser", "tune", {"frequency_hz": hertz}, "cli"), Command("laser", "on", origin="cli")]
        outcome = self._outputs.apply(told, self._frame * 1_000_000_000 // self._rate_hz)
        for result in outcome.results:
            if not result.done:
                raise SpectrophoneError(f"the laser refused: {result.reason}")
        turns = self._turns + self._frequency * self._frame / self._rate_hz
        self._turns = (turns - frequency * self._frame / self._rate_hz) % 1
        self._frequency, self._just_lit = frequency, True
        return float(self._turns)

    async def _listen(self, first: int) -> tuple[Phasors, Phasors]:
        """The phasors of the sub-blocks from number `first` on, complex128 [sub-blocks], and their images."""
        demodulator = Demodulator([self._frequency], self._rate_hz)
        begin, parts, count = first * self._sub_block, [], 0
        while count < self._count:
            samples = await self._next()
            frame = self._frame - len(samples)
            if self._frame > begin:
                late = max(0, begin - frame)
                _, z = demodulator.push(frame + late, samples[late:])
                parts.append(z[:, 0, 0])
                count += len(z)
        return np.concatenate(parts)[: self._count], demodulator.images(0, first, self._count)

    async def _next(self) -> Samples:
        """The sound of the next block, the two channels' difference where there are two: float32 [frames, 1]."""
        try:
            block = await anext(self._blocks)
        except StopAsyncIteration:
            raise DeviceError("the sound ended before the sweep did", "Sweep with a microphone") from None
        just_lit, self._just_lit = self._just_lit, False
        if Flag.LASER_OFF in block.flags and not just_lit:
            raise SpectrophoneError("the laser went dark during the sweep", "Is laser.max_on_s shorter than a point?")
        if not len(block.samples):
            raise DeviceError("the microphone is silent", "Look after it and sweep again")
        spoilt = block.flags & INVALIDATING - {Flag.LASER_OFF}
        if block.lost_frames or spoilt:
            words = ", ".join(sorted(spoilt)) or "lost_samples"
            raise SpectrophoneError(f"the sound was not whole ({words}), and its phase is not known", "Sweep again")
        self._frame = block.frame + len(block.samples)
        self._outputs.apply((), block.end_ns)
        sound = block.samples
        return sound if sound.shape[1] == 1 else sound[:, :1] - sound[:, 1:]


def _phasor(z: Phasors, images: Phasors) -> Phasor:
    """The tone in sub-blocks of one signal, complex128 [sub-blocks]."""
    found = reduce(z[:, None], images, np.zeros((len(z), 1)))
    sigma = math.sqrt(float(np.mean(np.abs(found.noise) ** 2)) / 2.0)
    return Phasor(complex(found.phasors[0]), sigma, 2 * len(found.noise))


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
    return [*table, verdict, f"f0 {f0[0]} ± {f0[1]} Hz, Q {q[0]} ± {q[1]}"]


def _plus_minus(value: float, sigma: float) -> tuple[str, str]:
    """Both with as many decimals as show two digits of sigma, at least one."""
    decimals = max(1, 1 - math.floor(math.log10(sigma))) if sigma > 0 else 6
    return f"{value:.{decimals}f}", f"{sigma:.{decimals}f}"


def objects(made: Sweep) -> list[str]:
    """The points and the result as JSON lines."""
    return [jsonlines.line(fields) for fields in (*(point.fields() for point in made.points), made.fields())]
