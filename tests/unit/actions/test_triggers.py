"""The alarms of action nodes: from each option, for the monitored nodes that can give it, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.actions.settings import UniversalActionSettings
from gateway.actions.triggers import TriggerFault, alarms
from gateway.alarms import Alarm

KINDS = {"co2": "concentration", "peak": "peak_finder", "lock": "lock_in", "other": "concentration"}


def made(*monitored: str, **options: Any) -> list[Alarm]:
    settings = UniversalActionSettings.model_validate({"monitored_nodes": monitored or ("co2", "peak"), **options})
    return list(alarms("tell", settings, KINDS, 2012.5))


def test_none_without_a_threshold() -> None:
    assert made() == []


def test_a_concentration_threshold_is_for_concentrations() -> None:
    (alarm,) = made(concentration_threshold=800.0, severity="critical", alert_after_s=2, hold_off_s=3)
    assert alarm == Alarm(
        "tell/concentration/co2", "co2", "concentration", "above", 800.0, 2 * 10**9, None, 3 * 10**9, "critical"
    )


def test_an_amplitude_threshold_is_for_what_has_an_amplitude() -> None:
    found = made("co2", "peak", "lock", amplitude_threshold=0.8, amplitude_hysteresis=0.1)
    assert [(alarm.source, alarm.type, alarm.hysteresis) for alarm in found] == [
        ("peak", "amplitude", 0.1),
        ("lock", "amplitude", 0.1),
    ]


def test_a_frequency_deviation_is_counted_from_the_laser() -> None:
    (alarm,) = made(frequency_deviation_hz=5.0)
    assert (alarm.source, alarm.type, alarm.threshold, alarm.nominal) == ("peak", "frequency_deviation", 5.0, 2012.5)


def test_a_data_timeout_is_for_every_monitored_node() -> None:
    found = made(data_timeout_s=30.0)
    assert [(alarm.rule, alarm.silence, alarm.duration_ns) for alarm in found] == [
        ("tell/data_timeout/co2", True, 30 * 10**9),
        ("tell/data_timeout/peak", True, 30 * 10**9),
    ]


def test_conditions_of_ones_own_are_custom() -> None:
    first, second = made(
        triggers=[
            {"name": "fresh", "when": "co2 below 350 for 1min", "severity": "info"},
            {"when": "co2 silent for 5s"},
        ]
    )
    assert (first.rule, first.type, first.side, first.threshold) == ("tell/fresh", "custom", "below", 350.0)
    assert (second.rule, second.type, second.silence) == ("tell/co2_silent_for_5s", "custom", True)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("other above 5", "'other' is not among the monitored_nodes"),
        ("nobody above 5", "there is no node 'nobody'"),
        ("co2 over 5", "'co2 over 5' is not a condition"),
        ("co2 above 5", "two triggers are called 'co2_above_5'"),
    ],
)
def test_conditions_that_cannot_be(when: str, said: str) -> None:
    with pytest.raises(TriggerFault, match=said) as raised:
        made(triggers=[{"when": "co2 above 5"}, {"when": when}])
    assert (raised.value.index, raised.value.fault.option) == (1, "when")
