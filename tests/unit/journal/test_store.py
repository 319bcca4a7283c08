"""The file: what is committed together, its versions, and what it gives back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.errors import UsageError
from gateway.journal import schema
from gateway.journal.store import Store
from tests.unit.journal.samples import SECOND_NS, UTC_NS, entries


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "journal")


def test_an_empty_journal_is_made_for_power_cuts_and_small_files(store: Store) -> None:
    assert store.last_id() == 0
    assert store.cursors() == {}
    assert store.oldest_ns() is None
    connection = store._connection
    for pragma, value in {
        "journal_mode": "wal",
        "synchronous": 2,
        "auto_vacuum": 2,
        "user_version": schema.VERSION,
    }.items():
        assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    assert store.check() == ""


def test_entries_and_cursors_are_committed_together(store: Store) -> None:
    written = list(entries(10))
    store.append(written, {"kafka": 7, "https": 3})
    with pytest.raises(sqlite3.Error):
        store.append(list(entries(10, first=5000)), {"kafka": object()})  # type: ignore[dict-item]
    store.close()
    again = Store(store.file)
    assert again.after(0, 1000) == written
    assert again.cursors() == {"kafka": 7, "https": 3}
    assert again.last_id() == written[-1].id
    again.close()


def test_what_is_committed_twice_is_there_once(store: Store) -> None:
    written = list(entries(10))
    assert store.append(written) == len(written)
    assert store.append(written) == 0
    assert store.after(0, 1000) == written


def test_reading_goes_in_order_through_both_tables(store: Store) -> None:
    written = list(entries(20))
    store.append(written)
    found, number = [], 0
    while some := store.after(number, 3):
        found += some
        number = some[-1].id
    assert found == written
    assert store.after(1000, 1000, last=1010) == [entry for entry in written if 1000 < entry.id <= 1010]


def test_ids_go_on_behind_what_a_sink_has_got_and_what_was_dropped(store: Store) -> None:
    store.append(list(entries(10)))
    last = store.last_id()
    while store.drop(None, 5):
        pass
    assert [entry.id for entry in store.after(0, 10)] == [last]
    store.append([], {"kafka": last + 5})
    assert store.last_id() == last + 5


def test_what_is_too_old_goes_from_the_old_end(store: Store) -> None:
    written = list(entries(60))
    store.append(written)
    went = 0
    while some := store.drop(UTC_NS + 45 * SECOND_NS, 7):
        assert some <= 14
        went += some
    assert store.after(0, 1000) == [entry for entry in written if entry.time_ns >= UTC_NS + 45 * SECOND_NS]
    assert went + len(store.after(0, 1000)) == len(written)


def test_free_pages_are_given_back(store: Store) -> None:
    store.append(list(entries(3000)))
    whole = store.file_bytes()
    while store.drop(None, 1000):
        pass
    assert store.size_bytes() < whole / 5
    while store.give_back(16):
        pass
    assert store.file_bytes() == store.size_bytes() < whole / 5
    assert store.check() == ""


def test_an_older_file_is_brought_up_and_a_newer_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "journal"
    Store(file).close()
    with monkeypatch.context() as later:
        later.setattr(schema, "STEPS", (*schema.STEPS, ("CREATE TABLE more(a)", "INSERT INTO more VALUES (1)")))
        later.setattr(schema, "VERSION", schema.VERSION + 1)
        for _ in range(2):
            store = Store(file)
            assert store._connection.execute("SELECT a FROM more").fetchall() == [(1,)]
            store.close()
    refusal = f"is of version {schema.VERSION + 1}, and this program knows {schema.VERSION} at most"
    for writing in (True, False):
        with pytest.raises(UsageError, match=refusal):
            Store(file, writing=writing)


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "journal"
    Store(file).close()
    with monkeypatch.context() as later:
        later.setattr(schema, "STEPS", (*schema.STEPS, ("CREATE TABLE more(a)", "INSERT INTO none VALUES (1)")))
        later.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            Store(file)
    store = Store(file)
    assert store._connection.execute("SELECT name FROM sqlite_master WHERE name = 'more'").fetchall() == []
    store.close()


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "other"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE theirs(a)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(UsageError, match="is a database of another program"):
        Store(file)
    assert file.read_bytes() == before
