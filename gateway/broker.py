"""A private MQTT broker for the demonstration: mosquitto on a free loopback port, gone when the gateway is
gone.

`setpriv --pdeathsig` has the kernel kill the broker when the gateway dies, even of kill -9. The kernel
forgets that wish when a process changes its user, so mosquitto, started as root, is told to stay root.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from gateway.errors import LinkError

HOST = "127.0.0.1"
START_S = 10.0
STOP_S = 2.0
_STEP_S = 0.02
_TRIES = 3


class PrivateBroker:
    """A broker of our own: `start`, then `host` and `port`, then `stop`."""

    host = HOST

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The broker's process; None when it does not run."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it and wait until it listens. Raises LinkError if it is not installed or does not come up."""
        command = _command()
        with tempfile.TemporaryDirectory(prefix="spectrophone-broker-") as name:  # read at the start, needed no longer
            directory = Path(name)
            for _ in range(_TRIES):  # another process may take the port in between
                self.port = _free_port()
                if await self._try(command, directory):
                    return
            said = (directory / "log").read_text(errors="replace").strip().splitlines()
        raise LinkError(f"mosquitto does not start: {said[-1] if said else 'it says nothing'}", "Try it by hand")

    async def stop(self) -> None:
        """End it and wait until it is gone; may be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        if not await _until(lambda: process.poll() is not None, STOP_S):
            process.kill()
            process.wait()

    async def _try(self, command: list[str], directory: Path) -> bool:
        self._process = process = _spawn(command, directory, self.port)
        await _until(lambda: process.poll() is not None or _listens(self.port), START_S)
        if process.poll() is None and _listens(self.port):
            return True
        process.kill()
        process.wait()
        self._process = None
        return False


def _command() -> list[str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    mosquitto, setpriv = shutil.which("mosquitto", path=path), shutil.which("setpriv", path=path)
    if mosquitto is None or setpriv is None:
        name, package = ("mosquitto", "mosquitto") if mosquitto is None else ("setpriv", "util-linux")
        raise LinkError(f"{name} is not installed", f"Install it: apt install {package}")
    return [setpriv, "--pdeathsig", "KILL", mosquitto]


def _spawn(command: list[str], directory: Path, port: int) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches the gateway alone and it can still say goodbye."""
    settings = f"listener {port} {HOST}\nallow_anonymous true\npersistence false\nlog_dest stderr\nlog_type error\n"
    if os.geteuid() == 0:
        settings += "user root\n"
    file = directory / "mosquitto.conf"
    file.write_text(settings)
    with (directory / "log").open("wb") as said:
        return subprocess.Popen(
            [*command, "-c", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


async def _until(done: Callable[[], bool], seconds: float) -> bool:
    """Look every few milliseconds whether it is done, for at most that long."""
    for _ in range(round(seconds / _STEP_S)):
        if done():
            return True
        await asyncio.sleep(_STEP_S)
    return done()
