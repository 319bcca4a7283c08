"""A page's server in this process, on loopback, of a box that a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.check import Checked
from gateway.config.document import parse
from gateway.config.sections import JournalSection, WebSection
from gateway.inbox import CommandInbox
from gateway.journal.journal import Journal
from gateway.mqtt.face import Face, GasFace, OutputFace, SignalFace, Span
from gateway.types import CommandResult, Outcome, Snapshot, Tick
from gateway.view import View
from gateway.web.server import WebServer
from tests.support.clock import FakeClock
from tests.unit.journal.samples import SECOND_NS, measurement

FACE = Face(
    "lab",
    "Lab",
    "1.0",
    "co2",
    (GasFace("co2", "lock"),),
    (SignalFace("lock", "lock_in"),),
    (),
    (OutputFace("cell", ("set",), Span(0.0, 1e6, 0.1, "ppm")), OutputFace("relay/fan", ("on", "off"))),
)


@dataclass
class Box:
    """The server, and what it sees."""

    server: WebServer
    view: View
    second: int = 0
    about: dict[str, Any] = field(default_factory=dict)

    def tick(self, answer: Callable[[Any], CommandResult] | None = None) -> None:
        """A second goes by with a measurement; `answer` to what was told."""
        self.second += 1
        t_ns = self.second * SECOND_NS
        found = measurement(t_ns)
        results = tuple(map(answer, self.view.inbox.drain())) if answer else ()
        outcome = Outcome(results, {"cell": "400.0", "sweep": "idle"}, ("lit", ""), "")
        tick = Tick(self.second, t_ns, self.view.clock.utc_ns(), (found,), (), (), Snapshot({"co2": found}, {}))
        self.view.journal.offer(tick, outcome)
        self.server.offer(tick, outcome)


def view_of(directory: Path, clock: FakeClock, about: Mapping[str, Any]) -> View:
    """What the server sees."""
    empty = Checked(None, None, (), parse("", "", {}), frozenset())
    return View(
        face=lambda: FACE,
        gas_lines=tuple,
        board="sim",
        simulated=True,
        inbox=CommandInbox(),
        clock=clock,
        about=lambda: about,
        journal=Journal(None, JournalSection(), clock),
        state=directory,
        file=None,
        secrets=(),
        check=lambda text: empty,
        restarting=lambda config: (),
    )


@asynccontextmanager
async def served(directory: Path, **settings: Any) -> AsyncIterator[Box]:
    """The server, listening on a port that its address tells."""
    clock, about = FakeClock(), {"kind": "status", "box": "lab", "actions": []}
    view = view_of(directory, clock, about)
    server = WebServer(WebSection(port=0, **settings), view)
    await view.journal.start()
    await server.start()
    try:
        yield Box(server, view, about=about)
    finally:
        await server.close()
        await view.journal.close()
        await asyncio.sleep(0)
