"""Whatever the broker, the network and the gateway do, in any order: no row is lost, and rows keep their order."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.journal.entry import Entry
from gateway.mqtt.history import BYTES, COLUMNS, REFUSED_NS, ROWS, History, messages
from gateway.mqtt.topics import Topics
from gateway.types import iso_utc
from tests.unit.journal.samples import SECOND_NS, UTC_NS, entries

TOPICS = Topics("spectrophone", "box1")


def row_ids(message):
    return [row[0] for row in json.loads(message.payload)["rows"]]


def page(count, first=1000, nodes=("co2",)):
    """Entries of `count` seconds, of each node in turn."""
    made, number = [], first
    for rank in zip(*(list(entries(count, first, node)) for node in nodes), strict=True):
        for entry in rank:
            made.append(Entry(number, entry.time_ns, entry.kind, entry.subject, entry.fields, entry.kept))
            number += 1
    return made


def wanted(entries):
    return sorted(entry.id for entry in entries if entry.kind in COLUMNS)


def test_a_message_says_what_its_columns_are_and_each_row_has_its_own_time():
    found = [(m.topic, json.loads(m.payload), rows) for m, rows in messages(page(5), "box1", TOPICS)]
    (topic, alerts, _), (same, values, rows) = found
    assert topic == same == "spectrophone/box1/history/co2"
    assert (alerts["kind"], values["kind"], rows) == ("alert", "measurement", 5)
    assert values["columns"] == ["id", "time", "value", "sigma", "u95", "valid", "flags"]
    assert [row[1] for row in values["rows"]] == [iso_utc(UTC_NS + s * SECOND_NS) for s in range(5)]
    assert (values["from"], values["to"]) == (values["rows"][0][1], values["rows"][-1][1])
    assert values["rows"][1][2] == pytest.approx(400 + 1 / 7, abs=1e-6)
    assert dict(zip(alerts["columns"], alerts["rows"][0], strict=True))["state"] == "raised"
    assert not any(m.retain for m, _ in messages(page(5), "box1", TOPICS))


def test_what_is_not_valid_is_null_with_its_reason():
    (*_, (message, _)) = messages(page(5), "box1", TOPICS)
    body = json.loads(message.payload)
    last = dict(zip(body["columns"], body["rows"][4], strict=True))
    assert (last["value"], last["sigma"], last["valid"], last["flags"]) == (None, None, False, ["overload"])


def test_messages_are_bounded_and_hold_everything_once():
    many = page(450, nodes=("co2", "ch4"))
    found = list(messages(many, "box1", TOPICS))
    assert sorted(number for m, _ in found for number in row_ids(m)) == wanted(many)
    assert max(rows for _, rows in found) == ROWS
    assert all(a < b for m, _ in found for a, b in pairwise(row_ids(m)))


def test_rows_that_are_too_long_together_are_sent_apart():
    fields = {"rule": "r", "type": "custom", "severity": "info", "state": "told", "value": None, "threshold": None}
    long = {"kind": "alert", "time": None, "source": "s", "message": "x" * 20_000, **fields}
    found = list(messages([Entry(n, 0, "alert", "s", long) for n in range(5)], "box1", TOPICS))
    assert [row_ids(m) for m, _ in found] == [[0, 1], [2], [3, 4]]
    assert all(len(m.payload) < BYTES for m, _ in found)


def test_one_at_a_time_at_the_rate():
    history = History("box1", TOPICS, rows_per_s=100)
    history.put(page(250))
    assert history.next(0) is not None
    history.sent(0, 7)
    assert history.next(10 * SECOND_NS) is None
    history.acknowledged(0, 6)
    assert history.due_ns is None
    history.acknowledged(0, 7)
    first = history.delivered
    assert first > 0
    assert history.due_ns == first * SECOND_NS // 100
    assert history.next(history.due_ns - 1) is None
    assert history.next(history.due_ns) is not None


def test_a_refused_message_waits_and_goes_again():
    history = History("box1", TOPICS, 1000)
    history.put(page(3))
    message = history.next(0)
    history.sent(0, 1)
    history.acknowledged(SECOND_NS, 1, refused=True)
    assert history.refused
    assert not history.through
    assert history.next(SECOND_NS + REFUSED_NS - 1) is None
    assert history.next(SECOND_NS + REFUSED_NS) is message
    history.sent(SECOND_NS + REFUSED_NS, 2)
    history.acknowledged(SECOND_NS + REFUSED_NS, 2)
    assert not history.refused
    assert history.delivered == 3


EVENTS = st.lists(st.sampled_from(["send", "ack", "eaten", "refuse", "break", "crash", "time"]), max_size=150)


@settings(max_examples=200)
@given(EVENTS, st.integers(1, 3), st.integers(3, 40))
def test_any_order_of_acknowledgements_breaks_and_crashes_loses_nothing_and_keeps_order(events, nodes, size):
    """A journal of pages, a broker that keeps what arrives, and a cursor that moves when a page is through. `eaten`:
    the broker has it, and its acknowledgement is lost with the connection; `crash`: the gateway begins anew there.
    """
    kept = page(90, nodes=[f"node{n}" for n in range(nodes)])
    arrived = {}  # the numbers in the order in which they came first, by topic and kind
    history, cursor, now_ns, token, flying = History("box1", TOPICS, 1000), 0, 0, 0, None

    def receive(message):
        body = json.loads(message.payload)
        seen = arrived.setdefault((message.topic, body["kind"]), {})
        for number in row_ids(message):
            seen.setdefault(number, None)

    def happen(event):
        nonlocal history, cursor, now_ns, token, flying
        if history.through and cursor < len(kept) and not flying:
            history.put(kept[cursor : cursor + size])
        if event == "send" and (message := history.next(now_ns)) is not None:
            token, flying = token + 1, message
            history.sent(now_ns, token)
        elif event in ("ack", "eaten") and flying:
            receive(flying)
            if event == "ack":
                history.acknowledged(now_ns, token)
            else:
                history.lost()
            flying = None
        elif event == "refuse" and flying:
            history.acknowledged(now_ns, token, refused=True)
            flying = None
        elif event == "break":
            history.lost()
            flying = None
        elif event == "crash":
            history, flying = History("box1", TOPICS, 1000), None
            return
        elif event == "time":
            now_ns += REFUSED_NS
        if history.through:
            cursor = min(len(kept), cursor + size)

    for event in events:
        happen(event)
    for _ in range(2000):
        for event in ("send", "ack", "time"):
            happen(event)
        if cursor == len(kept):
            break
    assert sorted(number for seen in arrived.values() for number in seen) == wanted(kept)
    assert all(a < b for seen in arrived.values() for a, b in pairwise(seen))
