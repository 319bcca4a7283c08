"""Brokers that speak Kafka's protocol on loopback: the mock cluster that librdkafka brings along, behind doors.

The mock cluster (rd_kafka_mock_*, librdkafka's rdkafka_mock.h) lives in librdkafka's threads in this process; the doors
(tests/servers/door.py) keep out what a broker would not append.
"""

from __future__ import annotations

import contextlib
import ctypes
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.servers.door import HOST, PRODUCE, Door, Ledger

DEADLINE_S = 30.0
INIT_PRODUCER_ID = 22
"""The request by which an idempotent producer gets its number."""


@dataclass(frozen=True, slots=True)
class Read:
    """A message as a consumer gets it."""

    partition: int
    key: bytes
    headers: dict[str, bytes]
    value: bytes
    time_ms: int


class KafkaCluster:
    """`brokers` brokers at `bootstrap` ("host:port,..."), and the topic `spectrophone` of four partitions.

    `tls` is a server's certificate and its key, `user` a name and password that SASL PLAIN asks for.
    """

    topic, partitions = "spectrophone", 4

    def __init__(
        self, brokers: int = 1, tls: tuple[Path, Path] | None = None, user: tuple[str, str] | None = None
    ) -> None:
        self._count, self._tls, self._user = brokers, tls, user
        self._library = _library()
        self._ledger = Ledger()
        self._doors: list[Door] = []
        self.bootstrap = ""

    def __enter__(self) -> KafkaCluster:
        said, library = ctypes.create_string_buffer(512), self._library
        silent = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(silent, b"log_level", b"0", said, len(said))
        self._client = library.rd_kafka_new(0, silent, said, len(said))
        assert self._client, said.value
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, self._count)
        self._inside = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        _done(library.rd_kafka_mock_set_apiversion(self._cluster, PRODUCE, 3, 7))
        _done(library.rd_kafka_mock_topic_create(self._cluster, self.topic.encode(), self.partitions, self._count))
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        context = None
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
        for number, address in enumerate(self._inside.split(","), 1):
            door = Door(int(address.rpartition(":")[2]), self._ledger, context, self._user)
            door.open()
            _done(library.rd_kafka_mock_broker_set_host_port(self._cluster, number, HOST.encode(), door.port))
            self._doors.append(door)
        self.bootstrap = ",".join(f"{HOST}:{door.port}" for door in self._doors)
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    @property
    def repeats(self) -> int:
        """Batches that a producer has sent again although they were there."""
        return self._ledger.repeats

    @property
    def appended(self) -> int:
        """Messages that producers with a number have had appended, whether they know it or not."""
        return sum(size for batches in list(self._ledger.batches.values()) for _, size, _ in batches)

    def down(self) -> None:
        """All brokers close their connections, with answers under way, and take no new ones."""
        for door in self._doors:
            door.close()

    def up(self) -> None:
        """They are back, with all they had."""
        for door in self._doors:
            door.open()

    def slow(self, ms: int) -> None:
        """Every answer takes this long from now on."""
        for door in self._doors:
            door.delay_s = ms / 1000

    def fail(self, *errors: int, request: int = PRODUCE) -> None:
        """The next requests of that kind are answered with these errors (KafkaError.NAME), one each."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), codes)

    def forbid(self, error: int) -> None:
        """Whoever asks for the topic is told this error; 0 ends it."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, self.topic.encode(), error)

    def read(self, count: int = 0, **options: str) -> list[Read]:
        """All messages of the topic, by partition and offset, once there are `count` of them. `options` are further
        properties of the consumer, with _ for a dot."""
        told = {name.replace("_", "."): value for name, value in options.items()}
        quick = {
            "group.id": "test",
            "log_level": 0,
            "fetch.wait.max.ms": 10,
            "topic.metadata.refresh.fast.interval.ms": 20,
        }
        consumer = Consumer({"bootstrap.servers": self.bootstrap, **quick, **told})
        with contextlib.closing(consumer):
            end = time.monotonic() + DEADLINE_S
            places = [TopicPartition(self.topic, number, OFFSET_BEGINNING) for number in range(self.partitions)]
            while (there := sum(consumer.get_watermark_offsets(place, DEADLINE_S)[1] for place in places)) < count:
                assert time.monotonic() < end, f"{there} messages of {count}"
                time.sleep(0.05)
            consumer.assign(places)
            found: list[tuple[int, int, Read]] = []
            while len(found) < there:
                assert time.monotonic() < end, f"{len(found)} messages read of {there}"
                some = consumer.consume(there - len(found), 0.2)
                found += [(message.partition(), message.offset(), _read(message)) for message in some]
            return [read for _, _, read in sorted(found, key=lambda each: each[:2])]


def _read(message: Any) -> Read:
    assert message.error() is None, message.error()
    headers = dict(message.headers() or ())
    return Read(message.partition(), message.key(), headers, message.value(), message.timestamp()[1])


def _done(error: int) -> None:
    assert error == 0, f"the mock cluster says {error}"


def _library() -> Any:
    """The librdkafka that confluent_kafka has loaded."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    library = ctypes.CDLL(next(line.split(maxsplit=5)[5] for line in lines if "librdkafka" in line))
    handle, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    short, broker = ctypes.c_int16, ctypes.c_int32
    for name, result, *arguments in (
        ("conf_new", handle),
        ("conf_set", number, handle, text, text, text, size),
        ("new", handle, number, handle, text, size),
        ("destroy", None, handle),
        ("mock_cluster_new", handle, handle, number),
        ("mock_cluster_destroy", None, handle),
        ("mock_cluster_bootstraps", text, handle),
        ("mock_set_apiversion", number, handle, short, short, short),
        ("mock_topic_create", number, handle, text, number, number),
        ("mock_topic_set_error", None, handle, text, number),
        ("mock_group_initial_rebalance_delay_ms", None, handle, broker),
        ("mock_broker_set_host_port", number, handle, broker, text, number),
        ("mock_push_request_errors_array", None, handle, short, size, handle),
    ):
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return library
