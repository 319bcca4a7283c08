"""The calibration file: there and back, found out when edited, kept when a new one comes, each fault a sentence."""

from __future__ import annotations

import cmath
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gateway import calibration as files
from gateway.calibration import Calibration
from gateway.dsp.calibrate import fit
from gateway.errors import ConfigError
from gateway.nodes.calibrated import Calibrated
from gateway.nodes.place import LaserPhase, start
from gateway.tables import Reading
from gateway.types import Climate, Light, LockInResult, SampleBlock

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def calibration(k: float = 2.4e-5, bend: float = 0.0, created: datetime = CREATED, **about: object) -> Calibration:
    readings = []
    for ppm in (0.0, 300.0, 1000.0, 2000.0):
        z = 3e-4 - 7e-4j + k * ppm / (1.0 + bend * ppm) * cmath.exp(2.2j)
        readings.append(
            Reading(ppm=ppm, sigma_ppm=ppm / 200, re=z.real, im=z.imag, sigma=1e-6, records=30, taken=CREATED)
        )
    fitted = fit([reading.point for reading in readings], saturating=bool(bend))
    return files.made(fitted, tuple(readings), node="co2", created=created, **about)


@pytest.mark.parametrize("bend", [0.0, 5e-5])
def test_a_file_comes_back_as_it_was(bend: float, tmp_path: Path) -> None:
    about = {"operator": 'Zoë "Z" \\ \x7f', "gas": "co2 in n2", "certificate": "a\nb", "valid_until": CREATED}
    saved = calibration(bend=bend, conditions={"temperature_c": 20.0, "frequency_hz": 2012.5}, **about)
    path = files.save(tmp_path, saved)
    assert path.name == f"co2-20260304T050607Z-{saved.id}.toml"
    assert len(saved.id) == 12
    for file in (path, tmp_path / "co2.toml"):
        assert files.load(file) == saved
    curve = files.load(path).numbers
    assert curve.k == pytest.approx(2.4e-5, rel=1e-9)
    assert curve.bend == pytest.approx(bend, rel=1e-6)
    assert not list(tmp_path.glob("*.new"))


def test_versions_are_kept(tmp_path: Path) -> None:
    first = files.save(tmp_path, calibration())
    text = first.read_text()
    second = files.save(tmp_path, calibration(k=3e-5, created=CREATED.replace(hour=6), previous=files.load(first).id))
    files.save(tmp_path, calibration().model_copy(update={"node": "co2-b"}))
    third = files.save(tmp_path, calibration(k=4e-5, created=CREATED.replace(hour=6)))
    files.save(tmp_path, files.load(second))
    assert first.read_text() == text
    assert files.history(tmp_path, "co2") == (first, second, third)
    assert files.load(tmp_path / "co2.toml").previous == files.load(first).id


def test_an_edit_is_found_out_unless_owned(tmp_path: Path) -> None:
    path = files.save(tmp_path, calibration())
    own = files.load(path).id
    edited = path.read_text().replace("max_ppm = 2000.0", "max_ppm = 9000.0")
    path.write_text(edited)
    with pytest.raises(ConfigError, match=rf"co2-.*\.toml:3:1: id: the file was edited after it was made.*{own}"):
        files.load(path)
    path.write_text(edited.replace(f'id = "{own}"', 'id = ""'))
    assert files.load(path).curve.max_ppm == 9000.0


@pytest.mark.parametrize(
    ("old", "new", "place", "part"),
    [
        ("schema = 1", "schema = 2", "schema", "version 2, and this software knows version 1"),
        ("schema = 1", "", "schema", "the option 'schema' is missing"),
        ("[background]", "[backgroud]", "backgroud", "Did you mean 'background'?"),
        ("slope = ", "slope = -", "curve.slope", "is too low"),
        ("slope = ", "slope = 'x' #", "curve.slope", "is not a number"),
        ("slope = ", "slope = inf #", "curve.slope", "is not a"),
        ("slope = ", "slope ", "", "this is not TOML"),
        ('type = "line"', 'type = "cubic"', "curve.type", "not one of the known words"),
        ('type = "line"', 'type = "saturating"', "curve", "covariance must be 3 x 3"),
        ("bend = 0.0", "bend = 1e-5", "curve", "a line has no bend"),
        ("covariance = ", "covariance = [[1.0, 5.0], [5.0, 1.0]] #", "curve", "symmetric"),
        ("covariance = ", "covariance = [[1.0]] #", "curve", "covariance must be 2 x 2"),
        ("max_ppm = 2000.0", "max_ppm = 10\nmin_ppm = 20 #", "", ""),
        ("min_ppm = 0.0", "min_ppm = 3000.0", "curve", "min_ppm must be below max_ppm"),
        ("records = 30", "records = 0", "points[0].records", "is too low"),
        ("created = 2026", "created = 2026-01-01T00:00:00 # ", "created", "timezone"),
        ('node = "co2"', 'node = "c o"', "node", "characters that are not allowed"),
    ],
)
def test_every_fault_is_a_sentence_with_file_and_key(old: str, new: str, place: str, part: str, tmp_path: Path) -> None:
    path = files.save(tmp_path, calibration())
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        files.load(path)
    told = str(error.value)
    assert told.startswith(f"{path}:")
    assert place in told
    assert part in told
    assert all(fault.line for fault in error.value.faults)


def test_a_pole_in_the_range(tmp_path: Path) -> None:
    path = files.save(tmp_path, calibration(bend=5e-5))
    path.write_text(path.read_text().replace("bend = ", "bend = -0.001 #"))
    with pytest.raises(ConfigError, match="pole at 1000 ppm"):
        files.load(path)


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "co2.toml"
    path.write_text(
        "schema = 1\ncreated = 2026-03-04\nnode = 'co2'\nphase_deg = 90\nbackground = {re = 1e-4, im = 0}\n"
        "[curve]\ntype = 'line'\nslope = 2.4e-5\ncovariance = [[0, 0], [0, 0]]\nmax_ppm = 2000\n"
    )
    curve = files.load(path).numbers
    assert curve.ppm(curve.along(1e-4 + 2.4e-3j)) == pytest.approx(100.0)
    assert curve.sigma(2.4e-3) == 0.0


TABLES = """
[light]
power_w = 0.02
[resonance]
f0_hz = 2012.5
q = 50
temperature_c = 20
[water]
r1 = 20
[gas_law]
temperature_exponent = 1.3
temperature_c = 20
[steering]
re = -1
[drift]
ppm_per_day = 0.1
"""


@pytest.mark.parametrize(
    ("old", "new", "place", "part"),
    [
        ("power_w = 0.02", "power_w = 0", "light.power_w", "too low"),
        ("power_w = 0.02", "power = 0.02", "light.power", "Did you mean 'power_w'?"),
        ("q = 50", "", "resonance.q", "is missing"),
        ("temperature_c = 20", "temperature_c = 300", "resonance.temperature_c", "too high"),
        ("r1 = 20", "r1 = -20\nfraction = 0.1", "water", "R is not above zero"),
        ("temperature_exponent = 1.3", "", "gas_law.temperature_exponent", "is missing"),
        ("re = -1", "", "steering.re", "is missing"),
        ("ppm_per_day = 0.1", "ppm_per_day = -0.1", "drift.ppm_per_day", "too low"),
        ("[drift]", "[drfit]", "drfit", "Did you mean 'drift'?"),
    ],
)
def test_faults_of_the_tables(old: str, new: str, place: str, part: str, tmp_path: Path) -> None:
    path = files.save(tmp_path, calibration().model_copy(update={"id": ""}))
    whole = path.read_text() + TABLES
    path.write_text(whole)
    assert files.load(path).water is not None
    path.write_text(whole.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        files.load(path)
    assert place in str(error.value)
    assert part in str(error.value)
    assert all(fault.line for fault in error.value.faults)


def test_half_a_background_of_the_microphones(tmp_path: Path) -> None:
    path = files.save(tmp_path, calibration().model_copy(update={"id": ""}))
    path.write_text(path.read_text().replace("[background]", "[background]\na_re = 1e-4"))
    with pytest.raises(ConfigError, match="Give all of a_re, a_im, b_re and b_im"):
        files.load(path)


def test_all_tables_come_back(tmp_path: Path) -> None:
    path = files.save(tmp_path, calibration().model_copy(update={"id": ""}))
    path.write_text(path.read_text() + TABLES)
    found = files.load(path)
    point = found.points[0].model_copy(update={"a": (1e-4, 2e-4, 1e-6), "b": (3e-4, 4e-4, 1e-6)})
    found = found.model_copy(update={"points": (point, *found.points[1:])})
    assert files.load(files.save(tmp_path / "again", found)) == found


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"co2\.toml: there is no such file"):
        files.load(tmp_path / "co2.toml")


def guide(directory: Path) -> tuple[str, Calibration]:
    """The guide, and the file in it."""
    text = Path("docs/calibration.md").read_text("utf-8")
    path = directory / "co2.toml"
    example = text.split("## The file, written by hand\n")[1].split("\nA file that was made")[0]
    path.write_text("\n".join(line[4:] for line in example.splitlines()))
    return text, files.load(path)


def test_the_file_in_the_guide_is_right(tmp_path: Path) -> None:
    _, found = guide(tmp_path)
    assert (found.node, found.curve.type, found.curve.max_ppm) == ("co2_concentration", "saturating", 2000.0)
    assert all(getattr(found, name) for name in ("light", "resonance", "water", "gas_law", "steering", "drift"))


def test_the_worked_example_in_the_guide_is_right(tmp_path: Path) -> None:
    text, found = guide(tmp_path)
    found = found.model_copy(update={"created": CREATED})
    block = SampleBlock(
        0, 0, 48_000, np.zeros((0, 2), np.float32), utc_ns=(int(CREATED.timestamp()) + 30 * 86_400) * 10**9
    )
    lit, air = Light(Fraction(4025, 2), 0.5, 0.018), Climate(23.0, 50.0, 100_000.0)
    tone = LockInResult("lock", 0, 2012.5, 0.010055, -0.0013344, 2e-6, 30, 1.0, light=lit, climate=air)
    for track in ("off", "feed_forward"):
        place = start(48_000, 2, Fraction(4025, 2), LaserPhase(track=track))
        read = Calibrated("co2", found, 0.0, place).read(tone, block)
        assert read.reading is not None
        assert read.resonance is not None
        told = [f"{name} {value:.2f}" for name, value in read.reading.terms.items() if value > 0.0]
        told += [
            f"c = 414.257 / (1 - 3.3e-5 * 414.257) = {read.reading.ppm:.1f} ppm",
            f"u = {read.reading.sigma:.2f} ppm",
        ]
        told += [
            f"f0 = 2012.5 * 345.876 / 343.861 = {read.resonance.f0_hz:.2f} Hz",
            f"= {read.resonance.detuning:.4f};",
        ]
        told += [f"limit of detection is {read.reading.lod:.1f} ppm"]
        words = " ".join(text.split())
        assert [part for part in told if part not in words] == []
    assert read.resonance.tune_hz == 2024.29
    curve = found.numbers
    z = 0.9 * (curve.background + 0.012894 * cmath.exp(1j * curve.phase_rad))
    tuned = replace(tone, frequency_hz=2024.29, in_phase=z.real, quadrature=z.imag)
    again = Calibrated("co2", found, 0.0, place).read(tuned, block)
    assert again.reading is not None
    assert again.reading.ppm == pytest.approx(420.0, abs=0.01)
    assert f"the term is {again.reading.terms['resonance']:.1f} ppm" in words
