"""`replay` of several recordings: all objects in the order of the files, marked with them, and no fault in silence."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from gateway import archive
from gateway.__main__ import main
from gateway.jsonlines import FIELDS
from gateway.progress import Progress
from tests.recordings import tone, wav

CALIBRATION = """
schema = 1
created = 2026-01-01
node = "co2_concentration"
phase_deg = 0.0
background = {{re = 0.0, im = 0.0}}
curve = {{type = "line", slope = {slope}, covariance = [[1e-16, 0], [0, 1e-16]], max_ppm = 20000}}
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Four recordings, the third of them mono."""
    made = [tmp_path / name for name in ("b.wav", "a.wav", "mono.wav", "d.WAV")]
    for k, file in enumerate(made):
        sound = tone(2012.5, 0.01 * (k + 1), seconds=2.5, channels=1 if k == 2 else 2, noise_rms=1e-3, seed=k)
        file.write_bytes(wav(sound, 48_000, "PCM_16"))
    return made


def replay(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, list[dict[str, Any]], list[str]]:
    """The exit status, the objects, and what was told."""
    status = main(["replay", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, [json.loads(line) for line in out.splitlines()], err.splitlines()


def test_the_objects_of_each_in_the_order_given(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    each = []
    for file in files:
        _, found, _ = replay(capsys, file)
        assert all(fields.keys() - {"kind", "t_s"} == FIELDS[fields["kind"]].keys() for fields in found)
        each += [fields | {"file": str(file)} for fields in found]
    status, found, told = replay(capsys, *files)
    assert status == 0
    assert found == each
    assert {fields["kind"] for fields in found} >= {"level", "lock_in", "peak", "measurement"}
    assert len(told) == 1
    assert told[0].startswith(f"spectrophone: {files[2]}: the recording is mono")


def test_faults_are_told_and_the_others_go_on(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    files[0].write_bytes(files[0].read_bytes()[:-200_000])
    config, letter, none = (files[0].with_name(name) for name in ("stereo.yaml", "letter.wav", "none.wav"))
    config.write_text("box: {id: lab}\n")
    letter.write_text("Dear Sir")
    status, found, told = replay(capsys, files[0], letter, none, files[2], files[1], "--config", config)
    assert status == 2
    seconds = {str(file): [o["t_s"] for o in found if o["file"] == str(file)] for file in files}
    assert [bool(values) for values in seconds.values()] == [True, True, False, False]
    assert max(seconds[str(files[0])]) < max(seconds[str(files[1])]) == 2.0
    assert [line.split(".wav")[0] for line in told] == [
        f"spectrophone: {file.with_suffix('')}" for file in (files[0], letter, none, files[2])
    ]
    words = ("is cut short", "is not a sound file", "does not exist", "differential needs two channels")
    assert all(word in line for word, line in zip(words, told, strict=True))


def test_a_directory_is_its_recordings_by_name(
    files: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = files[0].parent
    (directory / "c.wav.part").write_text("a recording that was never finished")
    (directory / "e.wav").mkdir()
    status, found, _ = replay(capsys, directory)
    assert status == 0
    assert list(dict.fromkeys(fields["file"] for fields in found)) == [str(file) for file in sorted(files)]
    monkeypatch.chdir(directory.parent)
    _, again, _ = replay(capsys, Path(directory.name) / "a.wav", directory.name)
    names = list(dict.fromkeys(fields["file"] for fields in again))
    assert names == [f"{directory.name}/{file.name}" for file in sorted(files)]
    status, found, told = replay(capsys, files[0], directory / "e.wav")
    assert (status, found) == (2, [])
    assert "e.wav is a directory without recordings" in told[0]


def test_a_directory_with_one_recording_is_marked(files: list[Path]) -> None:
    assert [job.marked for job in archive.jobs([files[0]])] == [False]
    for file in files[1:]:
        file.unlink()
    assert [job.marked for job in archive.jobs([files[0].parent])] == [True]


def test_a_new_calibration_for_all(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    first, half = files[0].with_name("first.toml"), files[0].with_name("half.toml")
    first.write_text(CALIBRATION.format(slope=4e-5))
    half.write_text(CALIBRATION.format(slope=2e-5))
    _, before, _ = replay(capsys, *files, "--calibration", first)
    status, after, told = replay(capsys, *files, "--calibration", half)
    ppm = [[o["ppm"] for o in found if o["kind"] == "measurement"] for found in (before, after)]
    assert len(ppm[0]) == 2 * 3
    assert ppm[1] == pytest.approx([2.0 * value for value in ppm[0]], rel=1e-12)
    assert status == 2  # the mono one has no concentration
    assert f"spectrophone: {files[0]}: co2_concentration is calibrated by {half} (written by hand)" in told
    assert f"spectrophone: {files[2]}: --calibration {half}: there is no concentration node" in "\n".join(told)
    assert told[-1].startswith("spectrophone: 3 of 4 recordings: co2_concentration is calibrated by")


def test_a_faulty_configuration_or_calibration_is_told_once(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, calibration = files[0].with_name("bad.yaml"), files[0].with_name("bad.toml")
    config.write_text("laser: {frequency_hz: fast}\n")
    calibration.write_text("schema = 1\n")
    for arguments in (["--config", config], ["--calibration", calibration]):
        status, found, told = replay(capsys, *files, *arguments)
        assert (status, found) == (2, [])
        assert all(str(arguments[1]) in line for line in told)
        assert not any(str(file) in line for line in told for file in files)
    config.write_text("processing: {default_graph: {id: none, nodes: [{id: level, type: level}]}}\n")
    calibration.write_text(CALIBRATION.format(slope=4e-5))
    status, found, told = replay(capsys, *files, "--config", config, "--calibration", calibration)
    assert (status, found, len(told)) == (2, [], 1)
    assert f"--calibration {calibration}: there is no concentration node to calibrate" in told[0]


class Terminal(io.StringIO):
    """A terminal that keeps what it shows."""

    def isatty(self) -> bool:
        return True


def test_progress_counts_files_and_seconds(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    assert main(["replay", str(files[0]), str(files[1])]) == 0
    lines = ("replaying:  50 %, 1 of 2 files, 2 s of sound", "replaying: 100 %, 2 of 2 files, 5 s of sound")
    assert shown.getvalue() == "".join(f"\r{line}" for line in lines) + "\n"


def test_progress_begins_a_new_line_after_its_end() -> None:
    shown = Terminal()
    progress = Progress(shown, "done", 4)
    for _ in range(2):
        progress.at(1, ", one")
        progress.at(1, ", one")
        progress.end()
        progress.end()
    assert shown.getvalue() == 2 * "\rdone:  25 %, one\n"
