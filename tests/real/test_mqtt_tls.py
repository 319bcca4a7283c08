"""Encryption against a real mosquitto: verified, with our own certificate where wanted, and never
downgraded."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from gateway.clock import RealClock
from gateway.errors import LinkError
from gateway.mqtt.link import MqttLink
from tests.real.mosquitto import HOST, Mosquitto, tls_lines, until
from tests.real.mqtt_box import ROOT, box
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


def certified(pair, authority):
    """Lines of mosquitto.conf for a server with that certificate and key."""
    return [f"cafile {authority.file}", f"certfile {pair[0]}", f"keyfile {pair[1]}"]


def mended(tmp_path, caplog, wrong, right, words, users=None, **options):
    """A box at a broker of the lines `wrong` says `words`, in log and problem, once each, and tries on: at one of the
    lines `right` it gets through by itself."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()

    async def scene():
        with Mosquitto(first, *wrong, users=users and users[0]) as broker:
            port = broker.port
            async with box(port, **options) as b:
                said = await until(lambda: words in (b.link.problem or "") and b.link.problem, words)
                await asyncio.sleep(2)
                assert b.link.problem == said
                broker.kill()
                with Mosquitto(second, *right, users=users and users[1], port=port):
                    await until(lambda: b.link.problem is None, "the connection", 60.0)
        return said, port

    said, port = asyncio.run(scene())
    assert f"{HOST}:{port}" in said
    assert "sesame" not in caplog.text
    assert caplog.text.count(said) == 1


def test_a_certificate_that_has_expired_and_is_renewed(tmp_path, authority, caplog):
    old = certified(authority.issue("old", days=-1), authority)
    words = "has expired. It must be renewed there; check this box's clock too"
    mended(tmp_path, caplog, old, tls_lines(authority), words, tls={"ca": authority.file})


def test_a_certificate_that_is_not_valid_yet_as_on_a_box_whose_clock_is_behind(tmp_path, authority, caplog):
    new = certified(authority.issue_for_later("new"), authority)
    words = "is not valid yet. Check this box's clock"
    mended(tmp_path, caplog, new, tls_lines(authority), words, tls={"ca": authority.file})


def test_a_plain_broker_at_the_port_of_tls(tmp_path, authority, caplog):
    words = "it hangs up. Check that mqtt.port is its TLS port"
    mended(tmp_path, caplog, [], tls_lines(authority), words, tls={"ca": authority.file})


def test_a_password_that_becomes_right(tmp_path, authority, caplog):
    lines = tls_lines(authority)
    users = ({"box": "another word"}, {"box": "open sesame"})
    login = {"username": "box", "password": "open sesame"}
    words = "refused user box: not authorized. Check mqtt.username and mqtt.password"
    mended(tmp_path, caplog, lines, lines, words, users, tls={"ca": authority.file}, **login)


def rights(tmp_path, name, *rules):
    """The line of mosquitto.conf for this access list."""
    file = tmp_path / name
    file.write_text("\n".join(rules) + "\n")
    file.chmod(0o600)
    return f"acl_file {file}"


EVERYTHING = "topic readwrite #"


@pytest.mark.parametrize(
    ("protocol", "rules", "words"),
    [
        ("5", (EVERYTHING, f"topic deny {ROOT}/measurement/co2"), f"refuses {ROOT}/measurement/co2: not authorized"),
        ("5", (f"topic readwrite {ROOT}/#",), "/config: not authorized. Allow a box without user name to write"),
        ("5", ("topic write #",), "gives us no commands: what is sent to"),
        ("3.1.1", ("topic read #",), "MQTT 3.1.1 does not tell which"),
    ],
)
def test_an_access_list_that_keeps_a_topic_from_us(tmp_path, authority, caplog, protocol, rules, words):
    lines = tls_lines(authority)
    few, all_ = rights(tmp_path, "few", *rules), rights(tmp_path, "all", EVERYTHING)
    mended(tmp_path, caplog, [*lines, few], [*lines, all_], words, tls={"ca": authority.file}, protocol=protocol)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_subscription_that_is_refused(tmp_path, authority, caplog, protocol):
    """Mosquitto's access file grants all; its plugin of access lists does not."""
    (plugin,) = Path("/usr/lib").glob("*/mosquitto_dynamic_security.so")
    may = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
    groups = [{"groupname": "all", "roles": []}]
    rules = {"defaultACLAccess": may, "clients": [], "groups": groups, "roles": [], "anonymousGroup": "all"}
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rules))
    lines = tls_lines(authority)
    wrong = [*lines, f"plugin {plugin}", f"plugin_opt_config_file {file}"]
    words = f"refuses our subscription to {ROOT}/+/set, {ROOT}/+/+/set"
    mended(tmp_path, caplog, wrong, lines, words, tls={"ca": authority.file}, protocol=protocol)


def test_the_access_list_in_the_guide_is_enough(tmp_path, authority):
    guide = (Path(__file__).parents[2] / "docs/mqtt.md").read_text("utf-8")
    rules = [line.strip() for line in guide.splitlines() if line.startswith(("    user box", "    topic "))]
    file = rights(tmp_path, "guide", *(rule.replace("spectrophone/lab-42", ROOT) for rule in rules))
    login = {"username": "box", "password": "open sesame"}

    async def scene():
        with Mosquitto(tmp_path, *tls_lines(authority), file, users={"box": "open sesame"}) as broker:
            async with box(broker.port, tls={"ca": authority.file}, **login) as b:
                await until(lambda: b.link.problem is None, "the connection")
                for _ in range(400):
                    assert b.link.problem is None
                    await asyncio.sleep(0.02)

    asyncio.run(scene())


def test_a_certificate_of_ours_that_the_broker_does_not_know(tmp_path, authority, caplog):
    stranger = Authority(tmp_path / "stranger", "Somebody else").issue("box5")
    tls = {"ca": authority.file, "certificate": stranger[0], "key": stranger[1]}
    lines = tls_lines(authority)
    words = f"does not take our certificate {stranger[0]}"
    mended(tmp_path, caplog, [*lines, "require_certificate true"], lines, words, tls=tls)


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
