"""What all handlers share: the gateway's view, who may come in, what was seen last, and who waits for an answer."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from gateway import answers, jsonlines, status
from gateway.config.sections import WebSection
from gateway.errors import CommandRefused, SpectrophoneError
from gateway.journal.acknowledged import SUFFIX as ACKNOWLEDGED
from gateway.journal.acknowledged import Acknowledged, Acknowledgement
from gateway.recent import RecentLines
from gateway.types import CommandResult, LockInResult, Outcome, Spectrum, Tick
from gateway.view import View
from gateway.web.access import SUFFIX, AccessFile
from gateway.web.jobs import NAMES, Job, job
from gateway.web.problem import Problem
from gateway.web.sessions import Attempts, Sessions
from gateway.web.stream import Stream

P = ParamSpec("P")
T = TypeVar("T")

POINTS = 300
"""I/Q points that are kept of each lock_in."""
_AT_ONCE, _WAITING = 2, 16


class Desk:
    """One per server. Everything but `aside` happens on the event loop's thread."""

    def __init__(self, settings: WebSection, view: View) -> None:
        self.settings, self.view = settings, view
        self.access = AccessFile(view.state / f"{view.face().box}{SUFFIX}")
        self.sessions, self.attempts, self.stream = Sessions(), Attempts(), Stream()
        self.code = f"{secrets.randbelow(10**8):08d}"
        """What the first password wants from elsewhere than this machine."""
        self.seen: tuple[Tick, Outcome] | None = None
        self.points: dict[str, deque[dict[str, Any]]] = {}
        self.spectra: dict[str, tuple[Tick, Spectrum]] = {}
        self.lines = RecentLines(view.secrets, (self.code,))
        self.configuring = asyncio.Lock()
        self._acknowledged = Acknowledged(view.state / f"{view.face().box}{ACKNOWLEDGED}")
        self._raised: dict[str, int] = {}
        self._state: tuple[Tick, dict[str, Any]] | None = None
        self._answers = answers.Answers(view.inbox, "web")
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._queued = 0

    def load(self) -> None:
        """Read what is kept. Blocks."""
        self._acknowledged.load()

    def take(self, tick: Tick, outcome: Outcome) -> None:
        """A tick has come: answer who waits, keep what is asked for later."""
        self.seen = tick, outcome
        self._answers.take(outcome)
        for entry in self.view.journal.fresh:
            if entry.kind == "alert" and entry.fields["state"] == "raised":
                self._raised[entry.fields["rule"]] = entry.id
        for found in tick.results:
            if isinstance(found, LockInResult) and (point := jsonlines.of(found, tick)) is not None:
                self.points.setdefault(found.node, deque(maxlen=POINTS)).append(point)
            elif isinstance(found, Spectrum):
                self.spectra[found.node] = tick, found

    async def tell(self, target: str, verb: str, args: Mapping[str, Any], user: str) -> CommandResult:
        """Put a command into the inbox, and give its answer. Raises Problem where none comes."""
        try:
            return await self._answers.ask(target, verb, args, user)
        except CommandRefused as refused:
            raise Problem(503, str(refused)) from None
        except TimeoutError:
            detail = f"{target} has not answered within {answers.ANSWER_S:g} s; it may still do it. Look at the state"
            raise Problem(504, detail) from None

    async def aside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In a thread, at a place(). Raises Problem."""
        async with self.place():
            return await asyncio.to_thread(function, *args, **kwargs)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of two for what takes a while; beyond some that wait for it the rest is refused. Raises Problem."""
        if self._queued >= _WAITING:
            raise Problem(
                503, "Too much is being looked up already. Try again in a moment", headers={"Retry-After": "2"}
            )
        self._queued += 1
        try:
            async with self._places:
                yield
        finally:
            self._queued -= 1

    def alert(self, number: int, fields: Mapping[str, Any]) -> dict[str, Any]:
        """An alert of the journal, and who has seen it."""
        seen = self._acknowledged.of(number)
        by = None if seen is None else {"by": seen.by, "time": seen.time, "note": seen.note}
        told = {name: value for name, value in fields.items() if name != "kind"}
        return {"id": number, **told, "acknowledged": by}

    def acknowledge(self, new: Acknowledgement) -> None:
        """Keep that somebody has seen an alert. Blocks. Raises SpectrophoneError where it cannot be kept."""
        try:
            self._acknowledged.add(new)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SpectrophoneError(f"{self.view.state} cannot be written: {reason}", "Free some space there") from None
        self._state = None

    def jobs(self) -> list[Job]:
        """The procedures that this box has. Raises Problem as state() does."""
        outputs = self.state()["outputs"]
        return [job(name, outputs[name]["state"]) for name in NAMES if name in outputs]

    def state(self) -> dict[str, Any]:
        """The body of GET /state, made once a tick at most. Raises Problem before the first block."""
        if self.seen is None:
            raise Problem(503, "There is no sound yet. Wait for the first block", headers={"Retry-After": "1"})
        tick, outcome = self.seen
        if self._state is None or self._state[0] is not tick:
            self._state = tick, self._made(tick, outcome)
        return self._state[1]

    def _made(self, tick: Tick, outcome: Outcome) -> dict[str, Any]:
        told = status.told(self.view.about(), tick, outcome, self.view.clock.utc_ns())
        laser, why = outcome.laser
        return {
            "status": told,
            "results": {result["node"]: result for result in told["results"]},
            "outputs": {target: {"state": state} for target, state in outcome.states.items()},
            "alerts": [self.alert(self._raised.get(alert["rule"], 0), alert) for alert in told["alerts"]],
            "laser": {"state": laser, "dark_because": why, "barred": outcome.barred},
        }
