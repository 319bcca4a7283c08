"""Results to JSON. A value that is not valid goes out as null with the reason in `flags`, never as an old or
NaN number.

Every message of a result carries `time` (when its record ended, UTC, null where nobody knows), `t_s` (seconds
since the stream began), `box` and `node`. Numbers keep nine digits, which is more than any of them is worth.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from gateway.mqtt.face import Face, OutputFace
from gateway.types import (
    INVALIDATING,
    Alert,
    CommandResult,
    LockInResult,
    Measurement,
    PeakResult,
    ResonanceResult,
    Tick,
    iso_utc,
)

Shown = Measurement | LockInResult | PeakResult | ResonanceResult
"""The results that are published."""


def dump(data: Mapping[str, Any]) -> bytes:
    """Compact JSON. Raises ValueError for NaN, which no caller lets through."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def number(value: float | None) -> float | None:
    """The value to nine digits; None for what is no finite number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.9g}")


def result_payload(result: Shown, box: str, tick: Tick) -> bytes:
    """The message of a concentration, a lock-in, a peak or a resonance result."""
    if isinstance(result, Measurement):
        body = _measurement(result)
    else:
        body = _resonance(result) if isinstance(result, ResonanceResult) else _signal(result)
    return dump(body | _stamp(result.t_ns, box, result.node, tick))


def alert_payload(alert: Alert, box: str, tick: Tick) -> bytes:
    """The event of an alarm; `event_type` is the key that Home Assistant looks for."""
    return dump(
        {
            "event_type": alert.state,
            "rule": alert.rule,
            "type": alert.type,
            "severity": alert.severity,
            "value": number(alert.value),
            "threshold": number(alert.threshold),
            "source": alert.source,
            "message": alert.message,
            "time": iso_utc(tick.utc_of(alert.t_ns)),
            "t_s": alert.t_ns / 1e9,
            "box": box,
        }
    )


def answer_payload(result: CommandResult) -> bytes:
    """What became of a command."""
    command = result.command
    return dump(
        {
            "target": command.target,
            "verb": command.verb,
            "done": result.done,
            "reason": result.reason,
            "state": result.state,
            "origin": command.origin,
        }
    )


def state_payload(output: OutputFace | None, state: str) -> bytes:
    """An output's state as read back: ON or OFF for switches that have one of them, a light's JSON for LEDs, None for a
    number that is none, the text itself for others."""
    if output is not None and output.kind == "switch":
        return {"on": b"ON", "off": b"OFF"}.get(state, state.encode())
    if output is not None and output.kind == "number":
        return state.encode() if _is_number(state) else b"None"
    if output is None or output.kind != "light":
        return state.encode()
    if state == "off":
        return dump({"state": "OFF"})
    return dump({"state": "ON", "effect": state} if state != "on" else {"state": "ON"})


def laser_payload(state: str, why: str) -> bytes:
    """The interlock's word for the laser, and why it is dark although it is wanted."""
    return dump({"state": state or None, "why": why})


def report_payload(report: Mapping[str, Any]) -> bytes:
    """What is told beside the measurement; no number that is none."""
    return dump({name: number(value) if isinstance(value, float) else value for name, value in report.items()})


def problem_payload(reasons: tuple[str, ...]) -> bytes:
    """ON with the reasons, or OFF."""
    return dump({"state": "ON" if reasons else "OFF", "reasons": list(reasons)})


def info_payload(face: Face) -> bytes:
    """What this box is."""
    return dump(
        {
            "box": face.box,
            "name": face.name,
            "version": face.version,
            "gas": face.gas,
            "concentrations": [{"node": g.node, "source": g.source, "unit": g.unit} for g in face.gases],
            "actions": list(face.actions),
            "signals": [{"node": s.node, "kind": s.kind} for s in face.signals],
            "rules": [{"name": r.name, "type": r.type} for r in face.rules],
            "outputs": [{"target": o.target, "verbs": list(o.verbs)} for o in face.outputs],
        }
    )


def _stamp(t_ns: int, box: str, node: str, tick: Tick) -> dict[str, Any]:
    return {"time": iso_utc(tick.utc_of(t_ns)), "t_s": t_ns / 1e9, "box": box, "node": node}


def _measurement(m: Measurement) -> dict[str, Any]:
    value = number(m.value) if m.valid else None
    valid = value is not None
    return {
        "value": value,
        "unit": m.unit,
        "sigma": number(m.sigma) if valid else None,
        "u95": number(m.u95) if valid else None,
        "lod": number(m.lod),
        "smoothed": number(m.smoothed) if valid else None,
        "sigma_smoothed": number(m.sigma_smoothed) if valid else None,
        "valid": valid,
        "flags": sorted(m.flags),
    }


def _signal(r: LockInResult | PeakResult) -> dict[str, Any]:
    valid = not r.flags & INVALIDATING and (not isinstance(r, PeakResult) or r.valid)
    body: dict[str, Any] = {"kind": "peak" if isinstance(r, PeakResult) else "lock_in"}
    numbers = {"amplitude": r.amplitude, "sigma": r.sigma, "frequency_hz": r.frequency_hz, "snr_db": r.snr_db}
    if isinstance(r, PeakResult):
        numbers["sigma_frequency_hz"] = r.sigma_frequency_hz
    else:
        numbers |= {"in_phase": r.in_phase, "quadrature": r.quadrature, "clock_offset_ppm": r.clock_offset_ppm}
    body |= {name: number(value) if valid else None for name, value in numbers.items()}
    return body | {"integration_s": r.integration_s, "valid": valid, "flags": sorted(r.flags)}


def _resonance(r: ResonanceResult) -> dict[str, Any]:
    valid = not r.flags & INVALIDATING
    numbers = {"f0_hz": r.f0_hz, "sigma_f0_hz": r.sigma_f0_hz, "q": r.q, "detuning": r.detuning}
    body: dict[str, Any] = {name: number(value) if valid else None for name, value in numbers.items()}
    return body | {"valid": valid, "flags": sorted(r.flags)}


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
