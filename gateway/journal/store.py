"""The journal on the disk. Synchronous, and used from one thread only.

Power may go at any moment: SQLite writes ahead into a log and syncs it at each commit (WAL, synchronous=FULL), so that
what was committed is there afterwards and the rest is not, whole commits at a time. Pages that become free are given
back to the disk (incremental vacuum), since the file is bounded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.journal import schema
from gateway.journal.entry import Entry

GAP = 1 << 20
"""Ids left free between runs: more than were handed on, and not yet committed, when the power went."""
LARGEST = 1 << 53
"""Ids stay below: beyond, JSON's numbers are not exact everywhere."""


class Store:
    """A journal's file, open. Methods raise sqlite3.Error: OperationalError where the disk does not let them."""

    def __init__(self, file: Path, *, writing: bool = True) -> None:
        """Open `file`, or make it, and bring it to the version of today; without `writing`, as it is. Raises
        sqlite3.OperationalError where the disk does not let us, another sqlite3.DatabaseError where it is damaged, and
        UsageError where it is another program's or a newer version's.
        """
        self.file = file
        self._names: dict[str, int] = {}
        if not writing:
            self._connection = schema.read_only(file)
            return
        self._connection = sqlite3.connect(file, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            self._set_up()
        except BaseException:
            self._connection.close()
            raise

    def append(self, entries: Sequence[Entry], cursors: Mapping[str, int] | None = None) -> None:
        """Commit `entries`, whose ids are greater than all there are, and how far sinks have got: all or nothing."""
        with self._transaction():
            rows = [(entry, schema.measurement_row(entry, self._name)) for entry in entries]
            self._connection.executemany(schema.ADD_MEASUREMENT, [row for _, row in rows if row is not None])
            events = [schema.event_row(entry) for entry, row in rows if row is None]
            self._connection.executemany(schema.ADD_EVENT, events)
            self._connection.executemany("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (cursors or {}).items())

    def after(self, number: int, limit: int) -> list[Entry]:
        """The first `limit` entries of ids greater than `number`, in order."""
        query = "{} WHERE {}id > ? ORDER BY {}id LIMIT ?"
        asked = (number, limit)
        measurements = self._connection.execute(query.format(schema.MEASUREMENTS, "m.", "m."), asked).fetchall()
        events = self._connection.execute(query.format(schema.EVENTS, "", ""), asked).fetchall()
        found = [*map(schema.measurement, measurements), *map(schema.event, events)]
        return sorted(found, key=lambda entry: entry.id)[:limit]

    def last_id(self) -> int:
        """The greatest id that was ever committed, or that a sink has got; 0 in an empty journal."""
        return max(self._ends("max"), *self.cursors().values(), 0)

    def cursors(self) -> dict[str, int]:
        """How far each sink has got."""
        return dict(self._connection.execute("SELECT sink, id FROM cursor"))

    def oldest_ns(self) -> int | None:
        """The time of the first entry, None where there is none."""
        first = self.after(-1, 1)
        return first[0].time_ns if first else None

    def size_bytes(self) -> int:
        """Bytes of the pages that are in use."""
        pages, free, size = (self._pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def check(self) -> str:
        """What SQLite finds wrong with the file, empty if nothing."""
        found = [str(row[0]) for row in self._connection.execute("PRAGMA quick_check(3)")]
        return "" if found == ["ok"] else "; ".join(found)

    def drop(self, older_ns: int | None, most: int) -> int:
        """Drop what is older than `older_ns`, or whatever is oldest, at most `most` entries of each table; how many
        went. The newest entry stays, so that ids go on.
        """
        last, went = self._ends("max"), 0
        with self._transaction():
            for table in ("measurement", "event"):
                rows = f"SELECT id, time_ns FROM {table} WHERE id < ? ORDER BY id LIMIT ?"
                old = f"SELECT id FROM ({rows}) WHERE ? IS NULL OR time_ns < ?"
                values = (last, most, older_ns, older_ns)
                went += self._connection.execute(f"DELETE FROM {table} WHERE id IN ({old})", values).rowcount
        return went

    def close(self) -> None:
        """Write the log into the file, and close it."""
        self._connection.close()

    def _set_up(self) -> None:
        connection = self._connection
        version = schema.version(self.file, connection)
        if version == 0:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if version == schema.VERSION:
            return
        with self._transaction():
            for step in schema.STEPS[version:]:
                for statement in step:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {schema.APPLICATION}")
            connection.execute(f"PRAGMA user_version = {schema.VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._names.clear()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _name(self, text: str) -> int:
        if text not in self._names:
            self._connection.execute("INSERT OR IGNORE INTO name(text) VALUES (?)", (text,))
            (number,) = self._connection.execute("SELECT id FROM name WHERE text = ?", (text,)).fetchone()
            self._names[text] = number
        return self._names[text]

    def _ends(self, which: str) -> int:
        ends = [
            self._connection.execute(f"SELECT {which}(id) FROM {table}").fetchone()[0]
            for table in ("measurement", "event")
        ]
        return max((int(end) for end in ends if end is not None), default=0)

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
