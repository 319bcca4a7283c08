"""What a board file may say, and that whatever it says is answered with sentences. The refusals one by one are in
tests/broken/boards.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway import board as boards
from gateway import wiring
from gateway.errors import ConfigError, Fault

GOOD = """\
title = "A box"
models = ["Raspberry Pi 4 Model B"]
gpiochip = "pinctrl-bcm2711"
hat = "Some HAT"
pins = [{line = 18, use = "I2S clock"}, {line = 24, use = "red LED", free = true}]

[microphone]
device = "default"
formats = ["S32_LE"]

[laser]
line = 12
pwm_chip = "fe20c000.pwm"
pwm_channel = 0
clock_hz = 50_000_000
safe = "off"

[relays.fan]
line = 17
safe = "off"

[relays.valve]
line = 22
safe = "off"

[leds.status]
red = 24
safe = "off"

[interlock]
line = 5
bias = "pull_up"
closed = "low"
"""
ZERO = """\
[buttons.zero]
line = 6
bias = "pull_up"
pressed = "low"
does = "zero"
hold_s = 3
"""


def faults(directory: Path, text: str) -> list[str]:
    (directory / "box.toml").write_text(text, "utf-8")
    try:
        boards.load("box", directory)
    except ConfigError as error:
        return [str(fault).removeprefix(f"{directory}/") for fault in error.faults]
    return []


def test_a_good_file(tmp_path: Path) -> None:
    assert faults(tmp_path, GOOD) == []
    board = boards.load("box", tmp_path)
    assert board.relays["fan"].line == 17
    assert board.leds["status"].lines == {"red": 24}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("line = 22", "line = 7\nactive_high = false"),
        ('line = 22\nsafe = "off"', 'line = 7\nsafe = "on"'),
        ('line = 22\nsafe = "off"', 'line = 23\nactive_high = false\nsafe = "on"'),
        ("red = 24", "red = 4\nactive_high = false"),
        ("line = 22", 'line = 22\nexcludes = ["fan"]'),
        ("line = 22", "line = 22\nfeedback = 4"),
        ("[laser]\nline = 12", "[laser]\nenable = 26\nactive_high = false\nline = 12"),
        ("[laser]\nline = 12", "[laser]\nenable = 8\nenable_high = false\nline = 12"),
        ('pwm_chip = "fe20c000.pwm"', "pwm_chip = 3"),
        ("clock_hz = 50_000_000", "clock_hz = 25_000_000"),
        ('pwm_chip = "fe20c000.pwm"\npwm_channel = 0\nclock_hz = 50_000_000', 'by = "gpiozero"'),
        ('line = 12\npwm_chip = "fe20c000.pwm"\npwm_channel = 0\nclock_hz = 50_000_000', 'playback = "hw:1"'),
        ('bias = "pull_up"\nclosed = "low"', 'bias = "pull_down"\nclosed = "high"'),
        ('bias = "pull_up"\nclosed = "low"', 'bias = "none"\nclosed = "high"'),
        ("[interlock]", f"{ZERO}\n[interlock]"),
        ('hat = "Some HAT"', 'overlays = ["w1-gpio"]\nclimate = [{kind = "w1", name = "28"}]'),
        ('hat = "Some HAT"', 'i2c = 1\noverlays = ["i2c-sensor,bme280,addr=0x77"]'),
        ('hat = "Some HAT"', 'name = "box"\nparameters = ["uart0=on", "ant2"]'),
        ('models = ["Raspberry Pi 4 Model B"]', 'models = ["Raspberry Pi 4", "Raspberry Pi Compute Module 4"]'),
        ('models = ["Raspberry Pi 4 Model B"]', 'models = ["Somebody\'s Pi"]'),
        ("[interlock]\nline = 5", "[interlock]\nline = 14"),
    ],
)  # fmt: skip
def test_what_may_be(tmp_path: Path, old: str, new: str) -> None:
    assert old in GOOD
    assert faults(tmp_path, GOOD.replace(old, new, 1)) == []


def test_a_board_without_lines_may_be_any_computer(tmp_path: Path) -> None:
    assert faults(tmp_path, 'title = "A PC"\n[microphone]\ndevice = "default"\nformats = ["S32_LE"]\n') == []


def test_a_simulated_board_has_no_hat_and_no_resistors(tmp_path: Path) -> None:
    text = GOOD.replace('"default"', '"sim"').replace("line = 17", "line = 18").replace("line = 22", "line = 0")
    assert faults(tmp_path, "simulated = true\n" + text) == []
    assert "is claimed by both relay 'fan' and relay 'valve'" in faults(
        tmp_path, "simulated = true\n" + text.replace("line = 0", "line = 18")
    )[0]  # fmt: skip


def test_all_faults_of_a_board_come_together_by_their_lines(tmp_path: Path) -> None:
    text = GOOD.replace("line = 17", "line = 12").replace("line = 22", "line = 18").replace('"low"', '"high"')
    told = faults(tmp_path, text)
    assert [fault.split(": ")[0] for fault in told] == ["box.toml:19:1", "box.toml:23:1", "box.toml:33:1"]
    assert "line 12 is claimed by both the laser and relay 'fan'" in told[0]
    assert "line 18 is claimed by relay 'valve', but Some HAT (I2S clock) occupies it" in told[1]


def test_where_nothing_is_free_that_is_told(tmp_path: Path) -> None:
    pins = ", ".join(f'{{line = {line}, use = "a"}}' for line in range(28) if line not in (5, 12, 17, 22, 24))
    told = faults(tmp_path, re.sub(r"pins = .*", f"pins = [{pins}]", GOOD).replace("line = 17", "line = 22"))
    assert len(told) == 1
    assert told[0].endswith("Free for it: 17")
    told = faults(tmp_path, re.sub(r"pins = .*", f"pins = [{pins}]", GOOD).replace("line = 12", "line = 18"))
    assert told[0].endswith("Free for it: 12")
    pins += ', {line = 12, use = "b"}'
    told = faults(tmp_path, re.sub(r"pins = .*", f"pins = [{pins}]", GOOD))
    assert told == [
        "box.toml:12:1: laser.line: line 12 is claimed by the laser, but Some HAT (b) occupies it. "
        "No line is free for it: give up another part"
    ]


@pytest.mark.parametrize("word", ["ws2812", "pixels", "neopixel", "strip", "apa102", "SK6812"])
def test_addressed_leds_are_out_of_scope(word: str) -> None:
    told = wiring.explained(Fault(("leds", "status", word), f"unknown option '{word}'", "Known: line"))
    assert "out of scope" in told.message
    assert wiring.explained(Fault(("relays", "fan", word), f"unknown option '{word}'", "Known")).remedy == "Known"


@pytest.mark.parametrize(
    ("overlay", "line"),
    [
        ("w1-gpio", 4), ("w1-gpio,gpiopin=17", 17), ("w1-gpio-pullup,extpullup=5,gpiopin=6", 6),
        ("w1-gpio,pullup=1", 4), ("pwm,pin=4", None), ("w1", None),
    ],
)  # fmt: skip
def test_the_line_of_a_one_wire_overlay(overlay: str, line: int | None) -> None:
    assert wiring.one_wire(overlay) == line


def toml(value: Any) -> str:
    """A value as TOML writes it inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    return value.isoformat() if isinstance(value, date) else str(value)


KEYS = sorted(
    set(tomllib.loads(GOOD)) | {"overlays", "parameters", "climate", "tec", "buttons", "i2c", "simulated", "x"}
)
WORDS = st.sampled_from(
    ["off", "on", "sim", "pull_up", "fan", "S32_LE", "w1-gpio", "pwm", "any", "line", "red", "", "é"]
)
SINGLE = st.one_of(st.integers(-2, 60), WORDS, st.booleans(), st.floats(), st.dates(), st.text(max_size=5))
NAMES = st.one_of(st.sampled_from(["line", "safe", "fan", "kind", "name", "use", "pwm_chip", "excludes", "red"]), WORDS)
VALUES = st.recursive(
    SINGLE,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
@example({"microphone": {"rate_hz": 10**30}})
@example({"pins": [[[]], {}]})
def test_whatever_a_file_says_is_answered_with_sentences(tmp_path: Path, changed: dict[str, Any]) -> None:
    kept = {key: value for key, value in tomllib.loads(GOOD).items() if key not in changed}
    text = "".join(f"{key} = {toml(value)}\n" for key, value in {**kept, **changed}.items())
    for sentence in faults(tmp_path, text):
        assert re.match(r"box\.toml:\d+:\d+: ", sentence), sentence
        assert re.search(r"\. \S", sentence), f"no remedy: {sentence}"


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60), st.integers(0, len(GOOD)))
@example("[" * 3000, 0)
@example("x = " + "9" * 5000, 0)
@example("x = {a = " * 2000, 0)
def test_any_text_in_the_file_is_answered_with_sentences(tmp_path: Path, text: str, at: int) -> None:
    for sentence in faults(tmp_path, GOOD[:at] + text + GOOD[at:]):
        assert re.match(r"box\.toml(:\d+:\d+)?: ", sentence), sentence
