"""The sweep on the simulated cell, as fast as it goes: what it finds, what it refuses, and the laser afterwards."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from drivers.air import Air, speed_of_sound
from drivers.cell import Cell
from drivers.laser import SimulatedLaser
from drivers.microphone import SimulatedMicrophone
from drivers.modulation import fundamental_w
from drivers.pickup import Loopback, Pickup
from gateway import configured
from gateway.dsp.demodulator import exact
from gateway.dsp.resonance import Resonance
from gateway.errors import DeviceError, SpectrophoneError, UsageError
from gateway.inputs import Inputs
from gateway.interlock import Interlock
from gateway.outputs import Outputs
from gateway.scan import Plan, Sweep, frequencies, write
from gateway.sweep import check_out, lines, measure, sweep
from gateway.types import Command, Flag, SampleBlock
from tests.support.clock import FakeClock

WHOLE = Plan()
SHORT = Plan(points=5, seconds=0.1)


class Bench:
    """A cell with its laser and microphone, and what the sweep told."""

    def __init__(
        self, cell: Cell, max_on_s: float | None = None, block_frames: int = 4800, loopback: int | None = None
    ) -> None:
        self.laser = SimulatedLaser(cell, 2012.5, 0.5, 0.02)
        self.loopback = loopback
        self.outputs = Outputs([self.laser], Interlock(max_on_s))
        self.microphone = SimulatedMicrophone(cell, block_frames, realtime=False, clock=FakeClock())
        self.told: list[str] = []

    def sweep(self, plan: Plan = WHOLE) -> Sweep:
        run = measure(
            Inputs(self.microphone, self.outputs), self.outputs, 2012.5, plan, self.told.append, loopback=self.loopback
        )
        return asyncio.run(run)


def check(found: Resonance, f0_hz: float, q: float = 50.0) -> None:
    """f0, Q and chi2 are within what chance allows."""
    for name, value, truth, sigma in (
        ("f0", found.f0_hz, f0_hz, found.sigma_f0_hz),
        ("Q", found.q, q, found.sigma_q),
    ):
        print(f"{name} {value:.4f}, off by {abs(value - truth) / sigma:.2f} sigma (limit 4.5)")
        assert abs(value - truth) < 4.5 * sigma
    print(f"chi2 {found.chi2:.1f} for {found.dof}, p {found.p_value:.2g}")
    assert found.good


def cramer(air: Air) -> float:
    return 2012.5 * speed_of_sound(air) / speed_of_sound(Air())


def test_a_laser_that_rises_and_warms_up_is_waited_for_once() -> None:
    cell = Cell()
    bench = Bench(cell)
    bench.laser = SimulatedLaser(cell, 2012.5, 0.5, 0.02, ramp_s=0.5)
    bench.outputs = Outputs([bench.laser])
    seen: list[float] = []

    def look(part: float) -> None:
        seen.append(bench.laser.light.duty)

    plan = Plan(points=11)
    found = asyncio.run(
        measure(Inputs(bench.microphone, bench.outputs, warm_s=0.8), bench.outputs, 2012.5, plan, seen=look)
    )
    check(found.resonance, cramer(Air()))
    assert set(seen) == {0.5}
    frames = cell.next_frame
    plain = Bench(Cell())
    asyncio.run(measure(Inputs(plain.microphone, plain.outputs), plain.outputs, 2012.5, plan))
    assert 0.8 <= (frames - plain.laser._cell.next_frame) / 48_000 <= 1.1


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("air", "passes"), [(Air(20.0, 40.0), 1), (Air(23.0), 1), (Air(5.0), 2), (Air(35.0, 80.0), 2)])
def test_the_resonance_is_where_the_air_puts_it(air: Air, passes: int, channels: int) -> None:
    bench = Bench(Cell(channels=channels, air=air))
    found = bench.sweep().resonance
    check(found, cramer(air))
    assert found.background is not None
    assert abs(found.background) < 5.3 * found.sigma_background  # Rayleigh: exp(-5.3^2 / 2) = 1e-6
    assert found.sigma_f0_hz < 1.3 * 0.0107 / channels**0.5  # Cramer-Rao bound, at 400 ppm and 3.2e-7 per sqrt(Hz)
    assert len(bench.told) == 2 * (passes - 1)
    assert bench.laser.read() == "off"


def test_the_way_to_a_far_resonance_is_told() -> None:
    bench = Bench(Cell(air=Air(5.0)))
    bench.sweep()
    looking, near = bench.told
    assert looking.startswith("the resonance is outside the sweep of 1982.3 to 2042.7 Hz, near 1959 Hz; looking for it")
    assert near == "the resonance is near 1958.6 Hz; sweeping it"


@pytest.mark.parametrize("block_frames", [480, 1237, 48_000])
def test_blocks_of_any_length_serve(block_frames: int) -> None:
    found = Bench(Cell(), block_frames=block_frames).sweep().resonance
    assert found.good
    assert abs(found.f0_hz - 2012.5) < 4.5 * found.sigma_f0_hz


def test_other_rates_serve() -> None:
    found = Bench(Cell(44_100), block_frames=4410).sweep().resonance
    assert found.good
    assert abs(found.f0_hz - 2012.5) < 4.5 * found.sigma_f0_hz


def test_without_gas_it_is_refused_in_words() -> None:
    bench = Bench(Cell(ppm=0.0))
    with pytest.raises(SpectrophoneError, match=r"no resonance: there is no signal above the noise\. Let in gas"):
        bench.sweep(SHORT)
    assert bench.laser.read() == "off"


@pytest.mark.parametrize("background", [0.01 + 0.03j, -0.2, 0.002j])
def test_a_background_is_fitted_and_told(background: complex) -> None:
    cell = Cell(background=background)
    made = Bench(cell).sweep()
    check(made.resonance, 2012.5)
    found, heard = made.resonance.background, 2.0 * background * fundamental_w(0.02, 0.5)
    assert found is not None
    assert abs(found - heard) < 5.3 * made.resonance.sigma_background
    assert made.fields()["background"] == [found.real, found.imag]
    told = re.fullmatch(r"background ([\d.]+) ± ([\d.]+) % of the sound at resonance", lines(made)[-3])
    assert told
    assert float(told[1]) == pytest.approx(100.0 * abs(found) / abs(made.resonance.peak), abs=float(told[2]))


def test_few_points_have_no_background() -> None:
    made = Bench(Cell(background=0.01 + 0.03j)).sweep(Plan(points=5))
    assert not made.resonance.good
    assert made.fields()["background"] is None
    assert lines(made)[-3].startswith("no background was fitted")


@pytest.mark.parametrize("shape", ["square", "sine"])
@pytest.mark.parametrize("ppm", [0.0, 20.0, 100.0, -200.0])
def test_a_loopback_needs_no_common_clock(ppm: float, shape: Literal["square", "sine"]) -> None:
    """f0 is told in the laser's clock; the cell's is the microphone's."""
    channel: Literal["a", "b"] = "b" if ppm > 0 else "a"
    cell = Cell(clock_offset_ppm=ppm, loopback=Loopback(0.5, shape, channel), background=0.01 + 0.03j)
    bench = Bench(cell, loopback="ab".index(channel))
    check(bench.sweep().resonance, 2012.5 / (1.0 + 1e-6 * ppm))
    assert bench.told == []


def test_a_noisy_loopback_widens_the_uncertainty() -> None:
    """The sound is four times as loud as the modulation at resonance, and the modulation adds four times its noise."""
    cell = Cell(loopback=Loopback(3e-4, "sine"), clock_offset_ppm=100.0)
    noisy = Bench(cell, loopback=1).sweep(replace(WHOLE, seconds=2.0)).resonance
    check(noisy, 2012.5 / 1.0001)
    quiet = Bench(Cell(loopback=Loopback(0.5)), loopback=1).sweep(replace(WHOLE, seconds=2.0)).resonance
    assert noisy.sigma_f0_hz > 2.0 * quiet.sigma_f0_hz


def test_a_loopback_at_full_scale_serves_and_a_missing_one_is_told() -> None:
    full = Cell(clock_offset_ppm=100.0, loopback=Loopback(1.0))
    check(Bench(full, loopback=1).sweep().resonance, 2012.5 / 1.0001)
    with pytest.raises(SpectrophoneError, match="modulation does not come in on channel B"):
        Bench(Cell(pickup=Pickup(dead="b")), loopback=1).sweep(SHORT)


class LateLaser(SimulatedLaser):
    """A laser that begins a frequency two blocks after it was told, as one does that is played from a buffer."""

    def __init__(self, cell: Cell) -> None:
        self._waiting: list[tuple[int, Command]] = []
        super().__init__(cell, 2012.5, 0.5, 0.02)
        self._heard = cell

    def apply(self, command: Command) -> None:
        if command.verb == "tune":
            self._waiting.append((self._heard.next_frame + 4800, command))
            self._told = replace(self._told, frequency=exact(command.args["frequency_hz"]))
        else:
            super().apply(command)

    def read(self) -> str:
        while self._waiting and self._waiting[0][0] <= self._heard.next_frame:
            super().apply(self._waiting.pop(0)[1])
        return super().read()


def test_a_loopback_knows_when_a_late_laser_begins() -> None:
    bench = Bench(cell := Cell(clock_offset_ppm=50.0, loopback=Loopback(0.5)), loopback=1)
    bench.outputs = Outputs([LateLaser(cell)])
    check(bench.sweep().resonance, 2012.5 / 1.00005)


@pytest.mark.parametrize("ppm", [0.3, -0.3])
def test_a_clock_that_is_hardly_off_moves_nothing(ppm: float) -> None:
    """It passes for a background."""
    found = Bench(Cell(clock_offset_ppm=ppm)).sweep().resonance
    check(found, 2012.5)
    assert found.background is not None
    assert abs(found.background) > 5.3 * found.sigma_background


def test_two_clocks_are_seen() -> None:
    bench = Bench(Cell(clock_offset_ppm=1.0))
    assert not bench.sweep().resonance.good
    assert "a sweep needs one clock" in bench.told[-1]
    with pytest.raises(SpectrophoneError, match="a sweep needs one clock"):
        Bench(Cell(clock_offset_ppm=-100.0)).sweep()


def test_a_laser_that_goes_dark_ends_the_sweep() -> None:
    bench = Bench(Cell(), max_on_s=0.4)
    with pytest.raises(SpectrophoneError, match="the laser went dark"):
        bench.sweep()
    assert Bench(Cell(), max_on_s=2.0).sweep(SHORT).resonance.good


class Faulty:
    """A microphone whose sixth block is at fault."""

    def __init__(self, microphone: SimulatedMicrophone, fault: str) -> None:
        self.rate_hz, self.channels = microphone.rate_hz, microphone.channels
        self._microphone, self._fault = microphone, fault

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        async for block in self._microphone.blocks():
            if block.index < 5:
                yield block
            elif self._fault == "end":
                return
            elif self._fault == "silent":
                yield replace(block, samples=block.samples[:0])
            elif self._fault == "lost":
                yield replace(block, lost_frames=7)
            else:
                yield replace(block, flags=frozenset({Flag.OVERLOAD}))

    def close(self) -> None:
        self._microphone.close()


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("end", DeviceError, "the sound ended"),
        ("silent", DeviceError, "the microphone is silent"),
        ("lost", SpectrophoneError, "not whole .lost_samples."),
        ("overload", SpectrophoneError, "not whole .overload."),
    ],
)
def test_sound_at_fault_ends_the_sweep_with_the_laser_off(
    fault: str, error: type[SpectrophoneError], words: str
) -> None:
    bench = Bench(Cell())
    with pytest.raises(error, match=words):
        asyncio.run(measure(Inputs(Faulty(bench.microphone, fault), bench.outputs), bench.outputs, 2012.5, SHORT))
    assert bench.laser.read() == "off"


def test_a_cancelled_sweep_leaves_the_laser_off() -> None:
    bench = Bench(Cell())

    async def cancelled() -> None:
        running = asyncio.ensure_future(measure(Inputs(bench.microphone, bench.outputs), bench.outputs, 2012.5, Plan()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert bench.laser.read() == "on"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert bench.laser.read() == "off"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("board: sim\nacquisition: {device: default}\n", "'default' does not hear the simulated laser"),
        ("board: sim\nacquisition: {device: 'file:sound.wav'}\n", "'file:sound.wav' does not hear the simulated laser"),
        (
            "board: sim\nlaser: {reference: loopback}\nacquisition: {channels: 1}\n"
            "processing: {default_graph: {nodes: [{id: input, type: input}], connections: []}}\n",
            "should come in on channel B, but the sound is mono",
        ),
    ],
)
def test_a_box_that_cannot_sweep_says_so(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(text)
    config, board = configured.accepted(configured.prepare(file, {}))
    with pytest.raises(SpectrophoneError, match=words):
        asyncio.run(sweep(config, board, FakeClock(), Plan(), told=lambda note: None, seen=lambda part: None))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nobody knows at which frame the laser of board 'rpi4-codec-zero' begins a new frequency"),
        ("acquisition: {device: sim}\n", "'sim' does not hear the laser of board 'rpi4-codec-zero'"),
    ],
)
def test_a_real_laser_needs_a_loopback(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(f"board: rpi4-codec-zero\n{text}")
    config, board = configured.accepted(configured.prepare(file, {}))
    with pytest.raises(SpectrophoneError, match=words):
        asyncio.run(sweep(config, board, FakeClock(), Plan(), told=lambda note: None, seen=lambda part: None))


def test_a_board_without_a_laser_has_nothing_to_sweep(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("board: rpi4-codec-zero\n")
    config, board = configured.accepted(configured.prepare(file, {}))
    bare = board.model_copy(update={"laser": None})
    with pytest.raises(SpectrophoneError, match="board 'rpi4-codec-zero' has no laser"):
        asyncio.run(sweep(config, bare, FakeClock(), Plan(), told=lambda note: None, seen=lambda part: None))


@pytest.mark.parametrize(
    "values", [{"points": 3}, {"points": 202}, {"span": 0.0}, {"span": float("nan")}, {"seconds": 0.01}]
)
def test_plans_that_cannot_be_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="--"):
        Plan(**values)  # type: ignore[arg-type]


def test_frequencies_are_decimal() -> None:
    assert frequencies(2012.5, 30.1875, 3) == [1982.312, 2012.5, 2042.688]


def test_the_result_in_words_and_in_a_file(tmp_path: Path) -> None:
    made = Bench(Cell()).sweep(SHORT)
    *table, verdict, result = lines(made)
    assert len(table) == 7
    assert table[-1].startswith("no background was fitted")
    assert verdict.startswith("the fit is good: chi2 ")
    assert result.startswith("f0 2012.")
    assert " Hz, Q " in result
    path = tmp_path / "resonance.json"
    check_out(path)
    write(path, made, {"box": "lab"})
    written = json.loads(path.read_text())
    assert written["f0_hz"] == made.resonance.f0_hz
    assert written["box"] == "lab"
    assert [point["frequency_hz"] for point in written["points"]] == [point.frequency_hz for point in made.points]
    assert [file.name for file in tmp_path.iterdir()] == ["resonance.json"]
    for wrong in (tmp_path / "resonance.txt", tmp_path / "none" / "resonance.json"):
        with pytest.raises(UsageError):
            check_out(wrong)
    bad = replace(made, resonance=replace(made.resonance, p_value=0.0, scale=2.0))
    assert lines(bad)[-2].endswith("the uncertainties are multiplied by 2.0")
    assert np.isfinite(made.resonance.sigma_q)
