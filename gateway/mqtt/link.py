"""The session's hands: paho-mqtt on a socket that the event loop watches. Nothing here decides anything.

Name look-up, TCP and the TLS handshake can block for seconds, so every attempt to connect runs in a thread of
its own with a fresh paho client; from then on the client belongs to the event loop, which reads and writes
when the socket is ready. Nothing survives in paho over a reconnect: what must be sent again is the session's
business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway import tls
from gateway.clock import Clock
from gateway.config.sections import HomeAssistantSection, Mqtt
from gateway.errors import CommandRefused
from gateway.journal.entry import Entry
from gateway.journal.journal import Journal
from gateway.mqtt import reasons
from gateway.mqtt.backfill import Backfill
from gateway.mqtt.backlog import Backlog
from gateway.mqtt.commands import Arrival
from gateway.mqtt.discovery import device_id
from gateway.mqtt.face import Face
from gateway.mqtt.gap import Gap
from gateway.mqtt.logs import SOURCE, LogHandler
from gateway.mqtt.registry import RegistryFile
from gateway.mqtt.session import Action, Connect, Hand, Publish, Session, Subscribe
from gateway.ports import Inbox
from gateway.reports import Reports
from gateway.types import CommandResult, Outcome, Tick

log = logging.getLogger("spectrophone.mqtt")

KEEPALIVE_S = 30
WILL_DELAY_S = 5
SESSION_EXPIRY_S = 300
LARGEST_PACKET = 64 * 1024
GOODBYE_S = 1.0
_MISC_NS = 1_000_000_000


class MqttLink:
    """A Sink that publishes to the broker of `settings`, and puts its commands into `inbox`."""

    def __init__(
        self,
        settings: Mqtt,
        face: Face,
        inbox: Inbox,
        clock: Clock,
        rng: np.random.Generator,
        secrets: Collection[str] = (),
        journal: Journal | None = None,
        *,
        home: HomeAssistantSection | None = None,
        reports: Reports = lambda: MappingProxyType({}),
        known: Path | None = None,
    ) -> None:
        """`secrets` are blacked out in what goes to the log topic; what `journal` keeps is delivered, too, if the
        settings want it. `home` says what Home Assistants there are, `reports` gives what is told beside the
        measurement, `known` is the file of what was announced before; nothing is kept if absent.
        """
        self._settings = settings
        self._face = face
        self._inbox = inbox
        self._clock = clock
        self._known = RegistryFile(known)
        before, keep = self._known.load(), self._known.keep
        self._session = Session(settings, face, rng, home=home, reports=reports, registry=before, keep=keep)
        self._logs = LogHandler(secrets)
        self._backlog = Backlog(journal, clock, self._made_up) if journal is not None and settings.history else None
        self._home = home
        self._backfill: Backfill | None = None
        self._stirred = asyncio.Event()
        self._delivering: asyncio.Task[None] | None = None
        self._tls: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._client: Client | None = None
        self._sock: Any = None
        self._flying: dict[int, Publish] = {}
        self._refusal: ReasonCode | None = None
        self._fault = ""
        self._said: str | None = self._session.problem
        self._wanted: tuple[str, ...] = ()
        self._quiet = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why values do not reach the broker, in a sentence; None while they do."""
        return self._session.problem

    def counts(self) -> Mapping[str, Any]:
        """How the connection fares: `connected`, and since the start `reconnects`, `sent`, `waiting`, `dropped`."""
        return self._session.counts()

    def history(self) -> Mapping[str, Any]:
        """How the delivery of the journal stands; empty where there is none. `problem` is a sentence, or empty."""
        if self._backlog is None:
            return {}
        refused = f"the broker refuses {self._session.topics.history('+')}. Check its access list"
        problem = refused if self._session.history.refused else ""
        if not problem and self._backfill is not None:
            problem = self._backfill.problem
        return {**self._backlog.status(), "delivered": self._session.history.delivered, "problem": problem}

    async def start(self) -> None:
        """Begin to connect, in the background. Raises LinkError for a certificate or key file that is
        missing."""
        if self._settings.tls is not None:
            self._tls = tls.context(self._settings.tls, self._settings.host, "mqtt.tls")
        self._loop = asyncio.get_running_loop()
        logging.getLogger(SOURCE).addHandler(self._logs)
        self._run(self._session.start)
        self._task = asyncio.create_task(self._tend(), name="mqtt")
        if self._home is not None and self._home.url is not None:
            self._backfill = Backfill(self._home, self._face, self._clock)
        if self._backlog is not None:
            self._delivering = asyncio.create_task(self._backlog.run(self._deliver), name="mqtt history")

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """Take a tick: publish it, or keep its newest values until the broker is back."""
        if self._backlog is not None:
            self._backlog.offer()
        if self._task is not None:
            self._run(lambda: self._session.offer(self._now(), tick, outcome))

    def health(self, facts: Mapping[str, Any]) -> None:
        """Publish how the box fares, or keep it until the broker is back."""
        if self._task is not None:
            self._run(lambda: self._session.health(self._now(), facts))

    def show(self, face: Face) -> None:
        """Go on as that box, of the same name: rules and action nodes have changed."""
        if self._task is not None:
            self._run(lambda: self._session.show(self._now(), face))

    def complain(self, reasons: Sequence[str]) -> None:
        """Publish what is wrong with the box itself, beside what is wrong with its values; nothing if all is well."""
        self._session.complain(reasons)

    async def close(self) -> None:
        """Publish offline and leave, within two seconds; may be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        logging.getLogger(SOURCE).removeHandler(self._logs)
        tasks = [task] if self._delivering is None else [task, self._delivering]
        for one in tasks:
            one.cancel()
        await asyncio.wait(tasks)
        if self._backfill is not None:
            await self._backfill.close()
        if self._session.connected:
            await self._goodbye()
        self._drop()
        await self._known.close()

    async def _goodbye(self) -> None:
        self._run(lambda: self._session.stop(self._now()))
        await _within(GOODBYE_S, self._quiet, lambda: not self._flying)
        if (client := self._client) is not None:
            self._gone.clear()
            forget = _properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0)
            client.disconnect(properties=forget if self._session.v5 else None)
            await _within(GOODBYE_S / 2, self._gone, lambda: self._client is None)

    async def _tend(self) -> None:
        """Once a second, or sooner when the session wants it: keep-alive and timers."""
        while True:
            if (client := self._client) is not None and self._sock is not None:
                self._drive(client.loop_misc)
            self._run(lambda: self._session.timer(self._now()))
            if self._session.connected:
                self._run(lambda: self._session.log(self._logs.due(self._now())))
            now_ns, due_ns = self._now(), self._session.due_ns
            await self._clock.sleep_until(min(now_ns + _MISC_NS, now_ns + _MISC_NS if due_ns is None else due_ns))

    def _made_up(self, gap: Gap) -> None:
        """The broker has all of a gap; Home Assistant's statistics may have it, too."""
        if self._backfill is not None:
            self._backfill.begin(gap)

    async def _deliver(self, page: Sequence[Entry]) -> None:
        """Give the session a page of the journal; return when the broker has all of it."""
        self._run(lambda: self._session.page(self._now(), page))
        while not self._session.history.through:
            self._stirred.clear()
            due_ns = self._session.history.due_ns
            if due_ns is not None and due_ns > self._now():
                await self._clock.sleep_until(due_ns)
                self._run(lambda: self._session.timer(self._now()))
            else:
                await self._stirred.wait()

    def _now(self) -> int:
        return self._clock.monotonic_ns()

    def _run(self, step: Callable[[], list[Action]]) -> None:
        """Carry out what the session wants after `step`. A bug in here must not stop the measurement: it is
        logged."""
        try:
            for action in step():
                self._act(action)
        except Exception:
            log.exception("a fault in the MQTT link; the message is lost")
        self._stirred.set()
        if self._session.problem != self._said:
            self._said = self._session.problem
            if self._said is None:
                version = "5" if self._session.v5 else "3.1.1"
                log.info("connected to the MQTT broker %s with MQTT %s", reasons.place(self._settings), version)
            else:
                log.warning("%s", self._said)

    def _act(self, action: Action) -> None:
        match action:
            case Connect():
                self._connect(action.v5)
            case Subscribe():
                self._subscribe(action.filters)
            case Publish():
                self._publish(action)
            case Hand():
                try:
                    self._inbox.put(action.command)
                except CommandRefused as refused:
                    result = CommandResult(action.command, False, str(refused))
                    self._run(lambda: self._session.answer(self._now(), result))

    def _publish(self, message: Publish) -> None:
        if self._client is None:
            return
        extra: dict[str, Any] = {}
        if message.expiry_s is not None:
            extra["MessageExpiryInterval"] = message.expiry_s
        if message.correlation is not None:
            extra["CorrelationData"] = message.correlation
        properties = _properties(PacketTypes.PUBLISH, **extra) if extra else None
        sent = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        if sent.rc is MQTTErrorCode.MQTT_ERR_SUCCESS and message.qos:
            self._flying[sent.mid] = message
            self._quiet.clear()

    def _subscribe(self, filters: tuple[str, ...]) -> None:
        """At QoS 0: what a broker cannot deliver at once it does not keep, so that no command comes minutes late."""
        if self._client is None:
            return
        self._wanted = filters
        if self._session.v5:
            wish = SubscribeOptions(qos=0, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            self._client.subscribe([(f, wish) for f in filters])
        else:
            self._client.subscribe([(f, 0) for f in filters])

    def _connect(self, v5: bool) -> None:
        self._drop()
        self._refusal, self._fault = None, ""
        self._client = client = self._new_client(v5)
        threading.Thread(target=self._dial, args=(client, v5), name="mqtt-dial", daemon=True).start()

    def _new_client(self, v5: bool) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            device_id(self._face),
            clean_session=None if v5 else True,
            protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        if self._settings.username is not None:
            password = self._settings.password
            client.username_pw_set(self._settings.username, password.get_secret_value() if password else None)
        if self._tls is not None:
            client.tls_set_context(self._tls)
            client.on_log = self._on_log
        will = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S) if v5 else None
        client.will_set(self._session.topics.status, b"offline", 1, retain=True, properties=will)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        return client

    def _dial(self, client: Client, v5: bool) -> None:
        """In a thread: look up the name, connect, shake hands. The result goes back to the loop."""
        error: Exception | None = None
        try:
            host, port = self._settings.host, reasons.port(self._settings)
            if v5:
                wish = {"SessionExpiryInterval": SESSION_EXPIRY_S, "MaximumPacketSize": LARGEST_PACKET}
                properties = _properties(PacketTypes.CONNECT, **wish)
                client.connect(host, port, KEEPALIVE_S, clean_start=False, properties=properties)
            else:
                client.connect(host, port, KEEPALIVE_S)
        except Exception as failure:
            error = failure
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._dialled, client, error)
        except RuntimeError:  # the loop is closed: nobody waits for this connection any more
            _close(client)

    def _dialled(self, client: Client, error: Exception | None) -> None:
        if client is not self._client:
            _close(client)
        elif error is not None:
            self._client = None
            self._lost(reasons.unreachable(error, self._settings))
        else:
            self._sock = client.socket()
            assert self._loop is not None
            self._loop.add_reader(self._sock, self._readable)
            if client.want_write():
                self._loop.add_writer(self._sock, self._writable)

    def _lost(self, problem: str, *, unsupported: bool = False) -> None:
        self._flying.clear()
        self._run(lambda: self._session.lost(self._now(), problem, unsupported=unsupported))

    def _drop(self) -> None:
        """Forget the client, closing its socket without a word."""
        client, self._client = self._client, None
        self._flying.clear()
        if client is not None and self._sock is not None:
            self._unwatch()
            _close(client)

    def _unwatch(self) -> None:
        if self._sock is not None and self._loop is not None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock = None

    def _drive(self, step: Callable[[], Any]) -> None:
        """A step of paho's; a fault inside it costs the connection, not the measurement."""
        try:
            step()
        except Exception:
            log.exception("a fault in the MQTT client; connecting anew")
            self._drop()
            self._lost(f"the MQTT client failed at {reasons.place(self._settings)}. Trying again")

    def _readable(self) -> None:
        client = self._client
        while client is not None and client is self._client:
            self._drive(client.loop_read)
            if not isinstance(self._sock, ssl.SSLSocket) or not self._sock.pending():
                return

    def _writable(self) -> None:
        if self._client is not None:
            self._drive(self._client.loop_write)

    def _on_connect(
        self, client: Client, _userdata: Any, _flags: ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            self._refusal = reason
            return
        client.on_log = None
        window = getattr(properties, "ReceiveMaximum", 65535)
        self._run(lambda: self._session.accepted(self._now(), window))

    def _on_disconnect(
        self, client: Client, _userdata: Any, flags: DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        self._unwatch()
        self._client = None
        self._gone.set()
        if self._task is None:
            return
        if self._refusal is not None:
            unsupported = self._refusal.value == reasons.UNSUPPORTED
            self._lost(reasons.refused(self._refusal, self._settings), unsupported=unsupported)
        else:
            by_broker = flags.is_disconnect_packet_from_server
            self._lost(reasons.broken(reason, by_broker, self._session.connected, self._settings, self._fault))

    def _on_log(self, client: Client, _userdata: Any, level: int, text: str) -> None:
        """Before the broker's first answer: paho tells nowhere else why it could not read, such as an alert of TLS."""
        if client is self._client and level == LogLevel.MQTT_LOG_ERR:
            self._fault = text

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        answer_to = getattr(message.properties, "ResponseTopic", None)
        correlation = getattr(message.properties, "CorrelationData", None)
        arrival = Arrival(message.topic, bytes(message.payload), message.retain, answer_to, correlation)
        self._run(lambda: self._session.message(self._now(), arrival))

    def _on_publish(self, _client: Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        message = self._flying.pop(mid, None)
        refused = reason.is_failure
        if message is not None:
            self._session.access.answered(message.topic, str(reason).lower() if refused else "")
            self._run(lambda: self._session.acknowledged(self._now(), message.token, refused=refused))
        if not self._flying:
            self._quiet.set()

    def _on_subscribe(
        self, _client: Client, _userdata: Any, _mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        pairs = zip(self._wanted, codes, strict=False)
        self._session.access.subscribed([topic for topic, code in pairs if code.is_failure])

    def _on_socket_close(self, client: Client, _userdata: Any, _sock: Any) -> None:
        if client is self._client:
            self._unwatch()

    def _on_register_write(self, _client: Client, _userdata: Any, sock: Any) -> None:
        if sock is self._sock and self._loop is not None:
            self._loop.add_writer(sock, self._writable)

    def _on_unregister_write(self, _client: Client, _userdata: Any, sock: Any) -> None:
        if sock is self._sock and self._loop is not None:
            self._loop.remove_writer(sock)


def _properties(packet: int, **values: Any) -> Properties:
    """MQTT 5 properties of a packet of that type."""
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


async def _within(seconds: float, event: asyncio.Event, done: Callable[[], bool]) -> None:
    """Wait for `event`, unless it is `done` already, but no longer than that."""
    if not done():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)


def _close(client: Client) -> None:
    """Close a client's socket under it; paho has no way to do so without a word to the broker."""
    client.on_disconnect = client.on_socket_close = client.on_socket_unregister_write = None
    if (sock := client.socket()) is not None:
        sock.close()
