"""A connection to the broker: paho-mqtt on a socket that the event loop watches. Nothing here decides anything.

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
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.config.sections import Mqtt
from gateway.mqtt import reasons
from gateway.mqtt.commands import Arrival
from gateway.mqtt.session import Publish

log = logging.getLogger("spectrophone.mqtt")

KEEPALIVE_S = 30
WILL_DELAY_S = 5
SESSION_EXPIRY_S = 300
LARGEST_PACKET = 64 * 1024
GOODBYE_S = 1.0


class Ear(Protocol):
    """Who is told what happens on a connection, on the event loop's thread."""

    def accepted(self, window: int) -> None:
        """The broker has taken us in, and takes `window` unacknowledged messages at once."""
        ...

    def lost(self, problem: str, unsupported: bool) -> None:
        """There is no connection, for that reason; `unsupported`: the broker does not speak this version of MQTT."""
        ...

    def arrived(self, arrival: Arrival) -> None:
        """A message has come."""
        ...

    def acknowledged(self, message: Publish, refusal: str) -> None:
        """The broker has a message; or refuses it for good, with that reason."""
        ...

    def refused(self, topics: Sequence[str]) -> None:
        """To these, of those asked for last, the broker lets nobody listen."""
        ...


class Connection:
    """To the broker of `settings`, as `name`; the broker says "offline" on the topic `will` when it breaks."""

    def __init__(self, settings: Mqtt, name: str, will: str, ear: Ear, context: ssl.SSLContext | None) -> None:
        """In a running event loop. `context`: how TLS is spoken; it is not, if absent."""
        self._settings, self._name, self._will, self._ear, self._tls = settings, name, will, ear, context
        self._loop = asyncio.get_running_loop()
        self._client: Client | None = None
        self._sock: Any = None
        self._flying: dict[int, Publish] = {}
        self._wanted: tuple[str, ...] = ()
        self._refusal: ReasonCode | None = None
        self._fault = ""
        self._v5 = self._accepted = self._closing = False
        self._quiet = asyncio.Event()
        self._gone = asyncio.Event()

    def tend(self) -> None:
        """Keep it alive; at least once a second."""
        if (client := self._client) is not None and self._sock is not None:
            self._drive(client.loop_misc)

    async def close(self) -> None:
        """Wait until the broker has what was published, and leave; a second and a half at most."""
        self._closing = True
        if self._accepted and (client := self._client) is not None:
            await _within(GOODBYE_S, self._quiet, lambda: not self._flying)
            self._gone.clear()
            forget = _properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0)
            client.disconnect(properties=forget if self._v5 else None)
            await _within(GOODBYE_S / 2, self._gone, lambda: self._client is None)
        self._drop()

    def dial(self, v5: bool) -> None:
        """Try to connect, with MQTT 5 or 3.1.1; what was there before is dropped."""
        self._drop()
        self._v5, self._refusal, self._fault = v5, None, ""
        self._client = client = self._new_client(v5)
        threading.Thread(target=self._dial, args=(client, v5), name="mqtt-dial", daemon=True).start()

    def publish(self, message: Publish) -> None:
        """Send a message, if there is a connection."""
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

    def subscribe(self, filters: tuple[str, ...]) -> None:
        """Listen at QoS 0: what a broker cannot deliver at once it does not keep, and no command comes minutes late."""
        if self._client is None:
            return
        self._wanted = filters
        if self._v5:
            wish = SubscribeOptions(qos=0, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            self._client.subscribe([(f, wish) for f in filters])
        else:
            self._client.subscribe([(f, 0) for f in filters])

    def _new_client(self, v5: bool) -> Client:
        client = new_client(self._settings, self._name, v5)
        if self._tls is not None:
            client.tls_set_context(self._tls)
            client.on_log = self._on_log
        will = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S) if v5 else None
        client.will_set(self._will, b"offline", 1, retain=True, properties=will)
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
            self._loop.add_reader(self._sock, self._readable)
            if client.want_write():
                self._loop.add_writer(self._sock, self._writable)

    def _lost(self, problem: str, *, unsupported: bool = False) -> None:
        self._flying.clear()
        self._ear.lost(problem, unsupported)

    def _drop(self) -> None:
        """Forget the client, closing its socket without a word."""
        client, self._client = self._client, None
        self._accepted = False
        self._flying.clear()
        if client is not None and self._sock is not None:
            self._unwatch()
            _close(client)

    def _unwatch(self) -> None:
        if self._sock is not None:
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
        self._accepted = True
        self._ear.accepted(window)

    def _on_disconnect(
        self, client: Client, _userdata: Any, flags: DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        self._unwatch()
        self._client = None
        self._gone.set()
        accepted, self._accepted = self._accepted, False
        if self._closing:
            return
        if self._refusal is not None:
            unsupported = self._refusal.value == reasons.UNSUPPORTED
            self._lost(reasons.refused(self._refusal, self._settings), unsupported=unsupported)
        else:
            by_broker = flags.is_disconnect_packet_from_server
            self._lost(reasons.broken(reason, by_broker, accepted, self._settings, self._fault))

    def _on_log(self, client: Client, _userdata: Any, level: int, text: str) -> None:
        """Before the broker's first answer: paho tells nowhere else why it could not read, such as an alert of TLS."""
        if client is self._client and level == LogLevel.MQTT_LOG_ERR:
            self._fault = text

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        answer_to = getattr(message.properties, "ResponseTopic", None)
        correlation = getattr(message.properties, "CorrelationData", None)
        arrival = Arrival(message.topic, bytes(message.payload), message.retain, answer_to, correlation)
        self._ear.arrived(arrival)

    def _on_publish(self, _client: Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        message = self._flying.pop(mid, None)
        if message is not None:
            self._ear.acknowledged(message, str(reason).lower() if reason.is_failure else "")
        if not self._flying:
            self._quiet.set()

    def _on_subscribe(
        self, _client: Client, _userdata: Any, _mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        pairs = zip(self._wanted, codes, strict=False)
        self._ear.refused([topic for topic, code in pairs if code.is_failure])

    def _on_socket_close(self, client: Client, _userdata: Any, _sock: Any) -> None:
        if client is self._client:
            self._unwatch()

    def _on_register_write(self, _client: Client, _userdata: Any, sock: Any) -> None:
        if sock is self._sock:
            self._loop.add_writer(sock, self._writable)

    def _on_unregister_write(self, _client: Client, _userdata: Any, sock: Any) -> None:
        if sock is self._sock:
            self._loop.remove_writer(sock)


def new_client(settings: Mqtt, name: str, v5: bool) -> Client:
    """A client of MQTT 5 or 3.1.1 that has not connected yet and never does so by itself, with what the settings say of
    user and password.
    """
    version = MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311
    clean = None if v5 else True
    client = Client(
        CallbackAPIVersion.VERSION2, name, clean_session=clean, protocol=version, reconnect_on_failure=False
    )
    if settings.username is not None:
        password = settings.password
        client.username_pw_set(settings.username, password.get_secret_value() if password else None)
    return client


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
