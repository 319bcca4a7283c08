"""One action node while the gateway runs: what it has seen, and the task that hands it on.

The task calls the driver at most once per update interval, at once for an alert, and with everything that waits. Where
the target does not take a batch, it waits as the breaker says and offers it again; nothing else waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from gateway.actions.breaker import Breaker
from gateway.actions.driver import ActionDriver, Refused, Reloadable, Resettable, Troubled, Undelivered
from gateway.actions.history import History
from gateway.actions.queue import BATCH, Durable, Newest, Queue
from gateway.actions.settings import ActionSettings
from gateway.actions.statistics import Statistics
from gateway.clock import Clock
from gateway.errors import CommandRefused, SpectrophoneError
from gateway.journal.entry import Entry
from gateway.journal.journal import Journal

log = logging.getLogger("spectrophone.actions")


class Action:
    """An action node: `name` and its settings, with the driver that they name, or none."""

    def __init__(
        self,
        name: str,
        settings: ActionSettings,
        driver: ActionDriver | None,
        *,
        durable: bool,
        journal: Journal,
        clock: Clock,
        rng: np.random.Generator,
        history: History,
        statistics: Statistics,
    ) -> None:
        """`history` and `statistics` are those that its driver has, too."""
        self.name = name
        self.problem: str | None = None
        self.settings = settings
        self._driver = driver
        self.durable = durable
        self._journal = journal
        self._clock = clock
        self._breaker = Breaker(rng)
        self._statistics = statistics
        self.history = history
        self._queue: Queue | None = None
        self._hurry = asyncio.Event()
        self._due_ns = 0
        self._task: asyncio.Task[None] | None = None
        self._begun = self._paused = False

    @property
    def monitored(self) -> tuple[str, ...]:
        """The nodes that it watches."""
        return self.settings.monitored_nodes

    def wants(self, entry: Entry) -> bool:
        """Whether an entry is this node's business: results of its monitored nodes, its own alerts, and those of rules
        that watch its monitored nodes. What other actions are alerted of is not, nor what scripts tell.
        """
        if entry.kind == "alert" and entry.fields["state"] == "told":
            return False
        if entry.kind == "alert":
            owner, _, trigger = entry.fields["rule"].partition("/")
            return bool(owner == self.name) if trigger else entry.subject in self.settings.monitored_nodes
        return entry.kind != "command" and entry.subject in self.settings.monitored_nodes

    async def start(self) -> None:
        """Begin to deliver. A driver that cannot begin is told in `problem`, and the measurement goes on without it."""
        if self._driver is None:
            return
        if self._queue is None:
            self._queue = Durable(self.name, self._journal, self.wants) if self.durable else Newest()
        try:
            await self._driver.start()
        except SpectrophoneError as error:
            self.problem = str(error)
            log.error("%s delivers nothing: %s", self.name, error)
            return
        self._begun = True
        if not self._paused:
            self._go()

    def take(self, entry: Entry) -> None:
        """An entry that this node wants has come."""
        if entry.kind != "alert":
            self.history.append(entry)
        if self._queue is not None:
            self._queue.put(entry)
        if entry.kind == "alert":
            self._hurry.set()

    @property
    def trouble(self) -> str | None:
        """What is wrong: with its deliveries, else with its driver, if that cannot deliver just now."""
        return self.problem or (self._driver.trouble if isinstance(self._driver, Troubled) else None)

    def status(self) -> dict[str, Any]:
        """How it fares, as JSON values: `state` is idle (no driver), ok, waiting (its target is away), paused or
        stopped.
        """
        state = "idle" if self._driver is None else "stopped" if self._task is None else "ok"
        state = "paused" if self._paused else state
        if state == "ok" and (self._breaker.failures or (self.trouble and not self.problem)):
            state = "waiting"
        oldest_ns = None if self._queue is None else self._queue.oldest_ns()
        statistics = self._statistics.as_object()
        if self._queue is not None:
            statistics["dropped"] += self._queue.dropped
        return {
            "node": self.name,
            "state": state,
            "problem": self.trouble,
            "circuit": self._breaker.state,
            "queue_age_s": 0.0 if oldest_ns is None else max(0.0, (self._clock.utc_ns() - oldest_ns) / 1e9),
            "history": len(self.history),
            **statistics,
            **({} if self._driver is None else {"driver": dict(self._driver.status())}),
        }

    def reset(self) -> None:
        """Forget history and statistics, and try a target that is waited for at once."""
        self.history.clear()
        self._statistics.reset()
        if self._queue is not None:
            self._queue.dropped = 0
        if isinstance(self._driver, Resettable):
            self._driver.reset()
        if self._breaker.failures and self._task is not None:
            self._breaker.succeeded()
            self._go()

    def pause(self) -> None:
        """Deliver nothing until resume(): what comes waits as it does for a target that is away. Raises CommandRefused
        where there is nothing to pause.
        """
        if self._driver is None:
            raise CommandRefused(f"{self.name} has no driver, and delivers nothing", "Give it one in the configuration")
        self._paused = True
        if self._task is not None:
            self._task.cancel()
            self._task = None
        log.info("%s is paused", self.name)

    def resume(self) -> None:
        """Deliver again, what has waited first. Raises CommandRefused where it is not paused."""
        if not self._paused:
            raise CommandRefused(f"{self.name} is not paused")
        self._paused = False
        if self._begun:
            self._go()
        log.info("%s goes on", self.name)

    def reload(self) -> None:
        """Have the driver read its files anew. Raises CommandRefused where it has none."""
        if not isinstance(self._driver, Reloadable):
            raise CommandRefused(f"{self.name} has no script that could be loaded anew")
        self._driver.reload()

    def _go(self) -> None:
        """Deliver from now on, whatever went on before."""
        if self._task is not None:
            self._task.cancel()
        if self._driver is not None and self._queue is not None:
            self._task = asyncio.create_task(self._run(self._driver, self._queue), name=f"action {self.name}")

    def configure(self, settings: ActionSettings) -> None:
        """Go on with new settings of the same driver."""
        self.history.resize(settings.capacity)
        self.settings = settings

    async def close(self) -> None:
        """End, within a second or two; what is not delivered stays in the journal."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._driver is not None:
            await self._driver.close()

    async def _run(self, driver: ActionDriver, queue: Queue) -> None:
        while True:
            await queue.wait()
            await self._pace()
            most = self._most
            while batch := await queue.batch(most):
                await self._deliver(driver, queue, batch)
                if len(batch) < most and not self._breaker.failures:
                    break
                most = self._most

    @property
    def _most(self) -> int:
        """How many entries are offered at once."""
        return 1 if self._breaker.half_open else BATCH

    async def _pace(self) -> None:
        """Wait until the update interval is over, or an alert has come."""
        waits = [
            asyncio.ensure_future(self._clock.sleep_until(self._due_ns)),
            asyncio.ensure_future(self._hurry.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._hurry.clear()
        self._due_ns = self._clock.monotonic_ns() + self.settings.update_interval_ms * 1_000_000

    async def _deliver(self, driver: ActionDriver, queue: Queue, batch: Sequence[Entry]) -> None:
        """Offer a batch once; if the target does not take it, wait before the next attempt."""
        begin_ns = self._clock.monotonic_ns()
        try:
            await driver.deliver(batch)
        except Undelivered as fault:
            self._statistics.errors += 1
            self._tell(fault.reason)
            pause_s: float | None = self._breaker.failed(fault.retry_after_s)
        except Refused as fault:
            self._statistics.errors += 1
            self._statistics.refused += len(batch)
            self._tell(fault.reason)
            pause_s = None
        except Exception:
            self._statistics.errors += 1
            self._tell("a fault of the software: the log has it")
            log.exception("%s could not deliver", self.name)
            pause_s = self._breaker.failed(None)
        else:
            self._statistics.delivered += len(batch)
            self._tell(None)
            pause_s = None
        self._statistics.called(self._clock.monotonic_ns() - begin_ns)
        if pause_s is None:
            self._breaker.succeeded()
            queue.done(batch)
            return
        await self._clock.sleep_until(self._clock.monotonic_ns() + round(pause_s * 1e9))
        self._breaker.paused()

    def _tell(self, problem: str | None) -> None:
        """Log a problem once, and its end."""
        if problem is not None:
            self._statistics.last_error = problem
        if problem == self.problem:
            return
        if problem is not None:
            log.warning("%s: %s", self.name, problem)
        else:
            log.info("%s delivers again", self.name)
        self.problem = problem
