"""Measurements of a range of time in as many rows as a chart has room for.

There is no index of times (gateway/journal/schema.py says why), but ids and times grow together, so where a time begins
among the ids is found by halving: fifty looks at one row each, however large the file. A stretch of time with more rows
than are worth reading is looked at in a few places, evenly spread. So a day takes as long as a year. Where the clock
was set back, rows of that hour may be told with the hour before it.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from gateway.errors import SpectrophoneError
from gateway.journal import schema
from gateway.journal.entry import Entry

MOST = 2000
"""Rows at most."""
READ = 100_000
"""Rows of the file that are read for all of them, about."""
_PLACES = 8
_GAP = 4
_COLUMNS = "m.ppm, m.sigma_ppm, m.valid, f.text"
_OF_NODE = "m.id >= ? AND m.id < ? AND m.node = (SELECT id FROM name WHERE text = ?)"
_TABLE = "measurement m LEFT JOIN name f ON f.id = m.flags"


@dataclass(frozen=True, slots=True)
class Row:
    """A stretch of time from `time_ns` on: the mean of its valid values and of their sigmas, None where there is none;
    the least and the greatest; whether all were valid, and all flags that there were.
    """

    time_ns: int
    ppm: float | None
    sigma_ppm: float | None
    low_ppm: float | None
    high_ppm: float | None
    valid: bool
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Thinned:
    """`rows` in order, a gap as a row without a value; `thinned`: a row is more than one measurement; `sampled`: not
    all of them were looked at.
    """

    rows: tuple[Row, ...]
    thinned: bool
    sampled: bool


@dataclass(slots=True)
class _Bucket:
    """What there is of one stretch."""

    count: int = 0
    valid: int = 0
    total: float = 0.0
    sigmas: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    first_ns: int = 0
    flags: frozenset[str] = frozenset()
    whole: bool = True

    def add(self, time_ns: int, ppm: float | None, sigma: float | None, valid: bool, flags: Iterable[str]) -> None:
        if not self.count:
            self.first_ns = time_ns
        self.count += 1
        self.flags |= frozenset(flags)
        if valid and ppm is not None:
            self.valid += 1
            self.total += ppm
            self.sigmas += sigma or 0.0
            self.low, self.high = min(self.low, ppm), max(self.high, ppm)

    def row(self) -> Row:
        flags, whole = tuple(sorted(self.flags)), self.valid == self.count
        if not self.valid:
            return Row(self.first_ns, None, None, None, None, False, flags)
        mean, sigma = self.total / self.valid, self.sigmas / self.valid
        return Row(self.first_ns, mean, sigma, self.low, self.high, whole, flags)


def thinned(
    file: Path | None, waiting: Sequence[Entry], node: str, since_ns: int | None, until_ns: int, points: int
) -> Thinned:
    """The measurements of `node` from `since_ns` (None: the first) to before `until_ns`, in about `points` rows: those
    in `file`, where there is one, and those `waiting` to be written into it. Raises UsageError for a file that is no
    journal, SpectrophoneError where it is damaged.
    """
    mine = [entry for entry in waiting if entry.kind == "measurement" and entry.subject == node]
    if file is None:
        begin_ns = since_ns if since_ns is not None else mine[0].time_ns if mine else until_ns
        return _rows(_Buckets(begin_ns, until_ns, points), mine)
    with closing(schema.read_only(file)) as connection:
        try:
            (newest,) = connection.execute("SELECT coalesce(max(id), -1) FROM measurement").fetchone()
            mine = [entry for entry in mine if entry.id > newest]  # the rest has been written meanwhile
            begin_ns = since_ns if since_ns is not None else _oldest_ns(connection, mine, until_ns)
            buckets = _Buckets(begin_ns, until_ns, points)
            _read(connection, node, buckets, newest)
        except sqlite3.DatabaseError as error:
            raise SpectrophoneError(f"{file}: cannot be read: {error}", "Look with: spectrophone doctor") from None
    return _rows(buckets, mine)


class _Buckets:
    """Evenly long stretches from a time to another. Where few values lie in all of them they are kept one by one."""

    def __init__(self, begin_ns: int, end_ns: int, points: int) -> None:
        self.begin_ns, self.end_ns = begin_ns, max(end_ns, begin_ns + 1)
        self.count = max(1, min(points, MOST))
        self.step_ns = max(1, -(-(self.end_ns - begin_ns) // self.count))
        self._buckets: dict[int, _Bucket] = {}
        self._single: list[Row] | None = []

    def add(self, time_ns: int, ppm: float | None, sigma: float | None, valid: bool, flags: tuple[str, ...]) -> None:
        """A value, of any time."""
        if not self.begin_ns <= time_ns < self.end_ns:
            return
        self._buckets.setdefault((time_ns - self.begin_ns) // self.step_ns, _Bucket()).add(
            time_ns, ppm, sigma, valid, flags
        )
        if self._single is not None:
            shown = ppm if valid else None
            self._single.append(Row(time_ns, shown, sigma if valid else None, shown, shown, valid, flags))
            self._single = None if len(self._single) > self.count else self._single

    def sampled(self, number: int) -> None:
        """Of that stretch not everything was looked at."""
        self._buckets.setdefault(number, _Bucket()).whole = False
        self._single = None

    def made(self) -> Thinned:
        """The rows."""
        if self._single is not None:
            return Thinned(tuple(_with_gaps(self._single)), False, False)
        found = [self._buckets[number] for number in sorted(self._buckets) if self._buckets[number].count]
        rows = [bucket.row() for bucket in found]
        return Thinned(tuple(_with_gaps(rows, 2 * self.step_ns)), True, not all(bucket.whole for bucket in found))


def _rows(buckets: _Buckets, waiting: Iterable[Entry]) -> Thinned:
    for entry in waiting:
        fields = entry.fields
        buckets.add(entry.time_ns, fields["ppm"], fields["sigma_ppm"], fields["valid"], tuple(fields["flags"]))
    return buckets.made()


def _with_gaps(rows: Sequence[Row], least_ns: int = 0) -> Iterator[Row]:
    """The rows in order; where one is followed much later than those around it, a row without a value says so. What is
    old has been thinned, so what is usual depends on where one looks.
    """
    ordered = sorted(rows, key=lambda row: row.time_ns)
    steps = [after.time_ns - before.time_ns for before, after in pairwise(ordered)]
    for i, row in enumerate(ordered):
        yield row
        around = [*steps[max(0, i - 1) : i], *steps[i + 1 : i + 2]]
        if i < len(steps) and around and steps[i] > max(least_ns, _GAP * max(around)):
            yield Row(row.time_ns + 1_000_000, None, None, None, None, False, ())


def _read(connection: sqlite3.Connection, node: str, buckets: _Buckets, newest: int) -> None:
    """Put into the buckets what the file has up to the id `newest`, or of the fullest of them a part."""
    (first,) = connection.execute("SELECT coalesce(min(id), 0) FROM measurement").fetchone()
    begin = _first_id(connection, buckets.begin_ns, first, newest - first + 1, newest)
    end = _first_id(connection, buckets.end_ns, begin, newest - begin + 1, newest)
    whole = _select(connection, node, begin, end, READ + 1)
    if len(whole) <= READ:
        for row in whole:
            buckets.add(*row)
        return
    each, length = READ // buckets.count, max(1, (end - begin) // buckets.count)
    for number in range(buckets.count):
        end_ns = min(buckets.begin_ns + (number + 1) * buckets.step_ns, buckets.end_ns)
        after = _first_id(connection, end_ns, begin, length, newest)
        _look(connection, node, buckets, number, (begin, after), each)
        begin, length = after, max(1, after - begin)


def _look(
    connection: sqlite3.Connection, node: str, buckets: _Buckets, number: int, ids: tuple[int, int], each: int
) -> None:
    """One stretch, of which `each` rows are read, and more only in a few places."""
    first, last = ids
    rows = _select(connection, node, first, last, each + 1)
    if len(rows) > each:
        buckets.sampled(number)
        marks = [first + (last - first) * place // _PLACES for place in range(_PLACES + 1)]
        rows = [
            row
            for begin, end in pairwise(marks)
            for row in _select(connection, node, begin, end, max(1, each // _PLACES))
        ]
    for row in rows:
        buckets.add(*row)


def _select(connection: sqlite3.Connection, node: str, first: int, last: int, most: int) -> list[Any]:
    query = f"SELECT m.time_ns, {_COLUMNS} FROM {_TABLE} WHERE {_OF_NODE} ORDER BY m.id LIMIT ?"
    found = connection.execute(query, (first, last, node, most)).fetchall()
    return [(time_ns, ppm, sigma, bool(valid), tuple(flags.split())) for time_ns, ppm, sigma, valid, flags in found]


def _first_id(connection: sqlite3.Connection, time_ns: int, low: int, length: int, newest: int) -> int:
    """An id, from `low` on, with which the measurements begin that are not older; one past the newest where there are
    none. It is looked for at `length` from there first.
    """
    query = "SELECT id, time_ns FROM measurement WHERE id >= ? ORDER BY id LIMIT 1"
    high = newest + 1
    while low + length < high:
        found = connection.execute(query, (low + length,)).fetchone()
        if found is None or found[1] >= time_ns:
            high = low + length
        else:
            low, length = found[0] + 1, 2 * length
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(query, (middle,)).fetchone()
        if found is None or found[1] >= time_ns:
            high = middle
        else:
            low = found[0] + 1
    return low


def _oldest_ns(connection: sqlite3.Connection, waiting: Sequence[Entry], until_ns: int) -> int:
    row = connection.execute("SELECT time_ns FROM measurement ORDER BY id LIMIT 1").fetchone()
    return int(row[0]) if row else waiting[0].time_ns if waiting else until_ns
