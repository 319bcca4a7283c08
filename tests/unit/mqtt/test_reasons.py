"""Each way to fail has a sentence with its remedy, and no sentence has the password."""

from __future__ import annotations

import socket
import ssl

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway.mqtt import reasons
from tests.unit.mqtt.samples import settings

LOGIN = settings(username="box", password="open sesame 42")


def certificate_fault():
    fault = ssl.SSLCertVerificationError(1, "certificate verify failed")
    fault.verify_code, fault.verify_message = 20, "unable to get local issuer certificate"
    return fault


def tls_fault():
    fault = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    fault.reason = "WRONG_VERSION_NUMBER"
    return fault


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            certificate_fault(),
            "is not signed by an authority known here (unable to get local issuer certificate). Name its authority in "
            "mqtt.tls.ca",
        ),
        (tls_fault(), "no TLS with the MQTT broker 127.0.0.1:1883: wrong version number"),
        (socket.gaierror(-2, "Name or service not known"), "name 127.0.0.1 is not known"),
        (ConnectionRefusedError(111, "Connection refused"), "no MQTT broker listens at 127.0.0.1:1883"),
        (ConnectionResetError(104, "Connection reset by peer"), "cannot be reached: Connection reset by peer"),
        (TimeoutError("timed out"), "does not answer"),
        (OSError(113, "No route to host"), "cannot be reached: No route to host"),
        (ValueError("odd"), "cannot be reached: odd"),
        (RuntimeError(), "cannot be reached: RuntimeError"),
    ],
)
def test_unreachable(error, says):
    assert says in reasons.unreachable(error, LOGIN)


def connack(name):
    return ReasonCode(PacketTypes.CONNACK, name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Bad user name or password", "refused user box: bad user name or password. Check mqtt.username"),
        ("Not authorized", "refused user box: not authorized. Check mqtt.username"),
        ("Unsupported protocol version", "speaks neither MQTT 5 nor 3.1.1"),
        ("Server busy", "refused us: server busy"),
    ],
)
def test_refused(name, says):
    said = reasons.refused(connack(name), LOGIN)
    assert says in said
    assert "sesame" not in said
    old = reasons.refused(connack("Unsupported protocol version"), settings(protocol="5"))
    assert "does not speak MQTT 5. Set mqtt.protocol to auto" in old


def test_broken():
    taken = ReasonCode(PacketTypes.DISCONNECT, "Session taken over")
    assert "own box.id" in reasons.broken(taken, True, True, LOGIN)
    down = ReasonCode(PacketTypes.DISCONNECT, "Server shutting down")
    assert "server shutting down. Trying again" in reasons.broken(down, True, True, LOGIN)
    odd = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")
    assert "broke. Trying again" in reasons.broken(odd, False, True, LOGIN)
    assert "It may want TLS" in reasons.broken(odd, False, False, LOGIN)
    silent = ReasonCode(PacketTypes.DISCONNECT, "Keep alive timeout")
    assert "127.0.0.1:1883 does not answer. Check" in reasons.broken(silent, False, False, LOGIN)


ALERT = "failed to receive on socket: [SSL: TLSV13_ALERT_UNKNOWN_CA] tlsv13 alert unknown ca (_ssl.c:2576)"


@pytest.mark.parametrize(
    ("tls", "fault", "says"),
    [
        ({}, "", "an answer. It may want a certificate of ours (mqtt.tls.certificate and mqtt.tls.key)"),
        ({}, ALERT, "without an answer: unknown ca. It may want a certificate of ours"),
        ({"certificate": "/box.pem"}, "", "does not take our certificate /box.pem. Check mqtt.tls.certificate"),
        ({"certificate": "/box.pem"}, ALERT, "does not take our certificate /box.pem: unknown ca. Check"),
        ({}, "failed to receive on socket: Connection reset by peer", "without an answer. It may want a certificate"),
    ],
)
def test_an_encrypted_connection_that_ends_at_once(tls, fault, says):
    odd = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")
    assert says in reasons.broken(odd, False, False, settings(tls=tls), fault)


def test_tls_to_a_broker_that_knows_none():
    said = reasons.unreachable(ConnectionResetError(104, "Connection reset by peer"), settings(tls={}))
    assert said == "no TLS with the MQTT broker 127.0.0.1:8883: it hangs up. Check that mqtt.port is its TLS port"


def test_ports():
    assert reasons.port(settings()) == 1883
    assert reasons.port(settings(tls={})) == 8883
    assert reasons.port(settings(port=7)) == 7
