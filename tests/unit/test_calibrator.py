"""Zero and span while the gateway runs: what is refused, what is heard, and what is said in the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gateway import calibration
from gateway.calibrating import MOST, GasLine, session
from gateway.calibrator import IDLE, CalibrationOutput, Calibrator, SpanGas
from gateway.errors import CommandRefused
from gateway.interlock import Condition
from gateway.outputs import Outputs
from gateway.types import (
    NO_FLAGS,
    Climate,
    Command,
    CommandResult,
    Flag,
    Flags,
    Light,
    LockInResult,
    Outcome,
    Snapshot,
    Tick,
)
from tests.support.clock import FakeClock

CO2 = GasLine("co2", "lock", "lock_in")
PEAK = GasLine("ch4", "peak", "peak_finder")
S = 10**9
SIGMA = 1e-6


class Box:
    """A calibrator behind its door, and sound of which every record is one second long."""

    def __init__(self, *lines: GasLine) -> None:
        self.calibrator = Calibrator(lines or (CO2,), FakeClock())
        bottle = SpanGas()
        self.outputs = Outputs([bottle, CalibrationOutput(self.calibrator, bottle)])
        self.t_s = 0

    @property
    def state(self) -> str:
        return self.outputs.apply((), 0).states["calibration"]

    def ask(self, verb: str, **args: Any) -> CommandResult:
        (result,) = self.outputs.apply([Command("calibration", verb, args)], self.t_s * S).results
        return result

    def hear(self, z: complex, flags: Flags = NO_FLAGS, ends_s: float | None = None) -> None:
        """A second of sound that gives `z`, with a scatter that its sigma explains."""
        self.t_s += 1
        z += SIGMA * (-1) ** self.t_s
        t_ns = self.t_s * S if ends_s is None else round(ends_s * S)
        about: dict[str, Any] = {"light": Light(Fraction(4025, 2), 0.5, 0.02), "climate": Climate(21.0)}
        record = LockInResult("lock", t_ns, 2012.5, z.real, z.imag, SIGMA, 32, 1.0, flags, **about)
        other = LockInResult("other", t_ns, 2012.5, 9.0, 9.0, SIGMA, 32, 1.0)
        self.calibrator.offer(Tick(self.t_s, self.t_s * S, None, (other, record), (), (), Snapshot()), Outcome())

    async def until(self, over: Callable[[], bool], z: complex = 0j, flags: Flags = NO_FLAGS) -> str:
        """Let it hear until something is so; the state then."""
        for _ in range(2000):
            if over():
                return self.state
            self.hear(z, flags)
            await asyncio.sleep(0.001)
        raise AssertionError(self.state)

    async def read(self, verb: str, z: complex, flags: Flags = NO_FLAGS, **args: Any) -> str:
        """A gas that gives `z`; the last word about it."""
        result = self.ask(verb, **args)
        assert result.done, result.reason
        return await self.until(lambda: self.state.startswith(("done", "failed")), z, flags)


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "calibration"


def test_zero_and_span_give_a_calibration(here: Path) -> None:
    async def scene() -> None:
        box = Box()
        assert box.state == IDLE
        state = await box.read("zero", 1e-3j, seconds=5.0)
        assert state.startswith("done: 0 ppm gives ")
        assert "5 records; no new calibration yet: " in state
        state = await box.read("span", 0.01 + 1e-3j, ppm=1000.0, sigma_ppm=5.0)
        assert state.startswith("done: line, ")
        assert "full scale per ppm, 0 to 1000 ppm, calibration/co2.toml. To measure with it, write" in state
        made = calibration.load(here / "co2.toml")
        assert (made.curve.slope, made.points[1].sigma_ppm) == (pytest.approx(1e-5, rel=1e-3), 5.0)
        assert made.light is not None
        assert (made.light.power_w, made.conditions.temperature_c) == (0.02, 21.0)
        await box.read("zero", 1e-3j, seconds=2.0, new=True)
        assert [reading.records for reading in session(here, "co2").readings] == [2]

    play(scene)


def test_a_span_that_names_no_gas_is_of_the_bottle(here: Path) -> None:
    async def scene() -> None:
        box = Box()
        assert box.outputs.apply((), 0).states["span_gas"] == "unknown"
        refused = box.ask("span")
        assert (refused.done, "Set span_gas before" in refused.reason) == (False, True)
        (told,) = box.outputs.apply([Command("span_gas", "set", {"value": 500.0})], 0).results
        assert (told.done, told.state) == (True, "500")
        await box.read("zero", 1e-3j, seconds=5.0)
        await box.read("span", 0.01 + 1e-3j)
        await box.read("span", 0.02 + 1e-3j, ppm=1000.0)
        assert [point.ppm for point in session(here, "co2").readings] == [0.0, 500.0, 1000.0]

    play(scene)


@pytest.mark.parametrize("value", [0.0, -5.0, 1e7, float("nan"), True, "500", None])
def test_a_bottle_of_nothing_is_refused(value: object) -> None:
    bottle = SpanGas()
    with pytest.raises(CommandRefused, match=r"is no concentration of a span gas. It may be 0\.001 to 1e\+06 ppm"):
        bottle.apply(Command("span_gas", "set", {"value": value}))
    assert bottle.read() == "unknown"


def test_a_span_is_read_until_it_is_sure_enough_above_the_zeros(here: Path) -> None:
    """0.1 % of 2e-4 above the background is 2e-7, for which sigma 1e-6 needs 25 records; of 1e-2 it needs 3."""

    async def scene() -> None:
        box = Box()
        await box.read("zero", 0.01, seconds=2.0)
        await box.read("span", 0.0102, ppm=20.0)
        await box.read("span", 0.0102, ppm=20.0, new=True)
        lines = [json.loads(line) for line in (here / "co2.points.jsonl").read_text().splitlines()]
        counts = [line.get("records") for line in lines]
        assert counts[0] == 2
        assert 20 <= counts[1] <= MOST
        assert counts[2:] == [None, 3]

    play(scene)


def test_the_file_that_the_configuration_names_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere" / "co2.toml"

    async def scene() -> None:
        box = Box(GasLine("co2", "lock", "lock_in", file=file))
        await box.read("zero", 0.0, seconds=3.0)
        state = await box.read("span", 0.01, ppm=1000.0)
        assert state.endswith(str(file))
        assert calibration.load(file).curve.slope == pytest.approx(1e-5, rel=1e-3)
        first = calibration.load(file)
        saturating = first.model_copy(
            update={
                "id": "",
                "curve": first.curve.model_copy(update={"type": "saturating", "covariance": ((0.0,) * 3,) * 3}),
            }
        )
        file.write_text(calibration.text_of(saturating))
        await box.read("span", 0.018, ppm=2000.0)
        assert calibration.load(file).curve.type == "saturating"  # as the one before

    play(scene)


def test_progress_is_told_and_records_from_before_are_not_taken(here: Path) -> None:
    async def scene() -> None:
        box = Box()
        box.ask("span", ppm=1000.0, seconds=8.0)
        assert box.state == "span 1000 ppm 0 %"
        await box.until(lambda: "0 %" not in box.state.replace("50 %", ""), 0.01)
        part = int(box.state.split()[-2])
        assert part in (12, 25)
        box.hear(5.0, ends_s=0.5)  # of the gas before
        assert int(box.state.split()[-2]) == part
        await box.until(lambda: box.state.startswith("done"), 0.01)
        (reading,) = session(here, "co2").readings
        assert (reading.records, reading.re) == (8, pytest.approx(0.01, abs=SIGMA))

    play(scene)


@pytest.mark.parametrize(
    ("lines", "verb", "args", "reason"),
    [
        ((CO2,), "span", {}, "the concentration of the span gas is missing"),
        ((CO2,), "span", {"ppm": 0.0}, "ppm 0: a span gas has more than 0"),
        ((CO2,), "span", {"ppm": 2e6}, "ppm 2e+06: a span gas has more than 0 and at most 1e6"),
        ((CO2,), "zero", {"sigma_ppm": -1.0}, "sigma_ppm -1: a standard deviation"),
        ((CO2,), "zero", {"seconds": 0.0}, "seconds 0: more than 0"),
        ((CO2,), "zero", {"node": "nh3"}, "no concentration node is called 'nh3'. There are: co2"),
        ((CO2, PEAK), "zero", {}, "which node is to be calibrated? There are: co2, ch4"),
        ((CO2, PEAK), "zero", {"node": "ch4"}, "ch4 takes its tone from 'peak', a peak_finder, which has no phase"),
        ((CO2,), "cancel", {}, "no gas is being read"),
        ((CO2,), "sniff", {}, "calibration cannot be told 'sniff'"),
    ],
)
def test_refusals(lines: tuple[GasLine, ...], verb: str, args: dict[str, Any], reason: str) -> None:
    async def scene() -> None:
        box = Box(*lines)
        result = box.ask(verb, **args)
        assert not result.done
        assert reason in result.reason
        assert box.state == IDLE

    play(scene)


def test_one_gas_at_a_time_until_it_is_cancelled(here: Path) -> None:
    async def scene() -> None:
        box = Box()
        assert box.ask("zero").done
        result = box.ask("span", ppm=10.0)
        assert "a gas is being read already: zero 0 %. Wait for its end, or cancel it" in result.reason
        await box.until(lambda: box.state not in (IDLE, "zero 0 %"))
        assert box.ask("cancel").done
        assert box.state == IDLE
        box.hear(0.0)
        assert box.state == IDLE
        assert (await box.read("zero", 0.0, seconds=1.0)).startswith("done")

    play(scene)
    assert [reading.records for reading in session(here, "co2").readings] == [1]


def test_sound_that_is_not_good_ends_it_in_words(here: Path) -> None:
    """Twice the 30 records of a second, and a minute more, are waited for."""

    async def scene() -> None:
        box = Box()
        state = await box.read("zero", 0.0, frozenset({Flag.LASER_OFF, Flag.OVERLOAD}))
        assert state.startswith("failed: ")
        assert "good records: 0; records were flagged laser_off, overload. Nothing was written." in state
        assert 120 < box.t_s < 400

    play(scene)
    assert not here.exists()


def test_a_full_disk_and_a_spoilt_file_are_told(here: Path) -> None:
    here.mkdir()
    points = here / "co2.points.jsonl"
    points.symlink_to("/dev/full")

    async def scene() -> None:
        box = Box()
        state = await box.read("zero", 0.0, seconds=1.0)
        assert "failed: calibration: cannot be read or written (no space left on device). Mend that" in state
        points.unlink()
        points.write_text("rubbish\n")
        state = await box.read("span", 0.01, ppm=5.0)
        assert state.startswith("failed: calibration/co2.points.jsonl:1: this line is no point")

    play(scene)


def test_a_fault_of_the_software_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def scene() -> None:
        box = Box()
        monkeypatch.setattr("gateway.calibrator.remember", broken)
        assert (await box.read("zero", 0.0, seconds=1.0)).startswith("failed: a fault of the software")
        assert "ZeroDivisionError" in caplog.text

    play(scene)


def test_a_changed_line_has_to_be_read_again_and_another_has_not() -> None:
    async def scene() -> None:
        box = Box(CO2, PEAK)
        box.ask("zero", node="co2")
        box.ask("configure", lines=(CO2, GasLine("ch4", "lock", "lock_in")))
        assert box.state == "zero 0 %"
        box.ask("configure", lines=(GasLine("co2", "lock", "lock_in", chain="louder"),))
        assert box.state == "failed: the configuration was changed meanwhile. Take the point again"
        assert (await box.read("zero", 0.0, seconds=1.0)).startswith("done")

    play(scene)


def test_the_end_of_the_gateway_is_that_of_the_reading(here: Path) -> None:
    async def scene() -> None:
        box = Box()
        await box.calibrator.start()
        box.ask("zero")
        await box.calibrator.close()
        await box.calibrator.close()
        assert box.state == IDLE

    play(scene)
    assert not here.exists()


def test_a_gas_is_not_read_again_when_the_outputs_are_allowed_again() -> None:
    async def scene() -> None:
        box = Box()
        await box.read("zero", 0.0, seconds=1.0)
        box.outputs.lose(Condition.SOUND, "no sound")
        box.outputs.restore(Condition.SOUND)
        assert box.state.startswith("done")

    play(scene)
