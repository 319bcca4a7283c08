"""The journal's file: an SQLite database of two tables that share one sequence of ids, and how an entry is a row.

`measurement` has a column per field, since nearly all of the file is measurements: names stand once, in `name`, and the
text of the time is made anew from its nanoseconds. Everything else is an `event` with its fields as JSON; so is a
measurement whose fields are not exactly those that there are columns for, so that no field is ever lost. Rows are only
ever appended, by ids that grow: there is no index to write beside them, and who looks for a time reads through.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.errors import UsageError
from gateway.journal.entry import Entry
from gateway.types import iso_utc

APPLICATION = 0x53704A31
"""What SQLite's header says of whose file it is: SpJ1."""
STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE name(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
        "CREATE TABLE measurement(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, t_s REAL, node INTEGER NOT NULL,"
        " ppm REAL, sigma_ppm REAL, u95_ppm REAL, dof INTEGER, lod_ppm REAL, smoothed_ppm REAL,"
        " sigma_smoothed_ppm REAL, valid INTEGER NOT NULL, flags INTEGER NOT NULL, source INTEGER NOT NULL,"
        " frequency_hz REAL, amplitude REAL)",
        "CREATE TABLE event(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, kind TEXT NOT NULL,"
        " subject TEXT NOT NULL, body TEXT NOT NULL)",
        "CREATE TABLE cursor(sink TEXT PRIMARY KEY, id INTEGER NOT NULL)",
        "CREATE TABLE thinned(every_s INTEGER PRIMARY KEY, id INTEGER NOT NULL)",
    ),
    ("CREATE TABLE undated(boot TEXT PRIMARY KEY, id INTEGER NOT NULL, offset_ns INTEGER NOT NULL)",),
)
"""What leads from each version of the tables to the next; a new file takes them all. `flags` is the name of all flags
of a measurement, with spaces between; `cursor` is how far each sink has got, `thinned` how far what is old has been
thinned to one measurement in so many seconds; `undated` is the first entry of a boot of the machine that was made
before its clock was set, and what was taken for the difference between wall clock and monotonic time."""
VERSION = len(STEPS)
ROWS = ("measurement", "event")
"""The tables of entries."""

FIELDS = (
    "kind", "time", "t_s", "node", "ppm", "sigma_ppm", "u95_ppm", "dof", "lod_ppm", "smoothed_ppm",
    "sigma_smoothed_ppm", "valid", "flags", "source", "frequency_hz", "amplitude",
)  # fmt: skip
"""The fields of a measurement that there are columns for, in their order."""

MEASUREMENTS = (
    "SELECT m.id, m.time_ns, m.t_s, n.text, m.ppm, m.sigma_ppm, m.u95_ppm, m.dof, m.lod_ppm, m.smoothed_ppm,"
    " m.sigma_smoothed_ppm, m.valid, f.text, s.text, m.frequency_hz, m.amplitude FROM measurement m"
    " LEFT JOIN name n ON n.id = m.node LEFT JOIN name f ON f.id = m.flags LEFT JOIN name s ON s.id = m.source"
)
EVENTS = "SELECT id, time_ns, kind, subject, body FROM event"
ADD_MEASUREMENT = f"INSERT OR IGNORE INTO measurement VALUES ({', '.join('?' * 16)})"
SET_CURSOR = "INSERT INTO cursor VALUES (?, ?) ON CONFLICT(sink) DO UPDATE SET id = excluded.id"
UNDATED = f"{EVENTS} WHERE id >= ? AND json_type(body, '$.time') = 'null' ORDER BY id LIMIT ?"
ADD_UNDATED = "INSERT OR IGNORE INTO undated VALUES (?, ?, ?)"
ADD_EVENT = "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)"


def measurement_row(entry: Entry, name: Callable[[str], int]) -> tuple[Any, ...] | None:
    """The row of `measurement` that reads back as `entry`; None where there is none. `name` gives a text's id."""
    fields = entry.fields
    if tuple(fields) != FIELDS or fields["node"] != entry.subject or fields["time"] != iso_utc(entry.time_ns):
        return None
    (_, _, t_s, node, *values, valid, flags, source, frequency_hz, amplitude) = fields.values()
    return (
        entry.id, entry.time_ns, t_s, name(node), *values, int(valid), name(" ".join(flags)), name(source),
        frequency_hz, amplitude,
    )  # fmt: skip


def event_row(entry: Entry) -> tuple[Any, ...]:
    """The row of `event` that reads back as `entry`."""
    fields = dict(entry.fields)
    if fields.pop("kind") and fields["time"] == iso_utc(entry.time_ns):
        del fields["time"]
    subject = entry.subject.encode("utf-8", "replace").decode()
    return (entry.id, entry.time_ns, entry.kind, subject, json.dumps(fields, default=str, separators=(",", ":")))


def measurement(row: tuple[Any, ...]) -> Entry:
    """The entry of a row of MEASUREMENTS."""
    number, time_ns, t_s, node, *values, valid, flags, source, frequency_hz, amplitude = row
    told = ("measurement", iso_utc(time_ns), t_s, node, *values, bool(valid), flags.split(), source)
    fields = dict(zip(FIELDS, (*told, frequency_hz, amplitude), strict=True))
    return Entry(number, time_ns, "measurement", node, fields)


def event(row: tuple[Any, ...]) -> Entry:
    """The entry of a row of EVENTS."""
    number, time_ns, kind, subject, body = row
    return Entry(number, time_ns, kind, subject, {"kind": kind, "time": iso_utc(time_ns), **json.loads(body)})


def read_only(file: Path) -> sqlite3.Connection:
    """The journal in `file`, for reading, while a gateway writes or not. Raises UsageError where it is none or cannot
    be read.
    """
    if not file.is_file():
        raise UsageError(f"{file}: there is no such journal", "Name one with --journal, or start the gateway first")
    try:
        return _checked(file, _connected(file, "mode=ro"))
    except sqlite3.OperationalError as error:
        wal = file.with_name(f"{file.name}-wal")
        if wal.exists() and wal.stat().st_size:
            remedy = f"Copy it and {wal.name} to a directory that you may write to"
            raise UsageError(f"{file}: cannot be read: {error}", remedy) from None
    try:  # SQLite wants a file of its own beside this one, and may not make it here
        return _checked(file, _connected(file, "mode=ro&immutable=1"))
    except sqlite3.OperationalError as error:
        raise UsageError(f"{file}: cannot be read: {error}", "Check who may read it") from None


def version(file: Path, connection: sqlite3.Connection) -> int:
    """The version of the tables, 0 of an empty file. Raises UsageError for a foreign or newer database,
    sqlite3.DatabaseError for a damaged one.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (tables or application):
        raise UsageError(f"{file}: is a database of another program", "Give the journal a file of its own")
    if number > VERSION:
        raise UsageError(
            f"{file}: is of version {number}, and this program knows {VERSION} at most",
            "Take the newer program, or move the file away",
        )
    return int(number)


def _connected(file: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file.absolute()))}?{how}", uri=True, timeout=5.0, isolation_level=None)


def _checked(file: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        if version(file, connection) == VERSION:
            return connection
        raise UsageError(f"{file}: is of an older version", "Start the gateway once, which renews it")
    except sqlite3.OperationalError:
        connection.close()
        raise
    except sqlite3.DatabaseError as error:
        connection.close()
        raise UsageError(f"{file}: is not a journal: {error}", "Name the journal's own file") from None
    except UsageError:
        connection.close()
        raise
