"""What is shown, what changed, and when a problem is a problem."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from gateway.health import LIVES_S
from gateway.mqtt.commands import ReplyTo
from gateway.mqtt.picture import Picture
from gateway.mqtt.topics import Topics
from gateway.types import Command, CommandResult, Flag, Outcome, ResonanceResult
from tests.unit.mqtt.samples import FACE, OUTCOME, OVERLOAD, S, alert, full_tick, ppm, tick

TOPICS = Topics("spectrophone", "box1")


def picture():
    return Picture(FACE, TOPICS, 30)


def topics(messages):
    return {m.topic.removeprefix("spectrophone/box1/") for m in messages}


LASER = {"laser", "laser_ready", "laser_state"}
STATES = LASER | {"relay/fan", "led/status", "cell", "alarm_state/co2_high", "alarm_state/quiet", "problem"}
VALUES = {"measurement/co2", "signal/tone", "signal/peak"}


def test_values_come_every_time_states_when_they_change():
    p = picture()
    assert topics(p.take(0, full_tick(), OUTCOME)[0]) == VALUES | STATES
    assert topics(p.take(0, full_tick(), OUTCOME)[0]) == VALUES
    changed = p.take(0, full_tick(), Outcome(states=OUTCOME.states | {"laser": "off"}))[0]
    assert topics(changed) == VALUES | {"laser"}


def test_values_grow_old_states_do_not():
    p = picture()
    p.take(0, full_tick(), OUTCOME)
    assert topics(p.all(30 * S - 1)) == VALUES | STATES
    assert topics(p.all(30 * S)) == STATES


def test_alerts_are_events_and_states():
    p = picture()
    changed, events = p.take(0, tick(ppm(), alerts=(alert(),)), OUTCOME)
    assert topics(events) == {"alarm"}
    assert not events[0].retain
    shown = {m.topic: m.payload for m in changed}
    assert shown[TOPICS.alarm_state("co2_high")] == b"ON"
    assert shown[TOPICS.alarm_state("quiet")] == b"OFF"
    changed, _ = p.take(0, tick(ppm(), alerts=(alert("cleared"),)), OUTCOME)
    assert {m.topic: m.payload for m in changed}[TOPICS.alarm_state("co2_high")] == b"OFF"


def problem(p, a_tick):
    p.take(0, a_tick, OUTCOME)
    return next(json.loads(m.payload)["reasons"] for m in p.all(0) if m.topic == TOPICS.problem)


def test_problems():
    p = picture()
    assert problem(p, tick(ppm())) == []
    assert problem(p, tick(ppm(flags=OVERLOAD))) == ["co2: overload"]
    assert problem(p, tick(ppm(None, valid=False))) == ["co2: not valid"]
    assert problem(p, tick(ppm(t_ns=S), t_ns=40 * S)) == ["co2: no new value"]
    assert problem(p, tick(t_ns=20 * S)) == []
    assert problem(p, tick(t_ns=31 * S)) == ["co2: no new value"]
    p.complaints = ("configuration: a fault",)
    assert problem(p, tick(ppm(flags=OVERLOAD))) == ["configuration: a fault", "co2: overload"]


def test_silence_is_said_once():
    p = picture()
    assert p.silence(100 * S) is None
    p.take(0, full_tick(), OUTCOME)
    assert p.silence(30 * S) is None
    said = p.silence(31 * S)
    assert said is not None
    assert b"stands still" in said.payload
    assert p.silence(32 * S) is None
    assert topics(p.take(33 * S, full_tick(), OUTCOME)[0]) == VALUES | {"problem"}


def test_answers_are_for_our_own_askers():
    p = picture()
    asked = Command("laser", "on", origin="mqtt", reply_to=ReplyTo("me", b"7"))
    other = Command("laser", "on", origin="rule:x", reply_to="token")
    outcome = Outcome((CommandResult(asked, True), CommandResult(other, True)), OUTCOME.states)
    _, events = p.take(0, tick(), outcome)
    assert [(m.topic, m.correlation) for m in events] == [(TOPICS.result, None), ("me", b"7")]


def test_health_expires_later_than_values():
    p = picture()
    message = p.health(0, {"load": 0.4})
    assert (message.topic, message.payload) == ("spectrophone/box1/health", b'{"load":0.4}')
    assert topics(p.all(LIVES_S * S - 1)) == {"health"}
    assert p.all(LIVES_S * S) == []


def payloads(messages):
    return {m.topic.removeprefix("spectrophone/box1/"): m.payload for m in messages}


def test_the_laser_is_ready_unless_it_is_barred():
    p = picture()
    shown = payloads(p.take(0, full_tick(), replace(OUTCOME, laser=("lit", "")))[0])
    assert (shown["laser_ready"], json.loads(shown["laser_state"])) == (b"online", {"state": "lit", "why": ""})
    tripped = replace(OUTCOME, laser=("tripped", "the interlock is open"), barred="the interlock is open")
    shown = payloads(p.take(0, full_tick(), tripped)[0])
    assert shown["laser_ready"] == b"offline"
    assert json.loads(shown["laser_state"]) == {"state": "tripped", "why": "the interlock is open"}
    assert "laser_ready" not in payloads(Picture(replace(FACE, outputs=()), TOPICS, 30).take(0, tick(), OUTCOME)[0])


def test_reports_come_every_half_minute_and_grow_old():
    asked = []
    p = Picture(FACE, TOPICS, 30, lambda: {"climate": {"temperature_c": math.nan, "asked": asked.append(1)}})
    for now_s in (0, 1, 29):
        p.take(now_s * S, tick(), OUTCOME)
    assert len(asked) == 1
    assert json.loads(payloads(p.all(0))["climate"])["temperature_c"] is None
    p.take(30 * S, tick(), OUTCOME)
    assert len(asked) == 2
    assert "climate" in topics(p.all(120 * S - 1))
    assert "climate" not in topics(p.all(120 * S))


def test_a_resonance_has_its_own_topic():
    found = ResonanceResult("co2_resonance", S, 2012.5, 0.1, 30.0, 0.25)
    lost = replace(found, flags=frozenset({Flag.LASER_OFF}))
    body = json.loads(payloads(picture().take(0, tick(found), OUTCOME)[0])["resonance/co2_resonance"])
    assert (body["f0_hz"], body["detuning"], body["valid"]) == (2012.5, 0.25, True)
    body = json.loads(payloads(picture().take(0, tick(lost), OUTCOME)[0])["resonance/co2_resonance"])
    assert (body["f0_hz"], body["valid"], body["flags"]) == (None, False, ["laser_off"])


def test_a_changed_box_forgets_what_it_does_not_show():
    p = Picture(FACE, TOPICS, 30, lambda: {"action/webhook": {"state": "ok"}})
    p.show(replace(FACE, actions=("webhook",)))
    p.take(0, full_tick(), OUTCOME)
    p.show(replace(FACE, rules=FACE.rules[:1]))
    assert topics(p.all(0)) == VALUES | STATES - {"alarm_state/quiet"}


def test_an_output_that_is_no_longer_announced_is_not_shown():
    p = picture()
    p.take(0, full_tick(), OUTCOME)
    gone = FACE.outputs[0].target
    p.show(replace(FACE, outputs=FACE.outputs[1:]))
    p.take(S, full_tick(), Outcome((), {**OUTCOME.states, gone: "unknown"}))
    assert TOPICS.state(gone) not in {message.topic for message in p.all(S)}
