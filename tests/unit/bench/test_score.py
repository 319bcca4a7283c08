"""The harness counts rightly: on made-up readings of known quality, and on a few of the gateway's."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from bench.precision import rivals
from bench.precision.__main__ import measured
from bench.precision.readings import Reading, Trial
from bench.precision.scenarios import SCENARIOS, Scenario
from bench.precision.score import Uncertain, headline, recalibrated, score
from bench.precision.table import Row, told, verdicts
from bench.precision.world import Course, World
from gateway.dsp.calibrate import Curve

BOUND, COUNT, TRUE = 0.45, 4000, 400.0
NO_FLAGS: frozenset[str] = frozenset()


def made_up(extra: float = 0.0, offset: float = 0.0, u95: float = 1.96 * BOUND) -> list[Trial]:
    """Readings with the bound's noise, some more of `extra` standard deviation, and an offset."""
    rng = np.random.default_rng(8)
    luck, more = BOUND * rng.standard_normal(COUNT), extra * rng.standard_normal(COUNT)
    readings = (
        Reading(0, 48_000, TRUE + one + other + offset, u95, NO_FLAGS) for one, other in zip(luck, more, strict=True)
    )
    return [Trial(reading, TRUE, one, BOUND, NO_FLAGS) for reading, one in zip(readings, luck.tolist(), strict=True)]


def test_the_best_reading_has_efficiency_one_and_no_bias() -> None:
    found = score(made_up())
    assert found.efficiency.value == pytest.approx(1.0, abs=1e-9)
    assert found.bias_ppm.value == pytest.approx(0.0, abs=1e-9)
    assert found.bound_ppm == pytest.approx(BOUND)
    assert found.rmse_ppm == pytest.approx(BOUND, rel=4.0 / math.sqrt(2 * COUNT))


def test_as_much_noise_again_is_half_the_efficiency() -> None:
    found = score(made_up(extra=BOUND))
    assert found.efficiency.value == pytest.approx(0.5, abs=4.0 * found.efficiency.error)
    assert found.efficiency.error < 0.02
    assert found.bias_ppm.error == pytest.approx(BOUND / math.sqrt(COUNT), rel=0.1)
    assert abs(found.bias_ppm.value) < 4.0 * found.bias_ppm.error


def test_an_offset_is_found() -> None:
    found = score(made_up(offset=0.3))
    assert found.bias_ppm.value == pytest.approx(0.3, abs=1e-9)
    assert found.efficiency.value == pytest.approx(1.0 / (1.0 + (0.3 / BOUND) ** 2), rel=0.05)


@pytest.mark.parametrize(("width", "expected"), [(1.96, 0.95), (1.0, 0.6827), (2.5758, 0.99)])
def test_coverage_of_the_noise(width: float, expected: float) -> None:
    found = score(made_up(u95=width * BOUND), uncertain=Uncertain(0.0, 0.0)).coverage
    assert found.value == pytest.approx(expected, abs=4.0 * math.sqrt(expected * (1 - expected) / COUNT))


@pytest.mark.parametrize("bend", [0.0, 1e-4])
def test_coverage_with_an_uncertain_calibration(bend: float) -> None:
    """Noise, zero and span add in quadrature; the curve's steepness at 400 ppm is c' = 1 + bend c per y, and dc =
    c' y span.
    """
    steep = 1.0 + bend * TRUE
    u = math.sqrt(BOUND**2 + (0.2 * steep**2) ** 2 + (0.003 * TRUE * steep) ** 2)
    found = score(made_up(u95=1.96 * u), uncertain=Uncertain(0.2, 0.003, bend)).coverage
    assert found.value == pytest.approx(0.95, abs=0.95 * 4.0 * math.sqrt(0.05 / 500))
    too_narrow = score(made_up(u95=1.96 * BOUND), uncertain=Uncertain(0.2, 0.003, bend)).coverage
    assert too_narrow.value < 0.7


@pytest.mark.parametrize("bend", [0.0, 1e-4])
def test_a_drawn_calibration_reads_as_the_gateways_curve(bend: float) -> None:
    right = Curve(0.1 + 0.2j, 0.3, 2e-6, bend, np.zeros((3, 3)))
    wrong = Curve(right.background + 1.5 * 2e-6 * cmath.exp(0.3j), 0.3, 2e-6 * 1.01, bend, np.zeros((3, 3)))
    for x in (0.0, 3e-4, 1e-3):
        phasor = right.background + x * cmath.exp(0.3j)
        ppm, other = right.ppm(right.along(phasor)), wrong.ppm(wrong.along(phasor))
        assert recalibrated(np.array(ppm), np.array(1.5), np.array(0.01), bend) == pytest.approx(other, rel=1e-9)


def test_flags_owed_missed_and_false() -> None:
    def trial(*flags: str, happened: tuple[str, ...] = (), ppm: float | None = 1.0) -> Trial:
        return Trial(Reading(0, 1, ppm, 1.0, frozenset(flags)), 1.1, 0.1, 1.0, frozenset(happened))

    must, may = frozenset({"tone", "impulse"}), frozenset({"low_signal"})
    found = score(
        [
            trial("tone"),
            trial("tone", "low_signal"),
            trial("tone", "impulse", happened=("impulse",)),
            trial("tone", happened=("impulse",)),  # missed
            trial("tone", "impulse"),  # false
            trial(ppm=None),  # missed
        ],
        must,
        may,
    )
    assert (found.readings, found.valid, found.missed, found.false) == (6, 5, 2, 1)
    assert found.flags == {"impulse": 2, "low_signal": 1, "tone": 5}


def test_the_headline_counts_no_more_than_one() -> None:
    assert headline([1.2, 0.25]) == pytest.approx(0.5)


def test_verdicts() -> None:
    scenario = Scenario("made up", clean=True)
    good = score(made_up(), uncertain=Uncertain(0.0, 0.0))
    assert set(verdicts(Row(scenario, {"ours": good})).values()) == {"ok"}
    bad = score(made_up(extra=1.0, offset=1.0, u95=0.1), frozenset({"tone"}), uncertain=Uncertain(0.0, 0.0))
    found = verdicts(Row(scenario, {"ours": bad}))
    assert found == {
        "efficiency": "FAIL",
        "bias": "FAIL",
        "coverage": "FAIL",
        "missed flags": "FAIL",
        "false flags": "ok",
    }
    nothing = score([Trial(Reading(0, 1, None, math.nan, NO_FLAGS), 1.0, 0.1, 1.0, NO_FLAGS)])
    assert verdicts(Row(scenario, {"ours": nothing})) == {"valid": "FAIL"}
    text = "\n".join(told([Row(scenario, {"ours": one}) for one in (good, bad, nothing)] + [Row(scenario, {}, "why")]))
    assert "not yet: why" in text
    assert "  FAIL made up: efficiency, bias, coverage, missed flags, valid" in text


def test_the_gateway_in_the_clean_scenario_is_the_matched_filter() -> None:
    row = measured(SCENARIOS[0], 3, seed=1, alone=True)
    assert row.scores["ours"].valid == 3
    assert abs(row.scores["ours"].bias_ppm.value) < 0.05
    assert measured(SCENARIOS[0], 3, seed=1, alone=True) == row


def test_what_the_gateway_does_not_know_is_told() -> None:
    unknown = Scenario("unknown", laser="colour: blue")
    assert "laser.colour: unknown option 'colour'" in measured(unknown, 1, seed=1).not_yet


@pytest.mark.parametrize("world", [World(), World(channels=1), World(loopback=True)])
def test_the_others_are_calibrated(world: World) -> None:
    """All but the last frame, which is noisier, read 400 ppm within a percent and zero gas within 2 ppm."""
    for ppm, most in ((400.0, 4.0), (0.0, 2.0)):
        found = rivals.trials(
            Scenario("", World(ppm=Course(ppm), channels=world.channels, loopback=world.loopback)),
            2,
            np.random.SeedSequence(1),
        )
        for name, trials in found.items():
            errors = [(trial.reading.ppm or 0.0) - trial.true_ppm for trial in trials]
            assert np.abs(errors).max() < most * (4.0 if name == "last frame" else 1.0)
