"""Measurements for a chart: nothing is lost that is there, nothing is invented, and long ranges cost no more."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.errors import UsageError
from gateway.journal import schema, thin
from gateway.journal.entry import Entry
from gateway.journal.store import Store
from tests.unit.journal.samples import SECOND_NS, UTC_NS, entries

DAY_S = 86_400


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of a value a second, 400 + second % 10, with a restart and an hour's gap after the first."""
    file = tmp_path_factory.mktemp("thin") / "long.journal"
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in (statement for step in schema.STEPS for statement in step):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION}")
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO name VALUES (1, 'co2'), (2, ''), (3, 'lock'), (4, 'impulse')")
    restart = DAY_S + 3600
    rows = (
        (
            _id(second, restart),
            UTC_NS + second * SECOND_NS,
            0.0,
            1,
            400.0 + second % 10,
            0.1,
            *[0.0] * 5,
            1,
            2,
            3,
            0.0,
            0.0,
        )
        for second in range(3 * DAY_S)
        if not DAY_S <= second < restart
    )
    connection.executemany(schema.ADD_MEASUREMENT, rows)
    connection.execute("COMMIT")
    connection.close()
    return file


def _id(second: int, restart: int) -> int:
    """Ids begin with the microseconds since 1970 at each start, and count."""
    begin = 0 if second < restart else restart
    return UTC_NS // 1000 + begin * 1_000_000 + second - begin


def asked(
    file: Path | None, since_s: float | None, until_s: float, points: int, waiting: list[Entry] | None = None
) -> thin.Thinned:
    since_ns = None if since_s is None else UTC_NS + round(since_s * SECOND_NS)
    return thin.thinned(file, waiting or [], "co2", since_ns, UTC_NS + round(until_s * SECOND_NS), points)


def test_few_values_are_told_one_by_one_and_an_invalid_one_without_its_number(tmp_path: Path) -> None:
    store = Store(tmp_path / "box.journal")
    store.append(list(entries(60)))
    store.close()
    found = asked(store.file, None, 60, 500)
    told = [entry for entry in entries(60) if entry.kind == "measurement"]
    assert not found.thinned
    assert not found.sampled
    assert [row.time_ns for row in found.rows] == [entry.time_ns for entry in told]
    for row, entry in zip(found.rows, told, strict=True):
        assert row.ppm == (entry.fields["ppm"] if entry.fields["valid"] else None)
        assert (row.valid, list(row.flags)) == (entry.fields["valid"], entry.fields["flags"])


def test_what_is_not_written_yet_is_there_once(tmp_path: Path) -> None:
    told = list(entries(60))
    store = Store(tmp_path / "box.journal")
    store.append(told[:60])
    store.close()
    half = asked(store.file, None, 60, 500, told[30:])
    whole = asked(None, None, 60, 500, told)
    assert half == whole
    assert len(whole.rows) == 60


def test_a_day_is_the_mean_and_the_bounds_of_every_stretch(long: Path) -> None:
    found = asked(long, 0, DAY_S, 480)
    assert (found.thinned, found.sampled, len(found.rows)) == (True, False, 480)
    for number, row in enumerate(found.rows):
        assert row.time_ns == UTC_NS + number * 180 * SECOND_NS
        assert (row.low_ppm, row.high_ppm, row.valid) == (400.0, 409.0, True)
        assert row.ppm == pytest.approx(404.5)


def test_a_gap_stays_a_gap(long: Path) -> None:
    found = asked(long, DAY_S - 7200, DAY_S + 7200, 240)
    (gap,) = [i for i, row in enumerate(found.rows) if row.ppm is None]
    before, after = found.rows[gap - 1], found.rows[gap + 1]
    assert before.time_ns < UTC_NS + DAY_S * SECOND_NS
    assert after.time_ns == UTC_NS + (DAY_S + 3600) * SECOND_NS
    close = asked(long, DAY_S - 10, DAY_S + 3610, 100)
    assert not close.thinned
    assert [row.ppm is None for row in close.rows] == [False] * 10 + [True] + [False] * 10


def test_of_what_is_too_much_a_part_is_looked_at_evenly(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin, "READ", 20_000)
    found = asked(long, 0, 3 * DAY_S, 100)
    assert (found.thinned, found.sampled) == (True, True)
    rows = [row for row in found.rows if row.ppm is not None]
    assert 98 <= len(rows) <= 100
    for row in rows:
        assert row.low_ppm is not None
        assert row.high_ppm is not None
        assert row.ppm == pytest.approx(404.5, abs=0.5)  # 25 in a row of a cycle of ten, in each of eight places
        assert (row.low_ppm, row.high_ppm) == (400.0, 409.0)


def test_a_time_is_found_with_few_looks(long: Path) -> None:
    connection = schema.read_only(long)
    looks: list[str] = []
    connection.set_trace_callback(looks.append)
    (first,) = connection.execute("SELECT min(id) FROM measurement").fetchone()
    (newest,) = connection.execute("SELECT max(id) FROM measurement").fetchone()
    for second in (0, 1, DAY_S - 1, DAY_S + 10, DAY_S + 3600, 3 * DAY_S - 1):
        looks.clear()
        found = thin._first_id(connection, UTC_NS + second * SECOND_NS, first, newest - first + 1, newest)
        there = second if second < DAY_S else max(second, DAY_S + 3600)
        (next_id,) = connection.execute("SELECT min(id) FROM measurement WHERE id >= ?", (found,)).fetchone()
        assert next_id == _id(there, DAY_S + 3600)
        assert found > _id(there - 1, DAY_S + 3600) or there in (0, DAY_S + 3600)
        assert len(looks) <= 64
    assert thin._first_id(connection, UTC_NS + 4 * DAY_S * SECOND_NS, first, 1, newest) == newest + 1
    connection.close()


def test_a_file_that_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "x.journal").write_text("no database")
    with pytest.raises(UsageError, match="not a journal"):
        asked(tmp_path / "x.journal", 0, 60, 100)
