"""The log over MQTT: how often, folded how, and what never goes out."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from gateway.config.redact import MASK, Secrets
from gateway.mqtt.logs import A_MINUTE, LONGEST, MOST, Folded, LogHandler
from tests.unit.mqtt.samples import S

MINUTE = 60 * S


def add(folded, *texts):
    for text in texts:
        folded.add("warning", "spectrophone.watch", text, 1)


def said(lines):
    return [(line.text, line.count) for line in lines]


def test_the_same_message_is_folded_and_numbers_do_not_make_it_another():
    f = Folded()
    add(f, "block 5 took 120 ms", "relay/1 is stuck", "block 17 took 130.5 ms", "relay/2 is stuck", "at -3 C", "at 4 C")
    assert said(f.due(0)) == [
        ("block 17 took 130.5 ms", 2), ("relay/1 is stuck", 1), ("relay/2 is stuck", 1), ("at 4 C", 2),
    ]  # fmt: skip
    assert f.due(0) == []


def test_level_and_logger_make_it_another():
    f = Folded()
    f.add("warning", "spectrophone.a", "odd", 1)
    f.add("error", "spectrophone.a", "odd", 1)
    f.add("warning", "spectrophone.b", "odd", 1)
    assert len(f.due(0)) == 3


def test_one_that_was_sent_waits_a_minute_and_others_do_not_wait_for_it():
    f = Folded()
    add(f, "full")
    assert said(f.due(0)) == [("full", 1)]
    add(f, "full", "full", "hot")
    assert said(f.due(1)) == [("hot", 1)]
    assert f.due(MINUTE - 1) == []
    assert said(f.due(MINUTE)) == [("full", 2)]


def test_never_more_than_ten_in_any_minute():
    f = Folded()
    letters = [chr(ord("a") + n) for n in range(25)]
    sent = []
    for second in range(240):
        if second < 25:
            add(f, letters[second])
        sent += [(second, line.text) for line in f.due(second * S)]
    assert [text for _, text in sent] == letters
    for begin in range(240):
        assert sum(begin <= second < begin + 60 for second, _ in sent) <= A_MINUTE


def test_a_flood_is_bounded_and_what_is_lost_is_counted():
    f = Folded()
    add(f, *(f"x{n}" for n in range(MOST + 7)))
    minutes = [f.due(n * MINUTE) for n in range(MOST // A_MINUTE + 2)]
    assert [text for lines in minutes for text, _ in said(lines)][:MOST] == [f"x{n}" for n in range(MOST)]
    assert all(len(lines) <= A_MINUTE for lines in minutes)
    assert said(minutes[-2]) == [("more messages came than could be sent; the log of the box has them", 7)]
    assert minutes[-1] == []


@pytest.fixture
def handler():
    made = LogHandler(Secrets({"open sesame 42"}))
    log = logging.getLogger("spectrophone")
    log.addHandler(made)
    yield made
    log.removeHandler(made)


def payloads(handler, now_ns=0):
    return [json.loads(payload) for payload in handler.due(now_ns)]


def test_a_warning_is_told_with_its_time_and_without_secrets(handler, caplog):
    logging.getLogger("spectrophone.watch").warning("user %s said open%%20sesame%%2042", "open sesame 42")
    (told,) = payloads(handler)
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "warning", "logger": "spectrophone.watch", "message": f"user {MASK} said {MASK}", "count": 1,
    }  # fmt: skip
    assert caplog.records[0].args == ("open sesame 42",)  # left as it was for other handlers


def test_an_exception_is_told_in_a_line(handler):
    try:
        raise ValueError("open sesame 42 is wrong")
    except ValueError:
        logging.getLogger("spectrophone.loop").exception("MqttLink could not take a tick")
    (told,) = payloads(handler)
    assert told["message"] == f"MqttLink could not take a tick: ValueError: {MASK} is wrong"
    assert told["level"] == "error"


def test_what_is_no_warning_or_is_the_links_own_stays_out(handler, caplog):
    caplog.set_level(logging.DEBUG, "spectrophone")
    logging.getLogger("spectrophone.service").info("begun")
    logging.getLogger("spectrophone.mqtt").warning("the broker is away")
    logging.getLogger("spectrophone.mqtt.link").error("odd")
    logging.getLogger("elsewhere").error("odd")
    assert payloads(handler) == []
    logging.getLogger("spectrophone.mqttish").warning("another")
    assert len(payloads(handler)) == 1


def test_a_long_message_is_cut(handler):
    logging.getLogger("spectrophone.x").warning("x" * 10 * LONGEST)
    assert len(payloads(handler)[0]["message"]) == LONGEST


def test_many_threads_lose_nothing(handler):
    def flood():
        for _ in range(200):
            logging.getLogger("spectrophone.x").warning("the same")

    threads = [threading.Thread(target=flood) for _ in range(8)]
    for thread in threads:
        thread.start()
    counted = [told["count"] for n in range(20) for told in payloads(handler, n * MINUTE)]
    for thread in threads:
        thread.join()
    counted += [told["count"] for told in payloads(handler, 99 * MINUTE)]
    assert sum(counted) == 1600
