"""The link against a real mosquitto: values arrive, breaks heal, commands are answered, and nothing bad gets
through."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import numpy as np
import pytest

from gateway.clock import RealClock
from gateway.mqtt.link import MqttLink
from tests.real.mosquitto import HOST, Mosquitto, free_port, listening, until
from tests.real.mqtt_box import CONFIG, ROOT, STATUS, VALUE, box, number
from tests.unit.mqtt.samples import FACE, Tray, alert, ppm, settings, tick

SECRET = "open sesame 42"


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path) as broker:
        yield broker


@pytest.mark.parametrize("protocol", ["5", "3.1.1", "auto"])
def test_everything_arrives_and_goodbye_is_said(broker, protocol):
    async def scene():
        with listening(broker.port) as ear:
            async with box(broker.port, protocol=protocol) as b:
                await until(lambda: number(ear) == 412.7, "the value")
                await until(lambda: ear.payload(f"{ROOT}/laser") == b"ON", "the laser's state")
                assert ear.payload(STATUS) == b"online"
                assert b.link.problem is None
                b.value = 500.0
                await until(lambda: number(ear) == 500.0, "the new value")
                order = [m.topic for m in ear.messages]
                assert order[0] == STATUS
                assert order.index(f"{ROOT}/info") < order.index(CONFIG) < order.index(VALUE)
                b.extra.append(tick(ppm(), alerts=(alert(),)))
                await until(lambda: ear.payload(f"{ROOT}/alarm"), "the alarm")
            await until(lambda: ear.payload(STATUS) == b"offline", "goodbye")
            assert not any(m.topic == f"{ROOT}/alarm" and m.retain for m in ear.messages)

    asyncio.run(scene())


def test_values_are_retained_but_expire(broker):
    async def scene():
        async with box(broker.port, expire_s=2):
            with listening(broker.port) as ear:
                await until(lambda: number(ear) == 412.7)
        with listening(broker.port) as late:
            await until(lambda: late.payload(f"{ROOT}/laser"))
            kept = late.newest(VALUE)
            assert kept is None or kept.properties.MessageExpiryInterval <= 2
        await asyncio.sleep(2.5)
        with listening(broker.port) as later:
            await until(lambda: later.payload(f"{ROOT}/laser"))
            assert later.payload(VALUE) is None
            assert later.payload(STATUS) == b"offline"

    asyncio.run(scene())


def test_without_mqtt_5_nothing_old_is_retained(broker):
    async def scene():
        with listening(broker.port) as ear:
            async with box(broker.port, protocol="3.1.1"):
                await until(lambda: number(ear) == 412.7)
                with listening(broker.port, STATUS, CONFIG) as late:
                    await until(lambda: late.payload(STATUS) == b"online" and late.payload(CONFIG))
        with listening(broker.port) as later:
            await until(lambda: later.payload(f"{ROOT}/laser"))
            assert later.payload(VALUE) is None

    asyncio.run(scene())


def test_killed_and_restarted_broker(broker):
    async def scene():
        async with box(broker.port) as b:
            with listening(broker.port) as ear:
                await until(lambda: number(ear) == 412.7, "the value")
            broker.kill()
            await until(lambda: b.link.problem, "the problem")
            b.value = 700.0
            b.extra.append(tick(ppm(), alerts=(alert(),)))
            await asyncio.sleep(0.5)
            broker.start()
            with listening(broker.port) as ear:
                await until(lambda: number(ear) == 700.0, "the value after the break")
                assert ear.payload(STATUS) == b"online"
                assert ear.payload(CONFIG)
                await until(lambda: ear.payload(f"{ROOT}/alarm"), "the alarm raised in between")
                await until(lambda: ear.payload(f"{ROOT}/laser") == b"ON", "the states")
            assert b.link.problem is None
            assert b.longest_s < 3.0

    asyncio.run(scene())


def complains(words, port=1883, **options):
    """A box that cannot connect says so in these words, and its loop goes on."""

    async def scene():
        async with box(port, **options) as b:
            await until(lambda: words in (b.link.problem or ""), words)

    asyncio.run(scene())


def test_no_broker_is_a_sentence():
    complains("no MQTT broker listens", free_port())


def test_an_unknown_host_is_a_sentence(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    complains("cannot be reached", host="not..a..name")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    complains("name broker.lan is not known", host="broker.lan")


def test_a_handshake_that_never_ends_delays_nothing():
    async def scene():
        async with served(lambda reader, writer: reader.read()) as port, box(port, tls={}) as b:
            await until(lambda: "does not answer" in (b.link.problem or ""), "the end of patience")
            assert b.longest_s < 3.0  # patience ends after five seconds; a loop that waited would show it

    asyncio.run(scene())


def test_a_broker_that_takes_nothing_is_complained_of_once(tmp_path, caplog):
    rights = tmp_path / "rights"
    rights.write_text("topic read #\n")
    rights.chmod(0o600)

    async def scene():
        with Mosquitto(tmp_path, f"acl_file {rights}") as broker:
            async with box(broker.port) as b:
                await until(lambda: "refuses" in (b.link.problem or ""))
                await asyncio.sleep(2)
                assert "not authorized. Allow a box without user name to write" in (b.link.problem or "")

    asyncio.run(scene())
    assert caplog.text.count("not authorized. Allow") == 1


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_said_once_then_the_right_one_is_taken(tmp_path, caplog, protocol):
    caplog.set_level(logging.DEBUG)

    async def scene():
        with Mosquitto(tmp_path, users={"box": SECRET}) as broker:
            async with box(broker.port, username="box", password="wrong one", protocol=protocol) as b:
                await until(lambda: "refused user box" in (b.link.problem or ""))
                await asyncio.sleep(3)
            async with box(broker.port, protocol=protocol) as b:
                await until(lambda: "without user name" in (b.link.problem or ""))
            async with box(broker.port, username="box", password=SECRET, protocol=protocol):
                with listening(broker.port, user=("box", SECRET)) as ear:
                    await until(lambda: number(ear) == 412.7)

    asyncio.run(scene())
    said = [r.getMessage() for r in caplog.records if "refused user box" in r.getMessage()]
    assert len(said) == 1
    assert "Check mqtt.username and mqtt.password" in said[0]
    assert "wrong one" not in caplog.text
    assert SECRET not in caplog.text


def ask(ear, target, payload, **more):
    ear.publish(f"{ROOT}/{target}/set", payload, **more)


def answer(ear, topic=f"{ROOT}/result"):
    payload = ear.payload(topic)
    return payload and json.loads(payload)


def test_commands_are_done_refused_and_answered(broker):
    async def scene():
        async with box(broker.port) as b:
            with listening(broker.port, f"{ROOT}/#", "me/#") as ear:
                await until(lambda: ear.payload(f"{ROOT}/laser"))
                ask(ear, "relay/fan", "ON", ResponseTopic="me/answers", CorrelationData=b"\x00q7")
                reply = await until(lambda: ear.newest("me/answers"), "the answer")
                assert reply.properties.CorrelationData == b"\x00q7"
                assert json.loads(reply.payload)["done"] is True
                assert (await until(lambda: answer(ear)))["target"] == "relay/fan"
                for target, payload, reason in (
                    ("pump", "ON", "there is no pump"),
                    ("measurement/co2", "3", "can only be read"),
                    ("cell", "NaN", "not JSON"),
                    ("laser", "maybe", "does not know"),
                    ("laser", b"\xff", "not UTF-8"),
                ):
                    ask(ear, target, payload)
                    refused = await until(lambda r=reason: (a := answer(ear)) and r in a["reason"] and a, reason)
                    assert (refused["done"], refused["origin"]) == (False, "mqtt")
                b.tray.full = True
                ask(ear, "laser", "OFF")
                await until(lambda: "too many" in answer(ear)["reason"], "the refusal of a full inbox")

    asyncio.run(scene())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_retained_command_never_acts(broker, protocol):
    async def scene():
        with listening(broker.port, f"{ROOT}/#") as ear:
            ask(ear, "laser", "OFF", retain=True)
            async with box(broker.port, protocol=protocol) as b:
                taken = []
                b.tray.put = taken.append  # type: ignore[method-assign]
                await until(lambda: ear.payload(f"{ROOT}/cell"))
                if protocol == "5":
                    assert answer(ear) is None  # retained messages are not even sent to us
                    ask(ear, "laser", "OFF", retain=True)
                await until(lambda: "retained" in (answer(ear) or {"reason": ""})["reason"])
                assert taken == []

    asyncio.run(scene())


def test_home_assistants_birth_brings_everything_again(broker):
    async def scene():
        async with box(broker.port):
            with listening(broker.port) as ear:
                await until(lambda: number(ear) == 412.7)
                ear.messages.clear()
                ear.publish("homeassistant/status", "online")
                await until(lambda: ear.payload(CONFIG), "discovery")
                await until(lambda: ear.payload(f"{ROOT}/laser"), "the states")

    asyncio.run(scene())


WILL = """
import asyncio, sys
import numpy as np
from gateway.clock import RealClock
from gateway.mqtt.link import MqttLink
from tests.unit.mqtt.samples import FACE, OUTCOME, Tray, full_tick, settings

async def main(port):
    link = MqttLink(settings(port=port), FACE, Tray(), RealClock(), np.random.default_rng(1))
    await link.start()
    while True:
        link.offer(full_tick(), OUTCOME)
        await asyncio.sleep(0.1)

asyncio.run(main(int(sys.argv[1])))
"""


def run_box(port):
    """A box in a process of its own."""
    places = os.pathsep.join(p for p in [os.getcwd(), *sys.path] if p)
    return subprocess.Popen([sys.executable, "-c", WILL, str(port)], env=os.environ | {"PYTHONPATH": places})


def test_kill_9_publishes_the_will(broker):
    async def scene():
        with listening(broker.port) as ear:
            process = run_box(broker.port)
            try:
                await until(lambda: ear.payload(STATUS) == b"online", "online")
                await until(lambda: number(ear) == 412.7, "the value")
            finally:
                process.kill()
                process.wait()
            await until(lambda: ear.payload(STATUS) == b"offline", "the will")

    asyncio.run(scene())


def speaks_5(connect):
    """Whether a CONNECT packet, given whole, asks for MQTT 5."""
    return connect[connect.index(b"\x00\x04MQTT") + 6] == 5


@asynccontextmanager
async def served(serve):
    """The port of a server that hands each connection to `serve`; all are closed in the end."""
    writers, tasks = [], []

    async def take(reader, writer):
        writers.append(writer)
        tasks.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)

    server = await asyncio.start_server(take, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*tasks, *(writer.wait_closed() for writer in writers), return_exceptions=True)


async def drip(reader, writer):
    """Pass everything on, every byte alone."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(4096):
            for i in range(len(data)):
                writer.write(data[i : i + 1])
                await writer.drain()
                await asyncio.sleep(0)
    writer.close()


def proxy(port, only_3_1_1=False):
    """A way to the broker on which every byte travels alone, and maybe a broker of the old days in front of
    it."""

    async def serve(reader, writer):
        ahead = b""
        if only_3_1_1 and speaks_5(ahead := await reader.read(4096)):
            writer.write(b"\x20\x02\x00\x01")
            await writer.drain()
            writer.close()
            return
        inner, outer = await asyncio.open_connection(HOST, port)
        outer.write(ahead)
        await asyncio.gather(drip(reader, outer), drip(inner, writer))
        await asyncio.gather(outer.wait_closed(), return_exceptions=True)

    return served(serve)


def test_closing_is_quick_even_when_nobody_answers():
    async def scene():
        async with served(lambda reader, writer: reader.read()) as port:
            link = MqttLink(settings(port=port), FACE, Tray(), RealClock(), np.random.default_rng(1))
            await link.start()
            await asyncio.sleep(0.3)
            async with asyncio.timeout(2):
                await link.close()
            await link.close()

    asyncio.run(scene())


def test_byte_by_byte(broker):
    async def scene():
        async with proxy(broker.port) as port, box(port):
            with listening(broker.port) as ear:
                await until(lambda: number(ear) == 412.7, "the value")
                ask(ear, "relay/fan", "ON", ResponseTopic="me/answers")
                await until(lambda: ear.newest("me/answers"), "the answer")

    asyncio.run(scene())


def test_a_broker_that_refuses_mqtt_5_gets_3_1_1(broker):
    async def scene():
        async with proxy(broker.port, only_3_1_1=True) as port:
            async with box(port):
                with listening(broker.port) as ear:
                    await until(lambda: number(ear) == 412.7, "the value")
            async with box(port, protocol="5") as b:
                await until(lambda: "does not speak MQTT 5. Set mqtt.protocol to auto" in (b.link.problem or ""))

    asyncio.run(scene())
