"""Switches that forbid light, and push buttons.

A switch (`SwitchInput`) is waited for by a thread of its own, which works when the event loop hangs (gateway.watch):
the interlock is closed or open, a stop button let go or pressed. Its line is active while all is well, so that a broken
wire with the right resistor means open.

Push buttons ask for something: the event loop waits for their lines' changes, which the kernel has freed of bounces,
and puts commands into the inbox when one has been pressed for long enough.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.gpio import Input, SimulatedInput
from gateway.clock import Clock
from gateway.errors import CommandRefused, DeviceError
from gateway.ports import Inbox
from gateway.types import Command

log = logging.getLogger("spectrophone.button")


class SwitchInput:
    """The interlock or a stop button, on an open input that is active while all is well; `reason` is why there is no
    light while it is not: "the interlock is open". See gateway.ports.Switch.
    """

    def __init__(self, line: Input | SimulatedInput, reason: str) -> None:
        self._line, self._reason = line, reason

    def fileno(self) -> int:
        """See Switch."""
        return self._line.fileno()

    def opened(self) -> str:
        """See Switch."""
        try:
            return "" if self._line.get() else self._reason
        except DeviceError as error:
            return str(error)

    def close(self) -> None:
        """Give the line back; may be called twice."""
        self._line.close()


@dataclass(frozen=True, slots=True)
class PushButton:
    """A push button on an open input that is active while it is pressed, and what it asks for when it has been for
    `hold_s`.
    """

    name: str
    line: Input | SimulatedInput
    commands: tuple[Command, ...]
    hold_s: float = 0.0


class Buttons:
    """The push buttons of a box."""

    def __init__(self, buttons: Sequence[PushButton], inbox: Inbox, clock: Clock) -> None:
        self._buttons, self._inbox, self._clock = tuple(buttons), inbox, clock
        self._pressed: set[str] = set()
        self._holding: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to wait for them, in the running event loop. One that is pressed already has to be pressed again."""
        loop = asyncio.get_running_loop()
        for button in self._buttons:
            if self._is_pressed(button):
                self._pressed.add(button.name)
            if button.line.fileno() >= 0:
                loop.add_reader(button.line.fileno(), self._changed, button)

    def close(self) -> None:
        """Wait no longer, and give the lines back; may be called twice."""
        for button in self._buttons:
            self._leave(button)

    def _changed(self, button: PushButton) -> None:
        """A line has changed, once or more often: a tap may be over before the loop comes to it."""
        was = button.name in self._pressed
        pressed = self._is_pressed(button)
        self._let_go(button)
        if pressed is None:
            return
        if pressed:
            self._pressed.add(button.name)
        if button.hold_s == 0.0 and (pressed or not was):
            self._ask(button)
        elif pressed:
            self._holding[button.name] = asyncio.get_running_loop().create_task(self._hold(button), name="button")

    def _is_pressed(self, button: PushButton) -> bool | None:
        """None for a line that is gone; that is told here, and the button is left alone from then on."""
        try:
            return button.line.get()
        except DeviceError as error:
            log.error("button %s does nothing any more: %s", button.name, error)
            self._leave(button)
            return None

    def _let_go(self, button: PushButton) -> None:
        self._pressed.discard(button.name)
        if holding := self._holding.pop(button.name, None):
            holding.cancel()

    def _leave(self, button: PushButton) -> None:
        self._let_go(button)
        if button.line.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(button.line.fileno())
        button.line.close()

    async def _hold(self, button: PushButton) -> None:
        await self._clock.sleep_until(self._clock.monotonic_ns() + round(button.hold_s * 1e9))
        self._ask(button)

    def _ask(self, button: PushButton) -> None:
        log.info("button %s pressed", button.name)
        for command in button.commands:
            try:
                self._inbox.put(command)
            except CommandRefused as error:
                log.warning("button %s: %s", button.name, error)


class SimulatedSwitch:
    """An input of the simulated box as an output that people can move: target "switch/NAME" or "button/NAME", on and
    off. `active`: whether the input is active while it is on.
    """

    verbs: tuple[str, ...] = ("on", "off")

    def __init__(self, target: str, line: SimulatedInput, active: bool = True) -> None:
        self.target, self._line, self._active = target, line, active
        self._on = line.get() == active

    def apply(self, command: Command) -> None:
        """Close or open, press or let go. Raises CommandRefused for another verb."""
        if command.verb not in self.verbs:
            raise CommandRefused(f"{self.target} cannot {command.verb}", "It knows on and off")
        self._on = command.verb == "on"
        self._line.set(self._on == self._active)

    def step(self, t_ns: int) -> None:
        """See gateway.ports.Output."""

    def read(self) -> str:
        """How it was left: "on" or "off"."""
        return "on" if self._on else "off"

    def make_safe(self) -> None:
        """See gateway.ports.Output: it stands for somebody's hand, which nothing moves."""

    def close(self) -> None:
        """See gateway.ports.Output; the line belongs to whoever listens to it."""
