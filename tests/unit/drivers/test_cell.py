import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from drivers.air import Air, speed_of_sound
from drivers.cell import ABSORPTION, CELL_CONSTANT, SENSITIVITY, Cell, Disturbances, SimulatedCellOutput
from drivers.laser import SimulatedLaser
from gateway.errors import CommandRefused
from gateway.types import Command

RATE = 48_000
PER_PPM = 1.0 / (41_000 * 2 * 10 ** (12 / 20))
EVERYTHING = Disturbances(hum=0.01, speech_rms=0.003, knock_amplitude=0.1, knocks_per_s=5.0)


def lit(frequency: float = 2012.5, **options: object) -> Cell:
    cell = Cell(**options)  # type: ignore[arg-type]
    SimulatedLaser(cell, frequency, 0.5, 0.02).apply(Command("laser", "on"))
    return cell


def silent(frequency: float = 2012.5, **options: object) -> Cell:
    return lit(frequency, noise_density=0.0, bits=None, **options)


def phasor(samples: np.ndarray, frequency: float, first: int = 0, rate: int = RATE) -> complex:
    """Least squares of a sine at a known frequency."""
    angle = 2 * np.pi * np.remainder((np.arange(len(samples)) + first) * (frequency / rate), 1.0)
    basis = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    real, imag = np.linalg.lstsq(basis, samples.astype(np.float64), rcond=None)[0]
    return complex(real, imag)


def test_the_tone_is_exactly_the_cosine_of_the_calibration() -> None:
    sound = silent(ppm=400.0).sound(0, RATE)
    n = np.arange(RATE)
    expected = 400 * PER_PPM * np.cos(2 * np.pi * ((4025 * n) % 96_000) / 96_000)
    assert sound.dtype == np.float32
    assert np.abs(sound[:, 0] - expected).max() <= 400 * PER_PPM * 2.0**-24
    assert np.array_equal(sound[:, 1], -sound[:, 0])


def test_the_constants_multiply_to_the_calibration() -> None:
    assert 0.02 * 2 / math.pi * ABSORPTION * CELL_CONSTANT * SENSITIVITY == pytest.approx(PER_PPM, rel=1e-14)


@pytest.mark.parametrize("ppm", [0.0, 1e-3, 5.0, 1000.0, 1e5])
def test_amplitude_is_proportional_to_ppm(ppm: float) -> None:
    z = phasor(silent(ppm=ppm).sound(0, RATE)[:, 0], 2012.5)
    assert z.real == pytest.approx(ppm * PER_PPM, rel=1e-7, abs=1e-15)
    assert abs(z.imag) <= ppm * PER_PPM * 1e-7


def test_duty_and_power_scale_the_fundamental() -> None:
    cell = Cell(ppm=100.0, noise_density=0.0, bits=None)
    SimulatedLaser(cell, 2012.5, 0.3, 0.05).apply(Command("laser", "on"))
    z = phasor(cell.sound(0, RATE)[:, 0], 2012.5)
    assert abs(z) == pytest.approx(100 * PER_PPM * 2.5 * math.sin(math.pi * 0.3), rel=1e-6)


def test_saturation_and_background() -> None:
    z = phasor(silent(ppm=1000.0, saturation_ppm=4000.0, background=1e-3 + 2e-3j).sound(0, RATE)[:, 0], 2012.5)
    assert z == pytest.approx(800 * PER_PPM + (1e-3 + 2e-3j) * 0.04 / math.pi, rel=1e-6)


@pytest.mark.parametrize("celsius", [15.0, 19.0, 20.0, 23.0])
def test_detuning_follows_the_resonance(celsius: float) -> None:
    cell = silent(air=Air(celsius))
    f_r = 2012.5 * speed_of_sound(Air(celsius)) / speed_of_sound(Air())
    assert cell.resonance_hz == pytest.approx(f_r, rel=1e-12)
    h = 1 / (1 + 2j * 50 * (2012.5 - f_r) / f_r)
    z = phasor(cell.sound(0, RATE)[:, 0], 2012.5)
    assert z == pytest.approx(400 * PER_PPM * h, rel=1e-6)


def test_co2_detunes_when_asked() -> None:
    assert Cell(ppm=1400.0).resonance_hz == 2012.5
    assert Cell(ppm=1400.0, co2_detunes=True).resonance_hz == pytest.approx(2012.5 - 0.52, abs=0.005)


@pytest.mark.parametrize("offset", [-300.0, 123.456, 1000.0])
def test_the_clock_offset_moves_the_frequency(offset: float) -> None:
    cell = silent(clock_offset_ppm=offset)
    frequency = 2012.5 * (1 + offset * 1e-6)
    early = phasor(cell.sound(0, RATE)[:, 0], frequency)
    late = phasor(cell.sound(100 * RATE, RATE)[:, 0], frequency, 100 * RATE)
    f_r = cell.resonance_hz
    expected = 400 * PER_PPM / (1 + 100j * (frequency - f_r) / f_r)
    assert early == pytest.approx(expected, rel=1e-6)
    assert late == pytest.approx(expected, rel=1e-5)


@settings(max_examples=25)
@given(
    cuts=st.lists(st.integers(1, 9000), min_size=1, max_size=12),
    channels=st.integers(1, 2),
    frequency=st.sampled_from([2012.5, 2013.7, 1999.9999]),
)
def test_any_split_into_blocks_gives_the_same_bits(cuts: list[int], channels: int, frequency: float) -> None:
    def cell() -> Cell:
        return lit(frequency, channels=channels, seed=9, clock_offset_ppm=37.5, disturbances=EVERYTHING)

    whole = cell().sound(0, sum(cuts))
    piecewise, frame, parts = cell(), 0, []
    for cut in cuts:
        parts.append(piecewise.sound(frame, cut))
        frame += cut
    assert np.array_equal(np.concatenate(parts), whole)


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(1, 3000), min_size=1, max_size=8), exchange_s=st.sampled_from([0.0, 0.2]))
def test_a_split_after_a_change_gives_the_same_bits(cuts: list[int], exchange_s: float) -> None:
    def parts(sizes: list[int]) -> np.ndarray:
        cell = silent(ppm=100.0, exchange_s=exchange_s)
        frame, out = 0, []
        for number, size in enumerate([1234, *sizes]):
            if number == 1:
                cell.set_ppm(900.0)
                cell.set_air(Air(23.0))
            out.append(cell.sound(frame, size))
            frame += size
        return np.concatenate(out)

    assert np.array_equal(parts(cuts), parts([sum(cuts)]))


def test_a_seed_repeats_and_another_does_not() -> None:
    a, b, c = (lit(seed=seed).sound(0, 10_000) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_the_noise_does_not_depend_on_the_signal() -> None:
    dark, bright = Cell(bits=None), lit(bits=None, ppm=1000.0)
    signal = silent(ppm=1000.0).sound(0, RATE).astype(np.float64)
    noise = bright.sound(0, RATE).astype(np.float64) - signal
    assert np.abs(noise - dark.sound(0, RATE)).max() < 1e-9


@pytest.mark.parametrize("density", [3.2e-7, 1e-6])
def test_noise_level_is_within_the_limits_of_chi_square(density: float) -> None:
    sound = Cell(noise_density=density, seed=4).sound(0, 10 * RATE).astype(np.float64)
    lsb = 2.0**-23
    variance = density**2 * RATE / 2 + lsb**2 / 12
    for channel in sound.T:
        statistic = np.sum(channel**2) / variance
        low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], len(channel))
        assert low < statistic < high
    assert abs(np.corrcoef(sound.T)[0, 1]) < stats.norm.isf(1e-6) / math.sqrt(len(sound))


def test_noise_is_white() -> None:
    sound = Cell(seed=11, bits=None).sound(0, 4096 * 64)[:, 0].astype(np.float64).reshape(64, 4096)
    power = np.mean(np.abs(np.fft.rfft(sound)[:, 1:-1]) ** 2, axis=0) / (4096 * RATE / 2 * 3.2e-7**2)
    low, high = stats.chi2.ppf([1e-6 / 4096, 1 - 1e-6 / 4096], 128) / 128
    assert low < power.min()
    assert power.max() < high


def test_ring_up_takes_tau() -> None:
    cell = Cell(ppm=1000.0, noise_density=0.0, bits=None, channels=1)
    laser = SimulatedLaser(cell, 2012.5, 0.5, 0.02)
    cell.sound(0, 5000)
    laser.apply(Command("laser", "on"))
    sound = cell.sound(5000, RATE)[:, 0].astype(np.float64)
    n = np.arange(RATE)
    tau = 50 / (math.pi * 2012.5)
    wave = np.cos(2 * np.pi * ((4025 * (n + 5000)) % 96_000) / 96_000)
    expected = 1000 * PER_PPM * (1 - np.exp(-n / RATE / tau)) * wave
    assert np.abs(sound - expected).max() < 1e-9


def test_ring_down_is_at_the_resonance() -> None:
    cell = silent(ppm=1000.0, air=Air(22.0), channels=1)
    cell.sound(0, 5000)
    cell.drive(Fraction(4025, 2), 0.5, 0.0)
    sound = cell.sound(5000, 2000)[:, 0].astype(np.float64)
    f_r = cell.resonance_hz
    tau = 50 / (math.pi * f_r)
    t = np.arange(2000) / RATE
    basis = np.exp(-t / tau)[:, None] * np.stack([np.cos(2 * np.pi * f_r * t), np.sin(2 * np.pi * f_r * t)], 1)
    residual = sound - basis @ np.linalg.lstsq(basis, sound, rcond=None)[0]
    assert np.abs(residual).max() < 1e-9


def test_nothing_jumps_when_laser_gas_and_air_change() -> None:
    cell = silent(ppm=1000.0, channels=1, exchange_s=0.5)
    parts, frame = [], 0
    changes = [
        lambda: cell.set_ppm(0.0),
        lambda: cell.set_air(Air(25.0)),
        lambda: cell.drive(Fraction(20201, 10), 0.5, 0.02),
        lambda: cell.drive(Fraction(20201, 10), 0.5, 0.0),
        lambda: cell.set_ppm(1000.0),
        lambda: cell.drive(Fraction(4025, 2), 0.5, 0.02),
    ]
    for change in changes:
        parts.append(cell.sound(frame, 777))
        frame += 777
        change()
    parts.append(cell.sound(frame, 777))
    sound = np.concatenate(parts)[:, 0].astype(np.float64)
    steepest = 1000 * PER_PPM * 2 * np.pi * 2025 / RATE
    assert np.abs(np.diff(sound)).max() <= steepest * 1.01


def test_gas_is_exchanged_with_its_time_constant() -> None:
    cell = silent(ppm=0.0, channels=1, exchange_s=2.0)
    cell.sound(0, 100)
    cell.set_ppm(500.0)
    sound = cell.sound(100, 4 * RATE)[:, 0]
    for second in (1.0, 2.0, 3.0):
        first = round(second * RATE) - 240
        z = phasor(sound[first : first + 480], 2012.5, first + 100)
        lag = 2.0 / (2.0 - 50 / (math.pi * 2012.5))
        assert abs(z) == pytest.approx(500 * PER_PPM * (1 - lag * math.exp(-second / 2.0)), rel=1e-4)


def test_clipping_and_word_length() -> None:
    loud = lit(ppm=1e6, bits=16).sound(0, 4800)
    assert loud.max() == np.float32(32767 / 32768)
    assert loud.min() == -1.0
    assert np.array_equal(loud * 32768, np.rint(loud * 32768))
    fine = lit(ppm=400.0).sound(0, 4800).astype(np.float64) * 2**23
    assert np.array_equal(fine, np.rint(fine))


def test_frames_may_be_skipped_but_not_repeated() -> None:
    cell, other = lit(), lit()
    skipped = cell.sound(7000, 100)
    assert np.array_equal(skipped, other.sound(0, 7100)[7000:])
    with pytest.raises(ValueError, match="frame 7099 is over: the next one is 7100"):
        cell.sound(7099, 1)


def test_the_laser_reads_back_and_is_safe_when_off() -> None:
    cell = Cell(noise_density=0.0, channels=1)
    laser = SimulatedLaser(cell, 2013.7, 0.5, 0.02)
    assert laser.light.frequency == Fraction(20137, 10)
    assert laser.read() == "off"
    assert not cell.sound(0, 100).any()
    laser.apply(Command("laser", "on"))
    assert laser.read() == "on"
    assert cell.sound(100, 4800).any()
    laser.make_safe()
    assert laser.read() == "off"
    with pytest.raises(CommandRefused, match="laser cannot blink"):
        laser.apply(Command("laser", "blink"))
    laser.close()
    laser.close()
    assert not cell.sound(4900, RATE)[-1000:].any()


def test_the_gas_inlet_takes_ppm() -> None:
    output = SimulatedCellOutput(Cell())
    assert (output.target, output.read()) == ("cell", "400.0")
    output.apply(Command("cell", "set", {"value": 5}))
    output.make_safe()
    assert output.read() == "5.0"
    output.close()


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -1, 1_000_001, 10**400, "5", None, True, [1]],
    ids=lambda value: str(value)[:9],
)
def test_the_gas_inlet_refuses_what_no_cell_can_hold(value: object) -> None:
    output = SimulatedCellOutput(Cell())
    with pytest.raises(CommandRefused, match="cell set"):
        output.apply(Command("cell", "set", {"value": value}))
    assert output.read() == "400.0"


def test_the_gas_inlet_knows_one_verb() -> None:
    with pytest.raises(CommandRefused, match="cell cannot on"):
        SimulatedCellOutput(Cell()).apply(Command("cell", "on"))
    with pytest.raises(CommandRefused, match="wants a number"):
        SimulatedCellOutput(Cell()).apply(Command("cell", "set"))


def test_air_can_be_changed_in_part() -> None:
    cell = Cell()
    cell.set_air(replace(cell.air, temperature_c=25.0))
    assert cell.air == Air(25.0)
    assert cell.resonance_hz > 2012.5
