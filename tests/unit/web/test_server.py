"""The server in this process: who does not read is cut off, who is not answered is told, too many are turned away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway import answers
from gateway.types import CommandResult
from gateway.web import desk, server, stream
from tests.support.clock import FakeClock
from tests.support.until import until
from tests.unit.web.box import Box, served, view_of


@asynccontextmanager
async def browser(box: Box) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody at the address that the status tells."""
    place, jar = f"{box.server.status()['address']}api/v1/", aiohttp.CookieJar(unsafe=True)  # an address may have some
    async with aiohttp.ClientSession(place, cookie_jar=jar) as session:
        yield session


def done(command: Any) -> CommandResult:
    return CommandResult(command, True, "", "on")


def test_who_looks_gets_what_there_is_and_a_command_its_answer(tmp_path: Path) -> None:
    async def scene() -> None:
        async with served(tmp_path) as box, browser(box) as session:
            async with session.post("setup", json={"password": "correct horse"}) as answer:
                csrf = (await answer.json())["csrf"]
            async with session.get("state") as answer:
                assert answer.status == 503
            box.tick()
            async with session.get("state") as answer:
                told = await answer.json()
            assert told["outputs"]["cell"] == {"state": "400.0"}
            assert told["results"]["co2"]["ppm"] == pytest.approx(412.345678901234)
            headers = {"X-CSRF-Token": csrf}
            telling = asyncio.create_task(
                session.post("outputs/relay/fan", json={"verb": "on"}, headers=headers).__aenter__()
            )
            await asyncio.sleep(0.05)
            assert not telling.done()
            box.tick(done)
            answer = await telling
            assert await answer.json() == {"done": True, "reason": "", "state": "on"}
            answer.release()

    asyncio.run(scene())


def test_a_command_that_is_not_answered_is_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWER_S", 0.05)

    async def scene() -> None:
        async with served(tmp_path) as box, browser(box) as session:
            async with session.post("setup", json={"password": "correct horse"}) as answer:
                headers = {"X-CSRF-Token": (await answer.json())["csrf"]}
            async with session.post("outputs/relay/fan", json={"verb": "on"}, headers=headers) as answer:
                assert answer.status == 504
            box.tick(done)
            assert box.server._desk._answers._waiting == {}

    asyncio.run(scene())


def test_who_does_not_read_is_cut_off_and_nobody_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "UNREAD_S", 0.3)
    monkeypatch.setattr(stream, "EVERY_S", 0.01)

    async def scene() -> None:
        async with served(tmp_path, guests=True) as box, browser(box) as session:
            box.about["filler"] = "x" * 200_000
            box.tick()
            deaf = socket.socket()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", int(box.server.address.rsplit(":", 1)[1].strip("/"))))
            deaf.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with session.get("stream") as reading:
                seen, streams = 0, set()
                async with asyncio.timeout(20):
                    while streams != {1, 2} or seen < 20 or len(box.server._desk.stream) > 1:
                        box.view.clock.now_ns += 1_000_000_000  # type: ignore[attr-defined]
                        box.tick()
                        streams.add(len(box.server._desk.stream))
                        seen += (await reading.content.readline()).startswith(b"event: measurement")
                        await asyncio.sleep(0.01)
            deaf.close()

    asyncio.run(scene())


def test_so_many_may_listen_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.looking.MOST", 2)

    async def scene() -> None:
        async with served(tmp_path, guests=True) as box, browser(box) as session:
            first, second = await session.get("stream"), await session.get("stream")
            async with session.get("stream") as third:
                assert third.status == 429
                assert third.headers["Retry-After"]
            first.close()
            await until(lambda: len(box.server._desk.stream) == 1)
            fourth = await session.get("stream")
            assert fourth.status == 200
            second.close()
            fourth.close()

    asyncio.run(scene())


def test_a_connection_too_many_is_closed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 1)

    async def scene() -> None:
        async with served(tmp_path) as box, browser(box) as session, session.get("session") as answer:
            assert answer.status == 200
            port = int(box.server.address.rsplit(":", 1)[1].strip("/"))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    asyncio.run(scene())


def test_who_only_shakes_hands_counts_as_a_connection_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(server, "HANDSHAKE_S", 0.2)

    class Serving:
        """Makes protocols; `connections` have shaken hands."""

        def __init__(self) -> None:
            self.connections: list[asyncio.BaseProtocol] = []

        def __call__(self) -> asyncio.BaseProtocol:
            return asyncio.Protocol()

    async def scene() -> None:
        serving = Serving()
        entrance = server.Entrance(serving)  # type: ignore[arg-type]
        first, second, third, fourth = (entrance() for _ in range(4))
        assert [isinstance(each, server._Refused) for each in (first, second, third, fourth)] == [False] * 3 + [True]
        serving.connections = [first]
        assert isinstance(entrance(), server._Refused)
        await asyncio.sleep(0.25)
        assert not isinstance(entrance(), server._Refused)
        serving.connections = [first, second, third]
        assert isinstance(entrance(), server._Refused)

    asyncio.run(scene())


def test_two_at_once_are_looked_up_some_wait_and_the_rest_is_refused(tmp_path: Path) -> None:
    async def scene() -> tuple[int, int]:
        async with served(tmp_path) as box:
            going, most, free = 0, 0, threading.Event()
            guard = threading.Lock()

            def work() -> None:
                nonlocal going, most
                with guard:
                    going += 1
                    most = max(most, going)
                free.wait(20)
                with guard:
                    going -= 1

            tasks = [asyncio.create_task(box.server._desk.aside(work)) for _ in range(desk._WAITING + 3)]
            await asyncio.sleep(0.1)
            free.set()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            return most, len([each for each in found if isinstance(each, Exception)])

    assert asyncio.run(scene()) == (2, 3)


def test_a_port_that_is_taken_is_told_and_the_measurement_goes_on(tmp_path: Path) -> None:
    async def scene() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            made = server.WebServer(server.WebSection(port=port), view_of(tmp_path, FakeClock(), {}))
            await made.start()
            assert f"127.0.0.1:{port} " in made.status()["problem"]
            assert "Write another web.port" in made.status()["problem"]
            taken.close()
            await until(lambda: not made.status()["problem"])
            await made.close()

    asyncio.run(scene())


def test_a_certificate_that_is_not_there_is_told_and_the_measurement_goes_on(tmp_path: Path) -> None:
    async def scene() -> None:
        pair = {"certificate": tmp_path / "none.pem", "key": tmp_path / "none.key"}
        async with served(tmp_path, tls=pair) as box:
            assert "nobody can see the page: web.tls" in box.server.status()["problem"]
            box.tick()

    asyncio.run(scene())


def test_without_a_section_nothing_of_it_is_imported() -> None:
    code = (
        "import gateway.service, gateway.cli.run, sys; print([m for m in sys.modules if m.startswith('gateway.web')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(said.replace("'", '"')) == []
