"""Who puts a command into the inbox and waits for what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.ports import Inbox
from gateway.types import Command, CommandResult, Outcome

ANSWER_S = 5.0
"""The longest that an answer is waited for; the command may be done later nevertheless."""


class Answers:
    """The commands of one Sink, all of one `kind` of origin ("web", "modbus"). On the event loop's thread."""

    def __init__(self, inbox: Inbox, kind: str) -> None:
        self._inbox, self._kind = inbox, f"{kind}:"
        self._waiting: dict[int, asyncio.Future[CommandResult]] = {}
        self._asked = 0

    async def ask(self, target: str, verb: str, args: Mapping[str, Any], who: str) -> CommandResult:
        """The command's answer. Raises CommandRefused by the inbox, TimeoutError where none comes."""
        self._asked += 1
        number = self._asked
        waiting: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            self._inbox.put(Command(target, verb, args, self._kind + who, number))
            async with asyncio.timeout(ANSWER_S):
                return await waiting
        finally:
            del self._waiting[number]

    def take(self, outcome: Outcome) -> None:
        """A tick has come: tell who waits."""
        for result in outcome.results:
            command = result.command
            waiting = self._waiting.get(command.reply_to) if command.origin.startswith(self._kind) else None
            if waiting is not None and not waiting.done():
                waiting.set_result(result)
