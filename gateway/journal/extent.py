"""From when to when a journal goes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.errors import SpectrophoneError
from gateway.journal import schema


def extent(file: Path) -> tuple[int, int] | None:
    """The times of the oldest and the newest entry, nanoseconds since 1970; None in an empty journal. Raises UsageError
    for a file that is no journal, and SpectrophoneError where it is damaged.
    """
    times = "SELECT time_ns FROM measurement UNION ALL SELECT time_ns FROM event"
    with closing(schema.read_only(file)) as connection:
        try:
            oldest, newest = connection.execute(f"SELECT min(time_ns), max(time_ns) FROM ({times})").fetchone()
        except sqlite3.DatabaseError as error:
            raise SpectrophoneError(f"{file}: cannot be read to its end: {error}") from None
    return None if oldest is None else (oldest, newest)
