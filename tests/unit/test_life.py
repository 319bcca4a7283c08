"""The gateway's own life: what it is told, safe mode, and the memory of crashes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from drivers.gpio import SimulatedLine
from drivers.led import Led
from gateway.errors import CommandRefused, DeviceError
from gateway.life import CRASHES, Identify, Life, Starts
from gateway.types import Command, Outcome, Snapshot, Tick

SECOND = 1_000_000_000


class Told:
    """A life whose wishes are written down."""

    def __init__(self, supervised: bool = True) -> None:
        self.ended = 0
        self.restrained: list[bool] = []
        self.life = Life(supervised, self.end, self.restrained.append)

    def end(self) -> None:
        self.ended += 1

    def say(self, verb: str) -> str | None:
        return self.life.apply(Command("gateway", verb, origin="mqtt"))


def test_it_ends_in_order_and_wants_to_be_started_again() -> None:
    told = Told()
    assert told.say("restart") == "the outputs are made safe, and the gateway begins anew"
    assert (told.ended, told.life.restarting) == (1, True)


def test_it_does_not_end_where_nobody_would_start_it_again() -> None:
    told = Told(supervised=False)
    with pytest.raises(CommandRefused, match="nobody would start the gateway again"):
        told.say("restart")
    assert (told.ended, told.life.restarting) == (0, False)


def test_safe_mode_forbids_light_and_scripts_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    assert (told.life.read(), told.life.opened()) == ("running", "")
    assert told.say("normal") is None, "as it is already"
    told.say("safe_mode")
    assert told.life.read() == "safe mode"
    assert told.life.opened() == "the gateway is in safe mode: told by mqtt"
    assert told.say("normal") == "the laser stays dark until it is told to be on"
    assert (told.life.read(), told.life.opened(), told.restrained) == ("running", "", [True, False])
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


def begun(file: Path, boot: str = "first") -> tuple[Starts, Told]:
    told = Told()
    starts = Starts(file, told.life, boot)
    asyncio.run(starts.start())
    return starts, told


def measured(starts: Starts, seconds: float) -> None:
    starts.offer(Tick(0, round(seconds * SECOND), None, (), (), (), Snapshot()), Outcome())


def test_the_start_after_three_crashes_is_in_safe_mode(tmp_path: Path) -> None:
    file = tmp_path / "state" / "lab.starts"
    for _ in range(CRASHES):
        starts, told = begun(file)
        measured(starts, 59.9)
        assert told.life.read() == "running"
    _, told = begun(file)
    assert told.life.opened() == ("the gateway is in safe mode: it has crashed 3 times, each within 60 s of its start")
    assert told.restrained == [True]


def test_a_power_cut_is_no_crash(tmp_path: Path) -> None:
    file = tmp_path / "lab.starts"
    for boot in ("first", "second", "third", "fourth", "fifth"):
        _, told = begun(file, boot)
        assert told.life.read() == "running"


@pytest.mark.parametrize("how", ["measured", "ended"])
def test_what_went_well_ends_the_count(tmp_path: Path, how: str) -> None:
    file = tmp_path / "lab.starts"
    for _ in range(CRASHES - 1):
        begun(file)
    starts, told = begun(file)
    if how == "measured":
        measured(starts, 60.0)
        starts.withdraw()
    else:
        starts.forget()
    for _ in range(CRASHES):
        _, told = begun(file)
        assert told.life.read() == "running"


def test_what_people_can_mend_is_no_crash_and_forgets_none(tmp_path: Path) -> None:
    file = tmp_path / "lab.starts"
    begun(file)
    for _ in range(5):
        starts, told = begun(file)
        starts.withdraw()
        assert told.life.read() == "running"
    for _ in range(2):
        begun(file)
    _, told = begun(file)
    assert told.life.read() == "safe mode"


def test_a_file_that_is_no_number_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "lab.starts"
    file.write_text("\0\0")
    _, told = begun(file)
    assert (told.life.read(), file.read_text()) == ("running", "1 first\n")
    assert "nobody knows how the gateway ended before" in caplog.text


def test_a_directory_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("a file")
    starts, told = begun(tmp_path / "state" / "lab.starts")
    assert told.life.read() == "running"
    assert "starts cannot be counted" in caplog.text
    starts.withdraw()


def test_all_leds_flash() -> None:
    leds = [Led(name, {"red": SimulatedLine(False)}, "off") for name in ("status", "alarm")]
    identify = Identify(leds)
    assert identify.read() == "idle"
    identify.apply(Command("identify", "identify"))
    assert [led.read() for led in leds] == ["identify", "identify"]
    assert identify.read() == "identify"
    for led in leds:
        led.step(11 * SECOND)
    assert identify.read() == "idle"


def test_an_led_that_fails_keeps_no_other_from_flashing() -> None:
    class Broken(SimulatedLine):
        def set(self, high: bool) -> None:
            raise DeviceError("line 5 is gone")

    broken, well = (Led("a", {"red": SimulatedLine(False)}, "off"), Led("b", {"red": SimulatedLine(False)}, "off"))
    broken._lines = {"red": Broken(False)}
    with pytest.raises(DeviceError, match="line 5 is gone"):
        Identify([broken, well]).apply(Command("identify", "identify"))
    assert well.read() == "identify"
