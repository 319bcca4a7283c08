"""A gas becomes a point, points become a calibration: of a running gateway (gateway/calibrator.py) or by itself
(gateway/points.py).

A point is the mean of the lock_in's phasors over the ordinary path, laser lit. Its sigma is the larger of what the
records say of themselves and what their scatter says, so that drift counts. Of two microphones both are kept, and the
point is their mix as the nodes before the lock_in make it: the same for every record, whatever noise the lock_in
weighed them for. Points are kept in NODE.points.jsonl, to which lines are only added; a line {"session": TIME} begins
anew.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from gateway import calibration
from gateway.calibration import Calibration
from gateway.carried import alone, in_one_light, tables
from gateway.clock import Clock
from gateway.dsp.calibrate import fit
from gateway.errors import CalibrationError, UsageError
from gateway.tables import Conditions, Phasor, Reading
from gateway.types import LockInResult

LEAST, MOST = 3, 30
"""Records of a point, unless --seconds says how long."""
_SAID = {"operator": str, "gas": str, "certificate": str, "valid_until": str, "swept": dict}
"""What a note may say."""
_AIR = ("temperature_c", "humidity_percent", "pressure_pa")


@dataclass(frozen=True, slots=True)
class GasLine:
    """A gas line: a concentration node, the node that it listens to and what kind of node that is, the length of that
    one's records, and the calibration file that the configuration names, None where it names none. `chain` is what
    stands before the curve, in words: where it is another, so is the point.
    """

    node: str
    source: str
    kind: str
    integration_s: float = 1.0
    file: Path | None = None
    chain: str = ""


def choose(lines: Sequence[GasLine], name: str | None) -> GasLine:
    """The line of node `name`, or the only one, if it can be calibrated. Raises UsageError where that is not clear."""
    listed = ", ".join(line.node for line in lines) or "none"
    if name is None and len(lines) != 1:
        raise UsageError(f"which node is to be calibrated? There are: {listed}", "Name one of them as the node")
    found = next((line for line in lines if name in (None, line.node)), None)
    if found is None:
        raise UsageError(f"no concentration node is called {name!r}", f"There are: {listed}")
    if found.kind != "lock_in":
        message = f"{found.node} takes its tone from '{found.source}', a {found.kind}, which has no phase"
        raise UsageError(message, "Give it a lock_in as its source")
    return found


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

    def longest_s(self, integration_s: float) -> float:
        """How long to wait for records of `integration_s`, of which some may not be good."""
        return 2.0 * (self.seconds or MOST * integration_s) + 60.0


def wrong(gas: Gas, *, span: bool) -> tuple[str, float, str] | None:
    """What cannot be so of a gas that is read as a span gas or as zero gas: the option, its value and why."""
    if span and not 0.0 < gas.ppm <= 1e6:
        return "ppm", gas.ppm, "a span gas has more than 0 and at most 1e6 ppm. For 0 read zero gas"
    if not 0.0 <= gas.sigma_ppm < 1e6:
        return "sigma_ppm", gas.sigma_ppm, "a standard deviation is 0 or more, and less than 1e6"
    if gas.seconds is not None and not 0.0 < gas.seconds <= 86_400.0:
        return "seconds", gas.seconds, "more than 0 and at most 86400"
    if not 0.0 < gas.until < 1.0:
        return "until", gas.until, "more than 0 and less than 1; 0.001 is 0.1 % of the signal"
    return None


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


def with_background(gas: Gas, directory: Path, node: str, *, new: bool) -> Gas:
    """The gas with the background that the zeros of the session tell; `new`: it begins a new one, which has none.

    Raises CalibrationError for a bad line in the session's file.
    """
    if new or gas.ppm == 0.0:
        return gas
    zeros = [complex(reading.re, reading.im) for reading in session(directory, node).readings if reading.ppm == 0.0]
    return replace(gas, background=complex(np.mean(zeros))) if zeros else gas


def point(mean: Mean, gas: Gas, clock: Clock) -> Reading:
    """The point of a mean that is finished. Raises CalibrationError, with the flags of the records that could not be
    taken, for one that is not.
    """
    count = len(mean.signal.phasors)
    if not mean.finished or not count:
        why = f"; records were flagged {', '.join(sorted(mean.doubts))}" if mean.doubts else ""
        told = f"the sound ended or gave too little: good records: {count}{why}"
        raise CalibrationError(told, "Nothing was written. Mend that and take the point again")
    re, im, sigma = mean.signal.fields
    values = {"re": re, "im": im, "sigma": sigma, "records": count, "taken": _now(clock), **mean.alone}
    return Reading(ppm=gas.ppm, sigma_ppm=gas.sigma_ppm, **values)


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


def note(directory: Path, node: str, said: Mapping[str, Any]) -> None:
    """Keep what was said of the calibration for when the session's points give one."""
    _append(session_file(directory, node), {"note": dict(said)})


@dataclass(frozen=True, slots=True)
class Session:
    """What was taken since the newest beginning: points in the light of the last one, its conditions, and what was said
    of the calibration, by the names of its options; `swept` is a resonance beside them.
    """

    readings: tuple[Reading, ...]
    conditions: Conditions
    said: Mapping[str, Any]


def session(directory: Path, node: str) -> Session:
    """The newest session of a node. Raises CalibrationError for a bad line."""
    file = session_file(directory, node)
    points: list[tuple[Reading, Conditions]] = []
    said: dict[str, Any] = {}
    conditions = Conditions()
    for number, line in enumerate(file.read_text("utf-8").splitlines() if file.exists() else (), 1):
        try:
            data: dict[str, Any] = json.loads(line)
            if "session" in data:
                points, said = [], {}
            elif "note" in data:
                said |= _said(data["note"])
            else:
                conditions = Conditions.model_validate(data.pop("conditions", {}))
                points.append((Reading.model_validate(data), conditions))
        except (ValueError, AttributeError, TypeError, ValidationError):
            raise CalibrationError(f"{file}:{number}: this line is no point", "Take it out") from None
    return Session(in_one_light(points), conditions, said)


def _said(note: dict[str, Any]) -> dict[str, Any]:
    """A note, if it is one. Raises ValueError or AttributeError where it is not."""
    for name, value in note.items():
        if not isinstance(value, _SAID.get(name, ())):
            raise ValueError(name)
    return note


def calibrate(
    directory: Path,
    node: str,
    clock: Clock,
    *,
    saturating: bool | None = None,
) -> tuple[Calibration, Path]:
    """Fit the session's points and save a new version. What was not said of it in the session is taken from the one
    before. `swept` there is the resonance that a sweep has found in the air of the last point: f0_hz, sigma_f0_hz, q,
    sigma_q. `saturating` tells the curve; None: the one before it was.

    Raises CalibrationError where the points give no calibration, or nobody knows the air of the sweep.
    """
    taken = session(directory, node)
    now = calibration.current(directory, node)
    before = calibration.load(now) if now.exists() else None
    if saturating is None:
        saturating = before is not None and before.curve.type == "saturating"
    fitted = fit([reading.point for reading in taken.readings], saturating=saturating)
    kept = {} if before is None else {name: getattr(before, name) for name in ("operator", "gas", "certificate")}
    said = {name: value for name, value in taken.said.items() if name != "swept"}
    backgrounds, steering = alone(taken.readings)
    made = calibration.made(
        fitted,
        taken.readings,
        backgrounds,
        node=node,
        created=_now(clock),
        conditions=taken.conditions,
        previous=before.id if before else "",
        steering=steering,
        **tables(before, taken.conditions, taken.said.get("swept")),
        **{**kept, **said},
    )
    return made, calibration.save(directory, made)


def curve_of(calibration: Calibration) -> str:
    """The curve in a line: "line, 1.2e-05 ± 2e-08 full scale per ppm, 0 to 2000 ppm"."""
    curve = calibration.curve
    told = f"{curve.slope:.6g} ± {curve.covariance[1][1] ** 0.5:.2g} full scale per ppm"
    if curve.type == "saturating" and curve.bend:
        told += f", saturation at {1.0 / curve.bend:.6g} ppm"
    return f"{curve.type}, {told}, {curve.min_ppm:g} to {curve.max_ppm:g} ppm"


def point_of(reading: Reading) -> str:
    """A point in a line: "0 ppm gives +1e-05 -2e-05j ± 1e-07 full scale, 30 records"."""
    phasor = f"{reading.re:+.6g} {reading.im:+.6g}j ± {reading.sigma:.2g} full scale"
    return f"{reading.ppm:g} ppm gives {phasor}, {reading.records} records"


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.utc_ns() // 1_000_000_000, UTC)


def _append(file: Path, data: dict[str, Any]) -> None:
    """A whole line more, or none: half a line would spoil the session."""
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(data).encode() + b"\n"
    with file.open("ab", buffering=0) as stream:
        size = stream.seek(0, os.SEEK_END)
        if stream.write(line) != len(line):
            stream.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(stream.fileno())
