"""Where commands come in from everywhere else, to be taken between two blocks."""

from __future__ import annotations

import queue

from gateway.errors import CommandRefused
from gateway.types import Command

_MOST_WAITING = 256


class CommandInbox:
    """A bounded queue that any thread may put into, and the loop empties."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Command] = queue.Queue(_MOST_WAITING)

    def put(self, command: Command) -> None:
        """See Inbox."""
        try:
            self._queue.put_nowait(command)
        except queue.Full:
            raise CommandRefused(f"{_MOST_WAITING} commands are waiting already", "Send fewer") from None

    def drain(self) -> tuple[Command, ...]:
        """See Inbox."""
        commands = []
        while not self._queue.empty():
            commands.append(self._queue.get_nowait())
        return tuple(commands)
