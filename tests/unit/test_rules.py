"""Rules: the words people write, and the faults in them."""

from __future__ import annotations

import pytest

from gateway.config.sections import Rule
from gateway.rules import ParsedRule, RuleFault, parse
from gateway.types import Command

KINDS = {"co2": "concentration", "peak": "peak_finder", "lock": "lock_in", "eq": "filter"}
VERBS = {"laser": ("on", "off"), "relay/fan": ("on", "off"), "led/status": ("red", "green", "off"), "cell": ("set",)}


def parsed(when: str, do: tuple[str, ...] = (), **more: object) -> ParsedRule:
    return parse(Rule.model_validate({"when": when, "do": list(do), **more}), KINDS, VERBS, 2012.5)


def words(commands: tuple[Command, ...]) -> list[tuple[str, str]]:
    return [(command.target, command.verb) for command in commands]


@pytest.mark.parametrize(
    ("when", "type_", "side", "threshold", "duration_s"),
    [
        ("co2 above 1000", "concentration", "above", 1000.0, 0.0),
        ("co2 above 1000 for 10s", "concentration", "above", 1000.0, 10.0),
        ("  co2   below  -5.5 for 2 min ", "concentration", "below", -5.5, 120.0),
        ("co2 above 1e3 for 500 ms", "concentration", "above", 1000.0, 0.5),
        ("peak above 0.8", "amplitude", "above", 0.8, 0.0),
        ("lock below 0.001", "amplitude", "below", 0.001, 0.0),
        ("peak frequency off by 20 for 3s", "frequency_deviation", "above", 20.0, 3.0),
        ("co2 silent for 30s", "data_timeout", "above", 30.0, 30.0),
    ],
)
def test_conditions(when: str, type_: str, side: str, threshold: float, duration_s: float) -> None:
    alarm = parsed(when).alarm
    assert (alarm.type, alarm.side, alarm.threshold, alarm.duration_ns / 1e9) == (type_, side, threshold, duration_s)


def test_commands_and_their_opposites() -> None:
    rule = parsed("co2 above 1000", ("relay fan on", "led status red", "laser off"))
    assert words(rule.raised) == [("relay/fan", "on"), ("led/status", "red"), ("laser", "off")]
    assert words(rule.cleared) == [("relay/fan", "off"), ("led/status", "off")]
    assert all(command.origin == "rule:co2_above_1000" for command in rule.raised)


def test_an_led_goes_back_to_what_it_shows_by_itself() -> None:
    told = {"led/box": ("on", "off", "red", "blink_red", "identify", "auto"), "led/plain": ("on", "off", "identify")}
    do = ["led box blink_red", "led box off", "led box auto", "led plain on", "led plain identify"]
    rule = parse(Rule.model_validate({"when": "co2 above 1000", "do": do}), KINDS, told, 2012.5)
    assert words(rule.cleared) == [("led/box", "auto"), ("led/box", "auto"), ("led/plain", "off")]


def test_what_to_do_on_clearing_can_be_said() -> None:
    rule = parsed("co2 above 1000", ("led status red",), on_clear=["led status green"])
    assert words(rule.cleared) == [("led/status", "green")]


@pytest.mark.parametrize(
    ("when", "do", "option", "message"),
    [
        ("co2 over 1000", (), "when", "is not a condition"),
        ("co2 above much", (), "when", "is not a condition"),
        ("co3 above 1000", (), "when", "there is no node 'co3'"),
        ("eq above 1", (), "when", "gives no value"),
        ("co2 frequency off by 2", (), "when", "only a peak_finder"),
        ("co2 silent", (), "when", "silence needs a time"),
        ("co2 above 1", ("relay fna on",), "do", "there is no output 'relay fna'"),
        ("co2 above 1", ("relay fan purple",), "do", "cannot be told 'purple'"),
        ("co2 above 1", ("fan",), "do", "is not a command"),
        ("co2 above 1", ("cell set",), "do", "there is no output 'cell'"),
    ],
)
def test_faults(when: str, do: tuple[str, ...], option: str, message: str) -> None:
    with pytest.raises(RuleFault) as fault:
        parsed(when, do)
    assert fault.value.option == option
    assert message in fault.value.message
    assert fault.value.remedy


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(RuleFault) as fault:
        parsed("co2 above 1", ("relay fna on",))
    assert fault.value.remedy == "Did you mean 'relay fan'?"
