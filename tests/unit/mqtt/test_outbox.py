"""Bounded, in order, and nothing that counts is lost before the broker has it."""

from __future__ import annotations

from gateway.mqtt.outbox import EVENTS, WINDOW, Outbox
from gateway.mqtt.picture import Message


def messages(taken):
    return [message.topic for _, message in taken]


def opened(window=WINDOW):
    box = Outbox()
    box.open(window)
    box.held = False
    return box


def test_announcements_then_events_then_values():
    box = opened()
    box.put([Message("value", b"")])
    box.put_events([Message("event", b"")])
    box.announce([Message("status", b""), Message("info", b"")])
    assert messages(box.take(0)) == ["status", "info", "event", "value"]


def test_held_back_but_for_announcements():
    box = opened()
    box.held = True
    box.put([Message("value", b"")])
    box.put_events([Message("event", b"")])
    box.announce([Message("status", b"")])
    assert messages(box.take(0)) == ["status"]
    box.held = False
    assert messages(box.take(0)) == ["event", "value"]


def test_the_newest_of_a_topic_waits_in_the_place_of_the_old_one():
    box = opened(window=1)
    box.put([Message("first", b"")])
    (token, _), *rest = box.take(0)
    assert rest == []
    for i in range(1000):
        box.put([Message("a", str(i).encode()), Message("b", str(i).encode())])
    assert box.take(0) == []
    taken = []
    for _ in range(2):
        box.acknowledged(token)
        ((token, message),) = box.take(0)
        taken.append((message.topic, message.payload))
    assert taken == [("a", b"999"), ("b", b"999")]


def test_no_more_than_the_window_is_under_way():
    box = opened()
    box.put([Message(str(i), b"") for i in range(50)])
    sent = box.take(0)
    assert len(sent) == box.in_flight == WINDOW
    for token, _ in sent[:5]:
        box.acknowledged(token)
    assert len(box.take(0)) == 5


def test_events_drop_the_oldest_and_count():
    box = opened()
    box.put_events([Message(str(i), b"") for i in range(EVENTS + 3)])
    assert box.dropped == 3
    assert messages(box.take(0))[0] == "3"


def test_events_not_acknowledged_come_again_in_order():
    box = opened()
    box.put_events([Message(str(i), b"") for i in range(30)])
    sent = box.take(0)
    box.acknowledged(sent[0][0])
    box.open(100)
    assert messages(box.take(0)) == [str(i) for i in range(1, 21)]


def test_values_out_of_date_are_dropped_on_the_way():
    box = opened(window=1)
    box.put([Message("old", b"", expires_ns=10), Message("new", b"", expires_ns=100)])
    assert messages(box.take(50)) == ["new"]
    assert box.in_flight == 1


def test_history_goes_when_nothing_else_waits():
    box = opened()
    box.put_history(Message("history", b""))
    box.put([Message("value", b"")])
    box.put_events([Message("event", b"")])
    assert messages(box.take(0)) == ["event", "value", "history"]
    assert box.take(0) == []


def test_history_of_an_old_connection_is_forgotten():
    box = opened()
    box.put_history(Message("history", b""))
    box.open(20)
    assert box.take(0) == []
