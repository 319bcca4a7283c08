"""Who has seen which alert, and when: kept in a small file beside the journal, whose entries are never changed."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateway import atomic

log = logging.getLogger("spectrophone.journal")

SUFFIX = ".acknowledged.json"
MOST = 1000
"""Alerts that are remembered: those that were acknowledged last."""
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """`by` has seen the alert of that `id` of the journal at `time`, ISO 8601 in UTC, and says `note`."""

    id: int
    by: str
    time: str
    note: str = ""


class Acknowledged:
    """The file, read once and written whole."""

    def __init__(self, file: Path) -> None:
        """A file that is not there, or broken, has nothing in it."""
        self._file = file
        self._known: dict[int, Acknowledgement] = {}

    def load(self) -> None:
        """Read the file; what is wrong with it is told in the log."""
        try:
            data = json.loads(self._file.read_text("utf-8"))
            known = [Acknowledgement(**each) for each in data["acknowledged"]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s); no alert counts as acknowledged", self._file, type(error).__name__)
            return
        self._known = {each.id: each for each in known}

    def of(self, number: int) -> Acknowledgement | None:
        """Who acknowledged the alert of that id; None where nobody did."""
        return self._known.get(number)

    def add(self, new: Acknowledgement) -> Acknowledgement:
        """Remember it, and write the file; of two of one alert the first stays, and is returned. Raises OSError."""
        if (before := self._known.get(new.id)) is not None:
            return before
        known = {**self._known, new.id: new}
        while len(known) > MOST:
            del known[next(iter(known))]
        self._write(known)
        self._known = known
        return new

    def _write(self, known: dict[int, Acknowledgement]) -> None:
        data: dict[str, Any] = {"format": _FORMAT, "acknowledged": [asdict(each) for each in known.values()]}
        self._file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        atomic.write(self._file, json.dumps(data, ensure_ascii=False))
