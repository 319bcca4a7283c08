"""The gateway's log over MQTT: warnings and worse, at most ten a minute, the same ones folded into one with its count.

What the MQTT link itself says stays out of it, so that a broker that refuses messages is not told so by more of them;
`problem` and `spectrophone status` tell. Nothing is retained: a warning of last week is no news.

Messages are the same that differ in numbers only ("block 17 took 120 ms"); the newest is shown. One that has just been
sent is sent again after a minute, with the count of what came meanwhile. While nobody takes them the first hundred
different ones are kept, and what came beyond them is counted.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from gateway.config.redact import redact
from gateway.mqtt.codec import dump
from gateway.types import iso_utc

SOURCE = "spectrophone"
OWN = "spectrophone.mqtt"
A_MINUTE = 10
MOST = 100
LONGEST = 1000
"""Characters of a message."""
_MINUTE_NS = 60_000_000_000
_NUMBER = re.compile(r"(?<![\w/.-])-?\d+(\.\d+)?")


@dataclass(slots=True)
class Line:
    """A message that waits: its newest text, how often it came, and when last (UTC)."""

    level: str
    logger: str
    text: str
    count: int
    utc_ns: int


class Folded:
    """Messages that wait. No clock: times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str, str], Line] = {}
        self._sent_ns: deque[int] = deque()
        self._quiet_until_ns: dict[tuple[str, str, str], int] = {}
        self._beyond = 0

    def add(self, level: str, logger: str, text: str, utc_ns: int) -> None:
        """A message came."""
        key = level, logger, _NUMBER.sub("#", text)
        line = self._waiting.get(key)
        if line is not None:
            line.text, line.count, line.utc_ns = text, line.count + 1, utc_ns
        elif len(self._waiting) < MOST:
            self._waiting[key] = Line(level, logger, text, 1, utc_ns)
        else:
            self._beyond += 1

    def due(self, now_ns: int) -> list[Line]:
        """What may go out now, oldest first."""
        while self._sent_ns and now_ns - self._sent_ns[0] >= _MINUTE_NS:
            self._sent_ns.popleft()
        self._quiet_until_ns = {key: until for key, until in self._quiet_until_ns.items() if until > now_ns}
        room = A_MINUTE - len(self._sent_ns)
        keys = [key for key in self._waiting if key not in self._quiet_until_ns][: max(0, room)]
        self._sent_ns.extend(now_ns for _ in keys)
        self._quiet_until_ns |= dict.fromkeys(keys, now_ns + _MINUTE_NS)
        return [self._waiting.pop(key) for key in keys] + self._uncounted(now_ns, room > len(keys))

    def _uncounted(self, now_ns: int, room: bool) -> list[Line]:
        """How many were too many, once all others are gone."""
        if not self._beyond or not room or self._waiting:
            return []
        count, self._beyond = self._beyond, 0
        self._sent_ns.append(now_ns)
        return [Line("warning", SOURCE, "more messages came than could be sent; the log of the box has them", count, 0)]


class LogHandler(logging.Handler):
    """Takes records of the gateway's loggers, from any thread, without waiting; `secrets` are blacked out."""

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__(logging.WARNING)
        self._secrets = secrets
        self._folded = Folded()
        self._guard = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler. The record is left as it is for other handlers."""
        if f"{record.name}.".startswith(f"{OWN}."):
            return
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        text = redact(text, self._secrets)[:LONGEST]
        with self._guard:
            self._folded.add(record.levelname.lower(), record.name, text, round(record.created * 1e9))

    def due(self, now_ns: int) -> list[bytes]:
        """The payloads that may be published at that monotonic time."""
        with self._guard:
            lines = self._folded.due(now_ns)
        return [_payload(line) for line in lines]


def _payload(line: Line) -> bytes:
    return dump(
        {
            "level": line.level,
            "logger": line.logger,
            "message": line.text,
            "count": line.count,
            "time": iso_utc(line.utc_ns or None),
        }
    )
