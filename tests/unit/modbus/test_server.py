"""The server on real sockets of loopback: reads, writes through the inbox, and clients that are no good."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import MappingProxyType

import pytest

from gateway import answers
from gateway.config.sections import ModbusSection
from gateway.modbus import server as module
from gateway.modbus.server import CLIENTS, ModbusServer
from gateway.types import CommandResult, Outcome
from tests.support.clock import FakeClock
from tests.support.until import until
from tests.unit.mqtt.samples import EVERYTHING, Tray, ppm, tick

VALUE = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 1004, 2)
STATES = MappingProxyType({"laser": "on", "threshold/co2_high": "1000"})


def write(number: float) -> bytes:
    return struct.pack(">HHHBBHHBf", 2, 0, 11, 1, 16, 40_000, 2, 4, number)


class Box:
    """A server that has measured once, and its inbox."""

    def __init__(self, **options: object) -> None:
        self.inbox, self.clock = Tray(), FakeClock()
        settings = ModbusSection.model_validate({"port": 0, **options})
        self.server = ModbusServer(settings, EVERYTHING, self.inbox, self.clock, lambda: None)
        self.server.offer(tick(ppm(412.5)), Outcome((), STATES))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.status()["port"])

    async def ask(self, request: bytes) -> bytes:
        reader, writer = await self.connect()
        writer.write(request)
        response = await _message(reader)
        writer.close()
        return response

    async def answer(self, *, done: bool) -> None:
        """What the gateway says to the command that comes."""
        await until(lambda: self.inbox.commands)
        results = tuple(CommandResult(command, done) for command in self.inbox.drain())
        self.server.offer(tick(ppm(412.5)), Outcome(results, STATES))


async def _message(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(6)
    return header + await reader.readexactly(int.from_bytes(header[4:6], "big"))


@asynccontextmanager
async def serving(**options: object) -> AsyncIterator[Box]:
    box = Box(**options)
    await box.server.start()
    try:
        yield box
    finally:
        await box.server.close()


def scene(play: Callable[[Box], Awaitable[None]], **options: object) -> None:
    async def played() -> None:
        async with serving(**options) as box:
            await play(box)

    asyncio.run(played())


def test_a_value_is_read() -> None:
    async def play(box: Box) -> None:
        assert (await box.ask(VALUE))[9:] == struct.pack(">f", 412.5)
        await until(lambda: box.server.status()["clients"] == 0)
        assert box.server.status()["requests"] == 1
        assert box.server.status()["refused"] == 0

    scene(play)


def test_a_threshold_goes_through_the_inbox_and_waits_for_its_answer() -> None:
    async def play(box: Box) -> None:
        asked = asyncio.create_task(box.ask(write(900.1)))
        await until(lambda: box.inbox.commands)
        (command,) = box.inbox.commands
        assert (command.target, command.verb, command.origin) == ("threshold/co2_high", "set", "modbus:127.0.0.1")
        assert command.args == {"value": 900.1}
        assert not asked.done()
        await box.answer(done=True)
        assert await asked == bytes.fromhex("0002 0000 0006 01 10 9c40 0002")

    scene(play, writes="thresholds")


@pytest.mark.parametrize(("number", "code"), [(900.0, 4), (2e6, 3), (float("nan"), 3)])
def test_what_the_door_refuses_is_answered_with_an_exception(number: float, code: int) -> None:
    async def play(box: Box) -> None:
        asked = asyncio.create_task(box.ask(write(number)))
        await box.answer(done=False)
        assert (await asked)[7:] == bytes([0x90, code])
        assert box.server.status()["refused"] == 1

    scene(play, writes="thresholds")


def test_nothing_is_written_unless_the_configuration_says_so() -> None:
    async def play(box: Box) -> None:
        assert (await box.ask(write(900.0)))[7:] == bytes([0x90, 1])
        assert not box.inbox.commands

    scene(play)


def test_a_full_inbox_and_an_answer_that_does_not_come_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWER_S", 0.02)

    async def play(box: Box) -> None:
        assert (await box.ask(write(900.0)))[7:] == bytes([0x90, 6])
        (late,) = box.inbox.drain()
        box.server.offer(tick(ppm(412.5)), Outcome((CommandResult(late, True),), STATES))
        box.inbox.full = True
        assert (await box.ask(write(900.0)))[7:] == bytes([0x90, 6])

    scene(play, writes="thresholds")


def test_what_is_no_modbus_is_hung_up_on() -> None:
    async def play(box: Box) -> None:
        reader, writer = await box.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert await _ended(reader)
        writer.close()
        assert (await box.ask(VALUE))[9:] == struct.pack(">f", 412.5)

    scene(play)


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


def test_the_one_that_is_silent_longest_makes_room() -> None:
    async def play(box: Box) -> None:
        connected = []
        for _ in range(CLIENTS):
            reader, writer = await box.connect()
            box.clock.advance(1.0)
            writer.write(VALUE)
            await _message(reader)
            connected.append((reader, writer))
        connected[0][1].write(VALUE)
        await _message(connected[0][0])
        assert (await box.ask(VALUE))[9:] == struct.pack(">f", 412.5)
        assert await _ended(connected[1][0])
        connected[0][1].write(VALUE)
        assert (await _message(connected[0][0]))[9:] == struct.pack(">f", 412.5)
        assert box.server.status()["clients"] <= CLIENTS
        for _, writer in connected:
            writer.close()

    scene(play)


def test_who_does_not_take_answers_is_asked_nothing_more_and_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAKES_S", 0.2)
    block = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 1000, 54)

    async def play(box: Box) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", box.server.status()["port"]))
        await until(lambda: box.server.status()["clients"] == 1)
        sending = asyncio.create_task(_pour(sock, block))
        (client,) = box.server._clients.values()
        largest = 0
        while box.server.status()["clients"]:
            largest = max(largest, client.writer.transport.get_write_buffer_size())
            await asyncio.sleep(0.001)
        assert 0 < largest < 8192
        assert (await box.ask(VALUE))[9:] == struct.pack(">f", 412.5)
        sending.cancel()
        await asyncio.wait([sending])
        sock.close()

    scene(play)


async def _pour(sock: socket.socket, request: bytes) -> None:
    try:
        while True:
            await asyncio.get_running_loop().sock_sendall(sock, request * 100)
    except OSError:
        return


def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.02)

    async def play(box: Box) -> None:
        reader, writer = await box.connect()
        assert await _ended(reader)
        writer.close()

    scene(play)


def test_a_port_that_is_taken_is_told_and_tried_again() -> None:
    async def played() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            async with serving(port=port) as box:
                assert f"cannot listen on 127.0.0.1 port {port}" in box.server.status()["problem"]
                other.close()
                await until(lambda: not box.server.status()["problem"])
                assert (await box.ask(VALUE))[9:] == struct.pack(">f", 412.5)

    asyncio.run(played())


def test_the_end_hangs_up_on_everybody() -> None:
    async def play(box: Box) -> None:
        reader, writer = await box.connect()
        await until(lambda: box.server.status()["clients"] == 1)
        await box.server.close()
        assert await _ended(reader)
        writer.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await box.connect()

    scene(play)
