"""The laser on a codec's output, on a device that fails as told: underruns, a device gone, hands from two threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.alsa import Playback, Sound
from drivers.playback import PlaybackLaser, Sine, buffer_frames, period_frames
from gateway.errors import CommandRefused, DeviceError
from gateway.interlock import Condition, Interlock
from gateway.outputs import Outputs
from gateway.types import Command, Light

RATE = 48_000
DARK_S = 3600.0
"""As long as nobody says that it is over: device.later holds what comes after it."""
ON, OFF = Command("laser", "on"), Command("laser", "off")
LIGHT = Light(Fraction("2012.5"), 0.5, 0.02)


class Device(Playback):
    """Takes what it is given; a byte in its pipe wakes the writer, as poll descriptors do."""

    def __init__(self) -> None:
        self.device = "fake"
        self.waked, self.wake = os.pipe()
        self.descriptors = [(self.waked, 1)]
        self.played: list[Sound] = []
        self.later: list[Callable[[], object]] = []
        self.state, self.drops, self.gone, self.closed = "prepared", 0, False, 0

    @property
    def running(self) -> bool:
        """See Playback."""
        return self.state == "running"

    def free(self) -> int:
        """See Playback."""
        os.read(self.waked, 1)
        return 480

    def write(self, samples: Sound) -> int:
        """See Playback."""
        if self.gone:
            raise DeviceError("laser's output fake is gone: No such device", "Plug it in again")
        self.state = "running"
        self.played.append(samples)
        return len(samples)

    def drop(self) -> None:
        """See Playback."""
        self.state = "setup"
        self.drops += 1

    def close(self) -> None:
        """See Playback."""
        self.closed += 1

    def ask(self, state: str = "running") -> None:
        """Ask for more, or tell of another state."""
        self.state = state
        os.write(self.wake, b".")


def run(do: Callable[[PlaybackLaser, Device], Awaitable[None]], ramp_s: float = 0.0) -> Device:
    async def main() -> Device:
        device, loop = Device(), asyncio.get_running_loop()
        real = loop.call_later

        def call_later(delay_s: float, callback: Callable[..., object], *arguments: Any, **more: Any) -> Any:
            if delay_s != DARK_S:
                return real(delay_s, callback, *arguments, **more)
            return device.later.append(callback)

        loop.call_later = call_later  # type: ignore[method-assign]
        laser = PlaybackLaser(device, RATE, [0.0, 0.5], LIGHT, DARK_S, ramp_s)
        try:
            await do(laser, device)
        finally:
            laser.close()
            await asyncio.sleep(0)
            os.close(device.waked)
            os.close(device.wake)
        return device

    return asyncio.run(main())


async def turn() -> None:
    """Let the event loop look at its descriptors."""
    for _ in range(3):
        await asyncio.sleep(0.001)


def test_the_device_is_filled_at_once_and_then_as_it_asks() -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        assert laser.read() == "off"
        laser.apply(ON)
        assert laser.read() == "on"
        await turn()
        device.ask()
        await turn()
        assert [len(samples) for samples in device.played] == [buffer_frames(RATE), 480]

    sound = np.concatenate(run(do).played)
    expected = 0.5 * np.sin(2 * np.pi * (np.arange(len(sound)) * 2012.5 / RATE % 1.0))
    assert not sound[:, 0].any()
    assert np.abs(sound[:, 1] - expected).max() < 1e-12


def test_the_amplitude_rises_over_the_ramp_and_anew_after_dark() -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        assert laser.light == LIGHT
        laser.apply(ON)
        await turn()
        for t_ns in (0, 500_000_000, 1_000_000_000):
            laser.step(t_ns)
            device.ask()
            await turn()
        assert laser.light == LIGHT
        laser.make_safe()
        laser.apply(ON)
        assert laser.light.power_w == pytest.approx(0.01 * LIGHT.power_w)

    peaks = [float(np.abs(samples).max()) for samples in run(do, ramp_s=1.0).played]
    assert peaks == pytest.approx([0.005, 0.005, 0.25, 0.5, 0.005], rel=1e-2)


def test_an_underrun_is_dark_for_a_while_and_a_new_command_does_not_shorten_that() -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        laser.apply(ON)
        await turn()
        device.state = "xrun"
        assert laser.read() == "off"
        device.ask("xrun")
        await turn()
        assert laser.underruns == 1
        laser.apply(ON)
        assert laser.read() == "off"
        assert len(device.played) == 1
        device.later.pop()()
        assert laser.read() == "on"
        assert len(device.played) > 1

    device = run(do)
    assert np.array_equal(device.played[0], device.played[1]), "a start is a start: phase 0"


def test_a_laser_switched_off_after_an_underrun_stays_dark() -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        laser.apply(ON)
        await turn()
        device.ask("xrun")
        await turn()
        laser.apply(OFF)
        device.later.pop()()
        assert laser.read() == "off"
        assert len(device.played) == 1

    run(do)


def test_a_device_that_is_gone_is_dark_and_refuses() -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        laser.apply(ON)
        await turn()
        device.gone = True
        device.ask()
        await turn()
        assert laser.read() == "off"
        device.state = "disconnected"
        with pytest.raises(DeviceError, match="laser's output fake is gone"):
            laser.apply(ON)
        assert laser.read() == "off"
        assert laser.underruns == 0

    run(do)


def test_safe_from_another_thread_stops_what_the_loop_would_write() -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        laser.apply(ON)
        await turn()
        thread = threading.Thread(target=laser.make_safe)
        thread.start()
        thread.join()
        assert laser.read() == "off"
        os.write(device.wake, b".")
        await turn()
        assert device.state == "setup"
        assert len(device.played) == 1

    run(do)


def test_the_door_darkens_it_when_its_time_is_over_and_when_the_watch_says_so() -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        door = Outputs([laser], Interlock(10.0))
        assert door.apply([ON], 0).states["laser"] == "on"
        assert door.apply((), 10_000_000_000).states["laser"] == "off"
        assert device.state == "setup"
        assert door.apply([ON], 11_000_000_000).states["laser"] == "on"
        await asyncio.to_thread(door.lose, Condition.SOUND, "no sound")
        assert (door.lit(), device.state) == (False, "setup")
        door.restore(Condition.SOUND)
        assert door.lit()

    run(do)


def test_closing_drops_what_was_not_played_and_may_come_twice() -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        laser.apply(ON)
        laser.close()
        assert laser.read() == "off"
        assert (device.drops, device.closed) == (1, 1)

    run(do)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (Command("laser", "explode"), "laser cannot explode"),
        (Command("laser", "tune", {"frequency_hz": "2000"}), "wants a number of hertz"),
        (Command("laser", "tune", {"frequency_hz": 24000.0}), "24000 Hz is not below half the sample rate"),
    ],
)
def test_refusals_say_why(command: Command, reason: str) -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        with pytest.raises(CommandRefused, match=reason):
            laser.apply(command)
        assert laser.light == LIGHT

    assert not run(do).played


def test_tuning_neither_lights_nor_darkens() -> None:
    async def do(laser: PlaybackLaser, device: Device) -> None:
        laser.apply(Command("laser", "tune", {"frequency_hz": 2000.1}))
        assert laser.light.frequency == Fraction("2000.1")
        assert laser.read() == "off"
        laser.apply(ON)
        laser.apply(Command("laser", "tune", {"frequency_hz": 2025.0}))
        assert laser.read() == "on"

    run(do)


@given(st.lists(st.tuples(st.integers(1, 480), st.fractions(1, 20_000, max_denominator=1000)), min_size=1, max_size=8))
def test_the_phase_goes_on_over_retunes_whatever_the_pieces(pieces: list[tuple[int, Fraction]]) -> None:
    sine, turns = Sine(RATE, Fraction(1000), period_frames(RATE), [1.0]), Fraction(0)
    for frames, frequency in pieces:
        sine.tune(frequency)
        exact = [float((turns + frequency * n / RATE) % 1) for n in range(frames)]
        assert np.abs(sine.next(frames)[:, 0] - np.sin(2 * np.pi * np.array(exact))).max() < 1e-11
        sine.advance(frames)
        turns += frequency * frames / RATE


def test_the_phase_does_not_drift_in_a_year() -> None:
    sine, frames = Sine(RATE, Fraction("2013.7"), 480, [1.0]), 365 * 86_400 * RATE + 1
    sine.advance(frames)
    expected = np.sin(2 * np.pi * float(Fraction("2013.7") * frames / RATE % 1))
    assert sine.next(1)[0, 0] == pytest.approx(expected, abs=1e-12)
