"""What stands around the attacks at one level, so that a harm done is seen: see `Stage`."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import logging
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from aiosmtpd.smtp import SMTP

from gateway.clock import RealClock
from gateway.scripts import broker, host, process, quota
from gateway.scripts.host import Scripts
from gateway.scripts.running import Script
from gateway.scripts.work import Work
from gateway.types import Command
from tests.servers.authority import Authority

PATIENCE_S, LOADING_S = 20.0, 1.5
AT_ONCE = 6
TICK_S = 0.01
MEASUREMENT = {"concentration_ppm": 412.0, "source_node_id": "co2"}
ORDINARY = """
def on_measurement(measurement):
    return measurement["concentration_ppm"] * 2
"""


@dataclass(slots=True)
class Stage:
    """An event loop that ticks, zygotes, an ordinary script that goes on being called, and canaries: a secret in the
    environment and in files that anybody may read, servers that nobody may reach, names that nobody may resolve.

    `reached` says which of these were; `leaks` what was left over when the stage was struck.
    """

    level: str
    checks: bool
    place: Path
    scripts: Scripts
    secret: str
    ports: dict[str, int] = field(default_factory=dict)
    ticks: int = 0
    longest_gap_s: float = 0.0
    ordinary: int = 0
    mails: int = 0
    neighbour: Script | None = None
    log: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


class Hearing:
    """An inbox that keeps what comes, and a newsroom with three old entries."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def put(self, command: Command) -> None:
        """See Inbox."""
        self.commands.append(command)

    def drain(self) -> tuple[Command, ...]:
        """See Inbox."""
        return ()

    def rows(self, after: int, most: int) -> tuple[list[dict[str, Any]], int]:
        """See Newsroom."""
        return [{**MEASUREMENT, "concentration_ppm": 398.0 + each} for each in range(after, 3)], 3

    def statistics(self) -> dict[str, Any]:
        """See Newsroom."""
        return {"co2": {"count": 3}}


@contextlib.asynccontextmanager
async def staged(level: str, checks: bool) -> AsyncIterator[Stage]:
    """A stage at this level. When it is struck, `leaks` says what is left over."""
    place = _place()
    before, others = _descriptors(), set(_processes())
    secret = f"canary-{secrets.token_hex(8)}"
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as around:
        around.callback(os.rmdir, place)
        around.callback(clear, place)
        around.enter_context(mock.patch.dict(os.environ, {"GATEWAY_SECRET": secret}))
        around.enter_context(mock.patch.object(quota, "GLANCE_S", 0.0025))
        stage = Stage(level, checks, place, Scripts(RealClock(), level), secret)  # type: ignore[arg-type]
        around.enter_context(_names_kept(stage))
        around.enter_context(_lines_kept(stage))
        await _open_canaries(stage, around)
        around.push_async_callback(stage.scripts.close)
        ticking = loop.create_task(_tick(stage))
        stage.neighbour = await _ordinary(stage)
        around.push_async_callback(stage.neighbour.close)
        calling = loop.create_task(_go_on(stage))
        around.enter_context(mock.patch.object(process, "LOAD_S", LOADING_S))
        yield stage
        for task in (calling, ticking):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await calling
    for _ in range(100):
        stage.leaks = [f"process {pid}" for pid in set(_processes()) - others]
        stage.leaks += [f"descriptor {each}" for each in _descriptors() - before]
        if not stage.leaks:
            break
        await asyncio.sleep(0.05)


async def _tick(stage: Stage) -> None:
    while True:
        begun = time.monotonic()
        await asyncio.sleep(TICK_S)
        stage.ticks += 1
        stage.longest_gap_s = max(stage.longest_gap_s, time.monotonic() - begun - TICK_S)


async def _ordinary(stage: Stage) -> Script:
    """The neighbour, once it runs; with numpy, so that both zygotes are there."""
    file = stage.place / "ordinary.py"
    file.write_text(ORDINARY)
    hearing = Hearing()
    for allowed in ((), ("numpy",)):
        work = Work("ordinary", str(file), "module", allowed_imports=allowed, timeout_s=PATIENCE_S, hot_reload=False)
        script = Script(work, stage.scripts, RealClock(), hearing, hearing)
        script.start()
        assert await script.call("on_measurement", [dict(MEASUREMENT)]) == 824.0
        if allowed:
            return script
        await script.close()
    raise AssertionError


async def _go_on(stage: Stage) -> None:
    """The ordinary script is called all the while, and answers as ever."""
    assert stage.neighbour is not None
    while True:
        assert await stage.neighbour.call("on_measurement", [dict(MEASUREMENT)]) == 824.0
        stage.ordinary += 1
        await asyncio.sleep(0.05)


@contextlib.contextmanager
def _names_kept(stage: Stage) -> Iterator[None]:
    """Names that the broker resolves."""
    real = broker.resolve

    def resolve(host: str, port: int) -> list[Any]:
        if host != "127.0.0.1":
            stage.reached.append(f"the name {host}")
        return real(host, port)

    with mock.patch.object(broker, "resolve", resolve):
        yield


@contextlib.contextmanager
def _lines_kept(stage: Stage) -> Iterator[None]:
    """The gateway's log, instead of where it goes."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            stage.log.append(record.getMessage())

    logger, kept = logging.getLogger("spectrophone.scripts"), Keep()
    before = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(kept)
    try:
        yield
    finally:
        logger.removeHandler(kept)
        logger.level, logger.propagate = before


async def _open_canaries(stage: Stage, around: contextlib.AsyncExitStack) -> None:
    """Servers: one that is listed, and others that must not be reached, by TCP, UDP and local sockets."""
    loop = asyncio.get_running_loop()

    def caught(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stage.reached.append(f"a server: {writer.get_extra_info('sockname')}")
        writer.close()

    async def listed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(4096)
        if b" /redirect " in head:
            there = f"http://127.0.0.1:{stage.ports['port']}/"
            writer.write(f"HTTP/1.0 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nlisted")
        writer.close()

    class Packets(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: Any) -> None:
            stage.reached.append(f"a datagram: {data!r}")

    class Mails:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            stage.mails += 1
            return "250 OK"

    for name, server in (
        ("listed", await asyncio.start_server(listed, "127.0.0.1", 0)),
        ("port", await asyncio.start_server(caught, None, 0)),
        ("unix", await asyncio.start_unix_server(caught, stage.place / "socket")),
        ("abstract", await asyncio.start_unix_server(caught, f"\0{stage.place.name}")),
    ):
        around.callback(server.close)
        if name in ("listed", "port"):
            stage.ports[name] = server.sockets[0].getsockname()[1]
    (stage.place / "socket").chmod(0o777)
    packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packets.bind(("127.0.0.1", 0))
    stage.ports["udp"] = packets.getsockname()[1]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*_certificate())
    mails = await loop.create_server(lambda: SMTP(Mails(), tls_context=tls, require_starttls=True), "127.0.0.1", 0)
    around.callback(mails.close)
    stage.ports["mail"] = mails.sockets[0].getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(Packets, sock=packets)
    around.callback(transport.close)


def _descriptors() -> set[str]:
    """What this process has open, by what it leads to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{name}: {os.readlink(f'/proc/self/fd/{name}')}")
    return found


def _processes() -> list[int]:
    """Zygotes, workers and whatever they have started: all have the zygote's command line, which names this tree."""
    mark = str(host._ROOT).encode()
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if (
                name.isdigit()
                and mark in (line := Path("/proc", name, "cmdline").read_bytes())
                and b"zygote.main" in line
            ):
                found.append(int(name))
    return found


def clear(place: str | Path) -> None:
    """Delete what lies in a directory, however deep it is and whatever its modes are."""
    subprocess.run(["chmod", "-R", "u+rwX", place], check=True)
    subprocess.run(["find", place, "-mindepth", "1", "-delete"], check=True)


def _place() -> Path:
    """A directory that everybody may cross; not in /tmp, where a worker has one of its own to write in."""
    place = Path(tempfile.mkdtemp(prefix="hostile-", dir="/var/tmp"))
    place.chmod(0o755)
    return place


@functools.cache
def _certificate() -> tuple[Path, Path]:
    """One for the mail server, and its key."""
    place = Path(tempfile.mkdtemp(prefix="hostile-mail-"))
    atexit.register(shutil.rmtree, place)
    return Authority(place).issue("mail")
