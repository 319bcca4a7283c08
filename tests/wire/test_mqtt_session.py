"""The life of a connection, by hand: no socket, no clock."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from gateway.mqtt.commands import Arrival
from gateway.mqtt.session import Connect, Hand, Publish, Session, Subscribe
from gateway.types import Command, CommandResult, Outcome
from tests.unit.journal.samples import entries
from tests.unit.mqtt.samples import FACE, OUTCOME, S, alert, full_tick, ppm, settings, tick

ROOT = "spectrophone/box1"
CONFIG = "homeassistant/device/spectrophone_box1/config"


def session(seed=1, **options):
    return Session(settings(**options), FACE, np.random.default_rng(seed))


def topics(actions):
    return [a.topic.removeprefix(f"{ROOT}/") for a in actions if isinstance(a, Publish)]


def acknowledge(s, now, actions):
    """The broker takes everything at once; returns what else went out."""
    more = []
    for action in actions:
        if isinstance(action, Publish):
            answered = s.acknowledged(now, action.token)
            more += answered + acknowledge(s, now, answered)
    return more


def online(now=0, **options):
    """A session that is connected, has settled, and has shown one tick."""
    s = session(**options)
    s.start()
    s.offer(now, full_tick(), OUTCOME)
    acknowledge(s, now, s.accepted(now, 65535))
    acknowledge(s, now + S, s.timer(now + S))
    return s


def test_order_after_connecting():
    s = session()
    assert s.start() == [Connect(True)]
    assert s.offer(0, full_tick(), OUTCOME) == []
    actions = s.accepted(0, 65535)
    assert isinstance(actions[0], Subscribe)
    assert actions[0].filters == (f"{ROOT}/+/set", f"{ROOT}/+/+/set", "homeassistant/status")
    assert topics(actions) == ["status", "info", CONFIG]
    assert all(a.retain and a.expiry_s is None for a in actions if isinstance(a, Publish))
    assert s.problem is None
    assert s.offer(S // 2, full_tick(), OUTCOME) == []
    assert s.due_ns == S
    later = s.timer(S)
    assert set(topics(later)) >= {"measurement/co2", "laser", "alarm_state/co2_high", "problem"}


def test_values_expire_and_states_stay():
    s = session()
    s.offer(0, full_tick(), OUTCOME)
    s.accepted(0, 65535)
    sent = {a.topic: a for a in s.timer(S) if isinstance(a, Publish)}
    assert sent[f"{ROOT}/measurement/co2"].expiry_s == 29
    assert sent[f"{ROOT}/laser"].expiry_s is None
    assert all(a.retain for a in sent.values() if a.topic != f"{ROOT}/echo/set")


def test_without_mqtt_5_values_are_not_retained():
    s = session(protocol="3.1.1")
    assert s.start() == [Connect(False)]
    s.offer(0, full_tick(), OUTCOME)
    s.accepted(0, 65535)
    sent = {a.topic: a for a in s.timer(S) if isinstance(a, Publish)}
    value = sent[f"{ROOT}/measurement/co2"]
    assert (value.retain, value.expiry_s) == (False, None)
    assert sent[f"{ROOT}/laser"].retain


def test_old_values_are_not_shown_again():
    s = online()
    s.lost(31 * S, "gone")
    s.accepted(40 * S, 65535)
    shown = topics(s.timer(41 * S))
    assert "laser" in shown
    assert "measurement/co2" not in shown


def test_home_assistants_birth_brings_discovery_then_states():
    s = online()
    assert s.message(10 * S, Arrival("homeassistant/status", b"online")) == []
    due = s.due_ns
    assert due is not None
    assert 10 * S <= due <= 13 * S
    assert topics(s.timer(due - 1)) == []
    again = s.timer(due)
    assert topics(again) == [CONFIG]
    acknowledge(s, due, again)
    assert topics(s.timer(due + S - 1)) == []
    assert "measurement/co2" in topics(s.timer(due + S))


def test_births_coalesce_but_none_is_forgotten():
    s = online()
    for _ in range(5):
        s.message(10 * S, Arrival("homeassistant/status", b"online"))
    first = s.due_ns
    assert first is not None
    acknowledge(s, first, s.timer(first))
    acknowledge(s, first + S, s.timer(first + S))
    assert s.due_ns is None
    s.message(first + 2 * S, Arrival("homeassistant/status", b"online"))
    assert s.due_ns == first + 10 * S
    assert topics(s.timer(first + 10 * S)) == [CONFIG]
    s.message(first + 30 * S, Arrival("homeassistant/status", b"offline"))
    assert s.due_ns == first + 11 * S


def test_without_discovery_nobody_waits():
    s = session(discovery=False)
    s.offer(0, full_tick(), OUTCOME)
    actions = s.accepted(0, 65535)
    assert isinstance(actions[0], Subscribe)
    assert "homeassistant/status" not in actions[0].filters
    assert topics(actions) == ["status", "info"]
    assert "measurement/co2" in topics(s.timer(0))


def test_waits_grow_to_ten_seconds_with_full_jitter_and_never_end():
    waits = []
    for seed in range(200):
        s, row, now = session(seed), [], 0
        s.start()
        for _ in range(12):
            assert s.lost(now, "no broker") == []
            due = s.due_ns
            assert due is not None
            row.append((due - now) / S)
            now = due
            assert s.timer(now) == [Connect(True)]
        waits.append(row)
    bounds = [min(10.0, 2.0**i) for i in range(12)]
    for i, bound in enumerate(bounds):
        column = [row[i] for row in waits]
        assert max(column) <= bound
        assert max(column) > 0.9 * bound
        assert sum(column) / len(column) == pytest.approx(bound / 2, rel=0.2)


def test_a_steady_connection_starts_the_waits_anew_a_short_one_does_not():
    s = online()
    for _ in range(8):
        s.lost(S, "x")
    s.accepted(100 * S, 65535)
    s.lost(105 * S, "another took our name")
    assert s._failures == 9
    s.accepted(200 * S, 65535)
    s.lost(211 * S, "x")
    assert s._failures == 1


def test_auto_falls_back_to_3_1_1_at_once_and_tries_5_first_after_the_next_break():
    s = session()
    assert s.start() == [Connect(True)]
    assert s.lost(0, "no MQTT 5", unsupported=True) == [Connect(False)]
    s.lost(S, "refused")
    due = s.due_ns
    assert due is not None
    assert s.timer(due) == [Connect(False)]
    s.accepted(5 * S, 65535)
    s.lost(50 * S, "broke")
    due = s.due_ns
    assert due is not None
    assert s.timer(due) == [Connect(True)]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_fixed_protocol_is_never_changed(protocol):
    s = session(protocol=protocol)
    assert s.lost(0, "no", unsupported=True) == []
    due = s.due_ns
    assert due is not None
    assert s.timer(due) == [Connect(protocol == "5")]


def test_commands_are_handed_on_and_refusals_answered():
    s = online()
    asked = s.message(5 * S, Arrival(f"{ROOT}/laser/set", b"OFF", answer_to="me", correlation=b"1"))
    assert len(asked) == 1
    assert isinstance(asked[0], Hand)
    assert asked[0].command.verb == "off"
    refused = s.message(5 * S, Arrival(f"{ROOT}/pump/set", b"ON", answer_to="me", correlation=b"1"))
    assert topics(refused) == ["result", "me"]
    result = CommandResult(asked[0].command, True, state="off")
    done = s.offer(6 * S, tick(), Outcome((result,), OUTCOME.states))
    sent = {a.topic: a for a in done if isinstance(a, Publish)}
    assert json.loads(sent["me"].payload)["done"] is True
    assert sent["me"].correlation == b"1"
    assert not sent[f"{ROOT}/result"].retain


def test_alarms_wait_for_the_broker_and_come_once():
    s = session()
    s.offer(0, tick(ppm(), alerts=(alert(),)), OUTCOME)
    assert "alarm" not in topics(s.accepted(0, 65535))
    released = s.timer(S)
    assert topics(released).count("alarm") == 1
    s.lost(2 * S, "broke before it was acknowledged")
    s.accepted(3 * S, 65535)
    again = s.timer(4 * S)
    assert topics(again).count("alarm") == 1
    acknowledge(s, 4 * S, again)
    s.lost(5 * S, "x")
    s.accepted(6 * S, 65535)
    assert "alarm" not in topics(s.timer(7 * S))


def test_a_broker_that_stalls_gets_no_more_than_its_window_and_then_the_newest():
    s = session()
    acknowledge(s, 0, s.accepted(0, 2))
    s.timer(S)
    sent = [a for i in range(200) for a in s.offer(2 * S, full_tick(float(i)), OUTCOME) if isinstance(a, Publish)]
    assert len(sent) == s.in_flight == 2
    rest = [a for a in acknowledge(s, 3 * S, sent) if isinstance(a, Publish)]
    values = [json.loads(a.payload)["value"] for a in [*sent, *rest] if a.topic.endswith("measurement/co2")]
    assert values == [0.0, 199.0]


def test_goodbye():
    s = online()
    last = s.stop(5 * S)[-1]
    assert isinstance(last, Publish)
    assert (last.topic, last.payload, last.retain) == (f"{ROOT}/status", b"offline", True)
    assert session().stop(0) == []


def test_silence_of_the_measurement_is_a_problem():
    s = online()
    assert topics(s.timer(29 * S)) == []
    assert topics(s.timer(32 * S)) == ["problem"]
    assert s.answer(33 * S, CommandResult(Command("laser", "on", origin="rule:x"), True)) == []


def told(actions):
    """What the actions say of the box's health."""
    return [(json.loads(a.payload), a.retain, a.expiry_s) for a in topics_of(actions, "health")]


def topics_of(actions, name):
    return [a for a in actions if isinstance(a, Publish) and a.topic == f"{ROOT}/{name}"]


def test_health_is_kept_while_the_broker_is_away_and_counts_reconnects():
    s = session()
    s.start()
    assert s.health(0, {"load": 0.4}) == []
    acknowledge(s, 0, s.accepted(0, 65535))
    sent = s.timer(S)
    assert told(sent) == [({"load": 0.4, "reconnects": 0}, True, 149)]
    acknowledge(s, S, sent)
    s.lost(2 * S, "it broke")
    acknowledge(s, 3 * S, s.accepted(3 * S, 65535))
    acknowledge(s, 4 * S, s.timer(4 * S))
    assert told(s.health(5 * S, {})) == [({"reconnects": 1}, True, 150)]


def test_messages_of_the_log_are_events_of_the_moment():
    (sent,) = session().log([b'{"message":"odd"}'])
    assert (sent.topic, sent.payload) == (f"{ROOT}/log", b'{"message":"odd"}')
    assert (sent.retain, sent.qos, sent.expiry_s) == (False, 0, None)


def test_refusals_are_a_problem_of_a_connection_that_holds():
    s = online()
    s.access.answered(f"{ROOT}/info", "not authorized")
    s.timer(3 * S)
    assert s.connected
    assert "refuses spectrophone/box1/info" in s.problem
    s.lost(4 * S, "it broke")
    assert s.problem == "it broke"
    s.accepted(5 * S, 65535)
    assert s.problem is None


def test_a_message_to_ourselves_goes_out_after_the_first_values_and_is_no_command():
    s = session()
    s.start()
    acknowledge(s, 0, s.accepted(0, 65535))
    assert topics(s.timer(S // 2)) == []
    assert topics(s.timer(S))[-1] == "echo/set"
    assert s.message(S, Arrival(f"{ROOT}/echo/set", b"")) == []
    assert topics_of(s.timer(100 * S), "echo/set") == []
    s.timer(101 * S)
    assert s.problem is None


def page(count):
    return [e for e in entries(count) if e.kind == "measurement"]


def history_of(actions):
    return [a for a in actions if isinstance(a, Publish) and a.topic.startswith(f"{ROOT}/history/")]


def test_history_goes_once_the_box_has_settled_and_again_after_a_break():
    s = session()
    s.start()
    assert s.page(0, page(150)) == []
    assert history_of(s.accepted(0, 65535)) == []
    (first,) = history_of(s.timer(S))
    assert (first.retain, first.expiry_s) == (False, None)
    s.lost(2 * S, "gone")
    assert history_of(s.acknowledged(2 * S, first.token)) == []
    acknowledge(s, 3 * S, s.accepted(3 * S, 65535))
    (again,) = history_of(s.timer(4 * S))
    assert again.payload == first.payload
    assert history_of(s.acknowledged(4 * S, again.token)) == []
    (rest,) = history_of(s.timer(5 * S))
    assert rest.payload != first.payload
    s.acknowledged(5 * S, rest.token)
    assert s.history.through
    assert s.history.delivered == 150


def test_history_leaves_room_for_what_is_new():
    s = online()
    (under_way,) = history_of(s.page(2 * S, page(300)))
    values = topics(s.offer(2 * S, full_tick(500.0, 2 * S), OUTCOME))
    assert "measurement/co2" in values
    assert not history_of(s.timer(3 * S))
    s.acknowledged(3 * S, under_way.token)


def test_history_that_the_broker_refuses_is_kept():
    s = online()
    (message,) = history_of(s.page(2 * S, page(10)))
    s.acknowledged(2 * S, message.token, refused=True)
    assert s.history.refused
    assert not history_of(s.timer(3 * S))
    assert [a.payload for a in history_of(s.timer(70 * S))] == [message.payload]


def test_a_box_without_a_rule_any_more_takes_its_alarm_back():
    s = online()
    gone = replace(FACE, rules=FACE.rules[:1])
    sent = s.show(20 * S, gone)
    assert topics(sent) == ["info", CONFIG, CONFIG, CONFIG, "alarm_state/quiet"]
    assert isinstance(sent[-1], Publish)
    assert (sent[-1].payload, sent[-1].retain) == (b"", True)
    acknowledge(s, 20 * S, sent)
    states = s.timer(21 * S)
    assert "alarm_state/quiet" not in topics([*states, *acknowledge(s, 21 * S, states)])
    assert s.show(30 * S, gone) == []


def test_what_was_taken_back_is_so_again_when_home_assistant_starts_and_then_no_more():
    s = online()
    acknowledge(s, 20 * S, s.show(20 * S, replace(FACE, rules=FACE.rules[:1])))
    acknowledge(s, 21 * S, s.timer(21 * S))
    configs = []
    for begin in (100, 200):
        s.message(begin * S, Arrival("homeassistant/status", b"online"))
        due = s.due_ns
        assert due is not None
        again = s.timer(due)
        configs.append(topics([*again, *acknowledge(s, due, again)]).count(CONFIG))
        rest = s.timer(due + S)
        acknowledge(s, due + S, rest)
    assert configs == [3, 1]


def test_a_changed_box_waits_for_its_broker():
    s = session()
    s.start()
    assert s.show(0, replace(FACE, rules=())) == []
    info = next(a for a in s.accepted(0, 65535) if isinstance(a, Publish) and a.topic.endswith("/info"))
    assert json.loads(info.payload)["rules"] == []


def test_what_was_sent_and_what_waits_is_counted():
    s = session()
    s.start()
    s.offer(0, full_tick(), OUTCOME)
    assert s.counts() == {"connected": False, "reconnects": 0, "sent": 0, "waiting": 0, "dropped": 0}
    assert len(topics(s.accepted(0, 65535))) == 3
    s.offer(0, tick(alerts=(alert(),)), OUTCOME)
    held = s.counts()
    assert (held["connected"], held["sent"], held["reconnects"]) == (True, 3, 0)
    assert held["waiting"] > 0
    acknowledge(s, S, s.timer(S))
    assert s.counts()["waiting"] == 0
    assert s.counts()["sent"] >= 3 + held["waiting"]
    s.lost(2 * S, "gone")
    assert not s.counts()["connected"]
    s.accepted(3 * S, 65535)
    assert s.counts()["reconnects"] == 1
