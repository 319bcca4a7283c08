"""The path with a calibration file: a cell with a background, a phase and saturation is read right with it and wrong
without it; a recording gives the ppm of the curve; what cannot work is told in a sentence."""

from __future__ import annotations

import cmath
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.air import Air
from drivers.cell import Cell
from drivers.laser import SimulatedLaser
from gateway import calibration, configured, design
from gateway.__main__ import main
from gateway.calibration import Calibration
from gateway.dsp.calibrate import fit
from gateway.tables import Reading
from gateway.types import Command, Flag, LockInResult, Measurement, Result, SampleBlock
from tests.recordings import tone, write_wav

GRAPH = """
processing:
  default_graph:
    nodes:
      - {{id: input, type: input}}
      - {{id: differential, type: differential}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: 1.0}}}}
      - {{id: peak, type: peak_finder, parameters: {{frequency_min: 1800, frequency_max: 2200}}}}
      - {{id: co2, type: concentration, parameters: {{source: {source}, {curve}}}}}
rules: []
"""
POLYNOMIAL = "polynomial_coefficients: [0, 163240]"  # right for a cell without background, on resonance
SATURATION = 30_000.0


def configuration(directory: Path, curve: str, source: str = "lock") -> Path:
    file = directory / "box.yaml"
    file.write_text(GRAPH.format(source=source, curve=curve))
    return file


def results(file: Path, ppm: float, seconds: int, seed: int, utc_ns: int | None = None) -> list[Result]:
    """What the path gives for a cell with a background, 4 K off resonance, that saturates."""
    config, board = configured.accepted(configured.prepare(file, {}))
    cell = Cell(
        ppm=ppm, seed=seed, background=0.02 * cmath.exp(1.9j), saturation_ppm=SATURATION, air=Air(temperature_c=24.0)
    )
    SimulatedLaser(cell, 2012.5, 0.5, 0.02).apply(Command("laser", "on"))
    path, found = design.path(config, board, design.sound(config, board)), []
    for index in range(seconds * 10):
        utc = None if utc_ns is None else utc_ns + index * 100_000_000
        block = SampleBlock(index, index * 4800, 48_000, cell.sound(index * 4800, 4800), utc_ns=utc)
        found += path.tick(block, ()).results
    return found


def reading(file: Path, ppm: float, seed: int) -> Reading:
    tones = [r for r in results(file, ppm, 5, seed) if isinstance(r, LockInResult)]
    z = np.mean([complex(tone.in_phase, tone.quadrature) for tone in tones])
    sigma = math.hypot(*(tone.sigma for tone in tones)) / len(tones)
    return Reading(ppm=ppm, sigma_ppm=ppm * 1e-4, re=z.real, im=z.imag, sigma=sigma, records=len(tones))


def calibrated(directory: Path, **about: Any) -> Calibration:
    """The calibration of that cell, in directory/co2.toml."""
    plain = configuration(directory, POLYNOMIAL)
    gases = (0.0, 0.0, 500.0, 2000.0, 5000.0)
    readings = tuple(reading(plain, ppm, seed) for seed, ppm in enumerate(gases, 10))
    fitted = fit([reading.point for reading in readings], saturating=True)
    made = calibration.made(fitted, readings, **{"node": "co2", "created": datetime(2026, 1, 1, tzinfo=UTC), **about})
    calibration.save(directory, made)
    return made


def measurements(found: list[Result]) -> list[Measurement]:
    return [r for r in found if isinstance(r, Measurement)]


def test_a_cell_with_background_phase_and_saturation(tmp_path: Path) -> None:
    curve = calibrated(tmp_path).curve
    assert 1.0 / curve.bend == pytest.approx(SATURATION, rel=0.02)
    with_file = configuration(tmp_path, f"calibration: {tmp_path / 'co2.toml'}")
    pulls = []
    for seed, ppm in enumerate((0.0, 50.0, 1000.0, 4000.0), 50):
        for m in measurements(results(with_file, ppm, 4, seed)):
            assert m.valid
            assert m.value is not None
            assert m.sigma is not None
            assert (Flag.LOW_SIGNAL in m.flags) == (ppm == 0.0)
            assert Flag.EXTRAPOLATED not in m.flags
            assert m.sigma < 0.2 + 2e-4 * ppm
            pulls.append((m.value - ppm) / m.sigma)
    assert len(pulls) == 16
    assert np.abs(pulls).max() < 4.5
    without = configuration(tmp_path, POLYNOMIAL)
    for ppm in (50.0, 1000.0):
        wrong = measurements(results(without, ppm, 2, 60))[0]
        assert abs((wrong.value or 0.0) - ppm) > 50 * (wrong.sigma or math.inf)


def test_outside_the_range_and_above_saturation(tmp_path: Path) -> None:
    calibrated(tmp_path)
    with_file = configuration(tmp_path, f"calibration: {tmp_path / 'co2.toml'}")
    beyond = measurements(results(with_file, 8000.0, 2, 70))[0]
    assert Flag.EXTRAPOLATED in beyond.flags
    assert beyond.value == pytest.approx(8000.0, rel=0.02)
    bent = (tmp_path / "co2.toml").read_text().replace("bend = ", "bend = 0.001 #").replace('id = "', 'id = "" #')
    (tmp_path / "co2.toml").write_text(bent)
    impossible = measurements(results(with_file, 8000.0, 2, 70))[0]
    assert impossible.value is None
    assert not impossible.valid
    assert Flag.EXTRAPOLATED in impossible.flags


def test_an_expired_calibration_is_flagged_where_the_date_is_known(tmp_path: Path) -> None:
    expiry = datetime(2026, 7, 1, tzinfo=UTC)
    calibrated(tmp_path, valid_until=expiry)
    with_file = configuration(tmp_path, f"calibration: {tmp_path / 'co2.toml'}")
    end_ns = int(expiry.timestamp()) * 10**9
    for utc_ns, expected in ((None, [False, False]), (end_ns - 1_500_000_000, [False, True])):
        found = measurements(results(with_file, 100.0, 2, 80, utc_ns))
        assert [Flag.CAL_EXPIRED in m.flags for m in found] == expected
        assert all(m.valid for m in found)


def replayed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Mapping[str, Any]]:
    assert main(["replay", *arguments]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [fields for fields in found if fields["kind"] == "measurement"]


def test_replay_takes_a_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A - B of 1e-3 in antiphase is 2e-3 at the tone's phase; the file's curve gives its ppm."""
    sound = write_wav(tmp_path / "lab.wav", tone(2012.5, 1e-3, seconds=3.0, phase_rad=0.7, noise_rms=1e-6))
    by_hand = tmp_path / "hand.toml"
    by_hand.write_text(
        f"schema = 1\ncreated = 2026-03-04\nnode = 'other'\nphase_deg = {math.degrees(0.3)}\n"
        "background = {re = 1e-4, im = -3e-4}\n"
        "[curve]\ntype = 'saturating'\nslope = 2e-6\nbend = 2e-4\nmax_ppm = 5000\n"
        "covariance = [[1e-16, 0, 0], [0, 4e-16, 0], [0, 0, 0]]\n"
    )
    x = ((2e-3 * cmath.exp(0.7j) - (1e-4 - 3e-4j)) * cmath.exp(-0.3j)).real
    y = x / 2e-6
    true = y / (1 - 2e-4 * y)
    config = configuration(tmp_path, POLYNOMIAL)
    found = replayed(capsys, str(sound), "--config", str(config), "--calibration", str(by_hand))
    assert len(found) == 3
    slope = true**2 / y**2 / 2e-6
    noise = slope * 1e-6 * math.sqrt(2 * 2 / 48_000)
    for fields in found:
        assert fields["sigma_ppm"] == pytest.approx(math.hypot(noise, slope * 1e-8, slope * y * 2e-8), rel=0.1)
        assert abs(fields["ppm"] - true) < 4.5 * noise
    assert replayed(capsys, str(sound), "--config", str(config))[0]["ppm"] == pytest.approx(
        163240 * 2e-3 * math.cos(0.7), rel=1e-3
    )


def test_what_a_calibration_cannot_be_used_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibrated(tmp_path)
    file = tmp_path / "co2.toml"
    sound = write_wav(tmp_path / "lab.wav", tone(2012.5, 1e-3, seconds=1.0))
    mono = write_wav(tmp_path / "mono.wav", tone(2012.5, 1e-3, seconds=1.0, channels=1))
    peak = configuration(tmp_path, POLYNOMIAL, "peak")
    for arguments, part in (
        ([sound, "--config", peak, "--calibration", file], "'peak' is a peak_finder, which has no phase"),
        ([mono, "--calibration", file], "there is no concentration node"),
        ([sound, "--calibration", tmp_path / "none.toml"], "there is no such file"),
    ):
        assert main(["replay", *map(str, arguments)]) == 2
        err = capsys.readouterr().err
        assert part in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("curve", "source", "option", "part"),
    [
        ("calibration: {there}", "peak", "parameters.source", "has no phase"),
        ("calibration: {there}, max_ppm: 10", "lock", "parameters", "the calibration file has its own max_ppm"),
        (f"calibration: {{there}}, {POLYNOMIAL}", "lock", "parameters", "both given"),
        ("sigma_calibration_percent: 1", "lock", "parameters", "neither polynomial_coefficients nor calibration"),
        ("calibration: none.toml", "lock", "parameters.calibration", "none.toml: there is no such file"),
        ("calibration: {bad}", "lock", "parameters.calibration", "bad.toml:1:1: schema: the calibration's format"),
    ],
)
def test_check_tells_the_option(curve: str, source: str, option: str, part: str, tmp_path: Path) -> None:
    there, bad = tmp_path / "co2.toml", tmp_path / "bad.toml"
    there.write_text(
        "schema = 1\ncreated = 2026-03-04\nnode = 'co2'\nphase_deg = 0\nbackground = {re = 0, im = 0}\n"
        "[curve]\ntype = 'line'\nslope = 2e-6\nmax_ppm = 5000\ncovariance = [[0, 0], [0, 0]]\n"
    )
    bad.write_text("schema = 9\n")
    (fault,) = configured.prepare(configuration(tmp_path, curve.format(there=there, bad=bad), source), {}).faults
    assert fault.option == f"processing.default_graph.nodes[4].{option}"
    assert fault.line == 9
    assert part in fault.message
