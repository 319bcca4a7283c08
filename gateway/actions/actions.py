"""All action nodes: the sink that hands each its entries, and the door through which they are reset and configured."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from gateway.actions.action import Action
from gateway.actions.history import History
from gateway.actions.settings import ActionSettings
from gateway.errors import CommandRefused
from gateway.journal.journal import Journal
from gateway.scripts.host import Scripts
from gateway.types import Command, Outcome, Tick

log = logging.getLogger("spectrophone.actions")

ACTIONS = "actions"
ASKED = ("reset", "pause", "resume", "reload")
"""What people may tell them. "configure" is for a changed configuration (gateway/reload.py) and not among it."""
Make = Callable[[str, ActionSettings, History | None], Action]
"""Makes an action node of its settings; of one that was there before, with what that has seen."""


class Actions:
    """A Sink behind the journal's."""

    def __init__(
        self,
        settings: Mapping[str, ActionSettings],
        journal: Journal,
        make: Make,
        scripts: Scripts | None = None,
        runs_code: Callable[[ActionSettings], bool] = lambda settings: False,
    ) -> None:
        """`scripts` is where the drivers' workers come from; they end with the actions. `runs_code`: whether a node's
        driver runs a customer's script.
        """
        self._actions = {name: make(name, each, None) for name, each in settings.items()}
        self._journal = journal
        self._make = make
        self._scripts = scripts
        self._settings, self._runs_code = dict(settings), runs_code
        self._restrained = self._started = False
        self._changing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See Sink."""
        allowed = self._allowed()
        self._actions = {name: action for name, action in self._actions.items() if name in allowed}
        self._started = True
        self._journal.reconfigure(*self._watched())
        for action in self._actions.values():
            await action.start()

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        for entry in self._journal.fresh:
            for action in self._actions.values():
                if action.wants(entry):
                    action.take(entry)

    async def close(self) -> None:
        """See Sink."""
        if self._changing is not None:
            await asyncio.wait([self._changing])
        await asyncio.gather(*(action.close() for action in self._actions.values()))
        if self._scripts is not None:
            await self._scripts.close()

    def status(self) -> list[dict[str, Any]]:
        """How each fares."""
        return [action.status() for action in self._actions.values()]

    def reset(self, node: str | None) -> None:
        """Forget history and statistics of one node, or of all. Raises CommandRefused for a node that is none."""
        for action in self._actions.values() if node is None else [self._named(node)]:
            action.reset()

    def tell(self, verb: str, node: str | None) -> None:
        """Pause, resume or reload a node. Raises CommandRefused where it is none, or cannot do that."""
        if node is None:
            message = f"which action is to {verb} is not said"
            raise CommandRefused(message, f'Say {{"do": "{verb}", "node": NODE}}')
        action = self._named(node)
        {"pause": action.pause, "resume": action.resume, "reload": action.reload}[verb]()

    def _named(self, node: str) -> Action:
        if node not in self._actions:
            raise CommandRefused(f"there is no action '{node}'", f"There are: {', '.join(self._actions)}")
        return self._actions[node]

    def configure(self, settings: Mapping[str, ActionSettings]) -> None:
        """Go on with these nodes and their settings; in the background, one change after the other."""
        before, self._settings = self._changing, dict(settings)
        self._changing = asyncio.get_running_loop().create_task(self._configured(self._allowed(), before))

    def restrain(self, restrained: bool) -> None:
        """While restrained, no node is there that runs a customer's script; before the start, or from now on."""
        self._restrained = restrained
        if self._started:
            self.configure(self._settings)

    def _allowed(self) -> Mapping[str, ActionSettings]:
        kept = self._settings.items()
        return {name: each for name, each in kept if not (self._restrained and self._runs_code(each))}

    async def _configured(self, settings: Mapping[str, ActionSettings], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        for name in [name for name in self._actions if name not in settings]:
            await self._actions.pop(name).close()
        for name, new in settings.items():
            try:
                await self._configured_one(name, new)
            except Exception:
                log.exception("%s could not be configured anew", name)
        self._journal.reconfigure(*self._watched())

    async def _configured_one(self, name: str, new: ActionSettings) -> None:
        """A node of the same driver goes on with it; of another driver, or a new node, is made anew."""
        old = self._actions.get(name)
        if old is not None and not new.drives_anew(old.settings):
            old.configure(new)
            return
        made = self._make(name, new, None if old is None else old.history)
        if old is not None:
            await old.close()
        self._actions[name] = made
        await made.start()

    def _watched(self) -> tuple[frozenset[str], frozenset[str]]:
        """The nodes whose results somebody watches, and those of them that the journal keeps for somebody."""
        actions = self._actions.values()
        everything = frozenset(node for action in actions for node in action.monitored)
        return everything, frozenset(node for action in actions if action.durable for node in action.monitored)

    def isolation(self) -> Mapping[str, Any]:
        """How well scripts are fenced in, as JSON values; nothing where there is none."""
        return {} if self._scripts is None else self._scripts.status()

    def summary(self) -> str:
        """In words: none; ok; or what is wrong with the first that has a problem."""
        if not self._actions:
            return "none"
        troubles = ((action.name, action.trouble) for action in self._actions.values())
        problems = [f"{name}: {trouble}" for name, trouble in troubles if trouble]
        return problems[0] if problems else "ok"


class ActionsOutput:
    """The actions as an output: they can be reset, paused and loaded anew, and tell whether all is well."""

    target = ACTIONS
    verbs: tuple[str, ...] = (*ASKED, "configure")

    def __init__(self, actions: Actions) -> None:
        self._actions = actions

    def apply(self, command: Command) -> None:
        """See Output."""
        if command.verb == "configure":
            self._actions.configure(command.args["settings"])
        elif command.verb == "reset":
            self._actions.reset(command.args.get("node"))
        else:
            self._actions.tell(command.verb, command.args.get("node"))

    def read(self) -> str:
        """See Output."""
        return self._actions.summary()

    def step(self, t_ns: int) -> None:
        """See gateway.ports.Output."""

    def make_safe(self) -> None:
        """See Output: what they tell others does no harm."""

    def close(self) -> None:
        """See Output; the sink's end is theirs."""
