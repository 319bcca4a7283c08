"""What comes in: whatever the bytes, a command or a refusal in plain words comes out, never an exception."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mqtt.commands import MAX_BYTES, Arrival, ReplyTo, decode
from gateway.mqtt.topics import Topics
from gateway.types import Command, CommandResult
from tests.unit.mqtt.samples import FACE

TOPICS = Topics("spectrophone", "box1")


def ask(target, payload, **more):
    if isinstance(payload, str):
        payload = payload.encode()
    return decode(Arrival(f"spectrophone/box1/{target}/set", payload, **more), FACE, TOPICS)


@pytest.mark.parametrize(
    ("target", "payload", "verb"),
    [
        ("laser", "ON", "on"),
        ("laser", "OFF", "off"),
        ("relay/fan", " on\n", "on"),
        ("led/status", "red", "red"),
        ("led/status", "OFF", "off"),
        ("led/status", '{"state":"ON","effect":"yellow"}', "yellow"),
        ("led/status", '{"state":"OFF"}', "off"),
        ("led/status", '{"state":"ON"}', "red"),
        ("led/status", '{"state":"ON","color":{"r":20,"g":250,"b":0}}', "green"),
        ("led/status", '{"state":"ON","color":{"r":255,"g":200,"b":0},"brightness":3}', "yellow"),
    ],
)
def test_words_and_lights(target, payload, verb):
    assert ask(target, payload) == Command(target, verb, origin="mqtt")


NUMBERS = [("2.5", 2.5), ("3", 3.0), ("1e3", 1000.0), ('{"value": 5}', 5.0)]


@pytest.mark.parametrize(("payload", "value"), NUMBERS)
def test_numbers(payload, value):
    command = ask("cell", payload)
    assert isinstance(command, Command)
    assert (command.verb, dict(command.args)) == ("set", {"value": value})


@pytest.mark.parametrize(
    ("payload", "verb", "args"),
    [
        ("zero", "zero", {}),
        (" Cancel\n", "cancel", {}),
        ('{"do": "zero"}', "zero", {}),
        (
            '{"do": "ZERO", "seconds": 10, "new": true, "node": "co2"}',
            "zero",
            {"seconds": 10, "new": True, "node": "co2"},
        ),
        ('{"do": "span", "ppm": 1000, "sigma_ppm": 5.5}', "span", {"ppm": 1000.0, "sigma_ppm": 5.5}),
        ('{"ppm": 1e3, "do": "span"}', "span", {"ppm": 1000.0}),
        ("span", "span", {}),
        ('{"do": "cancel"}', "cancel", {}),
    ],
)
def test_calibrations(payload, verb, args):
    command = ask("calibration", payload)
    assert isinstance(command, Command)
    assert (command.verb, dict(command.args)) == (verb, args)


@pytest.mark.parametrize(
    ("target", "payload", "reason"),
    [
        ("calibration", "", "calibration does not know ''. It knows: zero, span, cancel"),
        ("calibration", "configure", "does not know 'configure'"),
        ("calibration", "5", "does not know '5'"),
        ("calibration", "[]", "does not know '[]'"),
        ("calibration", "{}", '"do" is missing'),
        ("calibration", '{"do": 1}', '"do" is missing, or no word'),
        ("calibration", '{"do": "configure", "lines": []}', "does not know 'configure'"),
        ("calibration", '{"do": "span", "ppm": "1000"}', '"ppm" is not a number'),
        ("calibration", '{"do": "span", "ppm": true}', '"ppm" is not a number'),
        ("calibration", '{"do": "span", "ppm": null}', '"ppm" is not a number'),
        ("calibration", '{"do": "span", "ppm": 1e999}', '"ppm" is not a number'),
        ("calibration", '{"do": "span", "ppm": NaN}', "not JSON"),
        ("calibration", '{"do": "span", "ppm": 5, "new": 1}', '"new" is not true or false'),
        ("calibration", '{"do": "span", "ppm": 5, "node": 7}', '"node" is not text'),
        ("calibration", '{"do": "span", "ppm": 5, "speed": 7}', "span does not take 'speed'. It takes: ppm, sigma_ppm"),
        ("calibration", '{"do": "span", "ppm": 5, "%s": 7}' % ("x" * 999), "span does not take 'xxx"),
        ("calibration", '{"do": "zero", "ppm": 5}', "zero does not take 'ppm'"),
        ("calibration", '{"do": "cancel", "node": "co2"}', "cancel does not take 'node'. It takes: nothing"),
        ("calibration", '{"do": "zero"', "not JSON"),
        ("pump", "ON", "there is no pump"),
        ("relay/pump", "ON", "there is no relay/pump"),
        ("measurement/co2", "5", "can only be read"),
        ("status", "offline", "can only be read"),
        ("alarm_state/co2_high", "OFF", "can only be read"),
        ("relay/stuck", "ON", "can only be read"),
        ("laser", "purple", "does not know 'purple'. It knows: on, off"),
        ("laser", "", "does not know ''"),
        ("laser", '{"state":"ON"}', "takes one word"),
        ("laser", b"\xff\xfe", "not UTF-8"),
        ("laser", "x" * (MAX_BYTES + 1), "too long"),
        ("laser", "x" * MAX_BYTES, "does not know"),
        ("led/status", '{"state":"ON"', "not JSON"),
        ("led/status", '{"state":"maybe"}', "neither"),
        ("led/status", '{"state":"ON","effect":"mauve"}', "does not know 'mauve'"),
        ("led/status", '{"state":"ON","color":"red"}', '"color" needs'),
        ("led/status", '{"state":"ON","color":{"r":-1,"g":1,"b":1}}', '"color" needs'),
        ("led/status", '{"state":"ON","color":{"r":NaN,"g":1,"b":1}}', "not JSON"),
        ("cell", "NaN", "not JSON"),
        ("cell", "Infinity", "not JSON"),
        ("cell", "1e999", "not a number"),
        ("cell", "9" * 4000, "not a number"),
        ("cell", "true", "not a number"),
        ("cell", '"5"', "not a number"),
        ("cell", "[5]", "not a number"),
        ("cell", "[" * 4000, "not JSON"),
        ("cell", "1_000", "not JSON"),
        ("cell", "", "not JSON"),
    ],
)
def test_refusals(target, payload, reason):
    result = ask(target, payload)
    assert isinstance(result, CommandResult)
    assert not result.done
    assert reason in result.reason
    assert result.command.origin == "mqtt"
    assert len(result.reason) < 300


def test_a_retained_command_never_acts_and_its_deletion_is_no_command():
    for target, payload in (("laser", "ON"), ("calibration", '{"do": "zero"}')):
        result = ask(target, payload, retained=True)
        assert isinstance(result, CommandResult)
        assert "retained" in result.reason
    assert ask("laser", "", retained=True) is None


def test_an_answer_goes_where_it_is_wanted_but_never_to_our_own_topics():
    command = ask("laser", "ON", answer_to="asker/answers", correlation=b"\x00\x01")
    assert isinstance(command, Command)
    assert command.reply_to == ReplyTo("asker/answers", b"\x00\x01")
    for topic in ("", "a/#", "+/b", "$SYS/x", "spectrophone/box1/laser/set", "spectrophone/box1", "nul\0"):
        command = ask("laser", "ON", answer_to=topic)
        assert isinstance(command, Command)
        assert command.reply_to is None


def test_foreign_topics_are_nobodys_command():
    for topic in ("spectrophone/box2/laser/set", "spectrophone/box1/laser", "x", "", "spectrophone/box1/set"):
        assert decode(Arrival(topic, b"ON"), FACE, TOPICS) is None


KEYS = ["state", "effect", "color", "r", "g", "b", "do", "ppm", "sigma_ppm", "seconds", "node", "new"]
jsonish = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["zero", "span", "cancel"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner),
)
texts = st.text(max_size=50) | jsonish.map(json.dumps)
payloads = st.binary(max_size=200) | texts.map(str.encode)
targets = st.sampled_from([*(o.target for o in FACE.outputs), "x", "status"]) | st.text()


@given(targets, payloads, st.booleans())
@example("cell", b"-" * 4096, False)
@example("led/status", b'{"a":' * 800, False)
def test_no_payload_raises(target, payload, retained):
    result = ask(target, payload, retained=retained)
    assert result is None or isinstance(result, Command | CommandResult)
    if isinstance(result, Command):
        output = FACE.output(result.target)
        assert output is not None
        assert result.verb in output.verbs
        assert not retained
