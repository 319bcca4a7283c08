"""A server of Debian's as a process of a test: found, started until it answers, ended with the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HOST = "127.0.0.1"
DEADLINE_S = 60.0
STEP_S = 0.01


def program(name: str, package: str, *places: Path) -> str:
    """Where it is, in `places` first; the suite fails with the line that installs it."""
    path = [*map(str, places), os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"]
    found = shutil.which(name, path=os.pathsep.join(path))
    assert found, f"{name} is missing: apt install {package}"
    return found


def wait_until(done: Callable[[], bool], what: Callable[[], str]) -> None:
    """Return when `done`; AssertionError with `what` when it stays undone."""
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end, f"{what()} within {DEADLINE_S:g} s"
        time.sleep(STEP_S)


class Process:
    """A program that can be ended and started again; what it says goes to the file `log`.

    The kernel ends it with the thread that started it, so nothing is left when the suite itself is killed: start it
    from a thread that lives as long as the server is wanted.
    """

    def __init__(
        self, command: Sequence[str | Path], log: Path, environ: dict[str, str], *, setpriv: Sequence[str] = ()
    ):
        self._command = ["setpriv", "--pdeathsig", "KILL", *setpriv, "--", *map(str, command)]
        self._log, self._environ = log, environ
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, answers: Callable[[], bool]) -> None:
        """Start, and return when it answers; AssertionError with its words when it ends instead, or stays silent."""
        assert self._process is None, f"{self._command[-1]} runs already"
        with self._log.open("ab") as said:
            process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=self._environ
            )
        self._process = process

        def ready() -> bool:
            assert process.poll() is None, f"ended with {process.returncode}: {self.said()}"
            return answers()

        try:
            wait_until(ready, lambda: f"no answer: {self.said()}")
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def end(self, number: signal.Signals) -> None:
        """Send the signal and wait for the end; nothing when it does not run."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"did not end on {number.name} within {DEADLINE_S:g} s: {self.said()}") from None
        finally:
            self._process = None

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:]
