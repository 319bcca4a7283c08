"""The life of one script: loaded, called, watched, replaced when its file changes, left alone when it keeps failing.

There is one worker at a time, and a second one while a new version proves itself. A worker that is killed is followed
by a fresh one at once, which is told the whole history before it is called. Nothing here waits for a worker longer than
a deadline, and nobody waits for this but the task of its own action node.

    loading -> ready <-> calling        paused: called again after a while        failed: not loaded        stopped
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.errors import LinkError
from gateway.ports import Inbox
from gateway.scripts.confine.confine import Plan
from gateway.scripts.file import File
from gateway.scripts.host import Scripts
from gateway.scripts.messages import LONGEST_SOURCE, Load, News
from gateway.scripts.meter import Meter
from gateway.scripts.overseer import IDLE_LOOKS, LOOK_NS, Overseer
from gateway.scripts.pauses import Pauses
from gateway.scripts.process import Process
from gateway.scripts.quota import Quota
from gateway.scripts.told import Told
from gateway.scripts.walls import walls
from gateway.scripts.work import Failure, NotLoaded, Raised, Stopped, Waiting, Work, told

log = logging.getLogger("spectrophone.scripts")

FILE_LOOKS, STATUS_LOOKS = 2, 40
"""Looks from one to the next at the file, and by get_status."""
FIRST_STATUS = 4
STATUS_S, GRACE_S = 2.0, 1.0
"""The longest that get_status and shutdown may take."""
ROWS = 200
"""Entries in one message."""


class Newsroom(Protocol):
    """Where a script's history and statistics come from."""

    def rows(self, after: int, most: int) -> tuple[list[dict[str, Any]], int]:
        """The oldest `most` entries behind number `after`, and the number that they reach up to."""
        ...

    def statistics(self) -> dict[str, Any]:
        """How nodes fare, by node: plain data."""
        ...


class Script:
    """One script, from `start` to `close`."""

    def __init__(self, work: Work, scripts: Scripts, clock: Clock, inbox: Inbox, newsroom: Newsroom) -> None:
        self.work = work
        self.problem: str | None = None
        self.reload_problem: str | None = None
        self.told = Told(work, clock, inbox, scripts.secrets)
        self._scripts, self._clock, self._newsroom = scripts, clock, newsroom
        self._plan: Plan | None = None
        self._quota: Quota | None = None
        self._source: bytes | None = None
        self._version: tuple[bytes | None, frozenset[str]] = None, frozenset()
        self._gone: list[str] = []
        self._file = File(work.path)
        self._overseer = Overseer(work)
        self._current: Process | None = None
        self._candidate: Process | None = None
        self._loading: asyncio.Task[None] | None = None
        self._news: asyncio.Event = asyncio.Event()
        self._pauses = Pauses()
        self._paused_until_ns = 0
        self._waking: asyncio.TimerHandle | None = None
        self._given_up = self._unloadable = self._stopped = False
        self._calls = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._meters: dict[str, Meter] = {}
        self._counts = {"loads": 0, "reloads": 0, "deaths": 0, "violations": 0}
        self._memory_bytes = 0
        self._last_death: str | None = None
        self._status: Any = None

    def start(self) -> None:
        """Begin, in the background; what goes wrong is told in `problem`."""
        self._do(self._live())

    async def call(self, hook: str, arguments: list[Any]) -> Any:
        """Call a hook, as soon as there is a worker: what it returned, None where the script does not have it.

        Raises Waiting while it is paused or cannot be loaded, and Failure when the call came to nothing.
        """
        async with self._calls:
            process = await self._ready()
            if hook not in process.hooks:
                return None
            value = await self._called(process, hook, arguments, self.work.timeout_s)
            self._pauses.succeeded(self._clock.monotonic_ns())
            self.problem = None
            return value

    async def awake(self) -> None:
        """Return when it may be called, or is to be ended: a pause is over, or a file is mended."""
        while not self._stopped and (self._given_up or self._paused_s > 0):
            self._news.clear()
            await self._news.wait()

    @property
    def state(self) -> str:
        """Its state, as above."""
        if self._stopped:
            return "stopped"
        if self._current is None and (self._given_up or self._unloadable):
            return "failed"
        if self._paused_s > 0:
            return "paused"
        if self._current is None:
            return "loading"
        return "calling" if self._current.state == "calling" else "ready"

    def status(self) -> dict[str, Any]:
        """How it fares, as JSON values; `script` is what get_status returned last."""
        current = self._current
        level = None if self._plan is None else self._plan.level
        return {
            "file": self.work.path,
            "state": self.state,
            "problem": self.problem,
            "reload_problem": self.reload_problem,
            "last_death": self._last_death,
            "paused_s": round(self._paused_s, 1),
            "isolation": level,
            "pid": None if current is None else current.pid,
            "memory_mb": round(self._memory_bytes / 2**20, 1),
            **self._counts,
            "functions": {self.work.function(hook): meter.as_object() for hook, meter in self._meters.items()},
            "warnings": self._gone + ([] if current is None else [str(finding) for finding in current.findings]),
            **self.told.as_object(),
            "script": self._status,
        }

    def reset(self) -> None:
        """Begin anew: counts, pauses, and what kept it from being loaded."""
        self._meters.clear()
        self._pauses.reset()
        self._given_up = False
        self._resume()

    def reload(self) -> None:
        """Load the file as it is now, as if it had changed; what kept it from being loaded is forgotten."""
        self._do(self._load_file())

    async def close(self) -> None:
        """Call shutdown, with a second's grace, and end everything."""
        self._stopped = True
        self._news.set()
        if self._waking is not None:
            self._waking.cancel()
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        for process in (self._candidate, self._current):
            if process is not None:
                await self._retire(process)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._current = self._candidate = None

    async def _live(self) -> None:
        """Make ready, then look around four times a second."""
        try:
            await self._prepare()
        except (LinkError, NotLoaded) as fault:
            self._given_up, self.problem = True, str(fault)
            log.error("%s does not start: %s", self.work.node, fault)
            self._news.set()
            return
        self._source = await asyncio.to_thread(self._file.read)
        self._bring_up()
        if self._quota is not None:
            self._do(self._watch_disk(self._quota))
        looks = 0
        while True:
            await self._clock.sleep_until(self._clock.monotonic_ns() + LOOK_NS)
            looks += 1
            calls = sum(meter.calls for meter in self._meters.values())
            for process in filter(None, (self._current, self._candidate)):
                self._overseer.look(process, looks, calls)
            if self.work.hot_reload and looks % FILE_LOOKS == 0:
                await self._look_at_file()
            if looks % STATUS_LOOKS == FIRST_STATUS:
                self._do(self._ask_status())

    async def _prepare(self) -> None:
        """What is decided once: walls, and what already lies on the disk."""
        plan = walls(self.work, await self._scripts.level())
        writable = [grant.path for grant in self.work.files if grant.writable]
        try:
            if writable:
                self._quota = await asyncio.to_thread(Quota, writable, self.work.disk_bytes)
        except ValueError as fault:
            raise NotLoaded(str(fault), final=True) from None
        self._plan = plan

    def _bring_up(self) -> None:
        """Have a fresh worker, unless there is one to come, or a pause."""
        if self._stopped or self._given_up or self._paused_s > 0 or self._current is not None or self._plan is None:
            return
        if self._loading is None or self._loading.done():
            self._loading = self._do(self._load(self._source))

    async def _load(self, source: bytes | None, *, anew: bool = False) -> None:
        """Make a worker that has loaded `source` the current one; if it cannot, tell."""
        try:
            process = await self._loaded(source)
        except NotLoaded as fault:
            self._not_loaded(fault, anew)
        else:
            before, self._current = self._current, process
            self._source = source
            self._counts["loads"] += 1
            self.problem = self.reload_problem = None
            self._given_up = self._unloadable = False
            if anew:
                self._counts["reloads"] += 1
                self._pauses.reset()
                self._resume()
                log.info("%s: %s is loaded anew", self.work.node, self.work.name)
            self._compare(source, process)
            if before is not None:
                self._do(self._retire(before))
        finally:
            self._candidate = None
            self._news.set()

    def _compare(self, source: bytes | None, process: Process) -> None:
        """Tell what there is to say of another version: half of a file may be a whole script with fewer functions."""
        before, hooks = self._version
        if source == before:
            return
        self._version = source, process.hooks
        self._gone = [f"{self.work.function(hook)} is gone in the new version" for hook in hooks - process.hooks]
        self._gone.sort()
        for said in (*self._gone, *process.findings):
            log.warning("%s: %s: %s", self.work.node, self.work.name, said)

    async def _loaded(self, source: bytes | None) -> Process:
        """A fresh worker that has loaded `source` and knows the history. Raises NotLoaded."""
        if source is None or len(source) > LONGEST_SOURCE:
            what = "cannot be read" if source is None else f"has more than {LONGEST_SOURCE} bytes"
            raise NotLoaded(f"{self.work.path} {what}", final=True)
        if self._quota is not None and (much := await asyncio.to_thread(self._quota.look)) is not None:
            raise NotLoaded(much)
        assert self._plan is not None
        process = self._candidate = Process(self.work, self._plan, self._clock, self.told, self._ended)
        try:
            await process.open(self._scripts)
            await process.load(self._message(source))
            await self._catch_up(process)
        except Stopped as stopped:
            raise NotLoaded(stopped.reason) from None
        except BaseException:
            process.kill("was let go")
            raise
        return process

    def _message(self, source: bytes) -> Load:
        work = self.work
        return Load(
            source=source, path=work.path, style=work.style, class_name=work.class_name, functions=work.functions,
            config=dict(work.config), parameters=dict(work.parameters), node=work.node, monitored=list(work.monitored),
            allowed_imports=list(work.allowed_imports), outputs=list(work.outputs),
            history_capacity=work.history_capacity, checks=work.checks,
        )  # fmt: skip

    async def _catch_up(self, process: Process) -> None:
        """Tell a worker all that happened before its time, a little at a time."""
        while True:
            rows, process.heard = self._newsroom.rows(process.heard, ROWS)
            if not rows:
                return
            await process.tell([News(rows, {})])

    def _not_loaded(self, fault: NotLoaded, anew: bool) -> None:
        if self._stopped:
            return
        reason = self.told.mask(fault.reason)
        if anew:
            self.reload_problem = reason
            log.error("%s: %s (the version before goes on)", self.work.node, reason)
            return
        self.problem = reason
        log.error("%s: %s", self.work.node, reason)
        self._given_up, self._unloadable = fault.final, True
        if not fault.final:
            self._pause(self._pauses.not_loaded())

    async def _ready(self) -> Process:
        """The worker to call, waited for while one is loading. Raises Waiting."""
        while True:
            self._news.clear()
            if self._paused_s > 0 or self._given_up or self._stopped:
                raise Waiting(self.problem or f"{self.work.name} does not run", max(1.0, self._paused_s))
            if self._current is not None:
                await self._current.at_rest()
            if self._current is not None and self._current.state == "idle":
                return self._current
            if self._current is None:
                await self._news.wait()

    async def _called(self, process: Process, hook: str, arguments: list[Any], timeout_s: float) -> Any:
        """One call, counted. Raises Failure."""
        meter = self._meters.setdefault(hook, Meter())
        news = []
        rows, heard = self._newsroom.rows(process.heard, ROWS)
        while rows:
            news.append(News(rows, {}))
            process.heard = heard
            rows, heard = self._newsroom.rows(heard, ROWS)
        news.append(News([], self._newsroom.statistics()))
        begin_ns = self._clock.monotonic_ns()
        try:
            value = await process.call(hook, arguments, news, timeout_s)
        except Raised as raised:
            meter.errors += 1
            self._failed(self.told.mask(f"{self.work.function(hook)} failed: {told(raised.record)}"), hook)
        except Stopped as stopped:
            meter.timeouts += stopped.timeout
            meter.killed += not stopped.timeout
            self._failed(stopped.reason, hook)
        else:
            return value
        finally:
            meter.called(self._clock.monotonic_ns() - begin_ns)
            self._memory_bytes = process.memory_bytes() or self._memory_bytes
        return None

    def _failed(self, reason: str, hook: str) -> None:
        if hook not in ("get_status", "shutdown"):
            self.problem = reason
            pause_s = self._pauses.failed()
            if pause_s:
                self._pause(pause_s)
                reason = f"{reason} (paused for {pause_s:g} s after {self._pauses.in_a_row} failures in a row)"
                self.problem = reason
        raise Failure(reason)

    def _ended(self, process: Process) -> None:
        """A worker is of no more use: see to a fresh one, if it was the one in use."""
        self._do(process.closed())
        self._counts["violations"] += process.violation
        if process is not self._current:
            return
        self._current = None
        self._news.set()
        if self._stopped:
            return
        self._counts["deaths"] += 1
        self.problem = self._last_death = process.reason
        log.warning("%s: %s", self.work.node, self.problem)
        pause_s = self._pauses.died(self._clock.monotonic_ns())
        if pause_s:
            self._pause(pause_s)
        self._bring_up()

    def _pause(self, seconds: float) -> None:
        now_ns = self._clock.monotonic_ns()
        self._paused_until_ns = max(self._paused_until_ns, now_ns + round(seconds * 1e9))
        if self._waking is not None:
            self._waking.cancel()
        self._waking = asyncio.get_running_loop().call_later(seconds, self._resume)
        log.warning("%s: %s is paused for %g s: %s", self.work.node, self.work.name, seconds, self.problem)
        self._news.set()

    def _resume(self) -> None:
        self._paused_until_ns = 0
        self._news.set()
        self._bring_up()

    @property
    def _paused_s(self) -> float:
        return max(0.0, (self._paused_until_ns - self._clock.monotonic_ns()) / 1e9) if self._paused_until_ns else 0.0

    async def _retire(self, process: Process) -> None:
        """Call shutdown if it can be called, with a second's grace; then end it."""
        with contextlib.suppress(Failure, TimeoutError):
            async with asyncio.timeout(2 * GRACE_S):
                await process.at_rest()
                if process.state == "idle" and "shutdown" in process.hooks:
                    await self._called(process, "shutdown", [], GRACE_S)
        process.kill("was let go")

    async def _look_at_file(self) -> None:
        """Load the file anew when it has changed, and has been the same for two looks."""
        source = await asyncio.to_thread(self._file.changed, self._source)
        if source is not None:
            self._take_up(source)

    async def _load_file(self) -> None:
        source = await asyncio.to_thread(self._file.read)
        if source is None:
            self.reload_problem = f"{self.work.path} cannot be read"
            log.error("%s: %s", self.work.node, self.reload_problem)
        else:
            self._take_up(source)

    def _take_up(self, source: bytes) -> None:
        """Load that version, unless one is being loaded already."""
        if self._loading is not None and not self._loading.done():
            return
        self._file.try_(source)
        if self._current is None:
            self._source, self._given_up = source, False
            self._pauses.reset()
            self._resume()
        else:
            self._loading = self._do(self._load(source, anew=True))

    async def _watch_disk(self, quota: Quota) -> None:
        while True:
            much = await quota.exceeded()
            for process in (self._current, self._candidate):
                if process is not None:
                    process.kill(f"was stopped: {much}")
            await self._clock.sleep_until(self._clock.monotonic_ns() + IDLE_LOOKS * LOOK_NS)

    async def _ask_status(self) -> None:
        """Ask get_status, if nobody waits for the script."""
        process = self._current
        if process is None or process.state != "idle" or self._calls.locked() or "get_status" not in process.hooks:
            return
        async with self._calls:
            try:
                said = await self._called(process, "get_status", [], min(STATUS_S, self.work.timeout_s))
                self._status = json.loads(self.told.mask(json.dumps(said)))
            except Failure as fault:
                self._status = {"error": fault.reason}

    def _do(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
