"""Into Kafka: a message per entry, keyed by the box, by librdkafka's idempotent producer (confluent-kafka).

The producer numbers its messages, and a broker appends only what follows on what it has. So order is kept and nothing
is repeated over an outage, provided that a message, once handed to a producer, stays with it until it is answered
(librdkafka, INTRODUCTION.md, "Idempotent Producer"). That is why this driver, alone among all, has a queue: what was
not answered in time, or whose delivery was cancelled, is still under way, and when the batch is offered again only the
answers are waited for. The producer never gives up (message.timeout.ms = 0), and its queue is bounded.

librdkafka works in threads of its own. Answers and log lines come when it is polled, which is done on the event loop
and without waiting: every 20 ms while a batch is under way, and once a second otherwise.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.actions import payload
from gateway.actions.driver import DriverKind, Refused, Surroundings, Undelivered
from gateway.actions.kafka_settings import KafkaSettings
from gateway.config.redact import redact, secrets_in
from gateway.errors import LinkError
from gateway.journal.entry import Entry

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

log = logging.getLogger("spectrophone.kafka")

POLL_NS = 20_000_000
IDLE_NS = 1_000_000_000
FLUSH_NS = 700_000_000
QUIET_NS = 60_000_000_000
"""Of each kind of librdkafka's log lines one is told in this time."""
UNFIT = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD", "INVALID_TIMESTAMP"})
"""Errors that a message meets again however often it is sent. One such message spoils those that travel with it."""


class _Flight:
    """A producer, and what it was given: `open` are the numbers of entries that wait for an answer, `answers` those
    that have one, None where it is good. `fatal` says why the producer takes no more."""

    def __init__(self, config: Mapping[str, str], tell: Callable[[int, str, str], None]) -> None:
        import confluent_kafka

        self.open: set[int] = set()
        self.answers: dict[int, KafkaError | None] = {}
        self.fatal = self.problem = ""
        self._tell = tell
        self._fault = confluent_kafka.KafkaException
        self._producer: Producer | None = confluent_kafka.Producer(dict(config), logger=self)

    def produce(self, number: int, **message: Any) -> None:
        """Hand over a message. Raises BufferError while there is no room."""
        assert self._producer is not None
        try:
            self._producer.produce(on_delivery=partial(self._answer, number), **message)
        except self._fault as fault:
            error = fault.args[0]
            if error.name() == "_FATAL":
                self.fatal = self.fatal or error.str()
            else:
                self.answers[number] = error
        else:
            self.open.add(number)

    def poll(self) -> None:
        """Take what has come."""
        if self._producer is None or self.fatal:
            return
        try:
            self._producer.poll(0)
        except self._fault as fault:
            self.fatal = fault.args[0].str()
        except SystemError:  # confluent-kafka raises fatal errors out of callbacks, which trip over one another
            self.fatal = "its order is lost"

    def _answer(self, number: int, error: KafkaError | None, _: Message) -> None:
        self.open.discard(number)
        self.answers[number] = error
        if error is None:
            self.problem = ""

    def log(self, level: int, _: str, kind: str, __: str, text: str) -> None:
        """A line of librdkafka's log, in the manner of logging.Logger."""
        text = text.partition("]: ")[2].partition(" (after ")[0]
        if level >= logging.ERROR:
            self.problem = text
        self._tell(level, kind, text)

    def drop(self) -> None:
        """End the producer with all that it holds; takes some milliseconds."""
        self._producer = None


class KafkaDriver:
    """The way into a topic."""

    def __init__(self, settings: KafkaSettings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._box, self._clock = surroundings.box, surroundings.clock
        self._config = settings.producer(f"spectrophone-{surroundings.box}-{surroundings.node}")
        self._secrets = secrets_in(settings)
        self._flight: _Flight | None = None
        self._idle: asyncio.Task[None] | None = None
        self._singly = False
        self._told_ns: dict[str, int] = {}

    async def start(self) -> None:
        """See ActionDriver."""
        await asyncio.to_thread(importlib.import_module, "confluent_kafka")
        self._flight = await asyncio.to_thread(self._made)
        self._idle = asyncio.create_task(self._poll_idly())

    async def deliver(self, batch: Sequence[Entry]) -> None:
        """See ActionDriver. What has no answer within `timeout_ms` stays under way, and the next call waits for it."""
        flight = self._flight
        if flight is None:
            raise Undelivered("the way to Kafka is closed")
        end_ns = self._clock.monotonic_ns() + self._settings.timeout_ms * 1_000_000
        for entry in batch:
            if flight.answers.get(entry.id) is not None:
                del flight.answers[entry.id]
        for entry in batch:
            await self._send(flight, entry, end_ns)
            if self._singly:
                await self._answered(flight, [entry], end_ns)
            error = flight.answers.get(entry.id)
            if error is not None and error.name() not in UNFIT:
                break
        await self._answered(flight, batch, end_ns)
        errors = [error for entry in batch if (error := flight.answers.get(entry.id)) is not None]
        if errors and not self._spoiled(errors):
            raise Undelivered(self._turned_down(errors))
        self._singly = False
        for number in [number for number in flight.answers if number <= batch[-1].id]:
            del flight.answers[number]
        if errors:
            raise Refused(self._turned_down(errors))

    def status(self) -> Mapping[str, Any]:
        """See ActionDriver."""
        flight = self._flight
        return {
            "brokers": self._settings.bootstrap_servers,
            "topic": self._settings.topic,
            "under_way": len(flight.open) if flight else 0,
            "problem": redact(flight.problem, self._secrets) if flight else "",
        }

    async def close(self) -> None:
        """See ActionDriver. What is under way has 0.7 s; the rest is offered again from the journal."""
        flight, self._flight = self._flight, None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if flight is None:
            return
        end_ns = self._clock.monotonic_ns() + FLUSH_NS
        try:
            while flight.open and not flight.fatal and self._clock.monotonic_ns() < end_ns:
                await self._clock.sleep_until(self._clock.monotonic_ns() + POLL_NS)
                flight.poll()
        finally:
            await asyncio.to_thread(flight.drop)

    async def _send(self, flight: _Flight, entry: Entry, end_ns: int) -> None:
        while entry.id not in flight.open and entry.id not in flight.answers:
            try:
                flight.produce(
                    entry.id,
                    topic=self._settings.topic,
                    key=self._box.encode(),
                    value=payload.text(entry, self._box).encode(),
                    timestamp=entry.time_ns // 1_000_000,
                    headers=[
                        ("schema", payload.SCHEMA.encode()),
                        ("kind", entry.kind.encode()),
                        ("key", payload.key(entry, self._box).encode()),
                    ],
                )
            except BufferError:
                await self._tick(flight, end_ns)
            if flight.fatal:
                await self._renew(flight)
            await asyncio.sleep(0)  # a long batch leaves the loop its turns

    async def _answered(self, flight: _Flight, entries: Sequence[Entry], end_ns: int) -> None:
        while any(entry.id in flight.open for entry in entries):
            await self._tick(flight, end_ns)

    async def _tick(self, flight: _Flight, end_ns: int) -> None:
        """Wait a little, take what has come. Raises Undelivered at the end of the time, and for a fatal error."""
        now_ns = self._clock.monotonic_ns()
        if now_ns >= end_ns:
            raise Undelivered(self._silence(flight))
        await self._clock.sleep_until(min(now_ns + POLL_NS, end_ns))
        flight.poll()
        if flight.fatal:
            await self._renew(flight)

    async def _renew(self, flight: _Flight) -> None:
        """Put a new producer in the place of one that takes no more, which keeps what was answered. Raises
        Undelivered."""
        try:
            fresh = await asyncio.to_thread(self._made)
        except LinkError as error:
            raise Undelivered(str(error)) from None
        fresh.answers = {number: None for number, error in flight.answers.items() if error is None}
        self._flight = fresh
        await asyncio.to_thread(flight.drop)
        told = redact(flight.fatal, self._secrets)
        raise Undelivered(f"the producer for {self._servers} had to be made anew, which may repeat messages ({told})")

    def _made(self) -> _Flight:
        """A new producer. Raises LinkError for files that are not fit."""
        from confluent_kafka import KafkaException

        for _, file in self._settings.files():
            try:
                file.open("rb").close()
            except OSError as error:
                raise LinkError(f"{file} cannot be read: {error.strerror}", "Check the driver's tls") from None
        try:
            return _Flight(self._config, self._tell)
        except KafkaException as error:
            told = redact(error.args[0].str(), self._secrets).replace("Failed to create producer: ", "")
            raise LinkError(f"no way to Kafka: {told}", "Check the driver's tls, sasl and producer_configs") from None

    async def _poll_idly(self) -> None:
        while self._flight is not None:
            self._flight.poll()
            await self._clock.sleep_until(self._clock.monotonic_ns() + IDLE_NS)

    def _spoiled(self, errors: Sequence[KafkaError]) -> bool:
        """Whether just these messages are at fault, and will be. If others may have travelled with the one that is, all
        travel alone the next time."""
        unfit = all(error.name() in UNFIT for error in errors)
        alone, self._singly = self._singly or len(errors) == 1, unfit
        return unfit and alone

    def _tell(self, level: int, kind: str, text: str) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._told_ns.get(kind, -QUIET_NS) >= QUIET_NS:
            self._told_ns[kind] = now_ns
            log.log(level, "%s", redact(text, self._secrets))

    @property
    def _servers(self) -> str:
        return self._settings.bootstrap_servers

    def _silence(self, flight: _Flight) -> str:
        seconds, count = self._settings.timeout_ms / 1000, len(flight.open)
        why = f" ({redact(flight.problem, self._secrets)})" if flight.problem else ""
        waiting = f"messages that wait in the producer: {count}"
        return f"no answer from the brokers {self._servers} within {seconds:g} s{why}; {waiting}"

    def _turned_down(self, errors: Sequence[KafkaError]) -> str:
        said = redact(errors[0].str(), self._secrets).removeprefix("Unable to produce message: ")
        topic = self._settings.topic
        return f"{said} (brokers {self._servers}, topic '{topic}', messages turned down: {len(errors)})"


KIND = DriverKind(KafkaSettings, KafkaDriver, durable=True, module="confluent_kafka", extra="kafka")
