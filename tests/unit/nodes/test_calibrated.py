"""The curve of a calibration file on made-up lock_in results: two microphones, no phase, age, darkness."""

from __future__ import annotations

import cmath
import math
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway import calibration as files
from gateway.calibration import Calibration
from gateway.nodes.calibrated import Calibrated
from gateway.nodes.concentration import Concentration, ConcentrationSettings
from gateway.nodes.place import LaserPhase, Place, start
from gateway.types import Climate, Flag, Light, LockInResult, Measurement, Pair, ResonanceResult, SampleBlock

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
SLOPE, PHASE, STEERING = 6e-6, 0.4, -0.9 + 0.05j
BACK_A, BACK_B = 2e-4 - 1e-4j, 5e-4 + 2e-4j
BACK = BACK_A - BACK_B
QUIET = 1e-14 * np.eye(2)
BLOCK = SampleBlock(0, 0, 48_000, np.zeros((0, 2), np.float32))
AIR = Climate(20.0, 40.0, 101_325.0)


def calibration(**tables: Any) -> Calibration:
    """A gas that is heard SLOPE |1 - STEERING| full scale per ppm by A - B."""
    gain = SLOPE * (1.0 - STEERING)
    return Calibration.model_validate(
        {
            "schema": 1,
            "created": CREATED,
            "node": "co2",
            "phase_deg": math.degrees(PHASE + cmath.phase(gain)),
            "background": {"re": BACK.real, "im": BACK.imag},
            "curve": {"type": "line", "slope": abs(gain), "max_ppm": 5000.0, "covariance": ((0.0, 0.0), (0.0, 0.0))},
            **tables,
        }
    )


BOTH = {
    "background": {
        "re": BACK.real,
        "im": BACK.imag,
        "a_re": BACK_A.real,
        "a_im": BACK_A.imag,
        "b_re": BACK_B.real,
        "b_im": BACK_B.imag,
    },
    "steering": {"re": STEERING.real, "im": STEERING.imag},
}
RESONANCE = {"f0_hz": 2012.5, "q": 50.0, "temperature_c": 20.0, "humidity_percent": 40.0, "pressure_pa": 101_325.0}


def tone(ppm: float, *, light: float = 1.0, ring: complex = 1.0, noise: Any = QUIET, **more: Any) -> Any:
    """What a lock_in makes of A - B, with both microphones."""
    gas = SLOPE * ppm * cmath.exp(1j * PHASE) / ring
    a, b = light * (BACK_A + gas), light * (BACK_B + STEERING * gas)
    (aa, ab), (ba, bb) = np.asarray(noise, complex).tolist()
    pair = Pair((a, b), ((aa, ab), (ba, bb)), (1.0, -1.0))
    z, sigma = a - b, math.sqrt((aa + bb - ab - ba).real)
    lit = Light(Fraction(4025, 2), 0.5, 0.02 * light)
    result = LockInResult("lock", 10**9, 2012.5, z.real, z.imag, sigma, 30, 1.0, pair=pair, light=lit, climate=AIR)
    return replace(result, **more)


def place(track: Any = "off") -> Place:
    return start(48_000, 2, Fraction(4025, 2), LaserPhase(track=track))


def read(made: Calibration, heard: LockInResult, track: Any = "off", block: SampleBlock = BLOCK) -> Any:
    return Calibrated("co2", made, 0.0, place(track)).read(heard, block)


CORRELATED = np.array([[1e-10, 0.99e-10 * cmath.exp(0.3j)], [0.99e-10 * cmath.exp(-0.3j), 1.5e-10]])


@pytest.mark.parametrize("light", [1.0, 0.8])
def test_two_microphones_are_recombined_without_bias_whatever_the_noise(light: float) -> None:
    made = calibration(**BOTH, light={"power_w": 0.02})
    values = []
    for noise in (QUIET, CORRELATED, np.diag([1e-8, 1e-12])):
        plain = read(calibration(light={"power_w": 0.02}), tone(700.0, light=light, noise=noise)).reading
        best = read(made, tone(700.0, light=light, noise=noise)).reading
        assert plain.ppm == pytest.approx(700.0)
        assert best.ppm == pytest.approx(700.0)
        assert best.sigma <= plain.sigma * (1 + 1e-9)
        values.append(plain.sigma / best.sigma)
    assert values == sorted(values)
    assert values[2] > 1.5


def test_the_steerings_uncertainty_counts_as_far_as_the_weights_moved() -> None:
    doubtful = {**BOTH, "steering": {**BOTH["steering"], "sigma": 0.01}}
    noise = np.diag([1e-8, 1e-12])  # B alone is used
    told = read(calibration(**doubtful), tone(700.0, noise=noise)).reading.terms["steering"]
    wrong = [
        read(
            calibration(**{**BOTH, "steering": {"re": STEERING.real + d, "im": STEERING.imag}}),
            tone(700.0, noise=noise),
        )
        for d in (-0.005, 0.005)
    ]
    across = [
        read(
            calibration(**{**BOTH, "steering": {"re": STEERING.real, "im": STEERING.imag + d}}),
            tone(700.0, noise=noise),
        )
        for d in (-0.005, 0.005)
    ]
    # a wrong steering alone, with slope and phase as they are: what the gain for the gas is wrong by
    slopes = [(two.reading.ppm - one.reading.ppm) / 0.01 for one, two in (wrong, across)]
    assert told == pytest.approx(0.01 * math.hypot(*slopes), rel=0.05)


def test_one_microphone_alone_is_the_lock_ins_business() -> None:
    assert read(calibration(**BOTH), tone(700.0, pair=None)).reading.ppm == pytest.approx(700.0)


def test_without_a_phase_the_length_is_taken() -> None:
    heard = tone(3000.0)
    z = abs(complex(heard.in_phase, heard.quadrature))
    blind = replace(heard, in_phase=z, quadrature=0.0, phase_known=False)
    assert read(calibration(**BOTH), blind).reading.ppm == pytest.approx(3000.0)


def test_the_calibration_ages_where_the_sound_has_a_date() -> None:
    made = calibration(drift={"ppm_per_day": 0.5, "percent_per_day": 0.1})
    dated = replace(BLOCK, utc_ns=int(CREATED.timestamp() + 10 * 86_400 - 1) * 10**9)
    assert read(made, tone(400.0), block=dated).reading.terms["drift"] == pytest.approx(math.hypot(5.0, 4.0))
    assert read(made, tone(400.0)).reading.terms["drift"] == 0.0


def test_a_calibration_off_resonance_is_right_where_it_was_made() -> None:
    made = calibration(resonance={**RESONANCE, "f0_hz": 2016.0, "detuning": 100.0 * (2012.5 - 2016.0) / 2016.0})
    found = read(made, tone(400.0))
    assert found.reading.ppm == pytest.approx(400.0)
    assert found.resonance.detuning == pytest.approx(-0.1736, abs=1e-4)
    assert found.flags == frozenset()


def test_the_phase_tells_the_resonance() -> None:
    """The resonance is 2 Hz higher than calibrated: pll finds it in the phase, feed-forward cannot know."""
    ring = 1.0 + 100j * (2012.5 - 2014.5) / 2014.5
    node = Calibrated("co2", calibration(resonance={**RESONANCE, "sigma_f0_hz": 2.0}), 0.0, place("pll"))
    for second in range(1, 30):
        found = node.read(tone(400.0, ring=ring, t_ns=second * 10**9), BLOCK)
    assert abs(found.resonance.f0_hz - 2014.5) < 3 * found.resonance.sigma_f0_hz
    assert abs(found.reading.ppm - 400.0) < 3 * found.reading.sigma
    assert found.reading.sigma < 1.0
    assert found.resonance.tune_hz == pytest.approx(2014.5, abs=0.1)


def test_the_second_harmonic_tunes_the_laser_to_half_of_it() -> None:
    warm = Climate(23.0, 40.0, 101_325.0)
    made = calibration(resonance={**RESONANCE, "f0_hz": 4025.0})
    found = read(made, tone(400.0, frequency_hz=4025.0, climate=warm), "feed_forward")
    assert found.resonance.tune_hz == pytest.approx(found.resonance.f0_hz / 2.0, abs=0.01)
    fixed = read(made, tone(400.0, frequency_hz=3990.0, climate=warm), "feed_forward")
    assert fixed.resonance.tune_hz is None


def test_nothing_comes_of_darkness_or_no_record_but_the_resonance_is_followed() -> None:
    made = calibration(light={"power_w": 0.02}, resonance=RESONANCE)
    for heard in (tone(400.0, light=0.0), tone(400.0, in_phase=math.nan)):
        found = read(made, heard)
        assert found.reading is None
        assert Flag.EXTRAPOLATED not in found.flags
        assert found.resonance is not None


def test_the_node_gives_measurement_and_resonance_and_does_not_smooth_what_is_not_valid(tmp_path: Path) -> None:
    files.save(tmp_path, calibration(resonance=RESONANCE))
    settings = ConcentrationSettings(source="lock", calibration=tmp_path / "co2.toml")
    node = Concentration("co2", settings, place())
    good, bad = tone(400.0), tone(9000.0, flags=frozenset({Flag.OVERLOAD}))
    (first, resonance), (second, _), (third, _) = (
        node.process(BLOCK, [replace(heard, t_ns=second * 10**9)]) for second, heard in enumerate((good, bad, good), 1)
    )
    assert isinstance(resonance, ResonanceResult)
    assert resonance.node == "co2_resonance"
    assert isinstance(first, Measurement)
    assert isinstance(second, Measurement)
    assert isinstance(third, Measurement)
    assert (second.valid, second.smoothed, second.sigma_smoothed) == (False, None, None)
    assert third.smoothed == pytest.approx(400.0, rel=1e-6)
