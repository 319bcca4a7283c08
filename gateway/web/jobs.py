"""Procedures as jobs: how far they are, out of the words that their outputs say (docs/commands.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

NAMES = ("calibration", "sweep")
"""The outputs that are procedures with an end."""
_PART = re.compile(r"(?P<what>.*) (?P<percent>\d{1,3}) %")

State = Literal["idle", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """`progress` is 0 to 1, `text` the words themselves."""

    name: str
    state: State
    progress: float
    text: str


def job(name: str, said: str) -> Job:
    """The job of an output that says `said`: idle; zero 40 %; done: and what was found; failed: and why."""
    if found := _PART.fullmatch(said):
        return Job(name, "running", min(1.0, int(found["percent"]) / 100.0), said)
    if said.startswith("done:"):
        return Job(name, "done", 1.0, said)
    if said.startswith("failed:"):
        return Job(name, "failed", 0.0, said)
    return Job(name, "idle", 0.0, said)
