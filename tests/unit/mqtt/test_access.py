"""What the broker's access list keeps from us, in a sentence, and when nothing is known."""

from __future__ import annotations

from gateway.mqtt.access import AGAIN_NS, PATIENCE_NS, Access
from gateway.mqtt.topics import Topics
from tests.unit.mqtt.samples import S, settings

TOPICS = Topics("spectrophone", "box1")
ROOT = "spectrophone/box1"
DENIED = "not authorized"
LATE = PATIENCE_NS + 1
"""When patience has ended with a message that was sent at 0."""


def access(v5=True, **options):
    made = Access(settings(**options), TOPICS)
    made.begin(0, v5=v5)
    return made


def said(a, now_ns):
    a.look(now_ns)
    return a.problem


def test_a_refused_topic_is_named_with_who_must_be_allowed_what():
    a = access(username="box")
    a.answered(f"{ROOT}/measurement/co2", DENIED)
    assert said(a, S) is None  # others may follow
    assert said(a, 2 * S) == (
        f"the MQTT broker 127.0.0.1:1883 refuses {ROOT}/measurement/co2: not authorized. "
        f"Allow user box to write {ROOT}/# in its access list"
    )


def test_many_topics_are_counted_and_discovery_lies_elsewhere():
    a = access()
    for name in ("e", "d", "c", "b"):
        a.answered(f"{ROOT}/{name}", DENIED)
    assert f"refuses {ROOT}/b, {ROOT}/c, {ROOT}/d and 1 more: not authorized" in said(a, 2 * S)
    a.answered("homeassistant/device/spectrophone_box1/config", DENIED)
    assert f"to write {ROOT}/# and homeassistant/# in" in said(a, 3 * S)


def test_what_is_taken_again_is_no_problem():
    a = access()
    a.answered(f"{ROOT}/info", DENIED)
    assert said(a, 2 * S)
    a.answered(f"{ROOT}/info", "")
    assert said(a, 3 * S - 1) is not None  # renewed once a second
    assert said(a, 3 * S) is None


def test_a_refused_subscription():
    a = access()
    a.subscribed([f"{ROOT}/+/set"])
    assert f"refuses our subscription to {ROOT}/+/set: what is sent there does not come" in said(a, 2 * S)


def test_a_message_to_ourselves_that_comes_is_asked_for_once():
    a = access()
    assert a.ask(0)
    assert not a.ask(1)
    a.echoed()
    assert said(a, LATE) is None
    assert not a.ask(2 * AGAIN_NS)


def test_one_that_does_not_come_means_no_commands_and_is_sent_again():
    a = access()
    assert a.ask(0)
    assert said(a, PATIENCE_NS) is None
    assert "gives us no commands: what is sent to spectrophone/box1/echo/set does not come" in said(a, LATE + S)
    assert not a.ask(AGAIN_NS - 1)
    assert a.ask(AGAIN_NS)
    assert said(a, AGAIN_NS + S) is not None  # the new one has not had its time yet
    a.echoed()
    assert said(a, AGAIN_NS + 2 * S) is None


def test_where_we_may_not_write_nothing_is_known_of_commands():
    a = access()
    a.ask(0)
    a.answered(TOPICS.echo, DENIED)
    assert said(a, LATE) is None


def test_an_old_broker_cannot_tell_which():
    a = access(v5=False)
    a.ask(0)
    assert "drops what we publish or gives us no commands; MQTT 3.1.1 does not tell which" in said(a, LATE)


def test_a_new_connection_begins_anew():
    a = access()
    a.ask(0)
    a.answered(f"{ROOT}/info", DENIED)
    a.subscribed(["x"])
    assert said(a, LATE)
    a.begin(LATE, v5=True)
    assert a.problem is None
    assert said(a, 2 * LATE) is None
    assert a.ask(2 * LATE)
