"""The private broker: it listens on loopback, says why it cannot, and leaves no process behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gateway.broker import PrivateBroker
from gateway.errors import LinkError
from tests.real.mosquitto import listening, until
from tests.real.mqtt_box import VALUE, box, number


def running(pid: int) -> bool:
    """Whether the process lives; a zombie does not."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_a_box_and_a_listener_meet_and_nothing_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def scene():
        broker = PrivateBroker()
        await broker.start()
        pid = broker.pid
        assert pid is not None
        try:
            async with box(broker.port):
                with listening(broker.port, VALUE) as ear:
                    await until(lambda: number(ear) == 412.7)
        finally:
            await broker.stop()
        await broker.stop()
        assert not running(pid)
        assert not list(tmp_path.iterdir())

    asyncio.run(scene())


def test_two_private_brokers_live_side_by_side():
    async def scene():
        first, second = PrivateBroker(), PrivateBroker()
        await asyncio.gather(first.start(), second.start())
        try:
            assert first.port != second.port
        finally:
            await asyncio.gather(first.stop(), second.stop())

    asyncio.run(scene())


CHILD = """
import asyncio
from gateway.broker import PrivateBroker

async def main():
    broker = PrivateBroker()
    await broker.start()
    print(broker.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def run_child(directory):
    """A process with a private broker, and the broker's pid."""
    places = os.pathsep.join(p for p in [os.getcwd(), *sys.path] if p)
    environment = os.environ | {"PYTHONPATH": places, "TMPDIR": str(directory)}
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, env=environment, text=True)
    assert child.stdout is not None
    with child.stdout:
        return child, int(child.stdout.readline())


def test_kill_9_of_the_gateway_leaves_nothing(tmp_path):
    async def scene():
        child, pid = run_child(tmp_path)
        assert running(pid)
        child.kill()
        child.wait()
        await until(lambda: not running(pid), "the broker's end")
        assert not list(tmp_path.iterdir())

    asyncio.run(scene())


def test_missing_mosquitto_is_a_sentence(monkeypatch):
    monkeypatch.setattr("gateway.broker.shutil.which", lambda *_, **__: None)
    with pytest.raises(LinkError, match=r"mosquitto is not installed\. Install it: apt install mosquitto"):
        asyncio.run(PrivateBroker().start())


def test_a_mosquitto_that_fails_is_quoted(tmp_path, monkeypatch):
    fake = tmp_path / "mosquitto"
    fake.write_text("#!/bin/sh\necho 'Error: out of luck' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(LinkError, match="does not start: Error: out of luck"):
        asyncio.run(PrivateBroker().start())
