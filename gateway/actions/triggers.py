"""The alarms of an action node, from its settings.

An alarm is called NODE/TYPE/SOURCE, or NODE/NAME for a condition of its own: names of rules have no slash, so that
nobody takes one for the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gateway.actions.settings import ActionSettings
from gateway.alarms import Alarm
from gateway.rules import RuleFault, alarm_of, name_of

AMPLITUDES = frozenset({"peak_finder", "lock_in", "level"})


def alarms(name: str, settings: ActionSettings, kinds: Mapping[str, str], laser_hz: float) -> Iterator[Alarm]:
    """What the action node `name` raises alerts for; `kinds` are the kinds of all nodes, `laser_hz` the frequency from
    which deviations are counted. Raises RuleFault for a trigger that cannot be.
    """
    for source in settings.monitored_nodes:
        yield from _thresholds(name, settings, source, kinds[source], laser_hz)
    names: set[str] = set()
    for index, condition in enumerate(settings.triggers):
        try:
            alarm = alarm_of(condition, f"{name}/{name_of(condition)}", kinds, laser_hz)
            if alarm.rule in names:
                raise RuleFault(
                    "when", f"two triggers are called '{name_of(condition)}'", "Give each a `name` of its own"
                )
            names.add(alarm.rule)
            if alarm.source not in settings.monitored_nodes:
                message = f"'{alarm.source}' is not among the monitored_nodes"
                raise RuleFault("when", message, "Add it there, or write a rule")
        except RuleFault as fault:
            raise TriggerFault(index, fault) from None
        yield replace(alarm, type="custom")


class TriggerFault(Exception):
    """A trigger, by its place in the list, that cannot be."""

    def __init__(self, index: int, fault: RuleFault) -> None:
        super().__init__(str(fault))
        self.index, self.fault = index, fault


def _thresholds(name: str, settings: ActionSettings, source: str, kind: str, laser_hz: float) -> Iterator[Alarm]:
    after_ns, hold_ns = round(settings.alert_after_s * 1e9), round(settings.hold_off_s * 1e9)
    if kind == "concentration" and settings.concentration_threshold is not None:
        yield Alarm(
            f"{name}/concentration/{source}", source, "concentration", "above", settings.concentration_threshold,
            after_ns, settings.concentration_hysteresis, hold_ns, settings.severity,
        )  # fmt: skip
    if kind in AMPLITUDES and settings.amplitude_threshold is not None:
        yield Alarm(
            f"{name}/amplitude/{source}", source, "amplitude", "above", settings.amplitude_threshold,
            after_ns, settings.amplitude_hysteresis, hold_ns, settings.severity,
        )  # fmt: skip
    if kind == "peak_finder" and settings.frequency_deviation_hz is not None:
        yield Alarm(
            f"{name}/frequency_deviation/{source}", source, "frequency_deviation", "above",
            settings.frequency_deviation_hz, after_ns, None, hold_ns, settings.severity, laser_hz,
        )  # fmt: skip
    if settings.data_timeout_s is not None:
        yield Alarm(
            f"{name}/data_timeout/{source}", source, "data_timeout", "above", settings.data_timeout_s,
            round(settings.data_timeout_s * 1e9), None, hold_ns, settings.severity, silence=True,
        )  # fmt: skip
