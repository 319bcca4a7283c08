"""Export: times as people give them, and each form gives back exactly what the journal has."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import export, jsonlines
from gateway.errors import SpectrophoneError, UsageError
from gateway.journal.entry import Entry, told
from gateway.types import PeakResult, ResonanceResult, Result
from tests.unit.journal.samples import SECOND_NS, UTC_NS, alert, entries, measurement, outcome, tick

NOW_NS = 1_763_812_800_000_000_000  # 2025-11-22T12:00:00Z


def written(kept: list[Entry], form: str, kind: str = "measurement", box: str = "lab-42") -> bytes:
    out = io.BytesIO()
    export.write(kept, out, form, (kind,), box)
    return out.getvalue()


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def table_of(data: bytes) -> Any:
    return pq.read_table(io.BytesIO(data))


def every_kind() -> list[Entry]:
    found: Iterator[Result] = iter(
        (
            measurement(SECOND_NS),
            measurement(SECOND_NS, "co2", None),
            measurement(SECOND_NS).source,
            PeakResult("peak", SECOND_NS, None, None, None, 1e-7, 40, 1.0, False),
            ResonanceResult("co2_resonance", SECOND_NS, 2012.5, 0.1, 50.0, 0.01, None),
        )
    )
    results = (*found, *tick(0, ()).results)
    watched = {"lock", "peak", "level", "co2_resonance"}
    made = list(told(tick(SECOND_NS, results, (alert(SECOND_NS),)), outcome("=no"), watched, watched, 1, UTC_NS))
    return [*made, *(entry for entry in entries(20, first=100) if entry.kind == "level")]


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("2025-11-22", 1_763_769_600 * SECOND_NS),
        ("2025-11-22T10:00", (1_763_769_600 + 36_000) * SECOND_NS),
        ("2025-11-22T10:00:00Z", (1_763_769_600 + 36_000) * SECOND_NS),
        ("2025-11-22T10:00+01:00", (1_763_769_600 + 32_400) * SECOND_NS),
        ("2025-11-22 10:00:00.123456", (1_763_769_600 + 36_000) * SECOND_NS + 123_456_000),
        ("1969-12-31T23:59:59.5Z", -SECOND_NS // 2),
        ("-90s", NOW_NS - 90 * SECOND_NS),
        ("-30min", NOW_NS - 1800 * SECOND_NS),
        ("-2h", NOW_NS - 7200 * SECOND_NS),
        ("1.5h", NOW_NS - 5400 * SECOND_NS),
        ("7d", NOW_NS - 7 * 86_400 * SECOND_NS),
        ("0001-01-01", -(2**63 - 1)),
        ("9999-12-31", 2**63 - 1),
        ("-99999999999d", -(2**63 - 1)),
    ],
)
def test_times(text: str, expected_ns: int) -> None:
    assert export.moment(text, "--from", NOW_NS) == expected_ns


@pytest.mark.parametrize(
    "text", ["", "-", "soon", "-2m", "-2 h", "h", "2025-13-01", "2025-11-22T25:00", "--2h", "1e3s"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match=f"^--to {text}: this is no time. Write 2026-11-22"):
        export.moment(text, "--to", NOW_NS)


def test_a_range_is_not_empty() -> None:
    assert export.time_range("-2h", None, NOW_NS) == (NOW_NS - 7200 * SECOND_NS, None)
    assert export.time_range(None, "2025-11-22T12:00Z", NOW_NS) == (None, NOW_NS)
    for since, until in (("-1h", "-2h"), ("2025-11-22", "2025-11-22")):
        with pytest.raises(UsageError, match=f"--from {since} is not before --to {until}"):
            export.time_range(since, until, NOW_NS)


def test_kinds() -> None:
    assert export.kinds_for("jsonl", (), None) == ()
    assert export.kinds_for("jsonl", ("alert", "peak"), None) == ("alert", "peak")
    assert export.kinds_for("csv", (), None) == ("measurement",)
    assert export.kinds_for("parquet", ("alert",), Path("a")) == ("alert",)
    with pytest.raises(UsageError, match="--kind alert --kind peak: a csv file is a table of one kind"):
        export.kinds_for("csv", ("alert", "peak"), None)
    with pytest.raises(UsageError, match=r"--format parquet is written into a file. Give one with --out FILE"):
        export.kinds_for("parquet", (), None)


def test_json_lines_are_the_entries_with_their_keys() -> None:
    kept = list(entries(30))
    lines = [json.loads(line) for line in written(kept, "jsonl").splitlines()]
    assert lines == [{**entry.fields, "key": f"lab-42-{entry.id}"} for entry in kept]


@pytest.mark.parametrize("kind", list(jsonlines.FIELDS))
def test_the_tables_have_what_the_json_lines_have(kind: str) -> None:
    kept = [entry for entry in every_kind() if entry.kind == kind]
    assert kept
    lines = [json.loads(line) for line in written(kept, "jsonl").splitlines()]
    table = table_of(written(kept, "parquet", kind))
    assert tuple(table.column_names) == export.columns(kind)
    assert [t.value for t in table["time"]] == [entry.time_ns for entry in kept]
    for name in export.columns(kind)[1:]:
        expected = [line[name] for line in lines]
        found = table[name].to_pylist()
        assert (list(map(json.loads, found)) if name == "args" else found) == expected, name
    rows = rows_of(written(kept, "csv", kind))
    assert [tuple(row) for row in rows] == [export.columns(kind)] * len(kept)
    for row, line in zip(rows, lines, strict=True):
        assert {name: read(cell, line[name]) for name, cell in row.items()} == {name: line[name] for name in row}


def read(cell: str, like: Any) -> Any:
    """A cell of CSV as who knows the column's type reads it."""
    match like:
        case None:
            return None if cell == "" else cell
        case bool():
            return {"true": True, "false": False}[cell]
        case int() | float():
            return type(like)(cell)
        case list():
            return cell.split()
        case dict():
            return json.loads(cell)
    return cell.removeprefix("'")


TEXT = st.text(max_size=20) | st.sampled_from(
    ["=1+1", "+1", "-1", "@A1", "\t=1", "'=1", "''", "a,b", 'a"b', "a\r\nb", "＝1", "\n=1", ""]
)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(TEXT, TEXT, st.none() | NUMBER, NUMBER), max_size=3))
def test_csv_gives_every_bit_back(values: list[tuple[str, str, float | None, float]]) -> None:
    kept = [
        Entry(
            number,
            UTC_NS,
            "alert",
            source,
            {"kind": "alert", "time": "T", "t_s": t_s, "rule": rule, "value": value, "source": source},
        )
        for number, (rule, source, value, t_s) in enumerate(values)
    ]
    data = written(kept, "csv", "alert")
    assert data.startswith(b"time,t_s,rule,type,severity,state,value,threshold,source,message,key\r\n")
    rows = rows_of(data)
    assert len(rows) == len(kept)
    for row, (rule, source, value, t_s) in zip(rows, values, strict=True):
        assert (row["rule"].removeprefix("'"), row["source"].removeprefix("'")) == (rule, source)
        assert repr(None if row["value"] == "" else float(row["value"])) == repr(value)
        assert repr(float(row["t_s"])) == repr(t_s)
        assert not row["rule"].startswith(("=", "+", "-", "@", "＝", "\t", "\r", "\n"))


def test_half_a_surrogate_pair_is_written_as_json_writes_it() -> None:
    fields = {"kind": "command", "time": "T", "t_s": 1.0, "target": "led", "args": {"x": "\ud83d"}, "reason": "\ud83d"}
    kept = [Entry(1, UTC_NS, "command", "led", fields)]
    assert json.loads(written(kept, "jsonl"))["reason"] == "\ud83d"
    assert rows_of(written(kept, "csv", "command"))[0]["reason"] == "\\ud83d"
    assert table_of(written(kept, "parquet", "command"))["reason"].to_pylist() == ["\\ud83d"]


def test_what_has_no_date_of_its_own_has_that_of_the_entry() -> None:
    fields = {**next(entries(1)).fields, "time": None}
    kept = [Entry(1, UTC_NS + 7, "measurement", "co2", fields)]
    assert json.loads(written(kept, "jsonl"))["time"] == "2026-09-21T14:13:20.000Z"
    assert rows_of(written(kept, "csv"))[0]["time"] == "2026-09-21T14:13:20.000Z"
    assert table_of(written(kept, "parquet"))["time"][0].value == UTC_NS + 7


def test_an_empty_table_has_its_columns() -> None:
    assert written([], "jsonl") == b""
    assert written([], "csv", "level") == b"time,t_s,node,rms,peak,flags,key\r\n"
    assert table_of(written([], "parquet", "level")).column_names == ["time", "t_s", *jsonlines.FIELDS["level"], "key"]


def test_parquet_has_types_and_says_what_it_is() -> None:
    data = written([entry for entry in entries(20) if entry.kind == "measurement"], "parquet")
    schema = pq.read_schema(io.BytesIO(data))
    types = {name: str(schema.field(name).type) for name in ("time", "ppm", "dof", "valid", "node")}
    assert types == {
        "time": "timestamp[ns, tz=UTC]",
        "ppm": "double",
        "dof": "int64",
        "valid": "bool",
        "node": "string",
    }
    assert str(schema.field("flags").type.value_type) == "string"
    about = {name.decode(): value.decode() for name, value in schema.metadata.items()}
    assert about["spectrophone.schema"] == "spectrophone/1"
    assert (about["spectrophone.box"], about["spectrophone.kind"]) == ("lab-42", "measurement")
    chunk = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    encoded = {chunk.column(i).path_in_schema for i in range(chunk.num_columns) if chunk.column(i).has_dictionary_page}
    assert encoded == {"node", "source", "flags.list.element"}


def test_parquet_is_written_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROW_GROUP", 4)
    monkeypatch.setattr(export, "_BATCH", 2)
    kept = [entry for entry in entries(11) if entry.kind == "measurement"]
    out, behind = io.BytesIO(), []

    def watched() -> Iterator[Entry]:
        for entry in kept:
            behind.append(out.tell())
            yield entry

    export.write(watched(), out, "parquet", ("measurement",), "lab")
    found = pq.ParquetFile(io.BytesIO(out.getvalue())).metadata
    assert [found.row_group(i).num_rows for i in range(found.num_row_groups)] == [4, 4, 3]
    assert behind[3] < behind[4] < behind[8]


def test_counted() -> None:
    seen: list[float] = []
    kept = [Entry(i, t_ns, "level", "a", {}) for i, t_ns in enumerate([5, 3, 9, 4])]
    counted = export.Counted(kept, seen.append)
    assert list(counted) == kept
    assert (counted.count, counted.first_ns, counted.last_ns, seen) == (4, 3, 9, [4])


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with export.new_file(path, overwrite=False) as out:
        out.write(b"half")
        assert [file.name for file in tmp_path.iterdir()] == ["a.csv.part"]
    assert path.read_bytes() == b"half"
    with pytest.raises(UsageError, match=r"a.csv exists already. Give another name, remove it, or add --overwrite"):
        export.new_file(path, overwrite=False).__enter__()
    with export.new_file(path, overwrite=True) as out:
        out.write(b"whole")
    assert path.read_bytes() == b"whole"


def test_nothing_stays_of_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), export.new_file(path, overwrite=True):
        raise KeyboardInterrupt
    with (
        pytest.raises(SpectrophoneError, match=r"a.csv cannot be written: No space left on device. Nothing of it"),
        export.new_file(path, overwrite=True),
    ):
        raise OSError(28, "No space left on device")
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_cannot_be(overwrite: bool, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no file. Give another name"):
        export.new_file(tmp_path, overwrite).__enter__()
    with pytest.raises(UsageError, match=r"cannot be written: No such file or directory. Give another --out"):
        export.new_file(tmp_path / "no" / "a.csv", overwrite).__enter__()


def test_the_journal_that_is_meant(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": str(tmp_path)}
    with pytest.raises(UsageError, match="there is no journal in"):
        export.chosen_journal(None, None, None, environ)
    (tmp_path / "a.journal").touch()
    assert export.chosen_journal(None, None, None, environ) == (tmp_path / "a.journal", "a")
    (tmp_path / "b.journal").touch()
    with pytest.raises(UsageError, match=r"journals of several boxes in .*: a, b. Choose one with --box ID"):
        export.chosen_journal(None, None, None, environ)
    assert export.chosen_journal(None, None, "b", environ) == (tmp_path / "b.journal", "b")
    assert export.chosen_journal(Path("old/x.journal"), None, None, environ) == (Path("old/x.journal"), "x")
    assert export.chosen_journal(Path("copy"), None, "a", environ) == (Path("copy"), "a")
    config = tmp_path / "c.yaml"
    config.write_text("box: {id: c}\nboard: sim\n")
    assert export.chosen_journal(None, config, None, environ) == (tmp_path / "c.journal", "c")
    config.write_text("box: {id: c}\nboard: sim\njournal: {path: /mnt/kept}\n")
    assert export.chosen_journal(None, config, None, environ) == (Path("/mnt/kept"), "c")
    with pytest.raises(UsageError, match=r"--config names a journal, and so does --box. Give one"):
        export.chosen_journal(None, config, "c", environ)
