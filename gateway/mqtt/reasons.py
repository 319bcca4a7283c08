"""Why there is no connection, in sentences for people: what is wrong, then what to do. No password is ever in
them."""

from __future__ import annotations

import re
import socket
import ssl

from paho.mqtt.reasoncodes import ReasonCode

from gateway import tls
from gateway.config.sections import Mqtt, Tls
from gateway.mqtt.topics import Topics

UNSUPPORTED = 0x84
_BAD_LOGIN = (0x86, 0x87, 0x8C)
_TAKEN_OVER = 0x8E
_SILENT = 0x8D
_ALERT = re.compile(r"alert ([a-z ]+)")
"""What OpenSSL says of an alert that came: "[SSL: TLSV13_ALERT_UNKNOWN_CA] tlsv13 alert unknown ca (_ssl.c:2576)"."""


def place(settings: Mqtt) -> str:
    """HOST:PORT."""
    return f"{settings.host}:{port(settings)}"


def port(settings: Mqtt) -> int:
    """The port, or the usual one."""
    return settings.port or (1883 if settings.tls is None else 8883)


def user(settings: Mqtt) -> str:
    """Who the box is to the broker."""
    return f"user {settings.username}" if settings.username else "a box without user name"


def unheard(settings: Mqtt, topics: Topics, *, v5: bool) -> str:
    """What it means that a message to ourselves does not come back."""
    said, allow = f"the MQTT broker {place(settings)}", f"Allow {user(settings)} to"
    where = f"{topics.root}/# in its access list"
    if v5:
        return f"{said} gives us no commands: what is sent to {topics.echo} does not come. {allow} read {where}"
    said += " drops what we publish or gives us no commands; MQTT 3.1.1 does not tell which"
    return f"{said}. {allow} read and write {where}"


def unreachable(error: Exception, settings: Mqtt) -> str:
    """Why dialling failed."""
    where = place(settings)
    if isinstance(error, ssl.SSLError):
        return tls.fault(error, f"the MQTT broker {where}", "mqtt.tls")
    if isinstance(error, socket.gaierror):
        return f"the MQTT broker's name {settings.host} is not known. Check mqtt.host and the network"
    if isinstance(error, ConnectionRefusedError):
        return f"no MQTT broker listens at {where}. Check mqtt.host and mqtt.port, and that the broker runs"
    if isinstance(error, ConnectionResetError) and settings.tls is not None:
        return f"no TLS with the MQTT broker {where}: it hangs up. Check that mqtt.port is its TLS port"
    if isinstance(error, TimeoutError):
        return f"the MQTT broker {where} does not answer. Check mqtt.host, mqtt.port and the network"
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return f"the MQTT broker {where} cannot be reached: {why}. Check mqtt.host and the network"


def refused(reason: ReasonCode, settings: Mqtt) -> str:
    """Why the broker did not take our CONNECT."""
    where = place(settings)
    if reason.value in _BAD_LOGIN:
        who = user(settings)
        remedy = "Check mqtt.username and mqtt.password"
        return f"the MQTT broker {where} refused {who}: {str(reason).lower()}. {remedy}"
    if reason.value == UNSUPPORTED:
        if settings.protocol == "auto":
            return f"the MQTT broker {where} speaks neither MQTT 5 nor 3.1.1. Use a newer broker"
        return f"the MQTT broker {where} does not speak MQTT {settings.protocol}. Set mqtt.protocol to auto"
    return f"the MQTT broker {where} refused us: {str(reason).lower()}. Its log may tell why"


def broken(reason: ReasonCode, by_broker: bool, answered: bool, settings: Mqtt, fault: str = "") -> str:
    """Why the connection ended; `answered`: the broker had taken our CONNECT before; `fault`: what paho says."""
    where = place(settings)
    if by_broker and reason.value == _TAKEN_OVER:
        return f"another client took our name at the MQTT broker {where}. Give every box its own box.id"
    if by_broker:
        return f"the MQTT broker {where} ended the connection: {str(reason).lower()}. Trying again"
    if answered:
        return f"the connection to the MQTT broker {where} broke. Trying again"
    if reason.value == _SILENT:
        return f"the MQTT broker {where} does not answer. Check that mqtt.host and mqtt.port are those of a broker"
    if settings.tls is None:
        return f"the MQTT broker {where} closed the connection without an answer. It may want TLS (mqtt.tls)"
    return _untrusted(where, settings.tls, fault)


def _untrusted(where: str, ours: Tls, fault: str) -> str:
    """A broker that ends an encrypted connection at once does not like our certificate, or that there is none."""
    alert = _ALERT.search(fault)
    why = f": {alert[1].strip()}" if alert else ""
    if ours.certificate is None:
        said = f"the MQTT broker {where} closed the connection without an answer{why}"
        return f"{said}. It may want a certificate of ours (mqtt.tls.certificate and mqtt.tls.key)"
    said = f"the MQTT broker {where} does not take our certificate {ours.certificate}{why}"
    return f"{said}. Check mqtt.tls.certificate, and that the broker knows its authority"
