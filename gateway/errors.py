"""Every deliberate error. Each says in one sentence what is wrong and in a second what to do next."""

from __future__ import annotations

from dataclasses import dataclass


class SpectrophoneError(Exception):
    """A fault that a user can mend. `message` names place and value, `remedy` what to do; exit status 1."""

    exit_status = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}. {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy


class UsageError(SpectrophoneError):
    """What was given on the command line is at fault; exit status 2."""

    exit_status = 2


class DeviceError(SpectrophoneError):
    """A microphone, laser, relay, LED or sensor is missing, busy, or not what was asked for."""


class RecordingError(SpectrophoneError):
    """A WAV or FLAC file cannot be read or written as sound; exit status 2."""

    exit_status = 2


class CalibrationError(SpectrophoneError):
    """Points from which no calibration can be made."""


class LinkError(SpectrophoneError):
    """A server (MQTT broker and the like) refused us or cannot be reached."""


class CommandRefused(SpectrophoneError):
    """A command that may not, or cannot, be carried out; it becomes a refused CommandResult."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a configuration.

    `loc` is the way to the option through mappings (by key) and lists (by index), such as
    ("processing", "default_graph", "nodes", 2, "parameters", "order"). `line` and `column` count from 1; 0 where
    the place is not known yet.
    """

    loc: tuple[str | int, ...]
    message: str
    remedy: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    @property
    def option(self) -> str:
        """The option's path as people write it: processing.default_graph.nodes[2].parameters.order."""
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.loc)
        return path.lstrip(".")

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: " if self.file else ""
        option = f"{self.option}: " if self.loc else ""
        return f"{place}{option}{self.message}" + (f". {self.remedy}" if self.remedy else "")


class ConfigError(SpectrophoneError):
    """A configuration with faults, all of them; exit status 2."""

    exit_status = 2

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults
