"""Switches that forbid light, and push buttons on the event loop, with time in the test's hand."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drivers.button import Buttons, PushButton, SimulatedSwitch, SwitchInput
from drivers.gpio import SimulatedInput
from gateway.errors import CommandRefused, DeviceError
from gateway.inbox import CommandInbox
from gateway.ports import Output, Switch
from gateway.types import Command

ZERO = Command("calibration", "zero", origin="button:zero")
FLASH = (Command("led/status", "identify"), Command("led/alarm", "identify"))


class HandClock:
    """A Clock whose sleepers wake only when it is moved past their time."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._moved = asyncio.Event()

    def monotonic_ns(self) -> int:
        return self.now_ns

    def utc_ns(self) -> int:
        return self.now_ns

    async def sleep_until(self, monotonic_ns: int) -> None:
        while self.now_ns < monotonic_ns:
            await self._moved.wait()

    async def advance(self, seconds: float) -> None:
        await settle()
        self.now_ns += round(seconds * 1e9)
        self._moved.set()
        self._moved = asyncio.Event()
        await settle()


async def settle() -> None:
    """Let the loop see its descriptors, and the tasks run that this wakes."""
    for _ in range(5):
        await asyncio.sleep(0)


class Box:
    """A zero button to be held, a button that identifies at a tap, and their inbox."""

    def __init__(self) -> None:
        self.clock, self.inbox = HandClock(), CommandInbox()
        self.zero, self.flash = SimulatedInput(False), SimulatedInput(False)
        pushed = [PushButton("zero", self.zero, (ZERO,), 2.0), PushButton("flash", self.flash, FLASH)]
        self.buttons = Buttons(pushed, self.inbox, self.clock)

    async def press(self, line: SimulatedInput, seconds: float) -> tuple[Command, ...]:
        line.set(True)
        await self.clock.advance(seconds)
        line.set(False)
        await settle()
        return self.inbox.drain()


@asynccontextmanager
async def running() -> AsyncIterator[Box]:
    box = Box()
    box.buttons.start()
    try:
        yield box
    finally:
        box.buttons.close()
        box.buttons.close()
        assert (box.zero.fileno(), box.flash.fileno()) == (-1, -1)
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_switch_is_waited_for_by_its_descriptor() -> None:
    line = SimulatedInput(True)
    switch: Switch = SwitchInput(line, "the interlock is open")
    poll = select.poll()
    poll.register(switch.fileno(), select.POLLIN)
    assert (switch.opened(), poll.poll(0)) == ("", [])
    line.set(False)
    assert poll.poll(0)
    assert switch.opened() == "the interlock is open"
    assert poll.poll(0) == []
    line.set(True)
    assert switch.opened() == ""
    line.close()
    assert switch.fileno() == -1
    assert switch.opened() == "the simulated input is closed", "what cannot be read forbids light"


async def held_and_tapped() -> None:
    async with running() as box:
        assert await box.press(box.zero, 1.9) == ()
        assert await box.press(box.zero, 2.0) == (ZERO,)
        assert await box.press(box.zero, 20.0) == (ZERO,), "once, however long"
        assert await box.press(box.flash, 0.0) == FLASH
        assert await box.press(box.flash, 9.0) == FLASH


def test_a_button_asks_when_it_was_held_for_long_enough() -> None:
    asyncio.run(held_and_tapped())


async def faster_than_the_loop() -> None:
    async with running() as box:
        for line in (box.flash, box.zero):
            line.set(True)
            line.set(False)
        await box.clock.advance(5.0)
        assert box.inbox.drain() == FLASH
        box.zero.set(True)
        await box.clock.advance(1.5)
        box.zero.set(False)
        box.zero.set(True)
        await box.clock.advance(1.5)
        assert box.inbox.drain() == (), "it was let go between"
        await box.clock.advance(0.5)
        assert box.inbox.drain() == (ZERO,)


def test_a_tap_that_is_over_before_the_loop_comes_counts() -> None:
    asyncio.run(faster_than_the_loop())


async def held_at_the_begin() -> None:
    box = Box()
    box.flash.set(True)
    box.buttons.start()
    box.flash.set(False)
    await settle()
    assert box.inbox.drain() == ()
    assert await box.press(box.flash, 0.0) == FLASH
    box.buttons.close()


def test_a_button_that_is_pressed_at_the_begin_asks_for_nothing() -> None:
    asyncio.run(held_at_the_begin())


async def gone() -> None:
    class LostInput(SimulatedInput):
        """An input whose chip is unplugged: no simulated one can be."""

        def get(self) -> bool:
            if self.fileno() >= 0 and super().get():
                raise DeviceError("GPIO line 5 cannot be read: no such device")
            return False

    box = Box()
    box.flash.close()
    box.flash = LostInput(False)
    box.buttons = Buttons([PushButton("flash", box.flash, FLASH)], box.inbox, box.clock)
    box.buttons.start()
    box.flash.set(True)
    await settle()
    assert box.flash.fileno() == -1
    box.buttons.close()
    box.zero.close()
    assert box.inbox.drain() == ()


def test_a_button_whose_line_is_gone_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(gone())
    assert caplog.messages == ["button flash does nothing any more: GPIO line 5 cannot be read: no such device"]


async def full(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as box:
        for _ in range(256):
            box.inbox.put(ZERO)
        await box.press(box.flash, 0.0)
    assert [m for m in caplog.messages if "flash" in m] == [
        "button flash: 256 commands are waiting already. Send fewer"
    ] * 2


def test_a_full_inbox_is_told(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(full(caplog))


@pytest.mark.parametrize("active", [True, False])
def test_people_move_a_simulated_switch(active: bool) -> None:
    line = SimulatedInput(active)
    hand: Output = SimulatedSwitch("switch/interlock", line, active)
    assert hand.read() == "on"
    for verb in ("off", "on", "off"):
        hand.apply(Command(hand.target, verb))
        hand.step(1)
        hand.make_safe()
        assert (hand.read(), line.get()) == (verb, (verb == "on") == active)
    with pytest.raises(CommandRefused, match=r"switch/interlock cannot ajar\. It knows on and off"):
        hand.apply(Command(hand.target, "ajar"))
    hand.close()
    line.close()
