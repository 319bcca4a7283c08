"""What a script says, after the rates: log lines, notifications, outputs. Its node is known by its channel alone."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection
from typing import Any

from gateway.clock import Clock
from gateway.config.redact import redact
from gateway.errors import CommandRefused
from gateway.ports import Inbox
from gateway.scripts import rates
from gateway.scripts.messages import Log, Notify, Output
from gateway.scripts.rates import Bucket
from gateway.scripts.work import Work
from gateway.types import TELL, Command, iso_utc

log = logging.getLogger("spectrophone.scripts")

KEPT = 100
"""Lines that the status shows."""
SAID_NS = 10_000_000_000
"""From one word about lines that were suppressed to the next."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Told:
    """What one script has said, and the way on for it."""

    def __init__(self, work: Work, clock: Clock, inbox: Inbox, secrets: Collection[str] = ()) -> None:
        self._work, self._clock, self._inbox = work, clock, inbox
        self._logs, self._notifications = Bucket(rates.LOGS), Bucket(rates.twice(rates.NOTIFICATIONS))
        self._outputs = Bucket(rates.twice(rates.OUTPUTS))
        self._lines: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._counts = {"notifications": 0, "outputs": 0, "refused": 0}
        self._unread = 0
        self._say_ns = 0
        self._secrets = secrets

    def mask(self, text: str) -> str:
        """The text without secrets of the configuration, which a script may know and others may not."""
        return redact(text, self._secrets)

    def take(self, message: Log | Notify | Output) -> None:
        """Hand a message of the worker's on, if its rate allows it."""
        match message:
            case Log(level, text):
                self.line(level, text)
            case Notify(text, severity):
                self._notify(text, severity)
            case Output(name, value):
                self._output(name, value)

    def line(self, level: str, text: str) -> None:
        """A line for the log and the status. `text` is one line without control characters."""
        now_ns = self._clock.monotonic_ns()
        if not self._logs.take(now_ns):
            return
        text = self.mask(text)
        if now_ns >= self._say_ns and (dropped := self._logs.untold() + self._unread):
            self._unread, self._say_ns = 0, now_ns + SAID_NS
            log.warning("%s: %d lines suppressed: at most %g a second", self._work.node, dropped, rates.LOGS.per_s)
        log.log(_LEVELS[level], "%s: %s", self._work.node, text)
        self._lines.append({"time": iso_utc(self._clock.utc_ns()), "level": level, "text": text})

    def suppressed(self, lines: int) -> None:
        """So many lines were not even read."""
        self._unread += lines

    def as_object(self) -> dict[str, Any]:
        """Counts, what was suppressed, and the newest lines."""
        buckets = {"log": self._logs, "notification": self._notifications, "output": self._outputs}
        suppressed = {name: bucket.suppressed for name, bucket in buckets.items() if bucket.suppressed}
        return {**self._counts, "suppressed": suppressed, "log": list(self._lines)}

    def _notify(self, text: str, severity: str) -> None:
        if self._notifications.take(self._clock.monotonic_ns()):
            args = {"message": self.mask(text), "severity": severity}
            self._counts["notifications"] += self._put(Command(TELL, "notify", args, self._origin))

    def _output(self, name: str, value: bool | float | str) -> None:
        if name not in self._work.outputs:
            self._counts["refused"] += 1
            self.line("warning", f'set_output("{name}") is not allowed: list it under `outputs` of {self._work.node}')
        elif self._outputs.take(self._clock.monotonic_ns()):
            self._counts["outputs"] += self._put(command(name, value, self._origin))

    @property
    def _origin(self) -> str:
        return f"script:{self._work.node}"

    def _put(self, wanted: Command) -> bool:
        try:
            self._inbox.put(wanted)
        except CommandRefused as refused:
            self._counts["refused"] += 1
            log.warning("%s: %s %s: %s", self._work.node, wanted.target, wanted.verb, refused)
            return False
        return True


def command(name: str, value: bool | float | str, origin: str) -> Command:
    """What set_output means: True and False are on and off, a word is a verb, and a number is set."""
    if isinstance(value, bool):
        return Command(name, "on" if value else "off", origin=origin)
    if isinstance(value, str):
        return Command(name, value, origin=origin)
    return Command(name, "set", {"value": value}, origin)
