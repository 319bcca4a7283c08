"""Entries, a journal in memory, and a driver whose target a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gateway.actions.action import Action
from gateway.actions.actions import Actions
from gateway.actions.driver import ActionDriver
from gateway.actions.history import History
from gateway.actions.settings import ActionSettings, UniversalActionSettings
from gateway.actions.statistics import Statistics
from gateway.config.sections import JournalSection
from gateway.journal.entry import Entry
from gateway.journal.journal import Journal
from gateway.types import NO_FLAGS, Alert, LockInResult, Measurement, Outcome, PeakResult, Snapshot, Tick
from tests.support.clock import FakeClock

SECOND = 1_000_000_000


class Target:
    """An ActionDriver: what it took, and what it says to the next offers."""

    def __init__(self) -> None:
        self.took: list[Entry] = []
        self.offers: list[int] = []
        self.faults: list[Exception] = []
        self.started = self.closed = 0

    async def start(self) -> None:
        self.started += 1

    async def deliver(self, batch: Sequence[Entry]) -> None:
        self.offers.append(len(batch))
        if self.faults:
            raise self.faults.pop(0)
        self.took += batch

    def status(self) -> Mapping[str, Any]:
        return {"took": len(self.took)}

    async def close(self) -> None:
        self.closed += 1


class Bench:
    """Action nodes behind a journal in memory, ticks that a test makes, and time in its hand."""

    def __init__(self, **nodes: tuple[dict[str, Any], ActionDriver | None, bool]) -> None:
        self.clock = FakeClock()
        self.journal = Journal(None, JournalSection(), self.clock)
        self.index = 0
        self.targets = {name: (driver, durable) for name, (_, driver, durable) in nodes.items()}
        told = {name: settings(**options) for name, (options, _, _) in nodes.items()}
        self.actions = Actions(told, self.journal, self.made)

    @property
    def nodes(self) -> dict[str, Action]:
        return self.actions._actions

    def made(self, name: str, told: ActionSettings, history: History | None) -> Action:
        driver, durable = self.targets.get(name, (Target(), True))
        rng = np.random.default_rng(1)
        history = History(told.capacity) if history is None else history
        return Action(
            name, told, driver, durable=durable, journal=self.journal, clock=self.clock, rng=rng, history=history,
            statistics=Statistics(),
        )  # fmt: skip

    async def __aenter__(self) -> Bench:
        await self.journal.start()
        await self.actions.start()
        return self

    async def __aexit__(self, *about: object) -> None:
        await self.actions.close()
        await self.journal.close()

    def tick(self, *values: float, alerts: Sequence[Alert] = (), node: str = "co2", valid: bool = True) -> None:
        """A tick with measurements of `node`, and alerts."""
        self.index += 1
        t_ns = self.index * SECOND
        lock = LockInResult("lock", t_ns, 2012.5, 0.01, 0.0, 1e-6, 30, 1.0)
        peak = PeakResult("peak", t_ns, 2012.5, 0.01, 0.01, 1e-6, 30, 1.0, True)
        found = [Measurement(node, t_ns, v, 1.0, 2.0, 30, 3.0, valid, NO_FLAGS, lock) for v in values]
        tick = Tick(self.index, t_ns, self.clock.utc_ns(), (*found, peak), tuple(alerts), (), Snapshot())
        self.journal.offer(tick, Outcome())
        self.actions.offer(tick, Outcome())


def settings(**options: Any) -> UniversalActionSettings:
    return UniversalActionSettings.model_validate({"monitored_nodes": ["co2"], **options})


def alert(rule: str, source: str = "co2") -> Alert:
    return Alert(rule, "concentration", "warning", "raised", 1001.0, 1000.0, source, SECOND)


def ppm(entries: Sequence[Entry]) -> list[float]:
    return [entry.fields["ppm"] for entry in entries if entry.kind == "measurement"]


async def settle(rounds: int = 60) -> None:
    """Let every task run."""
    for _ in range(rounds):
        await asyncio.sleep(0)
