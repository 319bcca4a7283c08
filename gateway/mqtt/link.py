"""The box at the MQTT broker: hands ticks, commands and the journal's history to the session, which decides, and
carries out with a connection what it wants.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gateway import tls
from gateway.clock import Clock
from gateway.config.sections import HomeAssistantSection, Mqtt
from gateway.errors import CommandRefused
from gateway.journal.entry import Entry
from gateway.journal.journal import Journal
from gateway.mqtt import reasons
from gateway.mqtt.backfill import Backfill
from gateway.mqtt.backlog import Backlog
from gateway.mqtt.commands import Arrival
from gateway.mqtt.connection import Connection
from gateway.mqtt.discovery import device_id
from gateway.mqtt.face import Face
from gateway.mqtt.gap import Gap
from gateway.mqtt.logs import SOURCE, LogHandler
from gateway.mqtt.registry import RegistryFile
from gateway.mqtt.session import Action, Connect, Hand, Publish, Session, Subscribe
from gateway.ports import Inbox
from gateway.reports import Reports
from gateway.types import CommandResult, Outcome, Tick

log = logging.getLogger("spectrophone.mqtt")

_MISC_NS = 1_000_000_000


class MqttLink:
    """A Sink that publishes to the broker of `settings`, and puts its commands into `inbox`."""

    def __init__(
        self,
        settings: Mqtt,
        face: Face,
        inbox: Inbox,
        clock: Clock,
        rng: np.random.Generator,
        secrets: Collection[str] = (),
        journal: Journal | None = None,
        *,
        home: HomeAssistantSection | None = None,
        reports: Reports = lambda: MappingProxyType({}),
        known: Path | None = None,
    ) -> None:
        """`secrets` are blacked out in what goes to the log topic; what `journal` keeps is delivered, too, if the
        settings want it. `home` says what Home Assistants there are, `reports` gives what is told beside the
        measurement, `known` is the file of what was announced before; nothing is kept if absent.
        """
        self._settings = settings
        self._face = face
        self._inbox = inbox
        self._clock = clock
        self._known = RegistryFile(known)
        before, keep = self._known.load(), self._known.keep
        self._session = Session(settings, face, rng, home=home, reports=reports, registry=before, keep=keep)
        self._logs = LogHandler(secrets)
        self._backlog = Backlog(journal, clock, self._made_up) if journal is not None and settings.history else None
        self._home = home
        self._backfill: Backfill | None = None
        self._stirred = asyncio.Event()
        self._delivering: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._said: str | None = self._session.problem

    @property
    def problem(self) -> str | None:
        """Why values do not reach the broker, in a sentence; None while they do."""
        return self._session.problem

    def counts(self) -> Mapping[str, Any]:
        """How the connection fares: `connected`, and since the start `reconnects`, `sent`, `waiting`, `dropped`."""
        return self._session.counts()

    def history(self) -> Mapping[str, Any]:
        """How the delivery of the journal stands; empty where there is none. `problem` is a sentence, or empty."""
        if self._backlog is None:
            return {}
        refused = f"the broker refuses {self._session.topics.history('+')}. Check its access list"
        problem = refused if self._session.history.refused else ""
        if not problem and self._backfill is not None:
            problem = self._backfill.problem
        return {**self._backlog.status(), "delivered": self._session.history.delivered, "problem": problem}

    async def start(self) -> None:
        """Begin to connect, in the background. Raises LinkError for a certificate or key file that is
        missing."""
        wanted = self._settings.tls
        context = None if wanted is None else tls.context(wanted, self._settings.host, "mqtt.tls")
        will = self._session.topics.status
        self._connection = Connection(self._settings, device_id(self._face), will, self, context)
        logging.getLogger(SOURCE).addHandler(self._logs)
        self._run(self._session.start)
        self._task = asyncio.create_task(self._tend(), name="mqtt")
        if self._home is not None and self._home.url is not None:
            self._backfill = Backfill(self._home, self._face, self._clock)
        if self._backlog is not None:
            self._delivering = asyncio.create_task(self._backlog.run(self._deliver), name="mqtt history")

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """Take a tick: publish it, or keep its newest values until the broker is back."""
        if self._backlog is not None:
            self._backlog.offer()
        if self._task is not None:
            self._run(lambda: self._session.offer(self._now(), tick, outcome))

    def health(self, facts: Mapping[str, Any]) -> None:
        """Publish how the box fares, or keep it until the broker is back."""
        if self._task is not None:
            self._run(lambda: self._session.health(self._now(), facts))

    def show(self, face: Face) -> None:
        """Go on as that box, of the same name: rules and action nodes have changed."""
        if self._task is not None:
            self._run(lambda: self._session.show(self._now(), face))

    def complain(self, reasons: Sequence[str]) -> None:
        """Publish what is wrong with the box itself, beside what is wrong with its values; nothing if all is well."""
        self._session.complain(reasons)

    def accepted(self, window: int) -> None:
        """See Ear."""
        self._run(lambda: self._session.accepted(self._now(), window))

    def lost(self, problem: str, unsupported: bool) -> None:
        """See Ear."""
        self._run(lambda: self._session.lost(self._now(), problem, unsupported=unsupported))

    def arrived(self, arrival: Arrival) -> None:
        """See Ear."""
        self._run(lambda: self._session.message(self._now(), arrival))

    def acknowledged(self, message: Publish, refusal: str) -> None:
        """See Ear."""
        self._session.access.answered(message.topic, refusal)
        self._run(lambda: self._session.acknowledged(self._now(), message.token, refused=bool(refusal)))

    def refused(self, topics: Sequence[str]) -> None:
        """See Ear."""
        self._session.access.subscribed(topics)

    async def close(self) -> None:
        """Publish offline and leave, within two seconds; may be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        logging.getLogger(SOURCE).removeHandler(self._logs)
        tasks = [task] if self._delivering is None else [task, self._delivering]
        for one in tasks:
            one.cancel()
        await asyncio.wait(tasks)
        if self._backfill is not None:
            await self._backfill.close()
        if self._session.connected:
            self._run(lambda: self._session.stop(self._now()))
        if self._connection is not None:
            await self._connection.close()
        await self._known.close()

    async def _tend(self) -> None:
        """Once a second, or sooner when the session wants it: keep-alive and timers."""
        while True:
            if self._connection is not None:
                self._connection.tend()
            self._run(lambda: self._session.timer(self._now()))
            if self._session.connected:
                self._run(lambda: self._session.log(self._logs.due(self._now())))
            now_ns, due_ns = self._now(), self._session.due_ns
            await self._clock.sleep_until(min(now_ns + _MISC_NS, now_ns + _MISC_NS if due_ns is None else due_ns))

    def _made_up(self, gap: Gap) -> None:
        """The broker has all of a gap; Home Assistant's statistics may have it, too."""
        if self._backfill is not None:
            self._backfill.begin(gap)

    async def _deliver(self, page: Sequence[Entry]) -> None:
        """Give the session a page of the journal; return when the broker has all of it."""
        self._run(lambda: self._session.page(self._now(), page))
        while not self._session.history.through:
            self._stirred.clear()
            due_ns = self._session.history.due_ns
            if due_ns is not None and due_ns > self._now():
                await self._clock.sleep_until(due_ns)
                self._run(lambda: self._session.timer(self._now()))
            else:
                await self._stirred.wait()

    def _now(self) -> int:
        return self._clock.monotonic_ns()

    def _run(self, step: Callable[[], list[Action]]) -> None:
        """Carry out what the session wants after `step`. A bug in here must not stop the measurement: it is
        logged."""
        try:
            for action in step():
                self._act(action)
        except Exception:
            log.exception("a fault in the MQTT link; the message is lost")
        self._stirred.set()
        if self._session.problem != self._said:
            self._said = self._session.problem
            if self._said is None:
                version = "5" if self._session.v5 else "3.1.1"
                log.info("connected to the MQTT broker %s with MQTT %s", reasons.place(self._settings), version)
            else:
                log.warning("%s", self._said)

    def _act(self, action: Action) -> None:
        assert self._connection is not None
        match action:
            case Connect():
                self._connection.dial(action.v5)
            case Subscribe():
                self._connection.subscribe(action.filters)
            case Publish():
                self._connection.publish(action)
            case Hand():
                try:
                    self._inbox.put(action.command)
                except CommandRefused as refused:
                    result = CommandResult(action.command, False, str(refused))
                    self._run(lambda: self._session.answer(self._now(), result))
