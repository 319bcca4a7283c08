"""The driver `display`: value and alert on a text display, as the colour of a LED, and in the action's status, from
which page and `spectrophone status` take it.

Nothing is ever shown twice or later: a display that is unplugged, full or hung is told in the status, and tried again
each second with what is to be seen then. So a hand-over never fails, and neither LED nor status waits for the device.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gateway.actions.driver import DriverKind, Surroundings, Verbs
from gateway.actions.shown import MOST_DECIMALS, Layout, Picture, Shown, State
from gateway.actions.terminal import Terminal
from gateway.config.sections import Name
from gateway.config.settings import Settings
from gateway.errors import CommandRefused
from gateway.journal.entry import Entry
from gateway.types import Command

log = logging.getLogger("spectrophone.actions")

Word = Literal["off", "on", "red", "green", "blue", "yellow", "magenta", "cyan", "white"]
_EVERY_NS = 1_000_000_000


class DisplaySettings(Settings):
    """A text display and a LED; the page shows the same, without either."""

    device: Path | None = Field(
        None,
        description="a console, serial port or character display such as /dev/tty1, /dev/ttyUSB0 or /dev/lcd; a "
        "serial port keeps the speed that it has",
    )
    columns: int = Field(20, ge=16, le=80, description="characters in a row")
    lines: int = Field(4, ge=1, le=25, description="rows")
    characters: Literal["utf-8", "ascii"] = Field("utf-8", description="ascii: ± is written as +-")
    decimals: int | None = Field(
        None, ge=0, le=MOST_DECIMALS, description="decimals of a concentration; as many as its uncertainty if absent"
    )
    expire_s: float = Field(30.0, ge=1, le=86_400, description="age from which a value is no longer shown, but `stale`")
    led: Name | None = Field(None, description="a LED of the board that shows the state by these colours")
    ok: Word = Field("green", description="the LED's colour while all is valid and no alert is raised")
    info: Word = Field("green", description="its colour while an alert of severity info is raised")
    invalid: Word = Field("blue", description="its colour while there is no valid value")
    warning: Word = Field("red", description="its colour while an alert of severity warning is raised")
    critical: Word = Field("red", description="its colour while an alert of severity critical is raised")

    @property
    def words(self) -> dict[State, Word]:
        """What the LED is told, by state: the options of these names."""
        return {
            "ok": self.ok,
            "info": self.info,
            "invalid": self.invalid,
            "warning": self.warning,
            "critical": self.critical,
        }

    @property
    def layout(self) -> Layout:
        """What the display holds."""
        return Layout(self.columns, self.lines, self.decimals, "+-" if self.characters == "ascii" else "±")


class Display:
    """An ActionDriver that shows the newest."""

    def __init__(self, settings: DisplaySettings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._around = surroundings
        self._picture = Picture(settings.layout, round(settings.expire_s * 1e9))
        device = settings.device
        self._terminal = Terminal(device, settings.columns, settings.lines) if device is not None else None
        self._shown: Shown | None = None
        self._fault = ""
        self._lit: Word | None = None
        self._timer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See ActionDriver. Raises LinkError for a device that is none; one that is not there yet may come."""
        if self._terminal is not None:
            self._terminal.check()
        self._show()
        self._timer = asyncio.create_task(self._tick())

    async def deliver(self, batch: Sequence[Entry]) -> None:
        """See ActionDriver."""
        clock = self._around.clock
        for entry in batch:
            self._picture.take(entry, clock.monotonic_ns(), clock.utc_ns())
        self._show()

    def status(self) -> Mapping[str, Any]:
        """See ActionDriver. `shows`: state, lines and the time of the newest value; `device`: what is the matter with
        the device, empty if nothing is.
        """
        shown = self._picture.shown(self._around.clock.monotonic_ns())
        shows = {"state": shown.state, "lines": list(shown.lines), "time": shown.time}
        return {"shows": shows, "device": self._fault}

    async def close(self) -> None:
        """See ActionDriver. The LED goes off, the device is cleared."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.wait([self._timer])
            self._timer = None
            self._light("off")
        if self._terminal is not None:
            await self._terminal.close(self._around.clock)

    async def _tick(self) -> None:
        """Look each second whether something has become too old to be shown, or the device has come back."""
        clock = self._around.clock
        while True:
            await clock.sleep_until(clock.monotonic_ns() + _EVERY_NS)
            self._show()

    def _show(self) -> None:
        shown = self._picture.shown(self._around.clock.monotonic_ns())
        self._light(self._settings.words[shown.state])
        new = self._shown is None or shown.lines != self._shown.lines
        self._shown = shown
        if self._terminal is not None and (new or self._fault):
            fault = self._terminal.show(shown.lines)
            if fault and fault != self._fault:
                log.warning("%s: %s", self._around.node, fault)
            self._fault = fault

    def _light(self, word: Word) -> None:
        """Tell the LED, if that is news to it. A full inbox takes it the next time."""
        if self._settings.led is None or word == self._lit:
            return
        with contextlib.suppress(CommandRefused):
            self._around.inbox.put(Command(f"led/{self._settings.led}", word, origin=f"action:{self._around.node}"))
            self._lit = word


def missing(settings: DisplaySettings, verbs: Verbs) -> Iterator[tuple[str, str, str]]:
    """A LED that the board has not, and colours that it has not."""
    if settings.led is None:
        return
    known = verbs.get(f"led/{settings.led}")
    if known is None:
        leds = ", ".join(target.removeprefix("led/") for target in verbs if target.startswith("led/"))
        yield "led", f"the board has no LED '{settings.led}'", f"It has: {leds or 'none'}"
        return
    for state, word in settings.words.items():
        if word not in known:
            yield state, f"the LED '{settings.led}' cannot be told '{word}'", f"It knows: {', '.join(known)}"


KIND = DriverKind(DisplaySettings, Display, durable=False, missing=missing)
