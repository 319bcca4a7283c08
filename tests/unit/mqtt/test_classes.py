"""Versions as people write them, and what each takes."""

from __future__ import annotations

import pytest

from gateway.mqtt.classes import OLDEST, takes, version


@pytest.mark.parametrize(("text", "number"), [("2024.11", (2024, 11)), ("2025.1", (2025, 1)), ("2026.2.3", (2026, 2))])
def test_versions(text, number):
    assert version(text) == number


def test_a_version_that_is_none():
    with pytest.raises(ValueError, match="invalid literal"):
        version("newest")


def test_units_come_with_versions():
    assert takes("carbon_dioxide", "ppm", OLDEST)
    assert not takes("carbon_dioxide", "ppb", (2030, 1))
    assert not takes("ozone", "ppb", (2026, 1))
    assert takes("ozone", "ppb", (2026, 2))
    assert not takes("temperature", None, OLDEST)
    assert not takes("methane", "ppm", (2030, 1))
