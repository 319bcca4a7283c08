"""Reading a journal from outside, while the gateway writes it or after: for `export` and `allan`.

What had been committed when the reading began is read, in pages, so that neither the reader's memory grows nor the
gateway's file: a reader that held one view of it for hours would keep the log beside it from being used anew.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.errors import SpectrophoneError
from gateway.journal import schema
from gateway.journal.entry import Entry

PAGE = 1000
"""Rows that are read at once."""


def entries_in(
    file: Path,
    since_ns: int | None = None,
    until_ns: int | None = None,
    kinds: Collection[str] | None = None,
    subjects: Collection[str] | None = None,
) -> Iterator[Entry]:
    """The entries in `file` from `since_ns` to before `until_ns` (nanoseconds since 1970), of these `kinds` and
    `subjects`, in the order of their ids; None does not ask. Raises UsageError for a file that is no journal, and
    SpectrophoneError where it is damaged.
    """
    with closing(schema.read_only(file)) as connection:
        try:
            last = _last(connection)
            terms, values = _asked(since_ns, until_ns, subjects, "node IN (SELECT id FROM name WHERE text IN ({}))")
            measurements = _pages(connection, schema.MEASUREMENTS, "m.", terms, values, last, schema.measurement)
            terms, values = _asked(since_ns, until_ns, subjects, "subject IN ({})", kinds)
            events = _pages(connection, schema.EVENTS, "", terms, values, last, schema.event)
            measured = kinds is None or "measurement" in kinds
            yield from heapq.merge(*((measurements, events) if measured else (events,)), key=lambda entry: entry.id)
        except sqlite3.DatabaseError as error:
            raise _unreadable(file, error) from None


def count_in(
    file: Path,
    since_ns: int | None = None,
    until_ns: int | None = None,
    kinds: Collection[str] | None = None,
    subjects: Collection[str] | None = None,
) -> int:
    """How many entries `entries_in` gives now."""
    with closing(schema.read_only(file)) as connection:
        try:
            terms, values = _asked(since_ns, until_ns, subjects, "subject IN ({})", kinds)
            (events,) = connection.execute(f"SELECT count(*) FROM event WHERE {terms}", values).fetchone()
            if kinds is not None and "measurement" not in kinds:
                return int(events)
            terms, values = _asked(since_ns, until_ns, subjects, "node IN (SELECT id FROM name WHERE text IN ({}))")
            (measured,) = connection.execute(f"SELECT count(*) FROM measurement WHERE {terms}", values).fetchone()
            return int(events + measured)
        except sqlite3.DatabaseError as error:
            raise _unreadable(file, error) from None


def count_after(file: Path, number: int, upto: int, kinds: Collection[str]) -> int:
    """How many entries of these `kinds` `file` has of ids greater than `number` and up to `upto`. Raises as
    `entries_in` does.
    """
    with closing(schema.read_only(file)) as connection:
        try:
            query = f"SELECT count(*) FROM event WHERE id > ? AND id <= ? AND kind IN ({', '.join('?' * len(kinds))})"
            (found,) = connection.execute(query, (number, upto, *kinds)).fetchone()
            if "measurement" in kinds:
                query = "SELECT count(*) FROM measurement WHERE id > ? AND id <= ?"
                found += connection.execute(query, (number, upto)).fetchone()[0]
            return int(found)
        except sqlite3.DatabaseError as error:
            raise _unreadable(file, error) from None


def _asked(
    since_ns: int | None,
    until_ns: int | None,
    subjects: Collection[str] | None,
    of_subjects: str,
    kinds: Collection[str] | None = None,
) -> tuple[str, list[Any]]:
    asked: list[tuple[str, Collection[Any]]] = []
    if since_ns is not None:
        asked.append(("time_ns >= ?", [since_ns]))
    if until_ns is not None:
        asked.append(("time_ns < ?", [until_ns]))
    if subjects is not None:
        asked.append((of_subjects.format(", ".join("?" * len(subjects))), subjects))
    if kinds is not None:
        asked.append((f"kind IN ({', '.join('?' * len(kinds))})", kinds))
    return " AND ".join(term for term, _ in asked) or "TRUE", [value for _, values in asked for value in values]


def _pages(
    connection: sqlite3.Connection,
    select: str,
    table: str,
    terms: str,
    values: list[Any],
    last: int,
    entry: Callable[[tuple[Any, ...]], Entry],
) -> Iterator[Entry]:
    query = f"{select} WHERE {table}id > ? AND {table}id <= ? AND {terms} ORDER BY {table}id LIMIT ?"
    after = -1
    while rows := connection.execute(query, (after, last, *values, PAGE)).fetchall():
        yield from map(entry, rows)
        after = rows[-1][0]


def _last(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute(
        "SELECT max(coalesce((SELECT max(id) FROM measurement), 0), coalesce((SELECT max(id) FROM event), 0))"
    ).fetchone()
    return int(last)


def _unreadable(file: Path, error: sqlite3.DatabaseError) -> SpectrophoneError:
    return SpectrophoneError(
        f"{file}: cannot be read to its end: {error}", "The gateway repairs it, as far as it can, when it starts"
    )
