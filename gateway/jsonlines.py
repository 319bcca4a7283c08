"""Ticks as JSON lines: one object a line, the contract that other programs build on (docs/json-lines.md).

The reference page and the check in the tests come from FIELDS.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from gateway.types import (
    INVALIDATING,
    Alert,
    CommandResult,
    Flag,
    LevelResult,
    LockInResult,
    Measurement,
    PeakResult,
    ResonanceResult,
    Result,
    Tick,
    iso_utc,
)

FIELDS: dict[str, dict[str, str]] = {
    "peak": {
        "node": "id of the peak_finder",
        "frequency_hz": "frequency of the tone, Hz; null where no tone was found",
        "sigma_frequency_hz": "one standard deviation of the frequency, Hz",
        "amplitude": "peak amplitude, full scale, linear; null where no tone was found",
        "sigma": "one standard deviation of the amplitude",
        "snr_db": "20 log10(amplitude / sigma)",
        "valid": "true where a tone stands out of the noise and nothing speaks against it",
        "flags": "list of flags, see below",
    },
    "lock_in": {
        "node": "id of the lock_in",
        "frequency_hz": "reference frequency, Hz",
        "in_phase": "signed amplitude along the calibrated phase, full scale, linear",
        "quadrature": "amplitude at right angles to it",
        "amplitude": "length of the phasor",
        "sigma": "one standard deviation of in_phase, and of quadrature",
        "snr_db": "20 log10(amplitude / sigma)",
        "integration_s": "length of the record, seconds",
        "clock_offset_ppm": "how much faster the laser's clock runs than the microphone's; null where they are one",
        "sigma_clock_offset_ppm": "one standard deviation of it",
        "flags": "list of flags, see below",
    },
    "level": {
        "node": "id of the level node",
        "rms": "root mean square, full scale, linear",
        "peak": "largest sample, full scale, linear",
        "flags": "list of flags, see below",
    },
    "measurement": {
        "node": "id of the concentration node",
        "ppm": "concentration, signed; null where there is none to give",
        "sigma_ppm": "one standard deviation",
        "u95_ppm": "expanded uncertainty, 95 %",
        "dof": "its degrees of freedom",
        "lod_ppm": "limit of detection, three sigma",
        "smoothed_ppm": "the value with less noise; follows a jump within two records",
        "sigma_smoothed_ppm": "one standard deviation of it",
        "valid": "false where the value must not be used",
        "flags": "list of flags, see below",
        "source": "id of the lock_in or peak_finder that it was computed from",
        "frequency_hz": "frequency of the source, Hz; null where no tone was found",
        "amplitude": "amplitude of the source, full scale, linear; null where no tone was found",
    },
    "resonance": {
        "node": "id of the concentration node that follows the resonance, with _resonance behind it",
        "f0_hz": "frequency of the cell's resonance, Hz",
        "sigma_f0_hz": "one standard deviation",
        "q": "quality factor",
        "detuning": "2 q (f - f0) / f0 of the laser's frequency f",
        "tune_hz": "the frequency that the laser is told now; null where it stays",
        "flags": "list of flags, see below",
    },
    "alert": {
        "rule": "name of the rule",
        "type": "concentration, amplitude, frequency_deviation, data_timeout or custom",
        "severity": "info, warning or critical",
        "state": "raised or cleared; told for what a script has to say in words",
        "value": "what was measured; null for data_timeout, and for what is told",
        "threshold": "the rule's threshold; seconds for data_timeout; null for what is told",
        "source": "id of the node that is watched; of the script's, for what is told",
        "message": "what is told; empty for others",
    },
    "command": {
        "target": "what was told: laser, relay/fan, led/status, calibration, actions",
        "verb": "what it was told",
        "args": "what it was told with it",
        "origin": "who told it: rule:NAME, mqtt, web:USER, script:NAME, cli",
        "done": "whether it was carried out",
        "reason": "why not; empty if it was",
        "state": "the target's state afterwards",
    },
}
"""Every kind of object and its fields, beside `kind` and the times."""

TRIED: dict[str, dict[str, str]] = {
    "call": {
        "hook": "initialize (loading included), on_measurement, on_alert, on_update, on_trigger, get_status, shutdown",
        "outcome": "ok; error: it raised; refused: it wanted what its node does not allow; timeout; killed",
        "result": "what it returned; null without a result",
        "error": "what the customer reads, with the line of the script; null where all is well",
        "ms": "from asking to the answer; of initialize, what loading took",
        "memory_mb": "what the script holds beyond a bare worker afterwards, or held when it was last seen",
        "log": "list of lines: log messages, prints, notifications, outputs",
    },
    "summary": {
        "loaded": "whether the script was loaded at all",
        "calls": "number of calls",
        "outcomes": "number of calls, by outcome",
        "p50_ms": "the median of the calls' times",
        "p95_ms": "their 95th percentile",
        "max_ms": "the longest",
        "peak_memory_mb": "the most that the script held at any time",
        "isolation": "level of confinement: A, B, L or C",
    },
}
"""What `script try --json` prints: a call each, then the summary."""

EXAMINED: dict[str, dict[str, str]] = {
    "check": {
        "group": "software, board, sound, lines, sensors, safety, scripts, machine, network or gateway",
        "name": "what was looked at; docs/doctor.md has them all",
        "state": "ok; warning: it works, and could be better; missing: it is to be mended; unknown; not needed",
        "found": "what was found, in words",
        "remedy": "what to do about it; empty where nothing is to be done",
    },
    "summary": {
        state: f"number of findings with that state ({state.replace('_', ' ')})"
        for state in ("ok", "warning", "missing", "unknown", "not_needed")
    },
}
"""What `doctor --json` prints: a finding each, then the summary."""

FLAGS: dict[Flag, str] = {
    Flag.OVERLOAD: "a sample reached full scale",
    Flag.LOW_SIGNAL: "below the limit of detection",
    Flag.OFF_RESONANCE: "the modulation is off the cell's resonance",
    Flag.UNLOCKED: "there is no phase reference",
    Flag.LASER_OFF: "the laser was off during part of the record",
    Flag.WARM_UP: "the laser had not been lit for laser.ramp_s and laser.warm_up_s",
    Flag.SWEEPING: "the laser was stepped across the resonance",
    Flag.LOST_SAMPLES: "sound is missing inside the record",
    Flag.EXTRAPOLATED: "outside the calibrated range",
    Flag.CAL_EXPIRED: "the calibration has expired (told where the sound has a date)",
    Flag.STALE: "no new value came in time",
    Flag.NOT_FINITE: "a sample was NaN or infinite",
    Flag.IMPULSE: "knocks or clicks were cut out of the record",
    Flag.TONE: "an interfering tone beside the carrier was taken out",
    Flag.MICROPHONE: "one of two microphones is left out: dead, or at full scale",
    Flag.PHASE: "the signal's phase is over 20 degrees off the calibration's: another clock, or resonance",
    Flag.ESTIMATED: "restored from overloaded sound",
    Flag.UNDERDITHERED: "so little noise that the converter's steps show",
    Flag.CLIMATE_UNKNOWN: "a correction wants a temperature, pressure or humidity that nobody knows",
}

_PLAIN = (str, int, float, bool)

_INTRODUCTION = """\
# JSON lines

`spectrophone replay` and `spectrophone run --json` print one JSON object a line; nothing else goes to
standard output. Every object has `kind`, its `node` or `rule`, and `t_s`: seconds from the first sample of
the recording, lost samples counted, to the end of the record it belongs to. Live objects, and those of a
recording that knows its date, have `time` as well: ISO 8601 in UTC. `replay` of several files, or of a
directory, adds `file` to every object: the recording it came from, as it was given. Numbers that do not exist are
null, never NaN. New fields may come; those listed here stay. `command` objects, with what became of each command,
stand in the journal and in what action nodes deliver, and are not printed. This page is made from the code by
`make docs`.
"""

_EXAMINING = """\
## What `doctor --json` prints

One object a check, in the order of the table in docs/doctor.md, and the summary at the end; these have no times.
"""

_TRYING = """\
## What `script try --json` prints

One object a call, in the order of the calls, and the summary at the end; these have no times. Control characters are
escaped.
"""


def objects(tick: Tick, *, live: bool) -> Iterator[dict[str, Any]]:
    """The objects of one tick, results first. `live` ones have `time` as well."""
    for item in (*tick.results, *tick.alerts):
        fields = of(item, tick)
        if fields is not None:
            if not live:
                del fields["time"]
            yield fields


def of(item: Result | Alert, tick: Tick) -> dict[str, Any] | None:
    """The object of one result or alert of `tick`, numbers that are not finite as None; None for a spectrum."""
    fields = _alert(item) if isinstance(item, Alert) else _result(item)
    if fields is None:
        return None
    times = {"time": iso_utc(tick.utc_of(item.t_ns)), "t_s": item.t_ns / 1e9}
    return {"kind": fields.pop("kind"), **times, **{name: _finite(value) for name, value in fields.items()}}


def command(result: CommandResult, tick: Tick) -> dict[str, Any]:
    """The object of a command that was answered in `tick`. Arguments that are not plain values are left out."""
    asked = result.command
    plain = {name: _finite(value) for name, value in asked.args.items() if isinstance(value, _PLAIN) or value is None}
    return {
        "kind": "command",
        "time": iso_utc(tick.utc_ns),
        "t_s": tick.t_ns / 1e9,
        "target": asked.target,
        "verb": asked.verb,
        "args": plain,
        "origin": asked.origin,
        "done": result.done,
        "reason": result.reason,
        "state": result.state,
    }


def line(fields: dict[str, Any]) -> str:
    """One object as one line; numbers that are not finite become null."""
    return json.dumps(_finite(fields), allow_nan=False, ensure_ascii=False)


def _result(result: Result) -> dict[str, Any] | None:
    match result:
        case PeakResult():
            return {
                "kind": "peak",
                "node": result.node,
                "frequency_hz": result.frequency_hz,
                "sigma_frequency_hz": result.sigma_frequency_hz,
                "amplitude": result.amplitude,
                "sigma": result.sigma,
                "snr_db": result.snr_db,
                "valid": result.valid,
                "flags": sorted(result.flags),
            }
        case LockInResult():
            return {
                "kind": "lock_in",
                "node": result.node,
                "frequency_hz": result.frequency_hz,
                "in_phase": result.in_phase,
                "quadrature": result.quadrature,
                "amplitude": result.amplitude,
                "sigma": result.sigma,
                "snr_db": result.snr_db,
                "integration_s": result.integration_s,
                "clock_offset_ppm": result.clock_offset_ppm,
                "sigma_clock_offset_ppm": result.sigma_clock_offset_ppm,
                "flags": sorted(result.flags),
            }
        case LevelResult():
            return {
                "kind": "level",
                "node": result.node,
                "rms": result.rms,
                "peak": result.peak,
                "flags": sorted(result.flags),
            }
        case Measurement():
            return {
                "kind": "measurement",
                "node": result.node,
                "ppm": result.value,
                "sigma_ppm": result.sigma,
                "u95_ppm": result.u95,
                "dof": result.dof,
                "lod_ppm": result.lod,
                "smoothed_ppm": result.smoothed,
                "sigma_smoothed_ppm": result.sigma_smoothed,
                "valid": result.valid,
                "flags": sorted(result.flags),
                "source": result.source.node,
                "frequency_hz": result.source.frequency_hz,
                "amplitude": result.source.amplitude,
            }
        case ResonanceResult():
            return {
                "kind": "resonance",
                "node": result.node,
                "f0_hz": result.f0_hz,
                "sigma_f0_hz": result.sigma_f0_hz,
                "q": result.q,
                "detuning": result.detuning,
                "tune_hz": result.tune_hz,
                "flags": sorted(result.flags),
            }
    return None


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "kind": "alert",
        "rule": alert.rule,
        "type": alert.type,
        "severity": alert.severity,
        "state": alert.state,
        "value": alert.value,
        "threshold": alert.threshold,
        "source": alert.source,
        "message": alert.message,
    }


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list():
            return [_finite(item) for item in value]
    return value


def reference() -> str:
    """docs/json-lines.md, from FIELDS."""
    lines = [_INTRODUCTION]
    for kind, fields in FIELDS.items():
        lines += [f"## {kind}", "", "| field | meaning |", "|---|---|"]
        lines += [f"| {name} | {meaning} |" for name, meaning in fields.items()]
        lines.append("")
    for introduction, kinds in ((_TRYING, TRIED), (_EXAMINING, EXAMINED)):
        lines += [introduction]
        for kind, fields in kinds.items():
            lines += [f"### {kind}", "", "| field | meaning |", "|---|---|"]
            lines += [f"| {name} | {meaning} |" for name, meaning in fields.items()]
            lines.append("")
    lines += ["## Flags", "", "| flag | meaning | value is valid |", "|---|---|---|"]
    for flag, meaning in FLAGS.items():
        lines.append(f"| {flag} | {meaning} | {'no' if flag in INVALIDATING else 'yes'} |")
    return "\n".join([*lines, ""])
