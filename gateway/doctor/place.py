"""The machine that is looked at: its files, its configuration and board, the gateways that run on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import board as boards
from gateway import configured, detect, places, status
from gateway.board import Board
from gateway.check import Checked, acquisition
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.config.sections import Acquisition
from gateway.detect import Detected
from gateway.doctor.finding import CannotTellError
from gateway.errors import ConfigError

UNIT = "spectrophone.service"
COMMAND_S = 10.0
"""How long a program of the system may take to answer."""
_ASKED = (
    *("LoadState", "ActiveState", "UnitFileState", "MainPID", "Type", "WatchdogUSec", "ExecStopPost"),
    *("Delegate", "DelegateControllers", "ProtectControlGroups", "StateDirectory", "User"),
)


def ask(command: Sequence[str]) -> str | None:
    """What a program of the system prints; None where there is no such program, or it fails."""
    environ = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, env=environ, check=True)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return done.stdout


@dataclass(frozen=True, slots=True)
class Place:
    """A machine: the files below `root`, the configuration `file` (None: the built-in one) as it was `checked`,
    and what else was found at the beginning.

    `gateways` are the states that running gateways tell; `unit` is what systemd says of the gateway's unit, nothing
    where there is no systemd. `ask` runs a program of the system.
    """

    file: Path | None
    checked: Checked
    detected: Detected
    clock: Clock
    environ: Mapping[str, str]
    root: Path = Path("/")
    gateways: tuple[Mapping[str, Any], ...] = ()
    unit: Mapping[str, str] = field(default_factory=dict)
    ask: Callable[[Sequence[str]], str | None] = ask

    @property
    def config(self) -> Config:
        """The configuration. Raises CannotTellError where it has faults."""
        if self.checked.config is None:
            raise CannotTellError("not looked at, because the configuration has faults")
        return self.checked.config

    @property
    def board(self) -> Board:
        """The board that the configuration names, whatever else is wrong with it. Raises CannotTellError."""
        if self.checked.board is not None:
            return self.checked.board
        name = self.checked.document.get("board")
        try:
            return boards.load(name if isinstance(name, str) else detect.default())
        except ConfigError:
            raise CannotTellError("not looked at, because the board is not known") from None

    @property
    def listening(self) -> Acquisition:
        """How the microphone is asked. Raises CannotTellError."""
        return acquisition(self.config, self.board)

    @property
    def gateway(self) -> Mapping[str, Any] | None:
        """The gateway that runs here; the first, where there are several."""
        return next(iter(self.gateways), None)

    @property
    def holder(self) -> str:
        """Who has the hardware now, in words; "" where no gateway runs."""
        return f"the running gateway (process {self.pid})" if self.pid else ""

    @property
    def pid(self) -> int:
        """The running gateway's process; 0 where none runs."""
        return int(self.gateway["pid"] if self.gateway else self.unit.get("MainPID") or 0)

    @property
    def state(self) -> Path:
        """Where the gateway keeps what outlasts a restart: its unit's state directory, if there is a unit."""
        of_unit = self.unit.get("StateDirectory", "").split()
        if of_unit and "STATE_DIRECTORY" not in self.environ:
            return self.root / "var/lib" / of_unit[0]
        return places.state_directory(self.environ)

    def text(self, path: str) -> str:
        """What a small file says, without white space and zeros around it; "" where it cannot be read."""
        try:
            return (self.root / path).read_bytes().decode("utf-8", "replace").strip(" \n\t\0")
        except OSError:
            return ""


def look(
    file: Path | None, environ: Mapping[str, str], clock: Clock, root: Path = Path("/"), checked: Checked | None = None
) -> Place:
    """The machine whose files are below `root`, with the configuration in `file`."""
    shown = ask(["systemctl", "show", UNIT, *(f"--property={name}" for name in _ASKED)])
    unit = dict(line.split("=", 1) for line in (shown or "").splitlines() if "=" in line)
    directories = dict.fromkeys((places.directory(environ), root / "run/spectrophone"))
    gateways = [each for directory in directories for each in status.read(directory, clock.utc_ns())]
    known = configured.prepare(file, environ) if checked is None else checked
    return Place(file, known, detect.detect(root), clock, environ, root, tuple(gateways), unit)
