"""What the gateway's side of a script passes around: what is to be run, and the ways in which it can go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from gateway.scripts.messages import Finding, Functions, Record
from gateway.scripts.permissions import Grant, Place


@dataclass(frozen=True, slots=True)
class Work:
    """One script of one action node, with all that it is given.

    `path` is the file as people wrote it, and what tracebacks call it. `paths` are directories that it may import from
    beside what the gateway has. `timeout_option` and `memory_option` are what messages call these limits. `checks`
    False leaves out the static check and the import guard, which are not the wall.
    """

    node: str
    path: str
    style: Literal["class", "module"]
    class_name: str = ""
    functions: Functions = field(default_factory=Functions)
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    monitored: tuple[str, ...] = ()
    allowed_imports: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    network: tuple[Place, ...] = ()
    files: tuple[Grant, ...] = ()
    paths: tuple[str, ...] = ()
    history_capacity: int = 100
    timeout_s: float = 5.0
    timeout_option: str = "python_timeout_ms"
    memory_bytes: int = 64 << 20
    disk_bytes: int = 16 << 20
    hot_reload: bool = True
    checks: bool = True

    @property
    def name(self) -> str:
        """The file's name, for short."""
        return PurePosixPath(self.path).name

    def function(self, hook: str) -> str:
        """What the customer calls a hook."""
        return str(getattr(self.functions, hook, hook)) if self.style == "module" else hook


class Raised(Exception):
    """The script raised, or returned what is not plain; it goes on."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.message)
        self.record = record


class Stopped(Exception):
    """The worker has ended, or was killed: why, in words. `timeout`: because a call took too long."""

    def __init__(self, reason: str, timeout: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.timeout = reason, timeout


class NotLoaded(Exception):
    """There is no worker that has loaded the script. `final`: trying again cannot help, only another file can."""

    def __init__(self, reason: str, *, final: bool = False, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(reason)
        self.reason, self.final, self.findings = reason, final, findings


class Waiting(Exception):
    """The script is not to be called now; it may be in `seconds` (a guess)."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.reason, self.seconds = reason, seconds


class Failure(Exception):
    """A call came to nothing: what a person is told, with the customer's file and line where there is one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def told(record: Record) -> str:
    """A Record in one line: `co2.py:12: ValueError: no such gas. HINT`."""
    if record.type == "check":
        return f"{PurePosixPath(record.file).name}: {record.message}"
    place = f"{PurePosixPath(record.file).name}:{record.line}: " if record.line else ""
    hint = f" ({record.hint})" if record.hint else ""
    message = f": {record.message}" if record.message else ""
    return f"{place}{record.type}{message}{hint}"
