"""What is read from a journal from outside."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.errors import UsageError
from gateway.journal import archive
from gateway.journal.archive import count_in, entries_in
from gateway.journal.schema import VERSION
from gateway.journal.store import Store
from tests.unit.journal.samples import SECOND_NS, UTC_NS, entries


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    store = Store(tmp_path / "a b?c.journal")
    store.append(list(entries(60)))
    store.close()
    return store.file


def test_what_was_written_is_read_in_order(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for page in (1, 7, 1000):
        monkeypatch.setattr(archive, "PAGE", page)
        assert list(entries_in(journal)) == list(entries(60))
    assert count_in(journal) == len(list(entries(60)))


@pytest.mark.parametrize("since", [None, UTC_NS + 17 * SECOND_NS])
@pytest.mark.parametrize("until", [None, UTC_NS + 40 * SECOND_NS])
@pytest.mark.parametrize("kinds", [None, ["measurement"], ["alert", "command"], []])
@pytest.mark.parametrize("subjects", [None, ["co2"], ["level", "relay/fan"], []])
def test_only_what_is_asked_for_is_read(
    journal: Path, since: int | None, until: int | None, kinds: list[str] | None, subjects: list[str] | None
) -> None:
    asked = [
        entry
        for entry in entries(60)
        if (since is None or entry.time_ns >= since)
        and (until is None or entry.time_ns < until)
        and (kinds is None or entry.kind in kinds)
        and (subjects is None or entry.subject in subjects)
    ]
    assert list(entries_in(journal, since, until, kinds, subjects)) == asked
    assert count_in(journal, since, until, kinds, subjects) == len(asked)


def test_the_gateway_goes_on_writing_while_it_is_read(journal: Path) -> None:
    store = Store(journal)
    reading = entries_in(journal)
    first = next(reading)
    store.append(list(entries(10, first=10_000)))
    assert [first, *reading] == list(entries(60))
    assert len(list(entries_in(journal))) > len(list(entries(60)))
    store.close()


def test_no_journal_is_told(tmp_path: Path, journal: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello, this is no database at all\n" * 100)
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE t(a)")
    other.close()
    newer = sqlite3.connect(journal)
    newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    (tmp_path / "empty").touch()
    for name, message in {
        "none": "there is no such journal",
        "text": "is not a journal",
        "other": "is a database of another program",
        "empty": "is of an older version",
        journal.name: f"is of version {VERSION + 1}",
    }.items():
        with pytest.raises(UsageError, match=message):
            list(entries_in(tmp_path / name))
        with pytest.raises(UsageError, match=message):
            count_in(tmp_path / name)
