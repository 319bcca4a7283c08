"""The driver display: its LED, its device, its status, and that they say when a value is old."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.led import MIXTURES
from gateway.actions.display import Display, DisplaySettings
from gateway.actions.driver import Surroundings
from gateway.actions.shown import STATES
from gateway.config.fields import words
from gateway.errors import CommandRefused, LinkError
from gateway.journal.entry import Entry
from gateway.types import Command

SECOND = 1_000_000_000
UTC_NS = 1_790_000_000 * SECOND


class HandClock:
    """A Clock that wakes sleepers only when it is moved past their time."""

    def __init__(self) -> None:
        self._now_ns = SECOND
        self._moved = asyncio.Event()

    def monotonic_ns(self) -> int:
        return self._now_ns

    def utc_ns(self) -> int:
        return self._now_ns + UTC_NS

    async def sleep_until(self, monotonic_ns: int) -> None:
        while self._now_ns < monotonic_ns:
            await self._moved.wait()

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self._now_ns += round(seconds * SECOND)
        self._moved.set()
        self._moved = asyncio.Event()
        for _ in range(5):
            await asyncio.sleep(0)


class Inbox:
    """Keeps the commands; refuses as many as `full` says."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.full = 0

    def put(self, command: Command) -> None:
        if self.full:
            self.full -= 1
            raise CommandRefused("full")
        self.commands.append(command)

    def drain(self) -> tuple[Command, ...]:
        return tuple(self.commands)

    def told(self) -> list[tuple[str, str]]:
        return [(command.target, command.verb) for command in self.commands]


def run(act: Callable[[Display, HandClock, Inbox], Awaitable[None]], **options: Any) -> Inbox:
    """Start a display, let `act` have it, close it twice; the inbox afterwards."""

    async def main() -> Inbox:
        clock, inbox = HandClock(), Inbox()
        display = Display(DisplaySettings(**options), Surroundings("show", "lab", clock, inbox))
        await display.start()
        await act(display, clock, inbox)
        for _ in range(2):
            await display.close()
        assert len(asyncio.all_tasks()) == 1
        return inbox

    return asyncio.run(main())


def measured(clock: HandClock, number: int = 1, **changed: Any) -> Entry:
    fields = {"kind": "measurement", "ppm": 412.3149, "sigma_ppm": 0.42, "valid": True, "flags": [], **changed}
    return Entry(number, clock.utc_ns(), "measurement", "co2", fields)


def alerted(clock: HandClock, state: str) -> Entry:
    fields = {
        "kind": "alert", "rule": "r", "type": "concentration", "severity": "warning", "state": state,
        "value": 1010.2, "threshold": 1000.0, "source": "co2",
    }  # fmt: skip
    return Entry(9, clock.utc_ns(), "alert", "co2", fields)


def test_the_led_is_told_each_state_once_and_goes_off_at_the_end() -> None:
    async def act(display: Display, clock: HandClock, inbox: Inbox) -> None:
        for entry in (measured(clock, 1), measured(clock, 2), alerted(clock, "raised"), alerted(clock, "cleared")):
            await display.deliver([entry])
        await display.deliver([measured(clock, 3, valid=False, flags=["laser_off"])])

    inbox = run(act, led="status", invalid="off", warning="yellow")
    assert inbox.told() == [("led/status", word) for word in ("off", "green", "yellow", "green", "off")]
    assert {command.origin for command in inbox.commands} == {"action:show"}
    assert run(act).told() == []


def test_a_full_inbox_is_asked_again() -> None:
    async def act(display: Display, clock: HandClock, inbox: Inbox) -> None:
        inbox.full = 1
        await display.deliver([measured(clock)])
        assert inbox.told() == [("led/a", "blue")]
        await clock.advance(1.0)
        assert inbox.told() == [("led/a", "blue"), ("led/a", "green")]

    assert run(act, led="a").told()[-1] == ("led/a", "off")


def test_a_value_is_shown_as_long_as_it_is_new() -> None:
    async def act(display: Display, clock: HandClock, inbox: Inbox) -> None:
        await display.deliver([measured(clock)])
        await clock.advance(5.0)
        shows = display.status()["shows"]
        assert shows == {"state": "ok", "lines": ["co2", "412.31 ± 0.42 ppm"], "time": "2026-09-21T14:13:21.000Z"}
        await clock.advance(1.0)
        assert display.status()["shows"] == {**shows, "state": "invalid", "lines": ["co2 stale"]}
        assert inbox.told()[-1] == ("led/status", "blue")

    run(act, led="status", expire_s=5.0)


def test_the_device_shows_the_lines_goes_stale_and_is_cleared() -> None:
    master, slave = os.openpty()
    os.set_blocking(master, False)

    async def act(display: Display, clock: HandClock, inbox: Inbox) -> None:
        assert b"no value yet" in os.read(master, 4096)
        await display.deliver([measured(clock)])
        text = os.read(master, 4096).decode()
        assert "412.31 +- 0.42 ppm" in text
        await display.deliver([measured(clock, 2)])
        await clock.advance(30.0)
        with pytest.raises(BlockingIOError):
            os.read(master, 4096)
        await clock.advance(1.0)
        assert b"co2 stale" in os.read(master, 4096)

    run(act, device=Path(os.ttyname(slave)), characters="ascii")
    assert os.read(master, 4096) == b"\x1b[2J\x1b[H"
    os.close(master)
    os.close(slave)


def test_a_device_that_is_not_there_holds_nothing_up_and_is_taken_when_it_comes(tmp_path: Path) -> None:
    master, slave = os.openpty()
    link = tmp_path / "ttyUSB0"

    async def act(display: Display, clock: HandClock, inbox: Inbox) -> None:
        await display.deliver([measured(clock)])
        assert inbox.told()[-1] == ("led/status", "green")
        assert display.status()["device"] == f"{link} cannot be written: No such file or directory"
        link.symlink_to(os.ttyname(slave))
        await clock.advance(1.0)
        assert display.status()["device"] == ""
        assert "412.31 ± 0.42 ppm" in os.read(master, 4096).decode()

    run(act, device=link, led="status")
    os.close(master)
    os.close(slave)


def test_what_is_no_device_is_told_at_the_start(tmp_path: Path) -> None:
    async def act(*_: Any) -> None:
        raise AssertionError("it must not start")

    with pytest.raises(LinkError, match="is no terminal"):
        run(act, device=tmp_path)


def test_every_state_has_a_word_and_every_word_is_a_leds() -> None:
    settings = DisplaySettings()
    assert settings.words.keys() == set(STATES)
    assert set(words(DisplaySettings.model_fields["ok"])) == {"on", "off", *MIXTURES}
