"""What a page may ask of a running gateway, and nothing else: plain functions, filled in by gateway/service.py."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gateway.calibrating import GasLine
from gateway.check import Checked
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.journal.journal import Journal
from gateway.mqtt.face import Face
from gateway.ports import Inbox, Sink


@dataclass(frozen=True, slots=True)
class View:
    """The gateway as a page sees it. Everything that changes the world goes through `inbox`."""

    face: Callable[[], Face]
    """Nodes, rules and outputs, as they are now."""
    gas_lines: Callable[[], Sequence[GasLine]]
    board: str
    simulated: bool
    inbox: Inbox
    clock: Clock
    about: Callable[[], Mapping[str, Any]]
    """What `spectrophone status` tells beside results, alerts and outputs."""
    journal: Journal
    state: Path
    """The state directory."""
    file: Path | None
    """The configuration; None where the gateway runs without one."""
    secrets: Collection[str]
    """What nobody may be shown."""
    check: Callable[[str], Checked]
    """A text as if it were the configuration. Takes a while, and belongs into a thread."""
    restarting: Callable[[Config], Sequence[str]]
    """The sections of a configuration that wait for a restart."""


class Page(Sink, Protocol):
    """A Sink that people look at."""

    def status(self) -> Mapping[str, Any]:
        """Where it is, and the code that the first password wants: for who has the box's log."""
        ...


MakePage = Callable[[View], Page]
