"""The decimals follow the noise, once, and not for a trifle."""

from __future__ import annotations

import math

import pytest

from gateway.mqtt.precision import MOST, VALUES, Precision, decimals_of
from tests.unit.mqtt.samples import OVERLOAD, ppm


@pytest.mark.parametrize(
    ("sigma", "decimals"),
    [(150.0, 0), (1.5, 0), (1.0, 0), (0.9, 1), (0.1, 1), (0.02, 2), (1e-9, MOST), (0.0, MOST), (math.inf, MOST)],
)
def test_decimals_of_a_sigma(sigma, decimals):
    assert decimals_of(sigma) == decimals


def fed(precision, sigma, values=VALUES):
    """What it says of that many values."""
    return [precision.take(ppm(sigma=sigma)) for _ in range(values)]


def test_ten_values_settle_it_once():
    precision = Precision({"co2": 0})
    assert fed(precision, 0.02) == [False] * (VALUES - 1) + [True]
    assert precision.decimals == {"co2": 2}
    assert not any(fed(precision, 5.0, 3 * VALUES))
    assert precision.decimals == {"co2": 2}


@pytest.mark.parametrize(
    ("sigma", "stays"), [(0.021, True), (0.0051, True), (0.19, True), (0.0049, False), (0.21, False)]
)
def test_what_is_known_stays_within_a_factor_of_two(sigma, stays):
    precision = Precision({"co2": 2})
    assert any(fed(precision, sigma)) != stays
    assert (precision.decimals["co2"] == 2) == stays


def test_one_wild_value_and_bad_ones_do_not_count():
    precision = Precision({"co2": 0})
    assert not precision.take(ppm(sigma=1e-6))
    assert not any(precision.take(ppm(sigma=1e-6, flags=OVERLOAD)) for _ in range(50))
    assert not any(precision.take(ppm(sigma=None)) for _ in range(50))
    assert not any(fed(precision, 1.5, VALUES - 1))
    assert precision.decimals == {"co2": 0}
