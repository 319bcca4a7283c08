"""Zero and span in the running gateway: asked by a command, heard from the ticks as they come, written beside.

`Calibrator` is the sink that takes the records of the gas, and `CalibrationOutput` its door: an output like the others,
with "zero", "span" and "cancel", whose state tells how far it is, and in the end what became of it. Files are read and
written in another thread. What a point is, and when it is good enough, is in gateway/calibrating.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import calibration
from gateway.calibrating import (
    Gas,
    GasLine,
    Mean,
    begin,
    calibrate,
    choose,
    curve_of,
    point,
    point_of,
    remember,
    with_background,
    wrong,
)
from gateway.clock import Clock
from gateway.errors import CalibrationError, CommandRefused, ConfigError, SpectrophoneError
from gateway.tables import Conditions, Reading
from gateway.types import Command, LockInResult, Outcome, Tick

log = logging.getLogger("spectrophone.calibrator")

CALIBRATION, SPAN_GAS = "calibration", "span_gas"
ASKED = ("zero", "span", "cancel")
"""What people may tell it. "configure" is for a changed configuration (gateway/reload.py) and not among it."""
IDLE = "idle"
_ROUNDING_NS = 1_000
"""Times of records and blocks are rounded down to nanoseconds."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """Which gas is to be read, and over which line; `new`: its point is the first of a new session."""

    line: GasLine
    gas: Gas
    new: bool

    @property
    def directory(self) -> Path:
        """Where the calibrations of the node are."""
        return Path(CALIBRATION) if self.line.file is None else self.line.file.parent

    def state(self, done: float) -> str:
        """In words, when the part `done` of it is done, 0 to 1."""
        return f"{f'span {self.gas.ppm:g} ppm' if self.gas.ppm else 'zero'} {int(100.0 * done)} %"


@dataclass(slots=True)
class _Listening:
    """A gas being read; `over` is set when it has been heard, or for too long."""

    line: GasLine
    gas: Gas
    over: asyncio.Future[None]
    mean: Mean = field(default_factory=Mean)
    begun_ns: int | None = None

    def take(self, tick: Tick) -> float:
        """The part of the reading that is done, 0 to 1. Records that began before are not of this gas."""
        if self.begun_ns is None:
            self.begun_ns = tick.t_ns
        for result in tick.results:
            if isinstance(result, LockInResult) and result.node == self.line.source and self._since(result):
                self.mean.add(result)
        done = self.mean.done(self.gas)
        self.mean.finished = done >= 1.0
        late = (tick.t_ns - self.begun_ns) / 1e9 > self.gas.longest_s(self.line.integration_s)
        if self.mean.finished or late:
            self.over.set_result(None)
        return min(1.0, done)

    def _since(self, record: LockInResult) -> bool:
        begun_ns = 0 if self.begun_ns is None else self.begun_ns
        return record.t_ns - record.integration_s * 1e9 >= begun_ns - _ROUNDING_NS


class Calibrator:
    """Takes one gas at a time; a Sink."""

    def __init__(self, lines: Sequence[GasLine], clock: Clock) -> None:
        self.state = IDLE
        """In words: idle; zero 40 %; span 1000 ppm 13 %; done: and what was found; failed: and why."""
        self._lines = tuple(lines)
        self._clock = clock
        self._wish: _Wish | None = None
        self._task: asyncio.Task[None] | None = None
        self._listening: _Listening | None = None

    def read(self, verb: str, args: Mapping[str, Any]) -> None:
        """Begin with zero gas or a span gas: `node`, `ppm`, `sigma_ppm`, `seconds`, `new` as the command line has them.

        Raises CommandRefused or UsageError.
        """
        if self._task is not None:
            raise CommandRefused(f"a gas is being read already: {self.state}", "Wait for its end, or cancel it")
        line = choose(self._lines, args.get("node"))
        if verb == "span" and args.get("ppm") is None:
            message = "the concentration of the span gas is missing"
            raise CommandRefused(message, 'Set span_gas before, or say {"do": "span", "ppm": 1000}')
        ppm = float(args["ppm"]) if verb == "span" else 0.0
        gas = Gas(ppm, float(args.get("sigma_ppm") or 0.0), args.get("seconds"))
        if found := wrong(gas, span=verb == "span"):
            raise CommandRefused("{} {:g}: {}".format(*found))
        wish = self._wish = _Wish(line, gas, bool(args.get("new")))
        self.state = wish.state(0.0)
        self._task = asyncio.get_running_loop().create_task(self._run(wish), name="calibrate")

    def cancel(self) -> None:
        """End the reading; nothing is written. Raises CommandRefused where there is none, or it is being written."""
        if self._task is None:
            raise CommandRefused("no gas is being read")
        if self._writing:
            raise CommandRefused("the point is being written", "Take it out of the file, or begin a new session")
        self._end(IDLE)

    def configure(self, lines: Sequence[GasLine]) -> None:
        """Go on with these gas lines; a gas that is being read over a line that is another now has to be read again."""
        self._lines = tuple(lines)
        if self._wish is not None and not self._writing and self._wish.line not in self._lines:
            self._end("failed: the configuration was changed meanwhile. Take the point again")

    async def start(self) -> None:
        """See Sink."""

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        if self._wish is not None and self._listening is not None and not self._writing:
            self.state = self._wish.state(self._listening.take(tick))

    async def close(self) -> None:
        """See Sink."""
        task = self._task
        if task is not None:
            self._end(IDLE)
            await asyncio.wait([task])

    @property
    def _writing(self) -> bool:
        return self._listening is not None and self._listening.over.done()

    def _end(self, state: str) -> None:
        if self._task is not None:
            self._task.cancel()
        self.state, self._task, self._listening, self._wish = state, None, None, None

    async def _run(self, wish: _Wish) -> None:
        """From the command to the last word."""
        try:
            state = await self._taken(wish)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            told = f"{wish.directory}: cannot be read or written ({reason})"
            state = f"failed: {told}. Mend that and take the point again"
        except SpectrophoneError as error:
            state = f"failed: {error}"
        except Exception:
            log.exception("a gas could not be read")
            state = "failed: a fault of the software. Report what the log says of it"
        log.info("%s", state)
        self.state, self._task, self._listening, self._wish = state, None, None, None

    async def _taken(self, wish: _Wish) -> str:
        line, directory = wish.line, wish.directory
        gas = await asyncio.to_thread(with_background, wish.gas, directory, line.node, new=wish.new)
        listening = self._listening = _Listening(line, gas, asyncio.get_running_loop().create_future())
        await listening.over
        reading = point(listening.mean, gas, self._clock)
        conditions = listening.mean.conditions(Conditions())
        return await asyncio.to_thread(self._written, wish, reading, conditions)

    def _written(self, wish: _Wish, reading: Reading, conditions: Conditions) -> str:
        """Add the point to the session, fit, and say what was found."""
        line, directory = wish.line, wish.directory
        if wish.new:
            begin(directory, line.node, self._clock)
        remember(directory, line.node, reading, conditions)
        try:
            made, _ = calibrate(directory, line.node, self._clock)
        except (CalibrationError, ConfigError) as error:
            return f"done: {point_of(reading)}; no new calibration yet: {error}"
        file = calibration.current(directory, line.node)
        found = f"done: {curve_of(made)}, {file}"
        if line.file is not None and line.file.resolve() == file.resolve():
            return found
        return f"{found}. To measure with it, write calibration: {file} into the parameters of {line.node}"


class SpanGas:
    """The concentration in the bottle of span gas as an output: what a span goes by that names none, until the gateway
    ends.
    """

    target = SPAN_GAS
    verbs: tuple[str, ...] = ("set",)
    bounds = (0.001, 1_000_000.0)
    """In ppm."""

    def __init__(self) -> None:
        self.ppm: float | None = None

    def apply(self, command: Command) -> None:
        """See Output."""
        value, (low, high) = command.args.get("value"), self.bounds
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise CommandRefused(f"{value!r} is no concentration of a span gas", f"It may be {low:g} to {high:g} ppm")
        self.ppm = float(value)

    def read(self) -> str:
        """See Output."""
        return "unknown" if self.ppm is None else f"{self.ppm:.10g}"

    def step(self, t_ns: int) -> None:
        """See gateway.ports.Output."""

    def make_safe(self) -> None:
        """See Output: a number does no harm."""

    def close(self) -> None:
        """See Output."""


class CalibrationOutput:
    """The calibrator as an output."""

    target = CALIBRATION
    verbs: tuple[str, ...] = (*ASKED, "configure")

    def __init__(self, calibrator: Calibrator, bottle: SpanGas) -> None:
        """`bottle` says which span gas is read where the command does not."""
        self._calibrator, self._bottle = calibrator, bottle

    def apply(self, command: Command) -> None:
        """See Output."""
        match command.verb:
            case "cancel":
                self._calibrator.cancel()
            case "configure":
                self._calibrator.configure(command.args["lines"])
            case "span":
                self._calibrator.read("span", {"ppm": self._bottle.ppm, **command.args})
            case verb:
                self._calibrator.read(verb, command.args)

    def read(self) -> str:
        """See Output."""
        return self._calibrator.state

    def step(self, t_ns: int) -> None:
        """See gateway.ports.Output."""

    def make_safe(self) -> None:
        """See Output: it only listens. In the dark the records carry the flag laser_off, and none is taken."""

    def close(self) -> None:
        """See Output; the sink's end is that of the procedure."""
