"""A script that is saved two hundred times while alerts come: half of the saves are broken, and half are done in parts.

Looks at the file are the test's own to make, so that each save is seen for certain, half-written ones included; in the
last test they are the gateway's own, and come often.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.scripts import running
from tests.support.scripted import Bench, bench, run
from tests.support.until import until

SAVES = 200
GOOD = """
VERSION = {version}
ready = False

def initialize(config):
    global ready
    ready = True

def on_alert(alert):
    return [VERSION, ready, alert["n"]]
"""
BROKEN: tuple[bytes, ...] = (
    GOOD.replace("def on_alert(alert):", "def on_alert(alert)").encode(),
    GOOD.replace("ready = True", "raise ValueError('no gas')").encode(),
    GOOD.replace("ready = False", "ready = missing").encode(),
    b"",
    bytes(range(256)) * 8,
    b"\xff\xfe\x00" + GOOD.encode("utf-16"),
    GOOD.encode() + b"#" * (256 << 10),
    GOOD.replace("def initialize(config):", "def initialize(config):\n    import os").encode(),
)
CLASS = """
class Counting(CustomPythonAction):
    def __init__(self, api):
        self.ready = True

    def on_trigger(self, trigger_type, data):
        return [{version}, self.ready, data["n"]]
"""
BROKEN_CLASS: tuple[bytes, ...] = (
    CLASS.replace("Counting", "Counted").encode(),
    CLASS.replace("self.ready = True", "self.ready = api.no_such_thing()").encode(),
    CLASS.replace("(self, trigger_type, data):", "(self, trigger_type, data)").encode(),
    b"Counting = 7\n",
)


class Alerts:
    """Alerts that come all the time, each with its number, until it is over."""

    def __init__(self, b: Bench, hook: str) -> None:
        self.answers: list[list[Any]] = []
        self._bench, self._hook, self._over = b, hook, False
        self._task = asyncio.create_task(self._come())

    async def _come(self) -> None:
        while not self._over:
            data = {"n": len(self.answers)}
            arguments = (data,) if self._hook == "on_alert" else ("concentration", data)
            self.answers.append(await self._bench.call(self._hook, *arguments))
            await asyncio.sleep(0.001)

    async def end(self) -> list[list[Any]]:
        """No more of them; the answers to all."""
        self._over = True
        await self._task
        return self.answers


async def look(b: Bench) -> None:
    """Two looks at the file, between which it was the same, and what comes of them."""
    for _ in range(2):
        await b.script._look_at_file()
    if b.script._loading is not None:
        await b.script._loading


async def save(b: Bench, version: int, good: str, broken: tuple[bytes, ...]) -> bool:
    """Save a version, every second one broken; every fourth is written in two parts, with a look at the first. Whether
    it is to be the one that runs."""
    fine = version % 2 == 0
    source = good.replace("{version}", str(version)).encode() if fine else broken[version // 2 % len(broken)]
    if version % 4 < 2:
        with b.file.open("wb") as file:
            file.write(source[:-8])
            file.flush()
            await b.script._look_at_file()
            file.write(source[-8:])
    else:
        fresh = b.file.with_suffix(".new")
        fresh.write_bytes(source)
        fresh.replace(b.file)
    await look(b)
    return fine


@pytest.mark.parametrize("style", ["module", "class"])
def test_two_hundred_saves(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good, broken = (GOOD, BROKEN) if style == "module" else (CLASS, BROKEN_CLASS)
    hook = "on_alert" if style == "module" else "on_trigger"
    about: dict[str, Any] = {"style": style, "class_name": "Counting" if style == "class" else ""}
    monkeypatch.setattr(running, "FILE_LOOKS", 1 << 60)

    async def main() -> None:
        async with bench(good.replace("{version}", "0"), **about) as b:
            alerts = Alerts(b, hook)
            await b.until(lambda found: alerts.answers, "first alert")
            running_version = 0
            for version in range(1, SAVES + 1):
                fine = await save(b, version, good, broken)
                running_version = version if fine else running_version
                found = b.script.status()
                assert (found["reload_problem"] is None) == fine, (version, found["reload_problem"])
                some = len(alerts.answers) + 2  # the first may have been under way
                await b.until(lambda found, some=some: len(alerts.answers) >= some, "alerts")
                assert alerts.answers[-1][0] == running_version
            answers = await alerts.end()
            found = await b.until(lambda found: workers(b) == {found["pid"]}, "end of the versions before")
            assert (found["reloads"], found["deaths"], found["violations"]) == (SAVES // 2, 0, 0)
            assert [number for _, _, number in answers] == list(range(len(answers)))
            assert {(version % 2, ready) for version, ready, _ in answers} == {(0, True)}
            versions = [version for version, _, _ in answers]
            assert versions == sorted(versions)
            assert set(versions) == set(range(0, SAVES + 1, 2))
            zygotes = {zygote.pid for zygote in b.scripts._zygotes.values()}
            pids = zygotes | workers(b)
        await until(lambda: not alive(pids))

    run(main)  # the bench compares /proc/self/fd before and after


def alive(pids: set[int]) -> list[int]:
    """Those that run; a dead one that nobody has asked for has no command line."""
    return [pid for pid in pids if (line := Path(f"/proc/{pid}/cmdline")).exists() and line.read_bytes()]


def workers(b: Bench) -> set[int]:
    """The children of all zygotes."""
    found: set[int] = set()
    for zygote in b.scripts._zygotes.values():
        found |= {int(pid) for pid in Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children").read_text().split()}
    return found


def test_saves_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's own looks, made often: saves come faster than they, and faster than a version can be loaded."""
    monkeypatch.setattr(running, "LOOK_NS", 2_000_000)

    async def main() -> None:
        async with bench(GOOD.replace("{version}", "0")) as b:
            alerts = Alerts(b, "on_alert")
            await b.until(lambda found: alerts.answers, "first alert")
            for version in range(1, SAVES + 1):
                source = BROKEN[version // 2 % len(BROKEN)] if version % 2 else GOOD.encode()
                source = source.replace(b"{version}", str(version).encode())
                with b.file.open("wb") as file:
                    for part in (source[:-8], source[-8:]):  # the first is no whole script
                        file.write(part)
                        file.flush()
                        await asyncio.sleep(version % 7 * 0.002)
            await b.until(lambda found: alerts.answers[-1][0] == SAVES, "last version")
            answers = await alerts.end()
            assert [number for _, _, number in answers] == list(range(len(answers)))
            assert {(version % 2, ready) for version, ready, _ in answers} == {(0, True)}
            await b.until(lambda found: workers(b) == {found["pid"]}, "end of the versions before")

    run(main)
