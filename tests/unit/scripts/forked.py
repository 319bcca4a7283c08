"""A worker in a forked process, without walls, and the gateway's end of its channel."""

from __future__ import annotations

import os
import signal
import socket
import textwrap
import traceback
from contextlib import suppress
from typing import Any

from gateway.scripts.confine.confine import Plan, Report
from gateway.scripts.messages import (
    FROM_WORKER_LIMIT,
    Call,
    Fault,
    FromWorker,
    Functions,
    Idle,
    Load,
    Loaded,
    News,
    Record,
    Result,
    Sealed,
    Stop,
)
from gateway.scripts.wire import Receiver, frame
from gateway.scripts.worker import serve

PATH = "/home/box/fan_control.py"
"""What the script is called; there is no such file."""
PATIENCE_S = 20.0
PLAN = Plan("B", ("/usr",))
"""What is said to be around the worker; nothing is."""


def load(source: str, **fields: Any) -> Load:
    """A Load of a script in module style, with `class_name` of one in class style."""
    style = "class" if "class_name" in fields else "module"
    usual: dict[str, Any] = {
        "path": PATH,
        "style": style,
        "class_name": "",
        "functions": Functions(),
        "config": {},
        "parameters": {},
        "node": "mail",
        "monitored": ["co2"],
        "allowed_imports": [],
        "outputs": [],
        "history_capacity": 10,
        "checks": True,
    }
    return Load(source=textwrap.dedent(source).encode(), **{**usual, **fields})


class Worker:
    """The worker of one script, from the fork until `close`; to be used in a with statement.

    `broker` is the other end of its broker's channel. `first` is Loaded or Failed, `told` all else that it said:
    Checked, Log, Notify, Output.
    """

    def __init__(self, source: str, plan: Plan = PLAN, **fields: Any) -> None:
        self._socket, theirs = socket.socketpair()
        self.broker, beneath = socket.socketpair()
        self._out, out = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _be(theirs.fileno(), beneath.fileno(), out, plan)
        theirs.close()
        beneath.close()
        os.close(out)
        self._socket.settimeout(PATIENCE_S)
        self._receiver: Receiver[FromWorker] = Receiver(FromWorker, FROM_WORKER_LIMIT)
        self._waiting: list[FromWorker] = []
        self._calls = 0
        self.told: list[FromWorker] = []
        assert self._next() == Sealed({"level": "B", "steps": [], "pid": 0})
        self.send(load(source, **fields))
        self.first = self._next()
        while not hasattr(self.first, "hooks") and not hasattr(self.first, "record"):
            self.told.append(self.first)
            self.first = self._next()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def hooks(self) -> list[str]:
        """The hooks that are there."""
        assert isinstance(self.first, Loaded), self.first
        return self.first.hooks

    @property
    def failure(self) -> Record:
        """Why it was not loaded."""
        assert not isinstance(self.first, Loaded)
        record: Record = self.first.record  # type: ignore[union-attr]
        return record

    def send(self, message: Load | News | Call | Stop) -> None:
        """Say something."""
        self._socket.sendall(frame(message))

    def news(self, *entries: dict[str, Any], **statistics: Any) -> None:
        """Give entries for the history, and statistics by node."""
        self.send(News(list(entries), statistics))

    def call(self, hook: str, *given: Any) -> Any:
        """What a call returned, which did not fail."""
        answer = self.answer(hook, *given)
        assert isinstance(answer, Result), answer
        return answer.value

    def fault(self, hook: str, *given: Any) -> Record:
        """How a call failed."""
        answer = self.answer(hook, *given)
        assert isinstance(answer, Fault), answer
        return answer.record

    def answer(self, hook: str, *given: Any) -> Result | Fault:
        """Make a call, and wait until the worker is idle again."""
        self._calls += 1
        self.send(Call(self._calls, hook, list(given)))
        while not isinstance(answer := self._next(), Result | Fault):
            self.told.append(answer)
        assert answer.id == self._calls
        assert self._next() == Idle(self._calls)
        return answer

    def printed(self) -> str:
        """What it has written to standard output and error so far, and nobody has read."""
        os.set_blocking(self._out, False)
        with suppress(BlockingIOError):
            return os.read(self._out, 65536).decode()
        return ""

    def end(self) -> int:
        """Say Stop; how the process ended."""
        self.send(Stop())
        return os.waitstatus_to_exitcode(self._reap())

    def close(self) -> None:
        """Kill it, unless it has ended."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._reap()
        self._socket.close()
        self.broker.close()
        os.close(self._out)

    def _reap(self) -> int:
        pid, self._pid = self._pid, 0
        return os.waitpid(pid, 0)[1]

    def _next(self) -> FromWorker:
        while not self._waiting:
            data = self._socket.recv(16384)
            assert data, f"the worker ended: {self.printed()}"
            self._waiting = self._receiver.feed(data)
        return self._waiting.pop(0)


def _be(rpc_fd: int, broker_fd: int, out: int, plan: Plan) -> None:
    """The child: a worker and nothing else. It does not return."""
    try:
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir("/")
        serve(rpc_fd, broker_fd, Report("B", (), 0), plan)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    finally:
        os._exit(0)
