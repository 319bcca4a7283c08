"""What is looked at from outside, of workers whose use is the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.scripts.overseer import BUSY_LOOKS, IDLE_LOOKS, Overseer
from gateway.scripts.work import Work

WORK = Work("mail", "mail.py", "module", memory_bytes=10 << 20)


@dataclass
class Worker:
    """Some worker's use."""

    state: str = "idle"
    pid: int = 7
    used: int = 0
    seconds: float = 0.0
    killed: list[str] = field(default_factory=list)

    def memory_bytes(self) -> int:
        return self.used

    def cpu_s(self) -> float:
        return self.seconds

    def kill(self, reason: str) -> None:
        self.killed.append(reason)


def look(overseer: Overseer, worker: Any, looks: int = IDLE_LOOKS, calls: int = 1) -> None:
    overseer.look(worker, looks, calls)


@pytest.mark.parametrize(
    ("state", "looks", "seen"),
    [
        ("sealing", 1, 0),
        ("sealed", 1, 0),
        ("loading", 1, 1),
        ("calling", 1, 1),
        ("idle", 1, 0),
        ("idle", 8, 1),
        ("ended", 8, 0),
    ],
)
def test_too_much_memory_ends_it_as_soon_as_it_is_looked_at(state: str, looks: int, seen: int) -> None:
    worker = Worker(state, used=11 << 20)
    look(Overseer(WORK), worker, looks)
    assert worker.killed == ["was stopped: memory limit 10 MB exceeded (11 MB)"] * seen


def test_work_between_calls_is_told_and_then_ended(caplog: pytest.LogCaptureFixture) -> None:
    overseer, worker = Overseer(WORK), Worker()
    for each in range(2 * BUSY_LOOKS + 1):
        worker.seconds = each * 1.0
        look(overseer, worker)
    assert caplog.messages == ["mail: mail.py uses 50 % of a processor between calls"]
    assert worker.killed == ["was stopped: it went on working between calls"]


@pytest.mark.parametrize("what", ["called", "another", "little"])
def test_work_in_calls_and_of_another_worker_is_none(what: str) -> None:
    overseer, worker = Overseer(WORK), Worker()
    for each in range(4 * BUSY_LOOKS):
        worker.seconds = each * (0.1 if what == "little" else 1.0)
        worker.pid = each + 1 if what == "another" else 7
        look(overseer, worker, calls=each if what == "called" else 1)
    assert worker.killed == []
