"""The configuration that the gateway runs by: the file's, and on top of it the numbers that people have set by hand.

A number set by hand makes of the configuration another one, which is followed as a saved file is (gateway/reload.py):
the path is built in another thread and exchanged between two blocks, and what has not changed in it goes on. It holds
until the file changes that very number, which then wins, or until the gateway ends: files are their owners'.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial

from gateway import design
from gateway.board import Board
from gateway.config.config import Config
from gateway.dials import INTEGRATION, Dial, DialOutput, turned
from gateway.errors import CommandRefused, SpectrophoneError
from gateway.path import Path
from gateway.ports import Inbox
from gateway.types import Command

log = logging.getLogger("spectrophone.tuning")


class Tuning:
    """Makes the running gateway follow a changed configuration, whoever has changed it.

    Who calls follow(), and puts what it gives into the inbox, holds `lock` meanwhile: paths come in the order in which
    they were made.
    """

    def __init__(self, config: Config, board: Board, inbox: Inbox) -> None:
        self.file = config
        """What the file says, as far as it is followed."""
        self.lock = threading.RLock()
        self._hands = threading.Lock()  # of what is set by hand, never for long: the event loop takes it, too
        self._board, self._inbox = board, inbox
        self._running, self._steps = config, design.steps(config)
        self._calibrates = any(line.kind == "lock_in" for line in design.gas_lines(config))
        self._dials, self._hand = self._dials_of(config), dict[str, float]()
        self._tasks: set[asyncio.Task[None]] = set()

    def outputs(self, path: Path) -> list[DialOutput]:
        """The numbers as outputs, read back from the running path."""
        return [DialOutput(dial, self.turn, _reading(path, dial)) for dial in self._dials.values()]

    def turn(self, dial: Dial, value: float, origin: str) -> None:
        """Set a number; the path that goes by it comes a moment later. On the event loop's thread."""
        with self._hands:
            configured = self._dials.get(dial.target)
            if configured is None:
                raise CommandRefused(f"{dial.target} is no longer in the configuration", "Begin the gateway anew")
            self._hand = {**self._hand, dial.target: value}
        log.info("%s set to %g by %s; the configuration says %g", dial.target, value, origin, configured.configured)
        task = asyncio.get_running_loop().create_task(asyncio.to_thread(self._turned), name=f"set {dial.target}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def status(self) -> Mapping[str, Mapping[str, float]]:
        """What is set by hand: by target, its value and what the configuration says."""
        with self._hands:
            known, hand = self._dials, self._hand
        return {target: {"value": value, "configured": known[target].configured} for target, value in hand.items()}

    def follow(self, file: Config) -> tuple[Command, ...]:
        """What makes the gateway follow a file whose nodes are still the same, each fed by the same."""
        after = self._dials_of(file)
        with self._hands:
            before, hand = self._dials, self._hand
            kept = {target: value for target, value in hand.items() if _same(before, after, target)}
            self.file, self._dials, self._hand = file, after, kept
        for target in hand.keys() - kept.keys():
            log.warning("%s: what was set by hand is over, the configuration has changed it", target)
        return self._changes()

    def _turned(self) -> None:
        try:
            with self.lock:
                for command in self._changes():
                    self._inbox.put(command)
        except SpectrophoneError as error:
            log.error("what was set by hand cannot be followed: %s", error)

    def _changes(self) -> tuple[Command, ...]:
        """From the configuration that runs to the one that should."""
        old, new = self._running, turned(self.file, self._hand)
        commands, steps = [], design.steps(new)
        changed = (self._steps, old.rules, design.action_alarms(old)) != (steps, new.rules, design.action_alarms(new))
        if changed:
            driven = new.model_copy(update={"laser": old.laser, "acquisition": old.acquisition})
            computing = design.path(driven, self._board, design.sound(old, self._board))
            commands.append(Command("path", "replace", {"path": computing}, "configuration"))
        if design.actions(old) != design.actions(new):
            commands.append(Command("actions", "configure", {"settings": design.actions(new)}, "configuration"))
        lines = design.gas_lines(new)
        if self._calibrates and design.gas_lines(old) != lines:
            commands.append(Command("calibration", "configure", {"lines": lines}, "configuration"))
        kept = {"laser": old.laser, "acquisition": old.acquisition}
        self._running, self._steps = new.model_copy(update=kept), steps
        return tuple(commands)

    def _dials_of(self, config: Config) -> dict[str, Dial]:
        return {dial.target: dial for dial in design.numbers(config, self._board)}


def _same(before: Mapping[str, Dial], after: Mapping[str, Dial], target: str) -> bool:
    """Whether a file says the same of that number as before."""
    return target in after and after[target].configured == before[target].configured


def _reading(path: Path, dial: Dial) -> Callable[[], float | None]:
    """What tells the number that the path goes by."""
    if dial.alarm:
        return partial(path.threshold, dial.alarm)
    node = dial.target.removeprefix(INTEGRATION)
    return lambda: getattr(path.settings(node), "integration_s", None)
