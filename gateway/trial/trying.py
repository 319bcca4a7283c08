"""`script try`: an action runs as in the gateway, the same worker behind the same walls, and every call is told.

    initialize    loading the file, `__init__` or initialize included; once more after each worker that was killed
    on_...        what the events make the driver call
    get_status    once, after the events
    shutdown      at the end

A call came out `ok`; `error`, it raised, or returned what is not plain; `refused`, it reached for what its node does
not allow; `timeout`, it was stopped at its deadline; `killed`, its worker ended or was ended otherwise. Nothing is
switched and nobody notified: what the script asks of the gateway stands in the log of the call. Unlike in the gateway a
script that keeps failing is not paused, and a changed file is not loaded anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from gateway.actions.driver import Refused, Surroundings, Undelivered
from gateway.actions.history import History
from gateway.actions.python import Python
from gateway.actions.statistics import Statistics
from gateway.clock import Clock
from gateway.config.redact import redact
from gateway.journal.entry import Entry
from gateway.jsonlines import TRIED
from gateway.ports import Inbox
from gateway.scripts.host import Scripts
from gateway.scripts.messages import Record
from gateway.scripts.pauses import Pauses
from gateway.scripts.process import Process
from gateway.scripts.running import Newsroom, Script
from gateway.scripts.told import Told
from gateway.scripts.work import Failure, NotLoaded, Raised, Stopped, Work
from gateway.trial import events
from gateway.trial.given import Node
from gateway.types import Command

BOX = "try"
OUTCOMES = ("ok", "error", "timeout", "killed", "refused")
CALL, SUMMARY = (("kind", *TRIED[kind]) for kind in ("call", "summary"))
"""The fields of both kinds of object."""

_SAMPLE_S, _PRINTED_S, _LOOK_S = 0.02, 0.5, 0.005
_REFUSALS = frozenset({"check", "ActionPermissionError", "PermissionError"})
_PERMISSIONS = ("network:", "file_access", "no new processes", "allowed_imports")

Level = Literal["auto", "A", "B", "L", "C"]
Object = dict[str, Any]
Tell = Callable[[Object], None]


async def tried(
    node: Node, entries: AsyncIterator[Entry], clock: Clock, tell: Tell, *, level: Level = "auto", checks: bool = True
) -> Object:
    """Try an action with these events: `tell` gets each call when it is over; the summary.

    Raises LinkError where no script can run on this machine, and what `entries` raise.
    """
    logging.getLogger("spectrophone").addHandler(logging.NullHandler())  # it is all told otherwise
    scripts = Scripts(clock, level, secrets=node.secrets)
    history = History(node.settings.capacity)
    book = _Book(node.secrets, tell)

    def watched(work: Work, scripts: Scripts, clock: Clock, inbox: Inbox, newsroom: Newsroom) -> Script:
        work = replace(work, hot_reload=False, checks=checks)
        return book.open(_Watched(work, scripts, clock, inbox, newsroom, book))

    around = Surroundings(node.id, BOX, clock, book, history, Statistics(), node.parameters, scripts)
    try:
        batches = await _begun(events.batches(node, entries, history))
        isolation = await scripts.level()
        driver = Python(node.driven, around, watched)
        try:
            await driver.start()
            if await book.script.up():
                await _deliver(driver, book.script, batches)
                await book.script.ask()
        finally:
            await driver.close()
    finally:
        await scripts.close()
    return book.summary(isolation)


async def _begun(batches: AsyncIterator[list[Entry]]) -> AsyncIterator[list[Entry]]:
    """The same, when the first is there: what is wrong with events is told before anything runs."""
    first: list[Entry] = await anext(batches, [])

    async def all_of_them() -> AsyncIterator[list[Entry]]:
        if first:
            yield first
        async for batch in batches:
            yield batch

    return all_of_them()


async def _deliver(driver: Python, script: _Watched, batches: AsyncIterator[list[Entry]]) -> None:
    """Hand over all events, or those until the script cannot be loaded any more."""
    async for batch in batches:
        try:
            await driver.deliver(batch)
        except Refused:
            pass  # a call that failed, which is told
        except Undelivered:
            return
        if not await script.up():
            return


class _Patient(Pauses):
    """Nobody pauses here."""

    def failed(self) -> float:
        super().failed()
        return 0.0

    def died(self, now_ns: int) -> float:
        return 0.0


class _Heard(Told):
    """What the script says, kept for the call in which it did."""

    def __init__(self, work: Work, clock: Clock, inbox: Inbox, book: _Book) -> None:
        super().__init__(work, clock, inbox, book.secrets)
        self._book = book

    def line(self, level: str, text: str) -> None:
        before = self._logs.suppressed
        super().line(level, text)
        if self._logs.suppressed == before:
            self._book.log(f"{level}: {self.mask(text)}")

    def rest(self) -> int:
        """How many lines and the like were suppressed since this was asked last."""
        return sum(bucket.untold() for bucket in (self._logs, self._notifications, self._outputs))


class _Watched(Script):
    """A Script that tells of its calls."""

    def __init__(
        self, work: Work, scripts: Scripts, clock: Clock, inbox: Inbox, newsroom: Newsroom, book: _Book
    ) -> None:
        super().__init__(work, scripts, clock, inbox, newsroom)
        self.told = self._heard = _Heard(work, clock, inbox, book)
        self._pauses = _Patient()
        self._book = book
        self._held_mb: dict[int, float] = {}

    def start(self) -> None:
        super().start()
        self._do(self._look())

    async def up(self) -> bool:
        """Whether there is a worker that can be called, waited for."""
        while True:
            if self.state != "loading":
                break
            await asyncio.sleep(_LOOK_S)
        if self._book.fault is not None:
            raise self._book.fault
        if self.state != "ready" and not self._book.count:
            self._book.told("initialize", "error", None, self.problem, 0.0, 0.0)
        return self.state == "ready"

    @property
    def loads(self) -> int:
        """How often it was loaded."""
        return self._counts["loads"]

    async def ask(self) -> None:
        """Ask get_status, as the gateway does now and then."""
        if await self.up():
            await super()._ask_status()

    async def _ask_status(self) -> None:
        """Not now and then: `ask` does."""

    async def _loaded(self, source: bytes | None) -> Process:
        begin_ns = self._clock.monotonic_ns()
        try:
            process = await super()._loaded(source)
        except NotLoaded as fault:
            ms = (self._clock.monotonic_ns() - begin_ns) / 1e6
            self._tell("initialize", _outcome(fault), None, fault.reason, ms, self._candidate)
            raise
        await process.heard_out(_PRINTED_S)
        self._tell("initialize", "ok", None, None, process.load_s * 1e3, process)
        return process

    async def _called(self, process: Process, hook: str, arguments: list[Any], timeout_s: float) -> Any:
        self._held_mb[process.pid] = 0.0
        self._weighed(process)
        begin_ns = self._clock.monotonic_ns()

        async def over(outcome: str, value: Any = None, error: str | None = None) -> None:
            ms = (self._clock.monotonic_ns() - begin_ns) / 1e6
            await process.heard_out(_PRINTED_S)
            self._tell(hook, outcome, value, error, ms, process)

        try:
            value = await super()._called(process, hook, arguments, timeout_s)
        except Failure as failure:
            await over(_outcome(failure), None, failure.reason)
            raise
        await over("ok", value)
        return value

    def _tell(self, hook: str, outcome: str, value: Any, error: str | None, ms: float, process: Process | None) -> None:
        if suppressed := self._heard.rest():
            self._book.log(f"({suppressed} more were suppressed: too many in a short time)")
        if process is None:
            self._book.told(hook, outcome, value, error, ms, 0.0)
            return
        held_mb = self._weighed(process) or self._held_mb.get(process.pid, 0.0)
        self._book.told(hook, outcome, value, error, ms, held_mb)

    async def _look(self) -> None:
        """Weigh the worker all the time: one that is killed cannot be weighed afterwards."""
        while True:
            process = self._candidate or self._current
            if process is not None:
                self._weighed(process)
            await asyncio.sleep(_SAMPLE_S)

    def _weighed(self, process: Process) -> float | None:
        """Megabytes that a worker holds now; None for one that has ended."""
        if process.state not in ("loading", "idle", "calling"):
            return None
        held_mb = process.memory_bytes() / 2**20
        more_mb = _more_at_its_most_bytes(process.pid) / 2**20
        self._held_mb[process.pid] = max(held_mb, self._held_mb.get(process.pid, 0.0))
        self._book.peak_mb = max(self._book.peak_mb, held_mb + more_mb)
        return held_mb


class _Book:
    """The calls as they come, and the inbox of a gateway in which nothing is done. Secrets are masked."""

    def __init__(self, secrets: frozenset[str], tell: Tell) -> None:
        self.secrets, self._say = secrets, tell
        self._script: _Watched | None = None
        self._log: list[str] = []
        self._ms: list[float] = []
        self._outcomes: Counter[str] = Counter()
        self.peak_mb = 0.0
        self.fault: OSError | None = None
        """Why calls cannot be told any more: nobody listens."""

    def open(self, script: _Watched) -> _Watched:
        """Begin."""
        self._script = script
        return script

    @property
    def script(self) -> _Watched:
        """The script that is tried."""
        assert self._script is not None
        return self._script

    @property
    def count(self) -> int:
        """Calls so far."""
        return len(self._ms)

    def log(self, line: str) -> None:
        """A line for the log of the call that runs."""
        self._log.append(line)

    def put(self, command: Command) -> None:
        """See Inbox: what would be done."""
        args = command.args
        if "message" in args:
            self.log(f"notification {args['severity']}: {args['message']}")
        else:
            self.log(f"output {command.target}: {args.get('value', command.verb)}")

    def drain(self) -> tuple[Command, ...]:
        """See Inbox."""
        return ()

    def told(self, hook: str, outcome: str, value: Any, error: str | None, ms: float, held_mb: float) -> None:
        """A call is over."""
        log, self._log = self._log, []
        self._ms.append(round(ms, 3))
        self._outcomes[outcome] += 1
        shown = None if error is None else redact(error, self.secrets)
        values = ("call", hook, outcome, _masked(value, self.secrets), shown, self._ms[-1], round(held_mb, 2), log)
        try:
            self._say(dict(zip(CALL, values, strict=True)))
        except OSError as fault:
            self.fault = fault

    def summary(self, isolation: str) -> Object:
        """All calls in short; a call's time is the time from asking to its answer, initialize's the script's own."""
        ordered, last = sorted(self._ms), len(self._ms) - 1
        p50, p95, most = (ordered[-(-part * last // 100)] if ordered else None for part in (50, 95, 100))
        outcomes = {outcome: self._outcomes[outcome] for outcome in OUTCOMES}
        values = (
            "summary", self.script.loads > 0, len(ordered), outcomes, p50, p95, most, round(self.peak_mb, 2), isolation
        )  # fmt: skip
        return dict(zip(SUMMARY, values, strict=True))


def _outcome(fault: NotLoaded | Failure) -> str:
    """What became of a call, from what lies behind its fault."""
    match fault.__cause__ or fault.__context__:
        case Stopped(timeout=timeout):
            return "timeout" if timeout else "killed"
        case Raised(record=record):
            return "refused" if _refused(record) else "error"
    return "error"


def _refused(record: Record) -> bool:
    """Whether it is a permission that was missing."""
    wanted = record.type == "ImportError" and "is not allowed" in record.message
    return record.type in _REFUSALS or wanted or any(word in record.hint for word in _PERMISSIONS)


def _masked(value: Any, secrets: frozenset[str]) -> Any:
    match value:
        case str():
            return redact(value, secrets)
        case list():
            return [_masked(item, secrets) for item in value]
        case dict():
            return {redact(name, secrets): _masked(item, secrets) for name, item in value.items()}
    return value


def _more_at_its_most_bytes(pid: int) -> int:
    """How much more a process has had in memory than it has now."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found: Mapping[str, str] = dict(line.split(":", 1) for line in lines if line.startswith(("VmHWM", "VmRSS")))
    return 1024 * sum(
        sign * int(found[name].split()[0]) for name, sign in (("VmHWM", 1), ("VmRSS", -1)) if name in found
    )
