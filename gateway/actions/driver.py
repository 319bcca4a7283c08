"""What an action node needs of a driver, and nothing else. A new driver is one new file and one line in DRIVERS.

A driver hands batches to its target: a server, a display, a script. It runs on the event loop, never blocks it, and
knows nothing of journals, back-off or breakers: when a batch cannot be delivered it says so and is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from gateway.actions.history import History
from gateway.actions.statistics import Statistics
from gateway.clock import Clock
from gateway.config.settings import Settings
from gateway.errors import Fault
from gateway.journal.entry import Entry
from gateway.ports import Inbox

if TYPE_CHECKING:
    from gateway.scripts.host import Scripts


class Undelivered(Exception):
    """The target did not take the batch, and may later: it will be offered again, whole.

    `reason` is a sentence without secrets; `retry_after_s` is how long the target asked us to wait, None where it did
    not.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Refused(Exception):
    """The target will never take this batch (a 4xx, a bad topic): it is counted, told, and not offered again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ActionDriver(Protocol):
    """A way to a target."""

    async def start(self) -> None:
        """Make ready, without waiting for the target. What can fail for good (a certificate file that is missing) fails
        here: LinkError."""
        ...

    async def deliver(self, batch: Sequence[Entry]) -> None:
        """Hand over a batch, oldest first; return when the target has it. Raises Undelivered or Refused.

        May be cancelled at any time; the batch then counts as not delivered.
        """
        ...

    def status(self) -> Mapping[str, Any]:
        """What else belongs in the action's status: JSON values, no secrets."""
        ...

    async def close(self) -> None:
        """Give everything back within a second; may be called twice."""
        ...


@runtime_checkable
class Resettable(Protocol):
    """A driver that has something of its own to forget."""

    def reset(self) -> None:
        """Begin counting anew, and try at once what is waited for."""
        ...


@runtime_checkable
class Reloadable(Protocol):
    """A driver with files that people change."""

    def reload(self) -> None:
        """Read them anew, in the background, whether they have changed or not."""
        ...


@runtime_checkable
class Troubled(Protocol):
    """A driver that knows by itself when it cannot deliver."""

    @property
    def trouble(self) -> str | None:
        """Why not, None while it can. It is asked at every block."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a driver may know of the gateway: the action node that it serves, the box, time, and the way in for commands
    (a display that lights a LED). For a script also what the node has seen, how it fares, its parameters as plain data,
    and where workers come from.
    """

    node: str
    box: str
    clock: Clock
    inbox: Inbox
    history: History = field(default_factory=History)
    statistics: Statistics = field(default_factory=Statistics)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scripts: Scripts | None = None


Verbs = Mapping[str, Sequence[str]]
"""What each output of the board can be told, by target."""


@dataclass(frozen=True, slots=True)
class DriverKind:
    """A kind of driver: its settings, how one is made, and what it wants installed.

    `durable`: its target gets every entry, in order, out of the journal, however long it was away; otherwise it gets
    the newest of each node, and every alert. `module` is the library that it needs, of the extra `extra` of this
    package; both empty where the core has it. `missing` looks for what the settings name and this machine, whose
    outputs take these verbs, lacks: the option, what is wrong, what to do. `read` reads the files that they name, which
    may take seconds, and tells their faults, each with its own file and line. `code`: it runs a customer's.
    """

    settings: type[Settings]
    make: Callable[[Any, Surroundings], ActionDriver]
    durable: bool
    module: str = ""
    extra: str = ""
    missing: Callable[[Any, Verbs], Iterable[tuple[str, str, str]]] = lambda settings, verbs: ()
    read: Callable[[Any], Iterable[Fault]] = lambda settings: ()
    code: bool = False
