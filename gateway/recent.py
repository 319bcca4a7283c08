"""The newest lines of the gateway's log, in memory, for who cannot read the journal of the machine."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gateway.config.redact import redact
from gateway.types import iso_utc

SOURCE = "spectrophone"
KEPT = 500
LONGEST = 1000
"""Characters of a message."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line: `utc_ns` as the wall clock said, `level` as logging numbers it."""

    utc_ns: int
    level: int
    logger: str
    message: str

    def as_object(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "time": iso_utc(self.utc_ns),
            "level": logging.getLevelName(self.level).lower(),
            "logger": self.logger,
            "message": self.message,
        }


class RecentLines(logging.Handler):
    """Takes records of the gateway's loggers, from any thread. `secrets` are blacked out, those that come later, and
    what belongs into the machine's own log only, `private`.
    """

    def __init__(self, secrets: Collection[str], private: Collection[str] = ()) -> None:
        super().__init__(logging.INFO)
        self._secrets, self._private = secrets, private
        self._lines: deque[Line] = deque(maxlen=KEPT)
        self._count = 0
        self._guard = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler. The record is left as it is for other handlers."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        text = redact(redact(text, self._secrets), self._private)[:LONGEST]
        line = Line(round(record.created * 1e9), record.levelno, record.name, text)
        with self._guard:
            self._lines.append(line)
            self._count += 1

    def newest(self, limit: int, level: int) -> list[Line]:
        """At most so many lines of that level or worse, oldest first."""
        with self._guard:
            found = list(islice((line for line in reversed(self._lines) if line.level >= level), limit))
        return found[::-1]

    def after(self, count: int) -> tuple[list[Line], int]:
        """The lines since there had been `count` of them, as far as they are kept, and how many there have been."""
        if count == self._count:
            return [], count
        with self._guard:
            new = min(self._count - count, len(self._lines))
            return list(islice(self._lines, len(self._lines) - new, None)), self._count
