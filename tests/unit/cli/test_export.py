"""`export`: which journal, which range, where to, and one sentence for what cannot be."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import jsonlines
from gateway.__main__ import main
from gateway.cli.export import _KINDS
from gateway.clock import RealClock
from gateway.journal.entry import Entry
from gateway.journal.store import Store
from tests.unit.journal.samples import SECOND_NS, UTC_NS, entries


def kept(file: Path, seconds: int = 60, utc_ns: int = UTC_NS) -> str:
    store = Store(file)
    shift_ns = utc_ns - UTC_NS
    store.append(
        [
            Entry(e.id, e.time_ns + shift_ns, e.kind, e.subject, {**e.fields, "time": None} if shift_ns else e.fields)
            for e in entries(seconds)
        ]
    )
    store.close()
    return str(file)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return kept(tmp_path / "lab-42.journal")


def test_csv_of_measurements_on_standard_output(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--format", "csv", "--journal", journal]) == 0
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    expected = [entry for entry in entries(60) if entry.kind == "measurement"]
    assert [row["key"] for row in rows] == [f"lab-42-{entry.id}" for entry in expected]
    assert [row["ppm"] for row in rows] == ["" if (x := e.fields["ppm"]) is None else repr(x) for e in expected]
    assert err == "spectrophone: 60 entries from 2026-09-21T14:13:20.000Z to 2026-09-21T14:14:19.000Z\n"


def test_a_range_of_kinds_and_nodes(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--from", "2026-09-21T14:13:30", "--to", "2026-09-21T16:13:40+02:00", "--kind", "alert", "--kind", "level"]
    assert main(["export", "--format", "jsonl", "--journal", journal, *told]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    start, end = UTC_NS + 10 * SECOND_NS, UTC_NS + 20 * SECOND_NS
    expected = [e for e in entries(60) if start <= e.time_ns < end and e.kind in ("alert", "level")]
    assert {e.kind for e in expected} == {"alert", "level"}
    assert found == [{**e.fields, "key": f"lab-42-{e.id}"} for e in expected]
    assert main(["export", "--format", "jsonl", "--journal", journal, *told, "--node", "level"]) == 0
    out, err = capsys.readouterr()
    assert {json.loads(line)["kind"] for line in out.splitlines()} == {"level"}
    assert err.startswith("spectrophone: 10 entries from ")


def test_the_last_hours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = kept(tmp_path / "a.journal", 60, RealClock().utc_ns() - 3600 * SECOND_NS)
    for since, count in (("-2h", 60), ("-30min", 0)):
        assert main(["export", "--format", "csv", "--journal", file, "--from", since]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1 + count


def test_nothing_in_the_range(journal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.csv"
    assert main(["export", "--format", "csv", "--journal", journal, "--to", "2026-01-01", "--out", str(out)]) == 0
    assert capsys.readouterr().err == (
        f"spectrophone: no such entries, in {out}: {journal} goes from 2026-09-21T14:13:20.000Z to "
        "2026-09-21T14:14:19.000Z\n"
    )
    assert out.read_bytes().startswith(b"time,t_s,node,ppm,")
    empty = kept(tmp_path / "empty", 0)
    assert main(["export", "--format", "jsonl", "--journal", empty]) == 0
    assert capsys.readouterr() == ("", f"spectrophone: no such entries: {empty} is empty\n")


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_a_file_is_replaced_only_if_told(
    form: str, journal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"a.{form}"
    command = ["export", "--format", form, "--journal", journal, "--out", str(out)]
    assert main(command) == 0
    first, said = out.read_bytes(), capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(f"Z, in {out}\n")
    out.write_bytes(b"old")
    refused(command, f"{out} exists already", capsys)
    assert out.read_bytes() == b"old"
    assert main([*command, "--overwrite"]) == 0
    assert out.read_bytes() == first


def test_the_state_directory_and_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    refused(["export", "--format", "csv"], f"there is no journal in {tmp_path}. Name one with --journal", capsys)
    kept(tmp_path / "lab-42.journal", 1)
    config = tmp_path / "c.yaml"
    config.write_text("box: {id: lab-43}\nboard: sim\n")
    for chosen in ([], ["--box", "lab-42"]):
        assert main(["export", "--format", "csv", *chosen]) == 0
        assert "lab-42-1000\r\n" in capsys.readouterr().out
    kept(tmp_path / "lab-43.journal", 1)
    refused(["export", "--format", "csv"], "several boxes", capsys)
    assert main(["export", "--format", "csv", "--config", str(config)]) == 0
    assert "lab-43-1000\r\n" in capsys.readouterr().out


def refused(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


def test_faults(
    journal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["export", "--journal", journal, "--format"]
    refused([*command, "csv", "--from", "soon"], "--from soon: this is no time. Write 2026-11-22", capsys)
    refused([*command, "csv", "--from", "-1h", "--to", "-2h"], "--from -1h is not before --to -2h", capsys)
    refused([*command, "csv", "--kind", "alert", "--kind", "peak"], "a csv file is a table of one kind", capsys)
    refused([*command, "parquet"], "--format parquet is written into a file. Give one with --out FILE", capsys)
    refused([*command, "csv", "--out", str(tmp_path / "no" / "a")], "cannot be written: No such file", capsys)
    refused(["export", "--format", "csv", "--journal", str(tmp_path / "none")], "there is no such journal", capsys)
    refused(["export", "--format", "csv", "--journal", str(tmp_path)], str(tmp_path), capsys)
    (tmp_path / "text").write_text("x" * 5000)
    refused(["export", "--format", "csv", "--journal", str(tmp_path / "text")], "is not a journal", capsys)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused([*command, "parquet", "--out", str(tmp_path / "a")], "pip install 'spectrophone[parquet]'", capsys)
    assert not (tmp_path / "a").exists()


def test_every_kind_can_be_chosen() -> None:
    assert set(_KINDS) == set(jsonlines.FIELDS)


FULL = """
import resource, sys
from gateway.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


def test_a_disk_that_gets_full(tmp_path: Path) -> None:
    journal, disk = kept(tmp_path / "a.journal", 3000), tmp_path / "disk"
    disk.mkdir()
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    for form in ("csv", "parquet", "jsonl"):
        out = disk / f"a.{form}"
        told = [sys.executable, "-c", FULL, "export", "--format", form, "--journal", journal, "--out", str(out)]
        done = subprocess.run(told, capture_output=True, text=True, check=False, env=env)
        said = f"spectrophone: {out} cannot be written: File too large. Nothing of it is kept\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    assert list(disk.iterdir()) == []


def test_standard_output_that_is_full_or_gone(tmp_path: Path) -> None:
    journal = kept(tmp_path / "a.journal", 1500)
    command = [sys.executable, "-m", "gateway", "export", "--format", "jsonl", "--journal", journal]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = "spectrophone: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"kind": "measurement"')
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
