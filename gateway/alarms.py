"""When a rule raises and clears: threshold, hysteresis, minimum duration, hold-off, and missing data.

Each alarm is in one of three states, and speaks on a change only:

    clear    value beyond the threshold                        -> pending (since now)
    pending  value back                                        -> clear
    pending  beyond for `duration`, hold-off over              -> raised, says so
    raised   value back by more than the hysteresis            -> clear, says so, hold-off begins

Without a hysteresis of its own a value must come back by six of its own standard deviations. So a value that stays at
the threshold, with its noise, raises once and stays raised; and one that passes it raises once and clears once.

For silence (data_timeout) "beyond" is "no valid value for `duration`", looked at with every block, not with every
value. Times are stream times, so a recording raises the alarms of the live run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gateway.types import Alert, LevelResult, LockInResult, Measurement, PeakResult, Result, Severity, Trigger

NOISE = 6.0


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is watched. `threshold` is in the source's unit (ppm, full scale, Hz; seconds for data_timeout)."""

    rule: str
    source: str
    type: Trigger
    side: Literal["above", "below"]
    threshold: float
    duration_ns: int = 0
    hysteresis: float | None = None
    hold_off_ns: int = 0
    severity: Severity = "warning"
    nominal: float | None = None
    """The frequency in Hz that a deviation is counted from; None where an amplitude or concentration is watched."""
    silence: bool = False
    """Raise when no valid value has come for `duration`, whatever it is."""


@dataclass(frozen=True, slots=True)
class AlarmState:
    """Where an alarm stands. `last_ns` is the time of the last valid value."""

    raised: bool = False
    pending_since_ns: int | None = None
    held_until_ns: int = 0
    last_ns: int = 0


class Alarms:
    """All alarms of a configuration and where they stand."""

    STATE = ("_states",)

    def __init__(self, alarms: Sequence[Alarm]) -> None:
        self._alarms = tuple(alarms)
        self._states = {alarm.rule: AlarmState() for alarm in alarms}

    def __contains__(self, rule: object) -> bool:
        return rule in self._states

    def threshold(self, rule: str) -> float | None:
        """What the rule compares with; None where there is no such rule."""
        return next((alarm.threshold for alarm in self._alarms if alarm.rule == rule), None)

    def plan(self) -> str:
        """All of them, in words."""
        return repr(self._alarms)

    def adopt(self, old: Alarms) -> None:
        """Go on from where the alarms of the same name stood, so that a new threshold raises nothing twice."""
        self._states.update({rule: old._states[rule] for rule in self._states if rule in old._states})

    def step(self, results: Sequence[Result], t_ns: int) -> tuple[Alert, ...]:
        """The changes that these results, and the time `t_ns` at the end of their block, bring about."""
        alerts: list[Alert] = []
        for alarm in self._alarms:
            state = self._states[alarm.rule]
            for value, sigma, at_ns in _values(alarm, results):
                state = replace(state, last_ns=at_ns)
                if not alarm.silence:
                    state, alert = _threshold(alarm, state, value, sigma, at_ns)
                    alerts.extend(alert)
            if alarm.silence:
                state, alert = _timeout(alarm, state, t_ns)
                alerts.extend(alert)
            self._states[alarm.rule] = state
        return tuple(alerts)


def _threshold(
    alarm: Alarm, state: AlarmState, value: float, sigma: float, t_ns: int
) -> tuple[AlarmState, Iterable[Alert]]:
    sign = 1.0 if alarm.side == "above" else -1.0
    excess = sign * (value - alarm.threshold)
    if state.raised:
        if excess > -(NOISE * sigma if alarm.hysteresis is None else alarm.hysteresis):
            return state, ()
        cleared = replace(state, raised=False, pending_since_ns=None, held_until_ns=t_ns + alarm.hold_off_ns)
        return cleared, (_alert(alarm, "cleared", value, t_ns),)
    if excess <= 0.0:
        return replace(state, pending_since_ns=None), ()
    since = t_ns if state.pending_since_ns is None else state.pending_since_ns
    if t_ns - since >= alarm.duration_ns and t_ns >= state.held_until_ns:
        return replace(state, raised=True, pending_since_ns=None), (_alert(alarm, "raised", value, t_ns),)
    return replace(state, pending_since_ns=since), ()


def _timeout(alarm: Alarm, state: AlarmState, t_ns: int) -> tuple[AlarmState, Iterable[Alert]]:
    silent = t_ns - state.last_ns >= alarm.duration_ns
    if silent and not state.raised and t_ns >= state.held_until_ns:
        return replace(state, raised=True), (_alert(alarm, "raised", None, t_ns),)
    if not silent and state.raised:
        cleared = replace(state, raised=False, held_until_ns=t_ns + alarm.hold_off_ns)
        return cleared, (_alert(alarm, "cleared", None, t_ns),)
    return state, ()


def _alert(alarm: Alarm, state: Literal["raised", "cleared"], value: float | None, t_ns: int) -> Alert:
    return Alert(alarm.rule, alarm.type, alarm.severity, state, value, alarm.threshold, alarm.source, t_ns)


def _values(alarm: Alarm, results: Sequence[Result]) -> Iterable[tuple[float, float, int]]:
    """The alarm's quantity in each valid result of its source, with one standard deviation and its time."""
    for result in results:
        if result.node != alarm.source:
            continue
        value, sigma = _quantity(alarm, result)
        if value is not None and math.isfinite(value):
            yield value, sigma if sigma is not None and math.isfinite(sigma) else 0.0, result.t_ns


def _quantity(alarm: Alarm, result: Result) -> tuple[float | None, float | None]:
    match result:
        case Measurement(valid=True, value=value, sigma=sigma):
            return value, sigma
        case PeakResult(valid=True, frequency_hz=frequency_hz, amplitude=amplitude, sigma=sigma):
            if alarm.nominal is not None and frequency_hz is not None:
                return abs(frequency_hz - alarm.nominal), result.sigma_frequency_hz
            return amplitude, sigma
        case LockInResult(in_phase=in_phase, sigma=sigma) if result.valid:
            return in_phase, sigma
        case LevelResult(rms=rms):
            return rms, None
    return None, None
