"""The session's file: a whole line more, or none."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from gateway.calibrating import Gas, begin, remember, session, session_file, with_background
from gateway.tables import Conditions, Reading
from tests.support.clock import FakeClock


def reading(ppm: float, z: complex) -> Reading:
    return Reading(ppm=ppm, re=z.real, im=z.imag, sigma=1e-6)


def test_half_a_line_is_never_left(tmp_path: Path) -> None:
    remember(tmp_path, "co2", reading(0.0, 1e-3), Conditions())
    before = session_file(tmp_path, "co2").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))  # from here on the disk is full
    try:
        with pytest.raises(OSError, match="No space left"):
            remember(tmp_path, "co2", reading(100.0, 2e-3), Conditions())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert session_file(tmp_path, "co2").read_bytes() == before
    assert len(session(tmp_path, "co2").readings) == 1


def test_the_background_is_that_of_the_sessions_zeros(tmp_path: Path) -> None:
    span = Gas(100.0)
    assert with_background(span, tmp_path, "co2", new=False) == span
    for z in (1e-3, 3e-3 + 2e-3j):
        remember(tmp_path, "co2", reading(0.0, z), Conditions())
    remember(tmp_path, "co2", reading(100.0, 1.0), Conditions())
    assert with_background(span, tmp_path, "co2", new=False).background == pytest.approx(2e-3 + 1e-3j)
    assert with_background(span, tmp_path, "co2", new=True) == span
    assert with_background(Gas(0.0), tmp_path, "co2", new=False) == Gas(0.0)
    begin(tmp_path, "co2", FakeClock())
    assert with_background(span, tmp_path, "co2", new=False) == span
