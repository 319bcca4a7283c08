"""A script that really runs: zygote, worker and walls, in the hand of a test."""

from __future__ import annotations

import asyncio
import os
import tempfile
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.clock import RealClock
from gateway.inbox import CommandInbox
from gateway.scripts.host import Scripts
from gateway.scripts.running import Script
from gateway.scripts.work import Failure, Waiting, Work

PATIENCE_S = 30.0


class News:
    """A Newsroom that a test fills."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.told: dict[str, Any] = {}

    def rows(self, after: int, most: int) -> tuple[list[dict[str, Any]], int]:
        found = self.entries[after : after + most]
        return found, after + len(found)

    def statistics(self) -> dict[str, Any]:
        return self.told


class Bench:
    """One script and what is around it."""

    def __init__(self, file: Path, scripts: Scripts, **about: Any) -> None:
        self.file, self.scripts = file, scripts
        self.inbox, self.news = CommandInbox(), News()
        self.work = Work("node", str(file), **{"style": "module", **about})
        self.script = Script(self.work, scripts, RealClock(), self.inbox, self.news)

    async def call(self, hook: str = "on_measurement", *arguments: Any) -> Any:
        """Call, however often it must be asked."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await self.script.call(hook, list(arguments or ({},)))
                except Waiting:
                    await asyncio.sleep(0.02)

    async def failure(self, hook: str = "on_measurement", *arguments: Any) -> str:
        """Call, and say why it came to nothing."""
        try:
            value = await self.call(hook, *arguments)
        except Failure as fault:
            return fault.reason
        raise AssertionError(f"the call gave {value!r}")

    async def until(self, done: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """The status, when it is as wanted."""
        end = asyncio.get_running_loop().time() + PATIENCE_S
        while not done(status := self.script.status()):
            assert asyncio.get_running_loop().time() < end, f"no {what}: {status}"
            await asyncio.sleep(0.02)
        return status

    def write(self, source: str) -> None:
        """Save the file anew, as an editor does."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(textwrap.dedent(source))
        fresh.replace(self.file)

    @property
    def log(self) -> list[str]:
        """What it has logged."""
        return [line["text"] for line in self.script.status()["log"]]


@asynccontextmanager
async def bench(source: str, level: Any = "auto", least: Any = "C", **about: Any) -> AsyncIterator[Bench]:
    """A script that is started, and ended without anything left."""
    before = set(os.listdir("/proc/self/fd"))
    with tempfile.TemporaryDirectory() as directory:
        scripts = Scripts(RealClock(), level, least)
        made = Bench(Path(directory, "co2.py"), scripts, **about)
        made.write(source)
        made.script.start()
        try:
            yield made
        finally:
            await made.script.close()
            await scripts.close()
    left = {name: _target(name) for name in set(os.listdir("/proc/self/fd")) - before}
    assert not {name: target for name, target in left.items() if target}, left


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:  # that of the listing itself
        return ""


def run(work: Callable[[], Any]) -> None:
    """Run a coroutine function to its end."""
    asyncio.run(work())
