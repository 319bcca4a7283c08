"""The log and the box's health on a real mosquitto."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack, asynccontextmanager

from tests.real.mosquitto import HOST, Mosquitto, free_port, listening, until
from tests.real.mqtt_box import ROOT, box

LOG, HEALTH = f"{ROOT}/log", f"{ROOT}/health"
log = logging.getLogger("spectrophone.watch")


@asynccontextmanager
async def gate(port, inside):
    """A way for one to the broker at `inside` that opens now."""
    left = asyncio.Event()

    async def carry(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    async def guest(reader, writer):
        within = await asyncio.open_connection(HOST, inside)
        await asyncio.gather(carry(reader, within[1]), carry(within[0], writer))
        left.set()

    async with await asyncio.start_server(guest, HOST, port):
        yield
        await left.wait()


def test_warnings_wait_for_the_broker_and_come_once_unretained(tmp_path):
    async def scene():
        port = free_port()
        with Mosquitto(tmp_path) as broker, listening(broker.port, LOG) as ear:
            async with AsyncExitStack() as stack:
                b = await stack.enter_async_context(box(port))
                log.warning("before there was a connection")
                for n in range(3):
                    log.warning("block %d took long", n)
                await until(lambda: "listens" in (b.link.problem or ""))
                async with gate(port, broker.port):
                    await until(lambda: len(ear.messages) == 2)
                    log.warning("now")
                    await until(lambda: len(ear.messages) == 3)
                    await stack.aclose()
        told = [json.loads(m.payload) for m in ear.messages]
        assert [(line["message"], line["count"]) for line in told] == [
            ("before there was a connection", 1), ("block 2 took long", 3), ("now", 1),
        ]  # fmt: skip
        assert not any(m.retain for m in ear.messages)

    asyncio.run(scene())


def test_after_the_end_nobody_listens_to_the_log(tmp_path):
    async def scene():
        before = list(logging.getLogger("spectrophone").handlers)
        with Mosquitto(tmp_path) as broker:
            async with box(broker.port):
                assert len(logging.getLogger("spectrophone").handlers) == len(before) + 1
        assert logging.getLogger("spectrophone").handlers == before

    asyncio.run(scene())


def test_health_is_retained_and_expires(tmp_path):
    async def scene():
        with Mosquitto(tmp_path) as broker:
            async with box(broker.port) as b:
                b.link.health({"load": 0.42})
                with listening(broker.port, HEALTH) as ear:
                    await until(lambda: ear.payload(HEALTH))
                with listening(broker.port, HEALTH) as late:
                    message = await until(lambda: late.newest(HEALTH))
            assert json.loads(message.payload) == {"load": 0.42, "reconnects": 0}
            assert message.retain
            assert 0 < message.properties.MessageExpiryInterval <= 150

    asyncio.run(scene())
