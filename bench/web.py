"""What a crowd at the page costs the measurement: 200 clients of the live stream, 50 of which never read a byte.

Two gateways run side by side on the simulated box, one with a page and the crowd, one without either, so that both see
the same machine. Told is how late a measurement is printed after its record's end, by its 99th percentile and as a
ratio; the memory of the gateway with the crowd at the beginning and at the end; how long the page takes to answer
meanwhile; and what the page costs in memory before anybody has come.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENTS, DEAF = 200, 50
SETTLE_S = 15.0
CONFIG = """\
box: {{id: {box}}}
processing:
  default_graph:
    nodes:
      - {{id: lock, type: lock_in, parameters: {{integration_s: 0.1}}}}
      - {{id: co2, type: concentration, parameters: {{source: lock, polynomial_coefficients: [0, 41000, 0, 0, 0]}}}}
rules: []
"""


@dataclass
class Gateway:
    """A running one: how late its measurements came, and since when that counts."""

    process: asyncio.subprocess.Process
    status: Path
    late_s: list[float] = field(default_factory=list)
    there: asyncio.Event = field(default_factory=asyncio.Event)
    overruns_before: int = 0
    cpu_before_s: float = 0.0

    def begin(self) -> None:
        """It counts from now on."""
        self.late_s.clear()
        self.overruns_before += self.overruns()
        self.cpu_before_s += self.cpu_s()

    def cpu_s(self) -> float:
        """Seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") - self.cpu_before_s

    def overruns(self) -> int:
        """How many blocks took longer than they last."""
        count: int = json.loads(self.status.read_text())["overruns"]
        return count - self.overruns_before

    def rss_mb(self) -> float:
        """Its memory, resident."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def p99_ms(self) -> float:
        """How late 99 of 100 measurements were not."""
        ordered = sorted(self.late_s)
        return 1e3 * ordered[int(0.99 * (len(ordered) - 1))]

    async def listen(self) -> None:
        """Take its lines as they come."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            now_s = time.time()
            fields = json.loads(line)
            if fields["kind"] == "measurement":
                self.late_s.append(now_s - datetime.fromisoformat(fields["time"]).timestamp())

    async def hear(self) -> None:
        """Its log."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if b"the page is at" in line:
                self.there.set()


@asynccontextmanager
async def running(directory: Path, box: str, web: str) -> AsyncIterator[Gateway]:
    """A gateway on the simulated box; `web` is its section, or nothing."""
    file = directory / f"{box}.yaml"
    file.write_text(CONFIG.format(box=box) + web)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    environ |= {"RUNTIME_DIRECTORY": str(directory), "STATE_DIRECTORY": str(directory)}
    command = [sys.executable, "-m", "gateway", "run", "--json", "--config", str(file)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=directory, env=environ, stdout=pipe, stderr=pipe)
    made = Gateway(process, directory / f"{box}.json")
    hearing = [asyncio.create_task(made.listen()), asyncio.create_task(made.hear())]
    try:
        yield made
    finally:
        process.terminate()
        await process.wait()
        for task in hearing:
            task.cancel()


async def asked(port: int, path: str, token: str, body: str = "", head: str = "") -> tuple[float, str]:
    """How long a request takes, and what comes."""
    begin_s = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    who = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{who}{head}"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}\r\n{body}".encode())
    said = (await reader.read()).decode()
    writer.close()
    return time.perf_counter() - begin_s, said


class Crowd:
    """The clients."""

    def __init__(self, port: int, token: str) -> None:
        self.events = self.ended = 0
        head = f"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        self._port, self._head = port, head.encode()
        self._deaf: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self) -> None:
        """All of them."""
        for _ in range(DEAF):
            deaf = socket.socket()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", self._port))
            deaf.sendall(self._head)
            self._deaf.append(deaf)
        for _ in range(CLIENTS - DEAF):
            self._tasks.append(asyncio.create_task(self._read()))
            await asyncio.sleep(0.01)

    async def _read(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        writer.write(self._head)
        try:
            while data := await reader.read(65536):
                self.events += data.count(b"event: ")
        finally:
            self.ended += 1
            writer.close()

    def reading(self) -> int:
        """How many read still."""
        return len(self._tasks) - self.ended

    async def go(self) -> int:
        """All leave; how many of the deaf had been cut off."""
        cut = 0
        for deaf in self._deaf:
            deaf.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                try:
                    while deaf.recv(65536):
                        pass
                    cut += 1
                except ConnectionResetError:
                    cut += 1
            deaf.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return cut


@dataclass
class Found:
    """What was measured."""

    seconds: float
    cost_mb: float
    begin_mb: float
    end_mb: float
    reading: int
    cut: int
    events: int
    took_s: list[float]

    @property
    def good(self) -> bool:
        """Whether it is as it should be."""
        return self.reading == CLIENTS - DEAF and self.end_mb - self.begin_mb < 5.0 and self.cost_mb < 25.0

    def tell(self, plain: Gateway, shown: Gateway) -> None:
        """In words."""
        took_s, blocks = sorted(self.took_s), self.seconds * 10
        with_ms, without_ms = shown.p99_ms(), plain.p99_ms()
        print(f"{self.seconds:g} s, {CLIENTS - DEAF} clients that read and {DEAF} that never do")
        print(f"late, p99: {with_ms:.1f} ms with, {without_ms:.1f} ms without: {with_ms / without_ms:.2f} times")
        shown_percent, plain_percent = (100 * each.cpu_s() / self.seconds for each in (shown, plain))
        print(f"CPU: {shown_percent:.1f} % of a core with, {plain_percent:.1f} % without")
        print(f"blocks that took too long: {shown.overruns()} with, {plain.overruns()} without, of {blocks:.0f}")
        print(f"events a second and client: {self.events / self.seconds / (CLIENTS - DEAF):.2f}")
        print(f"still reading: {self.reading}; cut off for not reading: {self.cut}")
        grown_mb = self.end_mb - self.begin_mb
        print(f"memory of the gateway: {self.begin_mb:.1f} MB at first, {self.end_mb:.1f} at last: {grown_mb:+.1f} MB")
        print(f"page and state answer in {1e3 * took_s[len(took_s) // 2]:.1f} ms (longest {1e3 * took_s[-1]:.0f} ms)")
        print(f"the page costs {self.cost_mb:.1f} MB before anybody has come")


async def measure(seconds: float) -> bool:
    """Run, and print; whether all is as it should be."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        web = f"web: {{port: {port}}}\n"
        async with running(directory, "plain", "") as plain, running(directory, "shown", web) as shown:
            await asyncio.wait_for(shown.there.wait(), 60.0)
            token = await made_token(port)
            await asyncio.sleep(SETTLE_S)
            for _ in range(20):
                await asked(port, "/api/v1/state", token)
            found = await crowded(plain, shown, Crowd(port, token), (port, token), seconds)
            found.tell(plain, shown)
            return found.good


async def crowded(plain: Gateway, shown: Gateway, crowd: Crowd, way: tuple[int, str], seconds: float) -> Found:
    """What it is like with the crowd at the one and not at the other; `way` is port and token."""
    port, token = way
    cost_mb = shown.rss_mb() - plain.rss_mb()
    await crowd.come()
    await asyncio.sleep(SETTLE_S)
    for gateway in (plain, shown):
        gateway.begin()
    crowd.events, begin_mb, took_s = 0, shown.rss_mb(), list[float]()
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        await asyncio.sleep(1.0)
        took_s += [(await asked(port, path, token))[0] for path in ("/", "/api/v1/state")]
    end_mb, reading, events = shown.rss_mb(), crowd.reading(), crowd.events
    return Found(seconds, cost_mb, begin_mb, end_mb, reading, await crowd.go(), events, took_s)


async def made_token(port: int) -> str:
    """Set the password, and make a token."""
    _, said = await asked(port, "/api/v1/setup", "", '{"password": "correct horse"}')
    head, told = said.split("\r\n\r\n", 1)
    cookie = next(line.split(": ", 1)[1].split(";")[0] for line in head.split("\r\n") if line.startswith("Set-Cookie"))
    body = '{"name": "crowd", "scope": "read"}'
    csrf = json.loads(told)["csrf"]
    _, said = await asked(port, "/api/v1/tokens", "", body, f"Cookie: {cookie}\r\nX-CSRF-Token: {csrf}\r\n")
    token: str = json.loads(said.split("\r\n\r\n", 1)[1])["token"]
    return token


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (600)")
    sys.exit(0 if asyncio.run(measure(parser.parse_args().seconds)) else 1)
