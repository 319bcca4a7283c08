"""The calibration file: there and back, found out when edited, kept when a new one comes, each fault a sentence."""

from __future__ import annotations

import cmath
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway import calibration as files
from gateway.calibration import Calibration
from gateway.dsp.calibrate import fit
from gateway.errors import ConfigError
from gateway.tables import Reading

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


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"co2\.toml: there is no such file"):
        files.load(tmp_path / "co2.toml")


def test_the_file_in_the_guide_is_right(tmp_path: Path) -> None:
    guide = Path("docs/calibration.md").read_text("utf-8").split("## The file, written by hand\n")[1]
    path = tmp_path / "co2.toml"
    path.write_text("\n".join(line[4:] for line in guide.split("\nA file that was made")[0].splitlines()))
    found = files.load(path)
    assert (found.node, found.curve.type, found.curve.max_ppm) == ("co2_concentration", "saturating", 2000.0)
