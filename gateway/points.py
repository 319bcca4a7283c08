"""`calibrate`: a gas becomes a point, points become a calibration.

A point is the mean of the lock_in's phasors over the ordinary path, laser lit. Its sigma is the larger of what the
records say of themselves and what their scatter says, so that drift counts. Of two microphones both are kept, and the
point is their mix as the nodes before the lock_in make it: the same for every record, whatever noise the lock_in
weighed them for. Points are kept in NODE.points.jsonl, to which lines are only added; a line {"session": TIME} begins
anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from gateway import build, calibration
from gateway.board import Board
from gateway.calibration import Calibration
from gateway.carried import alone, in_one_light, tables
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.dsp.calibrate import fit
from gateway.errors import CalibrationError, UsageError
from gateway.service import light, until_told
from gateway.tables import Conditions, Phasor, Reading
from gateway.types import LockInResult

LEAST, MOST = 3, 30
"""Records of a point, unless --seconds says how long."""
_AIR = ("temperature_c", "humidity_percent", "pressure_pa")


@dataclass(frozen=True, slots=True)
class Gas:
    """What is in the cell, and how well it is to be read: for `seconds`, or until sigma is at most `until` times the
    signal above `background`, and at most MOST records. Zero gas has no signal and gets MOST.
    """

    ppm: float
    sigma_ppm: float = 0.0
    seconds: float | None = None
    until: float = 1e-3
    background: complex = 0j


@dataclass(slots=True)
class Average:
    """Phasors of records, with the standard deviation of either part that each tells of itself."""

    phasors: list[complex] = field(default_factory=list)
    sigmas: list[float] = field(default_factory=list)

    def add(self, phasor: complex, sigma: float) -> None:
        """One more."""
        self.phasors.append(phasor)
        self.sigmas.append(sigma)

    @property
    def value(self) -> complex:
        """The mean phasor, full scale."""
        return complex(np.mean(self.phasors))

    @property
    def sigma(self) -> float:
        """One standard deviation of its real or imaginary part."""
        count = len(self.phasors)
        told = math.hypot(*self.sigmas) / count
        if count == 1:
            return told
        scatter = float(np.std(self.phasors, ddof=1)) / math.sqrt(2.0)
        return max(told, scatter / math.sqrt(count))

    @property
    def fields(self) -> Phasor:
        """As it is written down."""
        return self.value.real, self.value.imag, self.sigma


@dataclass(slots=True)
class Mean:
    """The valid records so far: the signal and, where there are two, the microphones; light and air of the newest."""

    signal: Average = field(default_factory=Average)
    a: Average = field(default_factory=Average)
    b: Average = field(default_factory=Average)
    doubts: set[str] = field(default_factory=set)
    newest: LockInResult | None = None
    seconds: float = 0.0
    finished: bool = False

    def add(self, tone: LockInResult) -> None:
        """Take a record, or remember why it cannot be taken."""
        if not tone.valid:
            self.doubts |= tone.flags
            return
        self.newest = tone
        self.seconds += tone.integration_s
        if tone.pair is None:
            self.signal.add(complex(tone.in_phase, tone.quadrature), tone.sigma)
            return
        (a, b), covariance, weights = tone.pair.phasors, np.array(tone.pair.covariance), np.array(tone.pair.weights)
        self.signal.add(complex(weights @ (a, b)), math.sqrt(max(0.0, float((weights @ covariance @ weights).real))))
        self.a.add(a, math.sqrt(covariance[0, 0].real))
        self.b.add(b, math.sqrt(covariance[1, 1].real))

    @property
    def alone(self) -> dict[str, Phasor]:
        """Each microphone by itself, where every record has both."""
        both = len(self.a.phasors) == len(self.signal.phasors)
        return {"a": self.a.fields, "b": self.b.fields} if both and self.a.sigma > 0.0 < self.b.sigma else {}

    def done(self, gas: Gas) -> float:
        """How much of the reading is done, 1 at its end."""
        if gas.seconds is not None:
            return (self.seconds + 1e-9) / gas.seconds
        signal, count = self.signal, len(self.signal.phasors)
        if gas.ppm == 0.0 or count < LEAST:
            return count / MOST
        wanted = gas.until * abs(signal.value - gas.background)
        return max(count / MOST, (wanted / signal.sigma) ** 2 if signal.sigma > 0.0 else 1.0)

    def conditions(self, known: Conditions) -> Conditions:
        """What the records were made under; `known` goes before what they say."""
        if self.newest is None:
            return known
        said: dict[str, float | None] = {"frequency_hz": self.newest.frequency_hz}
        if self.newest.climate is not None:
            said |= {name: getattr(self.newest.climate, name) for name in _AIR}
        if self.newest.light is not None:
            said |= {"duty": self.newest.light.duty, "power_w": self.newest.light.power_w}
        return Conditions.model_validate({**said, **known.model_dump(exclude_none=True)})


def nodes(config: Config, name: str | None) -> tuple[str, str]:
    """Ids of the concentration node to calibrate and of its lock_in. Raises UsageError where that is not clear."""
    graph = {node.id: node for node in config.processing.default_graph.nodes}
    known = [node.id for node in graph.values() if node.type == "concentration"]
    if name is None and len(known) != 1:
        listed = ", ".join(known) or "none"
        raise UsageError(f"which node is to be calibrated? There are: {listed}", "Name one with --node")
    name = name or known[0]
    if name not in known:
        raise UsageError(f"--node {name}: no concentration node is called that", f"There are: {', '.join(known)}")
    source = getattr(graph[name].parameters, "source", "")
    if graph[source].type != "lock_in":
        message = f"{name} takes its tone from '{source}', a {graph[source].type}, which has no phase"
        raise UsageError(message, "Give it a lock_in as its source")
    return name, source


async def take(
    config: Config, board: Board, clock: Clock, lock_in: str, gas: Gas, known: Conditions, seen: Callable[[float], None]
) -> tuple[Reading, Conditions]:
    """Read the gas that is in the cell; returns the point and its conditions, of which some are `known` beforehand.

    `seen` is called with the part that is done, 0 to 1. Raises DeviceError, RecordingError, and CalibrationError where
    the sound gives no reading.
    """
    parameters = next(node.parameters for node in config.processing.default_graph.nodes if node.id == lock_in)
    longest_s = 2.0 * (gas.seconds or MOST * float(getattr(parameters, "integration_s", 1.0))) + 60.0
    parts = build.parts(config.model_copy(update={"mqtt": None}), board, clock)
    mean = Mean()
    try:
        light(parts.outputs, config, board)
        await until_told(_listen(parts, lock_in, gas, longest_s, mean, seen))
    finally:
        parts.outputs.close()
        parts.inputs.microphone.close()
    count = len(mean.signal.phasors)
    if not mean.finished or not count:
        why = f"; records were flagged {', '.join(sorted(mean.doubts))}" if mean.doubts else ""
        told = f"the sound ended or gave too little: good records: {count}{why}"
        raise CalibrationError(told, "Nothing was written. Mend that and take the point again")
    re, im, sigma = mean.signal.fields
    values = {"re": re, "im": im, "sigma": sigma, "records": count, "taken": _now(clock), **mean.alone}
    return Reading(ppm=gas.ppm, sigma_ppm=gas.sigma_ppm, **values), mean.conditions(known)


async def _listen(
    parts: build.Parts, lock_in: str, gas: Gas, longest_s: float, mean: Mean, seen: Callable[[float], None]
) -> None:
    """Fill `mean` until it is finished, the sound ends, or `longest_s` of it are over."""
    async for block in parts.inputs.blocks():
        tick = parts.path.tick(block, ())
        parts.outputs.apply((), tick.t_ns)
        for result in tick.results:
            if isinstance(result, LockInResult) and result.node == lock_in:
                mean.add(result)
        done = mean.done(gas)
        mean.finished = done >= 1.0
        seen(min(1.0, done))
        if mean.finished or tick.t_ns / 1e9 > longest_s:
            return


def session_file(directory: Path, node: str) -> Path:
    """Where the points of a node are kept."""
    return directory / f"{node}.points.jsonl"


def begin(directory: Path, node: str, clock: Clock) -> None:
    """Begin a new session: earlier points stay in the file and no longer count."""
    _append(session_file(directory, node), {"session": _now(clock).isoformat()})


def remember(directory: Path, node: str, reading: Reading, conditions: Conditions) -> None:
    """Add a point to the session."""
    point = {
        **reading.model_dump(mode="json", exclude_none=True),
        "conditions": conditions.model_dump(exclude_none=True),
    }
    _append(session_file(directory, node), point)


def session(directory: Path, node: str) -> tuple[tuple[Reading, ...], Conditions]:
    """The points of the newest session in the light of the last one, and its conditions. Raises CalibrationError for a
    bad line.
    """
    file = session_file(directory, node)
    points: list[tuple[Reading, Conditions]] = []
    conditions = Conditions()
    for number, line in enumerate(file.read_text("utf-8").splitlines() if file.exists() else (), 1):
        try:
            data: dict[str, Any] = json.loads(line)
            if "session" in data:
                points.clear()
                continue
            conditions = Conditions.model_validate(data.pop("conditions", {}))
            points.append((Reading.model_validate(data), conditions))
        except (ValueError, AttributeError, TypeError, ValidationError):
            raise CalibrationError(f"{file}:{number}: this line is no point", "Take it out") from None
    return in_one_light(points), conditions


def calibrate(
    directory: Path,
    node: str,
    clock: Clock,
    *,
    saturating: bool,
    swept: Mapping[str, float] | None = None,
    **about: Any,
) -> tuple[Calibration, Path]:
    """Fit the session's points and save a new version; what `about` does not say is taken from the one before. `swept`
    is the resonance that a sweep has found in the air of the last point: f0_hz, sigma_f0_hz, q, sigma_q.

    Raises CalibrationError where the points give no calibration, or nobody knows the air of the sweep.
    """
    readings, conditions = session(directory, node)
    fitted = fit([reading.point for reading in readings], saturating=saturating)
    now = calibration.current(directory, node)
    before = calibration.load(now) if now.exists() else None
    kept = {} if before is None else {name: getattr(before, name) for name in ("operator", "gas", "certificate")}
    given = {name: value for name, value in about.items() if value is not None}
    backgrounds, steering = alone(readings)
    made = calibration.made(
        fitted,
        readings,
        backgrounds,
        node=node,
        created=_now(clock),
        conditions=conditions,
        previous=before.id if before else "",
        steering=steering,
        **tables(before, conditions, swept),
        **{**kept, **given},
    )
    return made, calibration.save(directory, made)


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.utc_ns() // 1_000_000_000, UTC)


def _append(file: Path, data: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(data) + "\n")
