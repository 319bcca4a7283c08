"""The whole gateway as a user runs it: a process of its own, its lines, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE_S = 60.0


class Running:
    """A running `spectrophone`: what it printed so far, and ways to end it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, self.lines)),
            threading.Thread(target=self._read, args=(process.stderr, self.errors)),
        ]
        for reader in self._readers:
            reader.start()

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """What came as JSON lines of that kind."""
        return [o for line in list(self.lines) if line.startswith("{") and (o := json.loads(line))["kind"] == kind]

    def wait(self, done: Callable[[], Any], what: str, seconds: float = DEADLINE_S) -> Any:
        """The first true thing that `done` gives."""

        def look() -> Any:
            found = done()
            assert found or self.process.poll() is None, f"ended while waiting for {what}: {self.said()}"
            return found

        return eventually(look, what, seconds)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal, wait for the end; the exit status."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end that something else has brought about; the exit status."""
        status = self.process.wait(DEADLINE_S)
        for reader in self._readers:
            reader.join()
        return status

    def said(self) -> str:
        """All that was printed."""
        return "\n".join([*self.lines[-20:], *self.errors[-20:]])

    def _read(self, stream: Any, into: list[str]) -> None:
        into.extend(line.rstrip("\n") for line in stream)
        stream.close()


def eventually(done: Callable[[], Any], what: str, seconds: float = DEADLINE_S) -> Any:
    """The first true thing that `done` gives."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := done():
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {seconds:g} s")


@contextmanager
def gateway(directory: Path, *arguments: str, environ: Mapping[str, str] = os.environ) -> Iterator[Running]:
    """Run `spectrophone ARGUMENTS` with its runtime and state in `directory`; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "gateway", *arguments],
        env={**environ, **_directories(directory), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Running(process)
    try:
        yield running
    finally:
        if process.poll() is None:
            running.stop(signal.SIGKILL)


def _directories(directory: Path) -> dict[str, str]:
    return {"RUNTIME_DIRECTORY": str(directory), "STATE_DIRECTORY": str(directory)}


def command(
    directory: Path, *arguments: str, environ: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run `spectrophone ARGUMENTS` to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "gateway", *arguments],
        env={**environ, **_directories(directory)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
