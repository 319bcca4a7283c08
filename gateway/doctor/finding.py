"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "missing", "unknown", "not needed"]


@dataclass(frozen=True, slots=True)
class Said:
    """What was found, in words, and what to do about it; "" where nothing is to be done."""

    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check `name` of a `group` has said."""

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""


class CannotTellError(Exception):
    """A check cannot say anything, for that reason."""


def ok(found: str) -> Said:
    """All is well."""
    return Said("ok", found)


def needless(found: str) -> Said:
    """It is not there, and nobody wants it."""
    return Said("not needed", found)


def warning(found: str, remedy: str) -> Said:
    """It works, and could be better."""
    return Said("warning", found, remedy)


def missing(found: str, remedy: str) -> Said:
    """The box does not do what it is for, or not safely."""
    return Said("missing", found, remedy)
