"""The guardian, as a real process beside a real gateway-like one that is killed, stopped, or ends well.

The PWM is a directory with the kernel's files in it: what matters here is who writes "0" into them, and when.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.clock import RealClock
from gateway.guardian import Process
from gateway.safety import Plan, SafePwm
from tests.unit.test_safety import channel

GATEWAY = """
import sys, time
from gateway.clock import RealClock
from gateway.guardian import Process
from gateway.safety import read
guardian = Process(read(sys.argv[1]), RealClock(), 0.5)
guardian.start()
print("started", flush=True)
said = None
while True:
    if said != (said := guardian.beat()):
        print(said or "well", flush=True)
    time.sleep(0.02)
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a guardian, which is well, and the PWM that it has left running."""
    path = channel(tmp_path)
    text = Plan((SafePwm("laser", str(path)),)).text()
    with subprocess.Popen(
        [sys.executable, "-c", GATEWAY, text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "well\n":
            assert process.poll() is None
        yield process, path
        process.kill()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def dark(path: Path) -> bool:
    return (path / "enable").read_text().startswith("0") and (path / "duty_cycle").read_text().startswith("0")


def test_a_gateway_that_is_killed_leaves_no_light(gateway: tuple[subprocess.Popen[str], Path]) -> None:
    process, path = gateway
    assert not dark(path)
    process.kill()
    until(lambda: dark(path))
    assert process.stderr is not None
    assert process.stderr.read() == "guardian: the gateway has died: all outputs are safe\n"


def test_a_gateway_that_does_not_run_is_darkened_and_killed(gateway: tuple[subprocess.Popen[str], Path]) -> None:
    process, path = gateway
    process.send_signal(signal.SIGSTOP)
    until(lambda: dark(path))
    assert process.wait(20) == -signal.SIGKILL
    assert process.stderr is not None
    told = process.stderr.read()
    assert told == "guardian: the gateway did not run for 0.5 s and was killed: all outputs are safe\n"


def test_the_signals_that_end_the_gateway_do_not_end_the_guardian(gateway: tuple[subprocess.Popen[str], Path]) -> None:
    process, path = gateway
    (guardian,) = children(process.pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guardian, number)
    process.kill()
    until(lambda: dark(path))


def test_a_guardian_that_dies_is_missed_and_followed_by_another(
    gateway: tuple[subprocess.Popen[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, path = gateway
    (guardian,) = children(process.pid)
    os.kill(guardian, signal.SIGKILL)
    assert process.stdout is not None
    assert process.stdout.readline() == "the guardian has ended (-9); the next has not taken up its post yet\n"
    assert process.stdout.readline() == "well\n"
    process.kill()
    until(lambda: dark(path))


def test_a_guardian_that_is_told_to_go_touches_nothing(tmp_path: Path) -> None:
    path = channel(tmp_path)
    guardian = Process(Plan((SafePwm("laser", str(path)),)), RealClock(), 5.0)
    before = children(os.getpid())
    guardian.start()
    until(lambda: guardian.beat() == "")
    guardian.stop()
    assert not dark(path)
    assert set(children(os.getpid())) <= set(before)


def test_what_cannot_be_made_safe_is_said(gateway: tuple[subprocess.Popen[str], Path]) -> None:
    process, path = gateway
    (path / "enable").unlink()
    (path / "enable").mkdir()
    process.kill()
    assert process.stderr is not None
    assert "guardian: the gateway has died: NOT all outputs are safe: laser: " in process.stderr.read()


def children(process: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
