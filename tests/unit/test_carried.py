"""What a new calibration says beside its curve: microphones from the points, tables from conditions and from before."""

from __future__ import annotations

import cmath
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from gateway.calibrating import Mean
from gateway.calibration import Calibration
from gateway.carried import alone, in_one_light, swept, tables
from gateway.errors import CalibrationError, UsageError
from gateway.tables import Conditions, Drift, GasLaw, Light, Reading, Resonance, Water
from gateway.types import LockInResult, Pair

BACK_A, BACK_B, STEERING = 1e-4 - 2e-4j, 3e-4 + 1e-4j, -0.93 * cmath.exp(0.05j)
SWEPT = {"f0_hz": 2010.0, "sigma_f0_hz": 0.1, "q": 48.0, "sigma_q": 0.4}


def points(seed: int = 1, sigma: float = 1e-7) -> list[Reading]:
    """Two zeros and three spans, with noise of the microphones."""
    rng, found = np.random.default_rng(seed), []
    for ppm in (0.0, 0.0, 200.0, 1000.0, 1000.0):
        a, b = BACK_A + 3e-6 * ppm, BACK_B + STEERING * 3e-6 * ppm
        a, b = (z + complex(*rng.normal(0.0, sigma, 2)) for z in (a, b))
        z = a - b
        alone = {"a": (a.real, a.imag, sigma), "b": (b.real, b.imag, sigma)}
        found.append(Reading(ppm=ppm, re=z.real, im=z.imag, sigma=1.5 * sigma, **alone))
    return found


def test_backgrounds_and_steering_of_two_microphones() -> None:
    off = []
    for seed in range(200):
        backgrounds, steering = alone(points(seed))
        assert backgrounds is not None
        assert steering is not None
        assert np.allclose(backgrounds, (BACK_A, BACK_B), atol=4.5 * 1e-7)
        off.append((complex(steering.re, steering.im) - STEERING) / steering.sigma)
    parts = np.array([(z.real, z.imag) for z in off])
    assert parts.std() == pytest.approx(1.0, abs=5.0 / np.sqrt(2 * 400))


def test_points_in_other_light_are_brought_to_that_of_the_last() -> None:
    first, last = (Reading(ppm=0.0, re=1.0, im=2.0, sigma=0.1, a=(1.0, 0.0, 0.1), b=(0.0, -2.0, 0.1)) for _ in "12")
    bright, dim = Conditions(power_w=0.02, duty=0.5), Conditions(power_w=0.02, duty=1.0 / 6.0)
    brought, same = in_one_light([(first, bright), (last, dim)])
    assert (brought.re, brought.im, brought.sigma) == pytest.approx((0.5, 1.0, 0.05))
    assert (brought.a, brought.b) == (pytest.approx((0.5, 0.0, 0.05)), pytest.approx((0.0, -1.0, 0.05)))
    assert same == last
    assert in_one_light([(first, Conditions()), (last, dim)]) == (first, last)
    assert in_one_light([]) == ()


def test_without_both_microphones_in_every_point_neither_is_told() -> None:
    found = points()
    assert alone([*found[:-1], found[-1].model_copy(update={"a": None, "b": None})]) == (None, None)


def test_a_mean_keeps_both_microphones_and_mixes_them_as_the_graph_does() -> None:
    """However the lock_in weighed them: its in_phase here says something else."""
    mean = Mean()
    covariance = ((4e-12 + 0j, 3e-12 + 0j), (3e-12 + 0j, 4e-12 + 0j))
    for _ in range(4):
        pair = Pair((1e-3 + 2e-3j, -2e-3 + 1e-3j), covariance, (1.0, -1.0))
        mean.add(LockInResult("lock", 0, 2012.5, 7.0, 7.0, 1.0, 30, 1.0, pair=pair))
    assert mean.signal.value == pytest.approx(3e-3 + 1e-3j)
    assert mean.signal.sigma == pytest.approx(np.sqrt(2e-12 / 4))  # 4 + 4 - 2 * 3, and four records
    assert mean.alone == {"a": pytest.approx((1e-3, 2e-3, 1e-6)), "b": pytest.approx((-2e-3, 1e-3, 1e-6))}


def before(**about: object) -> Calibration:
    curve = {"type": "line", "slope": 1e-5, "max_ppm": 10.0, "covariance": ((0.0, 0.0), (0.0, 0.0))}
    required = {"schema": 1, "created": datetime(2026, 1, 1, tzinfo=UTC), "node": "co2", "phase_deg": 0.0}
    return Calibration.model_validate({**required, "background": {"re": 0.0, "im": 0.0}, "curve": curve, **about})


NOW = Conditions(
    temperature_c=25.0, pressure_pa=100_000.0, humidity_percent=50.0, frequency_hz=2012.5, duty=0.4, power_w=0.03
)


def test_what_the_conditions_say() -> None:
    made = tables(None, NOW, SWEPT)
    assert made["light"] == Light(power_w=0.03, duty=0.4)
    found = made["resonance"]
    assert (found.f0_hz, found.q, found.temperature_c, found.humidity_percent) == (2010.0, 48.0, 25.0, 50.0)
    assert found.detuning == pytest.approx(2 * 48 * 2.5 / 2010)
    assert made.get("water") is None
    assert tables(None, Conditions(), None) == {"drift": None, "resonance": None}


def test_what_is_taken_over_is_brought_to_the_new_conditions() -> None:
    old = before(
        light=Light(power_w=0.02, sigma_power_percent=0.7),
        resonance=Resonance(f0_hz=2000.0, q=50.0, temperature_c=20.0, humidity_percent=0.0, pressure_pa=101_325.0),
        water=Water(r1=20.0, fraction=0.0),
        gas_law=GasLaw(temperature_exponent=1.3, temperature_c=20.0),
        drift=Drift(ppm_per_day=0.1),
    )
    made = tables(old, NOW.model_copy(update={"humidity_percent": 0.0, "pressure_pa": 101_325.0}), None)
    assert made["light"].sigma_power_percent == 0.7
    f0 = 2000.0 * 346.268 / 343.359  # Cramer's table, dry air
    assert made["resonance"].f0_hz == 2000.0
    assert made["resonance"].detuning == pytest.approx(100.0 * (2012.5 - f0) / f0, abs=1e-3)
    assert made["water"].fraction == 0.0
    assert (made["gas_law"].temperature_c, made["gas_law"].temperature_exponent) == (25.0, 1.3)
    assert made["drift"] == Drift(ppm_per_day=0.1)
    assert tables(old, NOW, None)["water"].fraction == pytest.approx(0.5 * 3169.0 * 1.0041 / 100_000, rel=1e-3)
    unknown = tables(old, Conditions(), None)
    assert (unknown["water"], unknown["gas_law"], unknown["resonance"]) == (old.water, old.gas_law, old.resonance)


def test_a_sweep_in_unknown_air_is_of_no_use() -> None:
    with pytest.raises(CalibrationError, match="only with the temperature"):
        tables(None, Conditions(frequency_hz=2012.5), SWEPT)


def written(file: Path, **changed: object) -> Path:
    file.write_text(json.dumps({"kind": "sweep", **SWEPT, "good": True, "points": [], **changed}))
    return file


def test_a_sweep_is_read_if_its_fit_is_good(tmp_path: Path) -> None:
    assert swept(written(tmp_path / "sweep.json")) == SWEPT
    with pytest.raises(UsageError, match=r"the fit of this sweep is not good\. Sweep again"):
        swept(written(tmp_path / "sweep.json", good=False))


@pytest.mark.parametrize("changed", [{"kind": "lock_in"}, {"q": -1.0}, {"f0_hz": math.nan}, {"sigma_q": math.inf}])
def test_what_looks_like_a_sweep(changed: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this is no sweep"):
        swept(written(tmp_path / "sweep.json", **changed))


@pytest.mark.parametrize("text", [None, "{", "[]", json.dumps(SWEPT), '{"f0_hz": [], "sigma_f0_hz": 1, "q": 2}'])
def test_what_is_no_sweep(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match="this is no sweep"):
        swept(file)
