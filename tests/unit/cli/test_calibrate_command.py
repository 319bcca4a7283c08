"""`spectrophone calibrate`: from gases in the simulated cell to a file, and plain words where it cannot be."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from gateway import calibration
from gateway.__main__ import main
from gateway.calibrating import MOST, Gas, Mean, session
from gateway.types import NO_FLAGS, Flag, LockInResult
from tests.recordings import tone, write_wav

GRAPH = """
board: sim
processing:
  default_graph:
    nodes:
      - {id: input, type: input}
      - {id: differential, type: differential}
      - {id: lock, type: lock_in, parameters: {integration_s: 0.1}}
      - {id: co2, type: concentration, parameters: {source: lock, polynomial_coefficients: [0, 163240]}}
rules: []
"""


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "box.yaml").write_text(GRAPH)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    assert main(["calibrate", *arguments, "--config", "box.yaml"]) == status
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out, err


def test_from_zero_to_show(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, "zero", "--seconds", "0.6", "--new")
    assert out.startswith("co2: 0 ppm gives ")
    assert "6 records" in out
    assert "no new calibration yet" in err
    assert not (box / "calibration" / "co2.toml").exists()
    about = ("--operator", "Ada", "--gas", "co2 in n2", "--temperature", "21.5")
    out, err = run(capsys, "span", "--ppm", "1000", "--sigma-ppm", "5", *about)
    assert err == ""
    assert "3 records" in out  # 0.1 % is reached at once, the least number of records is not
    first = calibration.load(box / "calibration" / "co2.toml")
    out, _ = run(capsys, "span", "--ppm", "200", "--sigma-ppm", "1", "--seconds", "0.3", "--json", "--valid-days", "-1")
    point, whole = map(json.loads, out.splitlines())
    assert (point["kind"], point["ppm"], point["records"]) == ("point", 200.0, 3)
    made = calibration.load(box / "calibration" / "co2.toml")
    assert (whole["kind"], whole["id"]) == ("calibration", made.id)
    assert made.previous == first.id
    assert (made.operator, made.gas, len(made.points)) == ("Ada", "co2 in n2", 3)
    assert made.conditions.frequency_hz == 2012.5
    assert first.conditions.temperature_c == 21.5
    assert abs(made.curve.slope * 163240 - 1.0) < 4.5 * math.sqrt(made.curve.covariance[1][1]) * 163240
    out, _ = run(capsys, "show")
    assert "EXPIRED" in out
    assert "1000 ± 5 ppm  off by " in out
    assert [line.split("-")[0].strip() for line in out.split("history\n")[1].splitlines()] == ["co2", "co2"]
    assert out.rstrip().endswith("current")
    out, _ = run(capsys, "fit", "--curve", "saturating")
    assert "saturating" in out
    assert len(calibration.history(box / "calibration", "co2")) >= 2


def test_the_tables_of_a_calibration(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "zero", "--seconds", "0.6", "--new")
    run(capsys, "span", "--ppm", "1000", "--seconds", "0.3")
    made = calibration.load(box / "calibration" / "co2.toml")
    assert made.light is not None
    assert (made.light.power_w, made.light.duty) == (0.02, 0.5)
    assert made.resonance is None
    assert made.steering is not None
    assert abs(complex(made.steering.re, made.steering.im) + 1.0) < 4.5 * 1.5 * made.steering.sigma
    assert made.background.microphones is not None
    assert all(abs(background) < 1e-5 for background in made.background.microphones)
    found = {"kind": "sweep", "f0_hz": 2010.0, "sigma_f0_hz": 0.1, "q": 48.0, "sigma_q": 0.5, "good": True}
    (box / "resonance.json").write_text(json.dumps(found))
    run(capsys, "fit", "--resonance", "resonance.json")
    swept = calibration.load(box / "calibration" / "co2.toml").resonance
    assert swept is not None
    assert (swept.f0_hz, swept.temperature_c) == (2010.0, 20.0)
    assert swept.detuning == pytest.approx(96.0 * 2.5 / 2010.0)
    run(capsys, "fit")
    assert calibration.load(box / "calibration" / "co2.toml").resonance == swept
    out, _ = run(capsys, "show")
    assert "resonance    f0_hz 2010, sigma_f0_hz 0.1, q 48" in out
    _, err = run(capsys, "fit", "--resonance", "box.yaml", status=2)
    assert "--resonance box.yaml: this is no sweep" in err


def test_a_new_session_begins_without_the_old_points(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "zero", "--seconds", "0.1")
    run(capsys, "zero", "--seconds", "0.2")
    assert len(session(box / "calibration", "co2").readings) == 2
    run(capsys, "zero", "--seconds", "0.1", "--new")
    assert len(session(box / "calibration", "co2").readings) == 1
    assert len((box / "calibration" / "co2.points.jsonl").read_text().splitlines()) == 4
    _, err = run(capsys, "fit", status=1)
    assert "there is only 0 ppm" in err


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["span", "--ppm", "0"], 2, "--ppm 0: a span gas"),
        (["span", "--ppm", "5", "--until", "2"], 2, "--until 2"),
        (["span", "--ppm", "5", "--sigma-ppm", "-1"], 2, "--sigma-ppm -1"),
        (["zero", "--seconds", "0"], 2, "--seconds 0"),
        (["zero", "--node", "ch4"], 2, "There are: co2"),
        (["zero", "--seconds", "0.1", "--humidity", "300"], 2, "humidity_percent 300"),
        (["zero", "--seconds", "0.1", "--directory", "box.yaml"], 1, "box.yaml: cannot be written"),
        (["fit"], 1, "there is no zero point"),
        (["show"], 2, "co2.toml: there is no such file"),
    ],
)
def test_what_cannot_be(
    arguments: list[str], status: int, part: str, box: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = run(capsys, *arguments, status=status)
    assert out == ""
    assert part in err


@pytest.mark.parametrize("note", ["3", "[]", '{"swept": 3}', '{"operator": 5}', '{"slope": "1"}'])
def test_a_note_that_is_none(box: Path, capsys: pytest.CaptureFixture[str], note: str) -> None:
    (box / "calibration").mkdir()
    (box / "calibration" / "co2.points.jsonl").write_text(f'{{"session": "x"}}\n{{"note": {note}}}\n')
    assert "co2.points.jsonl:2: this line is no point" in run(capsys, "fit", status=1)[1]


def test_a_line_that_is_no_point(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (box / "calibration").mkdir()
    (box / "calibration" / "co2.points.jsonl").write_text('{"session": "x"}\n[1]\n')
    assert "co2.points.jsonl:2: this line is no point" in run(capsys, "fit", status=1)[1]


def test_a_recording_that_is_too_short(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(box / "lab.wav", tone(2012.5, 1e-3, seconds=0.35))
    _, err = run(capsys, "span", "--ppm", "100", "--seconds", "2", "--microphone", f"file:{box / 'lab.wav'}", status=1)
    assert "good records: 1" in err
    assert not (box / "calibration" / "co2.points.jsonl").exists()


def test_two_nodes_must_be_told_apart(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = "      - {id: b, type: concentration, parameters: {source: peak, polynomial_coefficients: [0, 1]}}\nrules"
    peak = "      - {id: peak, type: peak_finder, parameters: {frequency_min: 1800, frequency_max: 2200}}\n"
    (box / "box.yaml").write_text(GRAPH.replace("rules", peak + extra))
    assert "There are: co2, b" in run(capsys, "zero", status=2)[1]
    assert "'peak', a peak_finder, which has no phase" in run(capsys, "zero", "--node", "b", status=2)[1]


def lock_in(z: complex, sigma: float, flags: frozenset[Flag] = NO_FLAGS) -> LockInResult:
    return LockInResult("lock", 0, 2012.5, z.real, z.imag, sigma, 32, 1.0, flags)


def test_a_mean_is_done_when_it_is_sure_enough() -> None:
    mean = Mean()
    for _ in range(4):
        mean.add(lock_in(1.0 + 0.1j, 2e-3))
    mean.add(lock_in(9.0, 2e-3, frozenset({Flag.OVERLOAD})))
    assert mean.signal.sigma == pytest.approx(1e-3)
    assert mean.doubts == {"overload"}
    assert mean.done(Gas(100.0, until=1e-3, background=0.1j)) == pytest.approx(1.0)
    assert mean.done(Gas(100.0, until=1e-3, background=0.5 + 0.1j)) == pytest.approx(0.25)
    assert mean.done(Gas(0.0)) == 4 / MOST
    assert mean.done(Gas(0.0, seconds=8.0)) == pytest.approx(0.5)


def test_scatter_beyond_the_noise_counts() -> None:
    mean = Mean()
    for z in (1.0, 1.1, 0.9, 1.1, 0.9):
        mean.add(lock_in(z, 1e-6))
    assert mean.signal.sigma == pytest.approx(math.sqrt(0.04 / 4 / 2 / 5))


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", "span", "--help"])
    assert "example:\n  spectrophone calibrate zero" in capsys.readouterr().out


def test_what_is_said_with_the_zero_is_in_the_calibration_that_the_span_makes(
    box: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swept = {"kind": "sweep", "f0_hz": 2012.4, "sigma_f0_hz": 0.01, "q": 50.0, "sigma_q": 0.1, "good": True}
    (box / "r.json").write_text(json.dumps(swept))
    about = ("--operator", "Ada", "--valid-days", "30", "--resonance", "r.json", "--temperature", "21")
    run(capsys, "zero", "--seconds", "0.1", "--new", *about)
    run(capsys, "span", "--ppm", "100", "--seconds", "0.1", "--temperature", "21", "--certificate", "bottle 7")
    made = calibration.load(box / "calibration" / "co2.toml")
    assert (made.operator, made.certificate) == ("Ada", "bottle 7")
    assert made.valid_until is not None
    assert made.resonance is not None
    assert made.resonance.f0_hz == 2012.4
    run(capsys, "zero", "--seconds", "0.1", "--new")
    run(capsys, "span", "--ppm", "100", "--seconds", "0.1")
    assert calibration.load(box / "calibration" / "co2.toml").valid_until is None  # said of the other session
