"""An entry that was written is the entry that is read, whatever is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import jsonlines
from gateway.journal import schema
from gateway.journal.entry import Entry, told
from gateway.journal.store import Store
from gateway.types import Flag, LockInResult, Measurement, Outcome, Tick
from tests.unit.journal.samples import UTC_NS, entries, measurement, tick

FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


def read_back(directory: Path, written: list[Entry]) -> list[Entry]:
    store = Store(directory / "journal")
    store.append(written)
    read = store.after(0, 10_000)
    store.close()
    return read


def test_every_kind_of_entry_comes_back_with_its_fields_in_their_order(tmp_path: Path) -> None:
    written = list(entries(100))
    read = read_back(tmp_path, written)
    assert read == written
    assert [jsonlines.line(dict(entry.fields)) for entry in read] == [
        jsonlines.line(dict(entry.fields)) for entry in written
    ]
    assert {entry.kind for entry in read} == {"measurement", "level", "alert", "command"}


def test_there_is_a_column_for_every_field_of_a_measurement() -> None:
    assert ("kind", "time", "t_s", *jsonlines.FIELDS["measurement"]) == schema.FIELDS
    assert tuple(jsonlines.of(measurement(0), tick(0)) or {}) == schema.FIELDS


@given(
    values=st.lists(FLOATS, min_size=8, max_size=8),
    dof=st.integers(0, 2**40),
    valid=st.booleans(),
    flags=st.frozensets(st.sampled_from(Flag)),
    t_ns=st.integers(0, 10**18),
    utc_ns=st.integers(0, 2 * 10**18) | st.none(),
)
def test_every_number_comes_back_exactly(
    values: list[float | None],
    dof: int,
    valid: bool,
    flags: frozenset[Flag],
    t_ns: int,
    utc_ns: int | None,
) -> None:
    ppm, sigma, u95, lod, smoothed, sigma_smoothed, frequency, amplitude = values
    source = LockInResult("lock", t_ns, frequency or 0.0, amplitude or 0.0, 0.0, 1e-7, dof, 1.0)
    made = Measurement(
        "co2", t_ns, ppm, sigma, u95, dof, lod, valid, flags, source, smoothed=smoothed, sigma_smoothed=sigma_smoothed
    )
    (written,) = told_by(tick(t_ns, (made,), utc_ns=utc_ns))
    store = Store(Path(":memory:"))
    store.append([written])
    (read,) = store.after(0, 2)
    store.close()
    assert read == written
    assert list(read.fields) == list(written.fields)


def told_by(at: Tick) -> list[Entry]:
    return list(told(at, Outcome(), (), (), 1, UTC_NS))


@pytest.mark.parametrize(
    "fields",
    [
        {"new_field": [1, {"deep": None}]},
        {"time": None},
        {"time": "some day"},
        {"node": "another"},
        {"flags": ["flag_of_tomorrow"]},
    ],
)
def test_a_measurement_of_another_form_loses_nothing(tmp_path: Path, fields: dict[str, object]) -> None:
    (written,) = told_by(tick(0, (measurement(0),)))
    written = replace(written, fields={**written.fields, **fields})
    (read,) = read_back(tmp_path, [written])
    assert read == written


def test_names_that_are_no_text_do_not_stop_the_journal(tmp_path: Path) -> None:
    fields = {"kind": "command", "time": None, "target": "\ud800", "args": {"\udfff": 2**70, "": "\0"}}
    (read,) = read_back(tmp_path, [Entry(1, 0, "command", "\ud800", fields)])
    assert (read.subject, read.fields) == ("?", fields)
