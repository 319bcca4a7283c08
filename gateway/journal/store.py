"""The journal on the disk. Synchronous, and used from one thread only.

Power may go at any moment: SQLite writes ahead into a log and syncs it at each commit (WAL, synchronous=FULL), so that
what was committed is there afterwards and the rest is not, whole commits at a time. Pages that become free are given
back to the disk (incremental vacuum), since the file is bounded.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.journal import schema
from gateway.journal.entry import Entry, dated, is_dated

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
        self._connection = sqlite3.connect(file, timeout=1.0, isolation_level=None)
        try:
            self._set_up()
        except BaseException:
            self._connection.close()
            raise

    def append(
        self,
        entries: Sequence[Entry],
        cursors: Mapping[str, int] | None = None,
        unset: tuple[str, int] | None = None,
    ) -> int:
        """Commit `entries`, and how far sinks have got: all or nothing. What is there stays; how many are new.

        `unset` says which boot's clock is not set yet, and by what difference to monotonic time entries without a time
        were numbered meanwhile: `date` makes it good.
        """
        with self._transaction():
            new = self._insert(entries)
            self._connection.executemany(schema.SET_CURSOR, (cursors or {}).items())
            first = next((entry.id for entry in entries if not is_dated(entry)), None)
            if unset is not None and first is not None:
                self._connection.execute(schema.ADD_UNDATED, (unset[0], first, unset[1]))
        return new

    def undated_ns(self, boot: str) -> int | None:
        """The difference to monotonic time by which entries of this boot wait to be dated; None where none does."""
        found = self._connection.execute("SELECT offset_ns FROM undated WHERE boot = ?", (boot,)).fetchone()
        return None if found is None else int(found[0])

    def date(self, boot: str, step_ns: int, most: int) -> bool:
        """Give the next `most` entries that were made before this boot's clock was set their times, `step_ns` later
        than was thought; whether there may be more.
        """
        found = self._connection.execute("SELECT id FROM undated WHERE boot = ?", (boot,)).fetchone()
        if found is None:
            return False
        entries = [schema.event(row) for row in self._connection.execute(schema.UNDATED, (found[0], most))]
        with self._transaction():
            self._connection.executemany("DELETE FROM event WHERE id = ?", [(entry.id,) for entry in entries])
            self._insert([dated(entry, step_ns) for entry in entries])
            if len(entries) < most:
                self._connection.execute("DELETE FROM undated WHERE boot = ?", (boot,))
            else:
                self._connection.execute("UPDATE undated SET id = ? WHERE boot = ?", (entries[-1].id + 1, boot))
        return len(entries) == most

    def after(self, number: int, limit: int, last: int = LARGEST) -> list[Entry]:
        """The first `limit` entries of ids greater than `number`, up to `last`, in order."""
        asked = (number, last, limit)
        query = "{} WHERE {}id > ? AND {}id <= ? ORDER BY {}id LIMIT ?"
        measurements = self._connection.execute(query.format(schema.MEASUREMENTS, *["m."] * 3), asked).fetchall()
        events = self._connection.execute(query.format(schema.EVENTS, *[""] * 3), asked).fetchall()
        found = [*map(schema.measurement, measurements), *map(schema.event, events)]
        return sorted(found, key=lambda entry: entry.id)[:limit]

    def last_id(self) -> int:
        """The greatest id that was ever committed, or that a sink has got; 0 in an empty journal."""
        return max(self._greatest(), *self.cursors().values(), 0)

    def cursors(self) -> dict[str, int]:
        """How far each sink has got."""
        return dict(self._connection.execute("SELECT sink, id FROM cursor"))

    def oldest_ns(self) -> int | None:
        """The time of the first entry, None where there is none."""
        first = self.after(-1, 1)
        return first[0].time_ns if first else None

    def measured_ns(self) -> tuple[int, int]:
        """The times of the first and the last measurement, zeros where there is none."""
        ends = [
            self._connection.execute(f"SELECT time_ns FROM measurement ORDER BY id {order} LIMIT 1").fetchone() or (0,)
            for order in ("ASC", "DESC")
        ]
        return ends[0][0], ends[1][0]

    def size_bytes(self) -> int:
        """Bytes of the pages that are in use."""
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def file_bytes(self) -> int:
        """Bytes of all pages, free ones too."""
        return self._pragma("page_count") * self._pragma("page_size")

    def give_back(self, pages: int) -> bool:
        """Give at most so many free pages back to the disk; False where there were none."""
        free = self._pragma("freelist_count")
        self._connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
        return self._pragma("freelist_count") < free

    def thin(self, every_s: int, before_ns: int, most: int) -> int | None:
        """Of the next `most` measurements that were not thinned to one in `every_s` yet, and are older than
        `before_ns`, leave the first of each node, validity and flags in so many seconds; how many went. None where
        there was nothing to look at.
        """
        asked = "SELECT id FROM thinned WHERE every_s = ?"
        (done,) = self._connection.execute(asked, (every_s,)).fetchone() or (0,)
        query = "SELECT id, time_ns, node, valid, flags FROM measurement WHERE id > ? ORDER BY id LIMIT ?"
        rows = self._connection.execute(query, (done, most)).fetchall()
        old = list(itertools.takewhile(lambda row: row[1] < before_ns, rows))
        if not old:
            return None
        left: dict[tuple[int, ...], int] = {}
        for number, time_ns, *state in old:
            left.setdefault((time_ns // (every_s * 1_000_000_000), *state), number)
        gone = {number for number, *_ in old}.difference(left.values())
        with self._transaction():
            self._connection.executemany("DELETE FROM measurement WHERE id = ?", [(number,) for number in gone])
            self._connection.execute("INSERT OR REPLACE INTO thinned VALUES (?, ?)", (every_s, old[-1][0]))
        return len(gone)

    def drop(self, older_ns: int | None, most: int) -> int:
        """Drop the oldest entries, at most `most` of each table, as far as they are older than `older_ns` where that is
        given; how many went. The newest entry stays, so that ids go on.
        """
        gone = {table: self._oldest(table, older_ns, most) for table in schema.ROWS}
        if older_ns is None and all(gone.values()):  # neither table is emptied while the other keeps what is older
            upto = min(numbers[-1] for numbers in gone.values())
            gone = {table: [number for number in numbers if number <= upto] for table, numbers in gone.items()}
        if not any(gone.values()):
            return 0
        with self._transaction():
            for table, numbers in gone.items():
                if numbers:
                    self._connection.execute(f"DELETE FROM {table} WHERE id <= ?", numbers[-1:])
        return sum(map(len, gone.values()))

    def check(self) -> str:
        """What SQLite finds wrong with the file, empty if nothing."""
        found = [str(row[0]) for row in self._connection.execute("PRAGMA quick_check(3)")]
        return "" if found == ["ok"] else "; ".join(found)

    def interrupt(self) -> None:
        """Make a check that is going on end with sqlite3.OperationalError; from any thread."""
        with contextlib.suppress(sqlite3.ProgrammingError):  # it has been closed meanwhile
            self._connection.interrupt()

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
        connection.execute("PRAGMA journal_size_limit = 4194304")
        with self._transaction():  # which a disk that cannot be written refuses, whatever the version
            for step in schema.STEPS[version:]:
                for statement in step:
                    connection.execute(statement)
            if version < schema.VERSION:
                connection.execute(f"PRAGMA application_id = {schema.APPLICATION}")
                connection.execute(f"PRAGMA user_version = {schema.VERSION}")

    @contextlib.contextmanager
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

    def _insert(self, entries: Sequence[Entry]) -> int:
        """Put entries where they belong; how many are new."""
        rows = [(entry, schema.measurement_row(entry, self._name)) for entry in entries]
        names = self._connection.total_changes
        self._connection.executemany(schema.ADD_MEASUREMENT, [row for _, row in rows if row is not None])
        self._connection.executemany(schema.ADD_EVENT, [schema.event_row(entry) for entry, row in rows if row is None])
        return self._connection.total_changes - names

    def _name(self, text: str) -> int:
        if text not in self._names:
            self._connection.execute("INSERT OR IGNORE INTO name(text) VALUES (?)", (text,))
            (number,) = self._connection.execute("SELECT id FROM name WHERE text = ?", (text,)).fetchone()
            self._names[text] = number
        return self._names[text]

    def _greatest(self) -> int:
        query = "SELECT coalesce(max(id), 0) FROM {}"
        return max(int(self._connection.execute(query.format(table)).fetchone()[0]) for table in schema.ROWS)

    def _oldest(self, table: str, older_ns: int | None, most: int) -> list[int]:
        query = f"SELECT id, time_ns FROM {table} WHERE id < ? ORDER BY id LIMIT ?"
        rows = self._connection.execute(query, (self._greatest(), most)).fetchall()
        return [row[0] for row in itertools.takewhile(lambda row: older_ns is None or row[1] < older_ns, rows)]

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
