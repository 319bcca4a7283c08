"""One worker, seen from the gateway: its channel, its deadlines, its end. Nothing that it says is believed.

    sealing -Sealed-> sealed -Load-> loading -Loaded-> idle -Call-> calling -Result or Fault, Idle-> idle ...

What does not fit the state is a violation, and the worker is killed; so is one that lets a deadline pass. Killed means
SIGKILL through the pidfd, now. No more is read of it than `Sip` allows, so a worker that floods its channel or its
output waits in its own write, until its deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from gateway.clock import Clock
from gateway.scripts.broker import Broker
from gateway.scripts.confine import probe
from gateway.scripts.confine.cgroup import Group
from gateway.scripts.confine.confine import Plan
from gateway.scripts.host import Newborn, Scripts
from gateway.scripts.messages import (
    FROM_WORKER_LIMIT,
    Call,
    Checked,
    Failed,
    Fault,
    Finding,
    FromGateway,
    FromWorker,
    Idle,
    Load,
    Loaded,
    Log,
    News,
    Notify,
    Output,
    Result,
    Sealed,
)
from gateway.scripts.permissions import authorities, zones
from gateway.scripts.printed import Printed
from gateway.scripts.told import Told
from gateway.scripts.wire import LONGEST_READ, Receiver, Violation, frame
from gateway.scripts.work import NotLoaded, Raised, Stopped, Work, told
from gateway.scripts.worker import NO_MEMORY

LOAD_S = 10.0
"""The longest that a script may take from the first to the last line of its file, and for its initialisation."""
_MOST_FINDINGS = 200
_HANG_UP_S = 0.5
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_IN_WORDS: dict[int, str] = {
    signal.SIGKILL: "was killed from outside (signal 9): is the machine out of memory?",
    signal.SIGSEGV: "crashed (signal 11)",
    signal.SIGSYS: "was killed for a system call that no worker makes (signal 31)",
}


class Sip:
    """How much a worker is heard: a bucket of work, about 64 bytes or one message each."""

    PER_S, BURST = 4000.0, 4000.0

    def __init__(self) -> None:
        self._left = self.BURST
        self._at_ns = 0

    def pause_s(self, now_ns: int, size_bytes: int, messages: int) -> float:
        """How long not to listen after so much; 0.0 for not at all."""
        self._left = min(self.BURST, self._left + (now_ns - self._at_ns) / 1e9 * self.PER_S)
        self._at_ns = now_ns
        self._left -= size_bytes / 64 + messages
        return max(0.0, -self._left / self.PER_S)


class Process:
    """One worker. `open` makes it, `load` makes it ready; `on_end` is called once when it is of no more use."""

    def __init__(self, work: Work, plan: Plan, clock: Clock, said: Told, on_end: Callable[[Process], None]) -> None:
        self.work, self.plan = work, plan
        self.state = "sealing"
        self.hooks: frozenset[str] = frozenset()
        self.findings: list[Finding] = []
        self.reason = ""
        self.violation = False
        self.report: dict[str, Any] = {}
        self.load_s = 0.0
        """What loading took by its own word, without the walls."""
        self.pid = 0
        self.heard = 0
        """Up to which number of the news it has been told."""
        self._clock, self._told, self._on_end = clock, said, on_end
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver[FromWorker] = Receiver(FromWorker, FROM_WORKER_LIMIT)
        self._sip = Sip()
        self._channel: socket.socket | None = None
        self._printed: Printed | None = None
        self._pidfd = -1
        self._group: Group | None = None
        self._broker: Broker | None = None
        self._unsent = bytearray()
        self._waiting: asyncio.Future[Any] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._call = 0
        self._answer: Result | Fault | None = None
        self._at_first_bytes = 0

    async def open(self, scripts: Scripts) -> None:
        """Have it forked and fenced in, and look from outside whether it is. Raises NotLoaded."""
        self._channel, rpc = socket.socketpair()
        ours, broker = socket.socketpair()
        printed, output = os.pipe()
        self._printed = Printed(printed, self._told)
        self._channel.setblocking(False)
        machine = (*zones(), *(authorities() if self.work.network else ()))
        files = (*self.work.files, *machine) if self.plan.level == "C" else ()
        whose = None if self.plan.uid is None or self.plan.gid is None else (self.plan.uid, self.plan.gid)
        self._broker = Broker(ours, self.work.node, self.work.network, files, self._clock, self._lied, whose=whose)
        sealed = self._expect(LOAD_S, f"{self.work.name} was stopped: no walls after {LOAD_S:g} s")
        try:
            newborn = await scripts.spawn(
                self.plan, self.work.allowed_imports, self.work.paths, (rpc.fileno(), broker.fileno(), output)
            )
        except BaseException as fault:
            self._end(str(fault) or "it was not waited for")
            raise
        finally:
            rpc.close()
            broker.close()
            os.close(output)
        self._watch(newborn)
        try:
            await sealed
            await self._verify()
        except Stopped as stopped:
            raise NotLoaded(stopped.reason) from None

    async def load(self, message: Load) -> None:
        """Let it check, load and initialise the script. Raises NotLoaded."""
        self.state = "loading"
        seconds = max(LOAD_S, self.work.timeout_s)
        loaded = self._expect(seconds, f"{self.work.name} was stopped after {seconds:g} s")
        try:
            self._send(message)
            record = await loaded
        except Stopped as stopped:
            raise NotLoaded(f"{stopped.reason} while it was loaded") from None
        if record is not None:
            self.kill("could not load the script")
            final = record.type in ("check", "SyntaxError", "IndentationError", "TabError")
            raise NotLoaded(told(record), final=final, findings=tuple(self.findings)) from Raised(record)

    async def tell(self, news: Sequence[News]) -> None:
        """Hand over news before a call. Raises Stopped, also when it does not take them within LOAD_S."""
        for each in news:
            self._send(each)
            end = self._loop.time() + LOAD_S
            while len(self._unsent) > LONGEST_READ and self.state != "ended":
                if self._loop.time() > end:
                    self.kill("was stopped: it does not read its channel")
                await asyncio.sleep(0.001)
        if self.state == "ended":
            raise Stopped(self.reason)

    async def call(self, hook: str, arguments: list[Any], news: Sequence[News], timeout_s: float) -> Any:
        """Call a hook: what it returned. Raises Raised, and Stopped when the worker is gone.

        When this is cancelled the call goes on, until its deadline at most; `at_rest` tells when it is over.
        """
        if self.state != "idle":
            raise Stopped(self.reason or f"{self.work.name} is not ready")
        self.state, self._answer = "calling", None
        self._call += 1
        name = self.work.function(hook)
        limit = f"{name} was stopped after {timeout_s * 1e3:.0f} ms ({self.work.timeout_option})"
        answered = self._expect(timeout_s, limit)
        self._send(*news, Call(self._call, hook, arguments))
        return await asyncio.shield(answered)

    async def at_rest(self) -> None:
        """Return when no call is under way."""
        while self.state == "calling":
            with contextlib.suppress(Raised, Stopped):
                await asyncio.shield(self._waiting)

    async def heard_out(self, seconds: float) -> None:
        """Return when what it has printed so far has been read, or after so many seconds."""
        if self._printed is not None:
            await self._printed.heard_out(seconds)

    def kill(self, reason: str, *, timeout: bool = False) -> None:
        """End it now; `reason` is what people are told: a sentence if it is for a `timeout`, else what goes on behind
        the script's name.
        """
        if self.state == "ended":
            return
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._end(reason, timeout)

    def memory_bytes(self) -> int:
        """What it has more than when its walls went up, in memory; 0 where nobody can tell."""
        return max(0, self._resident() - self._at_first_bytes)

    def cpu_s(self) -> float:
        """Seconds of CPU that it has used."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / _TICK

    async def closed(self) -> None:
        """Give back what is left of it."""
        if self._broker is not None:
            await self._broker.close()

    def _resident(self) -> int:
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:  # noqa: PTH123
                return int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    async def _verify(self) -> None:
        """Whether what it reports of its walls is what was asked for, and what the kernel says."""
        if self.report.get("level") != self.plan.level:
            steps = self.report.get("steps") or [{}]
            last = steps[-1] if isinstance(steps, list) and isinstance(steps[-1], dict) else {}
            said = f"{last.get('name', 'a wall')}: {last.get('detail', '')}"
            self.kill(f"could not be fenced in at level {self.plan.level}: {said}")
        else:
            wrong = await asyncio.to_thread(probe.verify, self.pid, self.plan.level, self._group)
            if wrong:
                self.kill(f"is not fenced in at level {self.plan.level}: {'; '.join(wrong)}")
        if self.state == "ended":
            raise Stopped(self.reason)
        self._at_first_bytes = self._resident()

    def _watch(self, newborn: Newborn) -> None:
        self.pid, self._pidfd, self._group = newborn.pid, newborn.pidfd, newborn.group
        newborn.ended.add_done_callback(self._reaped)
        if self.state == "ended":  # while it was forked
            os.close(self._pidfd)
            return
        assert self._channel is not None
        assert self._printed is not None
        self._loop.add_reader(self._channel, self._readable)
        self._printed.listen()

    def _expect(self, seconds: float, otherwise: str) -> asyncio.Future[Any]:
        """What comes next, by a deadline."""
        self._waiting = self._loop.create_future()
        self._waiting.add_done_callback(lambda waiting: waiting.cancelled() or waiting.exception())
        self._timer = self._loop.call_later(seconds, lambda: self.kill(otherwise, timeout=True))
        return self._waiting

    def _arrived(self, value: Any = None, fault: Exception | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting.done():
            return
        if fault is None:
            self._waiting.set_result(value)
        else:
            self._waiting.set_exception(fault)

    def _send(self, *messages: FromGateway) -> None:
        if self._channel is None:
            return
        self._unsent += b"".join(map(frame, messages))
        self._flush()

    def _flush(self) -> None:
        if self._channel is None:
            return
        try:
            while self._unsent:
                del self._unsent[: self._channel.send(self._unsent)]
        except BlockingIOError:
            self._loop.add_writer(self._channel, self._flush)
            return
        except OSError:  # it is gone: its end is told elsewhere
            self._unsent.clear()
        self._loop.remove_writer(self._channel)

    def _readable(self) -> None:
        if self._channel is None:
            return
        size, messages = self._hear()
        if size == 0 and self._channel is not None:
            self._loop.remove_reader(self._channel)
            self._loop.call_later(_HANG_UP_S, self.kill, "closed its channel")
            return
        pause_s = self._sip.pause_s(self._clock.monotonic_ns(), size, messages)
        if pause_s and self._channel is not None:
            self._loop.remove_reader(self._channel)
            self._loop.call_later(pause_s, self._listen)

    def _listen(self) -> None:
        if self._channel is not None:
            self._loop.add_reader(self._channel, self._readable)

    def _hear(self) -> tuple[int, int]:
        """Take what has come: bytes, 0 at the end and -1 for none, and messages."""
        assert self._channel is not None
        try:
            data = self._channel.recv(LONGEST_READ)
        except BlockingIOError:
            return -1, 0
        except OSError:
            return 0, 0
        try:
            messages = self._receiver.feed(data)
            for message in messages:
                self._take(message)
        except Violation as violation:
            self._lied(violation.reason)
            return len(data), 0
        return len(data), len(messages)

    def _lied(self, reason: str) -> None:
        self.violation = self.state != "ended"
        self.kill(f"broke the protocol: {reason}")

    def _take(self, message: FromWorker) -> None:
        match self.state, message:
            case "sealing", Sealed(report) if isinstance(report, dict):
                self.state, self.report = "sealed", report
                self._arrived()
            case "loading", Checked(findings) if len(self.findings) < _MOST_FINDINGS:
                self.findings += findings
            case "loading", Loaded(hooks, seconds):
                self.state, self.hooks, self.load_s = "idle", frozenset(hooks), seconds
                self._arrived()
            case "loading", Failed(record):
                self._arrived(record)
            case "calling", Result(id=number) | Fault(id=number) if number == self._call and self._answer is None:
                self._answer = message
            case "calling", Idle(number) if number == self._call and self._answer is not None:
                self.state = "idle"
                fault = Raised(self._answer.record) if isinstance(self._answer, Fault) else None
                self._arrived(self._answer.value if isinstance(self._answer, Result) else None, fault)
            case "loading" | "idle" | "calling", Log() | Notify() | Output():
                self._told.take(message)
            case "ended", _:
                return
            case _:
                raise Violation(f"{type(message).__name__} while {self.state}")

    def _reaped(self, ended: asyncio.Future[int | None]) -> None:
        """It has ended, by itself or not."""
        if ended.cancelled() or self.state == "ended":
            return
        for _ in range(32):  # its last words; the kernel's buffer holds no more
            if self._channel is None or self._hear()[0] <= 0:
                break
        status = ended.result()
        if status is None:
            self._end("ended with the process that it came from")
        elif status < 0:
            self._end(_IN_WORDS.get(-status, f"was killed by signal {-status}"))
        elif status == NO_MEMORY:
            allowed = self.work.memory_bytes / 2**20
            self._end(f"was stopped: it has used up its {allowed:.0f} MB of memory (max_memory_mb)")
        else:
            self._end(f"ended itself with status {status}")

    def _end(self, reason: str, timeout: bool = False) -> None:
        if self.state == "ended":
            return
        self.state, self.reason = "ended", reason if timeout else f"{self.work.name} {reason}"
        if self._printed is not None:
            self._printed.close()
        if self._channel is not None:
            self._loop.remove_reader(self._channel)
            self._loop.remove_writer(self._channel)
            self._channel.close()
            self._channel = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._unsent.clear()
        self._arrived(fault=Stopped(self.reason, timeout))
        self._on_end(self)
