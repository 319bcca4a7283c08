"""The Kafka driver as far as it needs no broker; the rest is in tests/real/test_action_kafka.py."""

import asyncio
import logging
import subprocess
import sys

import pytest
from confluent_kafka import KafkaError, KafkaException

from gateway.actions import kafka_driver
from gateway.actions.driver import Surroundings, Undelivered
from gateway.actions.kafka_driver import KIND, KafkaDriver
from gateway.actions.kafka_settings import KafkaSettings
from gateway.errors import LinkError
from tests.support.clock import FakeClock
from tests.unit.mqtt.samples import Tray

PASSWORD = "open-sesame"


def driver(clock=None, **options):
    """A driver that is not started."""
    sasl = {"mechanism": "PLAIN", "username": "box-1", "password": PASSWORD}
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9", sasl=sasl, **options)
    return KafkaDriver(settings, Surroundings("cloud", "box-1", clock or FakeClock(), Tray()))


def test_the_kind_says_what_it_needs():
    assert KIND.settings is KafkaSettings
    assert isinstance(
        KIND.make(KafkaSettings(bootstrap_servers="a:1"), Surroundings("n", "b", FakeClock(), Tray())), KafkaDriver
    )
    assert (KIND.durable, KIND.module, KIND.extra) == (True, "confluent_kafka", "kafka")


def test_the_library_is_not_loaded_before_the_start():
    program = "import gateway.actions.kafka_driver, sys; sys.exit('confluent_kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_before_the_start_and_after_the_end_nothing_is_taken():
    made = driver()
    with pytest.raises(Undelivered, match="closed"):
        asyncio.run(made.deliver([]))
    assert made.status() == {"brokers": "127.0.0.1:9", "topic": "spectrophone", "under_way": 0, "problem": ""}
    asyncio.run(made.close())
    asyncio.run(made.close())


def test_one_log_line_of_a_kind_a_minute_without_secrets(caplog):
    clock = FakeClock()
    made = driver(clock)
    caplog.set_level(logging.INFO)
    for seconds in (0, 30, 29, 2, 1):
        clock.advance(seconds)
        made._tell(logging.WARNING, "FAIL", f"refused {PASSWORD}")
        made._tell(logging.INFO, "OTHER", "another")
    said = [record.getMessage() for record in caplog.records if record.name == "spectrophone.kafka"]
    assert said == ["refused ********", "another"] * 2


class Stumbling:
    """A producer whose poll raises."""

    def __init__(self, error):
        self.error = error

    def poll(self, seconds):
        assert seconds == 0
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KafkaException(KafkaError(45, "out of order", True)), "out of order"),
        (SystemError("a result with an exception set"), "its order is lost"),
    ],
)
def test_a_fatal_error_comes_out_of_poll_one_way_or_the_other(error, told):
    flight = kafka_driver._Flight({}, lambda *_: None)
    flight._producer = Stumbling(error)
    flight.poll()
    assert flight.fatal == told
    flight.poll()


def test_a_producer_that_cannot_be_made_is_told_without_the_password(monkeypatch):
    made = driver()
    monkeypatch.setitem(made._config, "linger.ms", PASSWORD)
    monkeypatch.setitem(made._config, "compression.type", PASSWORD)
    with pytest.raises(LinkError, match="no way to Kafka: Invalid value") as told:
        asyncio.run(made.start())
    assert PASSWORD not in str(told.value)
