"""Encryption against a real mosquitto: verified, with our own certificate where wanted, and never
downgraded."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest

from gateway.clock import RealClock
from gateway.errors import LinkError
from gateway.mqtt.link import MqttLink
from tests.real.mosquitto import HOST, Mosquitto, tls_lines, until
from tests.real.mqtt_box import box
from tests.servers.authority import Authority, openssl
from tests.unit.mqtt.samples import FACE, Tray, settings


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def connects(port, **tls):
    """A box with these tls options gets through."""

    async def scene():
        async with box(port, tls=tls) as b:
            await until(lambda: b.link.problem is None, "the connection")

    asyncio.run(scene())


def complains(port, words, **options):
    """A box with these options never connects, and says `words`."""

    async def scene():
        async with box(port, **options) as b:
            await until(lambda: words in (b.link.problem or ""), words)
            for _ in range(100):
                assert b.link.problem is not None
                await asyncio.sleep(0.02)

    asyncio.run(scene())


def test_own_authority(tmp_path, authority):
    with Mosquitto(tmp_path, *tls_lines(authority)) as broker:
        connects(broker.port, ca=authority.file)


def test_wrong_authority_is_refused_said_once_and_never_downgraded(tmp_path, authority, caplog):
    other = Authority(tmp_path / "other", "Somebody else")
    caplog.set_level(logging.INFO)
    with Mosquitto(tmp_path, *tls_lines(authority)) as broker:
        complains(broker.port, "not signed by an authority known here", tls={"ca": other.file})
        complains(broker.port, "not signed by an authority known here", tls={})
        said = [r.getMessage() for r in caplog.records if "not signed by an authority known here" in r.getMessage()]
        assert len(said) == 2
        assert f"{HOST}:{broker.port}" in said[0]
        assert "mqtt.tls.ca" in said[0]


def test_the_name_in_the_certificate_counts(tmp_path, authority):
    with Mosquitto(tmp_path, *tls_lines(authority, "broker.lan")) as broker:
        complains(broker.port, "is for another name", tls={"ca": authority.file})
        connects(broker.port, ca=authority.file, server_name="broker.lan")


def test_tls_against_a_broker_without_and_the_other_way_round(tmp_path, authority):
    with Mosquitto(tmp_path) as plain:
        complains(plain.port, "MQTT broker", tls={"ca": authority.file})
    with Mosquitto(tmp_path, *tls_lines(authority)) as encrypted:
        complains(encrypted.port, "It may want TLS")


def test_client_certificate(tmp_path, authority):
    lines = [*tls_lines(authority), "require_certificate true"]
    certificate, key = authority.issue("box1")
    with Mosquitto(tmp_path, *lines) as broker:
        complains(broker.port, "certificate of ours", tls={"ca": authority.file})
        connects(broker.port, ca=authority.file, certificate=certificate, key=key)


def start(**tls):
    """What start() says of these options."""

    async def scene():
        link = MqttLink(settings(tls=tls), FACE, Tray(), RealClock(), np.random.default_rng(1))
        with pytest.raises(LinkError) as raised:
            await link.start()
        await link.close()
        return str(raised.value)

    return asyncio.run(scene())


def test_files_that_are_missing_or_wrong_fail_at_the_start(tmp_path, authority):
    certificate, key = authority.issue("box2")
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.touch()
    assert start(ca=missing).startswith(f"{missing} (mqtt.tls.ca) cannot be read: No such file")
    assert start(ca=tmp_path).startswith(f"{tmp_path} (mqtt.tls.ca) cannot be read: Is a directory")
    assert "holds no certificate" in start(ca=empty)
    assert "holds no certificate" in start(ca=key)
    assert "mqtt.tls.certificate) cannot be read" in start(ca=authority.file, certificate=missing, key=key)
    assert "mqtt.tls.key) cannot be read" in start(ca=authority.file, certificate=certificate, key=missing)
    assert "belong together" in start(ca=authority.file, certificate=certificate, key=authority.issue("box3")[1])
    assert "belong together" in start(ca=authority.file, certificate=certificate)
    assert "without mqtt.tls.certificate" in start(ca=authority.file, key=key)


def test_an_encrypted_key_asks_nobody(tmp_path, authority):
    certificate, key = authority.issue("box4")
    locked = tmp_path / "locked.key"
    openssl("ec", "-in", key, "-aes128", "-passout", "pass:sesame", "-out", locked)
    assert "must not be encrypted" in start(ca=authority.file, certificate=certificate, key=locked)
