"""The MQTT broker: found, reached, trusted, let in, and allowed to publish. One connection of our own, beside the
gateway's and under another name. What it publishes only the gateway reads, as if it were its own message to itself.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import LogLevel, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from gateway import design, tls
from gateway.clock import Clock
from gateway.config.sections import Mqtt
from gateway.doctor.finding import Said, missing, needless, ok, warning
from gateway.doctor.place import Place
from gateway.mqtt import reasons
from gateway.mqtt.connection import new_client
from gateway.mqtt.topics import Topics

PATIENCE_S = 8.0
SOON_DAYS = 14.0
_ACCESS = "Check its access list"


def broker(place: Place) -> Said:
    """The configured broker, as the gateway will meet it."""
    settings = place.config.mqtt
    if settings is None:
        return needless("no mqtt section: nothing is published")
    box = design.box_id(place.config)
    said, unsupported = _Visit(settings, box, settings.protocol != "3.1.1", place.clock).said()
    if unsupported and settings.protocol == "auto":
        said, _ = _Visit(settings, box, False, place.clock).said()
    return said


class _Visit:
    """One connection: in, a message, a subscription, out."""

    def __init__(self, settings: Mqtt, box: str, v5: bool, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._topics = Topics(settings.base_topic, box)
        self._v5 = v5
        self._entered: ReasonCode | None = None
        self._left: tuple[ReasonCode, bool] | None = None
        self._fault = ""
        self._came = False
        self._published: ReasonCode | None = None
        self._subscribed: list[ReasonCode] | None = None
        self._client = self._new_client(f"spectrophone_{box}_doctor{os.getpid()}")

    def said(self) -> tuple[Said, bool]:
        """What the broker says, and whether it does not know this version of MQTT. Raises LinkError for our files."""
        settings, client = self._settings, self._client
        if settings.tls is not None:
            client.tls_set_context(tls.context(settings.tls, settings.host, "mqtt.tls"))
        try:
            if self._v5:
                client.connect(settings.host, reasons.port(settings), clean_start=True)
            else:
                client.connect(settings.host, reasons.port(settings))
        except Exception as error:
            return _two(reasons.unreachable(error, settings)), False
        try:
            return self._inside()
        finally:
            client.disconnect()
            client.loop(0.1)
            if (sock := client.socket()) is not None:
                sock.close()

    def _inside(self) -> tuple[Said, bool]:
        settings, where = self._settings, reasons.place(self._settings)
        self._run(lambda: self._entered is not None)
        if self._entered is not None and self._entered.is_failure:
            return _two(reasons.refused(self._entered, settings)), self._entered.value == reasons.UNSUPPORTED
        if self._left is not None:
            return _two(reasons.broken(*self._left, False, settings, self._fault)), False
        if self._entered is None:
            return missing(f"the MQTT broker {where} does not answer", "Check that it is an MQTT broker"), False
        encrypted = self._encryption()
        self._client.subscribe([(topic, 0) for topic in self._topics.commands])
        self._client.publish(self._topics.echo, b"", 1, False)
        self._run(lambda: self._published is not None and (self._came or self._published.is_failure))
        if self._published is None or self._published.is_failure:
            why = "does not acknowledge" if self._published is None else str(self._published).lower()
            found = f"the MQTT broker {where} drops what is published below {self._topics.root}: {why}"
            return missing(found, _ACCESS), False
        if self._subscribed is None or any(code.is_failure for code in self._subscribed):
            return missing(f"the MQTT broker {where} gives us no commands: it refused to subscribe", _ACCESS), False
        if not self._came:
            return _two(reasons.unheard(settings, self._topics, v5=self._v5)), False
        return self._well(where, encrypted), False

    def _well(self, where: str, encrypted: tuple[str, float | None]) -> Said:
        words, days = encrypted
        who = f"as user {self._settings.username}" if self._settings.username else "without user name"
        version = "MQTT 5" if self._v5 else "MQTT 3.1.1"
        found = f"{where} lets us in with {version}, {who}, {words}, and takes what is below {self._topics.root}"
        if days is not None and days < SOON_DAYS:
            return warning(f"{found}; its certificate ends in {days:.0f} days", "It must be renewed there")
        return ok(found)

    def _encryption(self) -> tuple[str, float | None]:
        """In words, and the days until the broker's certificate ends."""
        sock: Any = self._client.socket()
        if not isinstance(sock, ssl.SSLSocket):
            return "not encrypted", None
        until = (sock.getpeercert() or {}).get("notAfter")
        if not isinstance(until, str):
            return f"{sock.version()}", None
        return f"{sock.version()}", (ssl.cert_time_to_seconds(until) - self._clock.utc_ns() / 1e9) / 86400

    def _new_client(self, name: str) -> Client:
        client = new_client(self._settings, name, self._v5)
        client.on_log = self._on_log
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        return client

    def _run(self, done: Callable[[], bool]) -> None:
        """Let paho work until that, or the end of the connection, or of our patience."""
        end_ns = self._clock.monotonic_ns() + round(PATIENCE_S * 1e9)
        while not done() and self._left is None and self._clock.monotonic_ns() < end_ns:
            if self._client.loop(0.1) is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                return

    def _on_log(self, _client: Client, _data: Any, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._fault = text

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._entered = reason

    def _on_disconnect(self, _client: Client, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._left = reason, bool(flags.is_disconnect_packet_from_server)

    def _on_publish(self, _client: Client, _data: Any, _mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._published = reason

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._came = self._came or message.topic == self._topics.echo

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons_: list[ReasonCode], _properties: Any
    ) -> None:
        self._subscribed = reasons_


def _two(sentences: str) -> Said:
    """What is wrong, and what to do, which stand in one text."""
    found, _, remedy = sentences.partition(". ")
    return missing(found, remedy)
