"""Entries of the journal as JSON lines, CSV or Parquet, for a range of time, in constant memory.

Every row is an entry: the fields of docs/json-lines.md, and `key`, the very key under which action nodes deliver it.
JSON lines hold entries of all kinds, a table those of one, since each kind has columns of its own.

CSV is RFC 4180 in UTF-8: a header, lines ending in CR LF, quotes where they are needed. Floats have the shortest digits
that give the same float again; what is null is empty. A program reads text as it is, but a spreadsheet takes what
begins with = + - or @, of either width, for a formula and runs it, quoted or not, and some text comes from outside (a
command's, say). Such text, and text that begins with ' itself, gets one ' in front, so that who takes one ' away has it
back exactly. Numbers are never touched. Parquet and JSON lines need none of that, and have the text as it is.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from gateway import jsonlines
from gateway.actions.payload import SCHEMA, key
from gateway.errors import SpectrophoneError, UsageError
from gateway.journal.entry import Entry
from gateway.journal.place import SUFFIX, journal_file, only_journal
from gateway.places import state_directory
from gateway.types import iso_utc

ROW_GROUP = 65_536
"""Rows that stand together in a Parquet file, and in memory before they are written."""
_BATCH = 2048
_SEEN_EVERY = 1024

_TEXT = frozenset(
    {
        "key",
        "node",
        "rule",
        "type",
        "severity",
        "state",
        "source",
        "message",
        "target",
        "verb",
        "args",
        "origin",
        "reason",
    }
)
_TRUTH = frozenset({"valid", "done"})
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n", "'")
_ENDS_NS = 2**63 - 1
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_BEFORE = re.compile(r"-?(\d+(?:\.\d+)?)(s|min|h|d)")


class Counted:
    """Entries on their way, counted: `count`, and `first_ns` and `last_ns`, the earliest and the latest time."""

    def __init__(self, entries: Iterable[Entry], seen: Callable[[float], None]) -> None:
        """`seen` is told now and then how many there were."""
        self._entries = entries
        self._seen = seen
        self.count = 0
        self.first_ns = self.last_ns = 0

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._entries:
            self.first_ns = min(self.first_ns, entry.time_ns) if self.count else entry.time_ns
            self.last_ns = max(self.last_ns, entry.time_ns) if self.count else entry.time_ns
            self.count += 1
            if self.count % _SEEN_EVERY == 0:
                self._seen(self.count)
            yield entry
        self._seen(self.count)


def chosen_journal(
    journal: Path | None, config: Path | None, box: str | None, environ: Mapping[str, str] = os.environ
) -> tuple[Path, str]:
    """The journal that is meant, and whose it is: the file itself, that of a configuration, that of a box in the state
    directory, else the only one there. `box` beside `journal` says whose it is, where its name does not. Raises
    UsageError where there is none, or more than one; ConfigError.
    """
    if config is not None and (journal or box):
        raise UsageError(f"--config names a journal, and so does {'--journal' if journal else '--box'}", "Give one")
    if journal is not None:
        return journal, box or journal.stem

    directory = state_directory(environ)
    if config is not None:
        from gateway import configured, design

        accepted, _ = configured.accepted(configured.prepare(config, environ))
        box = design.box_id(accepted)
        return journal_file(accepted.journal, box, directory), box
    journal = directory / f"{box}{SUFFIX}" if box else only_journal(directory)
    return journal, journal.stem


def moment(text: str, option: str, now_ns: int) -> int:
    """A time as people give it, in nanoseconds since 1970: ISO 8601, in UTC where it names no zone, or so long before
    `now_ns`: 90s, 30min, 2h, 7d, with or without a - in front. Raises UsageError, which names `option`.
    """
    try:
        if before := _BEFORE.fullmatch(text):
            time_ns = now_ns - round(float(before[1]) * _SECONDS[before[2]] * 1e9)
        else:
            given = datetime.fromisoformat(text)
            since = (given if given.tzinfo else given.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
            time_ns = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text}: this is no time",
            "Write 2026-11-22, 2026-11-22T10:00:00Z, or how long ago: -90s, -30min, -2h, -7d",
        ) from None
    return max(-_ENDS_NS, min(_ENDS_NS, time_ns))


def time_range(since: str | None, until: str | None, now_ns: int) -> tuple[int | None, int | None]:
    """From (with it) and to (without it), nanoseconds since 1970, None where it is open. Raises UsageError."""
    since_ns = None if since is None else moment(since, "--from", now_ns)
    until_ns = None if until is None else moment(until, "--to", now_ns)
    if since_ns is not None and until_ns is not None and since_ns >= until_ns:
        raise UsageError(f"--from {since} is not before --to {until}: nothing lies between")
    return since_ns, until_ns


def kinds_for(form: str, kinds: Sequence[str], out: Path | None) -> Sequence[str]:
    """The kinds of entries that go into a file of that form, empty for all; `kinds` are those that were asked for.

    Raises UsageError where it cannot be made.
    """
    if form == "jsonl":
        return kinds
    if len(set(kinds)) > 1:
        raise UsageError(
            f"--kind {' --kind '.join(kinds)}: a {form} file is a table of one kind, for each has its own columns",
            "Export each into a file of its own, or take --format jsonl",
        )
    if form == "parquet":
        if out is None:
            raise UsageError("--format parquet is written into a file", "Give one with --out FILE")
        try:
            import pyarrow  # type: ignore[import-untyped]  # noqa: F401
        except ImportError:
            raise UsageError(
                "--format parquet needs pyarrow, which is not installed: pip install 'spectrophone[parquet]'",
                "Or take --format csv",
            ) from None
    return kinds or ("measurement",)


@contextmanager
def new_file(path: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that grows as FILE.part and gets its name when it is whole; where that fails nothing stays behind.

    Raises UsageError for a name that is taken, unless `overwrite`, and SpectrophoneError where it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    for taken in (path, part):
        if taken.exists() and not taken.is_file():
            raise UsageError(f"{taken} is no file", "Give another name")
        if taken.exists() and not overwrite:
            raise UsageError(f"{taken} exists already", "Give another name, remove it, or add --overwrite")
    try:
        stream = part.open("wb" if overwrite else "xb")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "Give another --out") from None
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise SpectrophoneError(
                f"{path} cannot be written: {error.strerror or error}", "Nothing of it is kept"
            ) from None
        raise


def write(entries: Iterable[Entry], out: BinaryIO, form: str, kinds: Sequence[str], box: str) -> None:
    """`entries` of `kinds`, see kinds_for, and of the box `box`, to `out`. Raises OSError."""
    match form:
        case "csv":
            _write_csv(entries, out, kinds[0], box)
        case "parquet":
            _write_parquet(entries, out, kinds[0], box)
        case "jsonl":
            _write_lines(entries, out, box)


def columns(kind: str) -> tuple[str, ...]:
    """The columns of the table of a kind."""
    return ("time", "t_s", *jsonlines.FIELDS[kind], "key")


def _write_lines(entries: Iterable[Entry], out: BinaryIO, box: str) -> None:
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    for entry in entries:
        out.write(_bytes(encode({**entry.fields, "time": _time(entry), "key": key(entry, box)}) + "\n"))


class _Utf8:
    """What csv.writer writes to."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, text: str) -> None:
        self._out.write(_bytes(text))


def _write_csv(entries: Iterable[Entry], out: BinaryIO, kind: str, box: str) -> None:
    table = csv.writer(_Utf8(out))
    table.writerow(columns(kind))
    names = columns(kind)[1:-1]
    for entry in entries:
        get = entry.fields.get
        table.writerow([_time(entry), *[_cell(get(name)) for name in names], _cell(key(entry, box))])


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = " ".join(value)
    elif isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _write_parquet(entries: Iterable[Entry], out: BinaryIO, kind: str, box: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    about = {"spectrophone.schema": SCHEMA, "spectrophone.kind": kind, "spectrophone.box": box}
    schema = pa.schema([(name, _arrow_type(name)) for name in columns(kind)], metadata=about)
    texts = [name for name in schema.names if name in _TEXT - {"key"}] + ["flags.list.element"]
    remaining = iter(entries)
    batches = iter(lambda: list(islice(remaining, _BATCH)), [])
    arrow = (_arrow_batch(rows, schema, box) for rows in batches)
    with parquet.ParquetWriter(out, schema, compression="zstd", use_dictionary=texts) as table:
        while group := list(islice(arrow, ROW_GROUP // _BATCH)):
            table.write_table(pa.Table.from_batches(group, schema))


def _arrow_type(name: str) -> Any:
    import pyarrow as pa

    if name == "time":
        return pa.timestamp("ns", "UTC")
    if name == "flags":
        return pa.list_(pa.string())
    if name == "dof":
        return pa.int64()
    return pa.string() if name in _TEXT else pa.bool_() if name in _TRUTH else pa.float64()


def _arrow_batch(rows: Sequence[Entry], schema: Any, box: str) -> Any:
    import pyarrow as pa

    def column(name: str) -> list[Any]:
        if name == "time":
            return [entry.time_ns for entry in rows]
        if name == "key":
            return [key(entry, box) for entry in rows]
        values = [entry.fields.get(name) for entry in rows]
        if name == "args":
            values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
        return [_bytes(value) if isinstance(value, str) else value for value in values]

    return pa.record_batch([pa.array(column(field.name), field.type) for field in schema], schema=schema)


def _time(entry: Entry) -> str | None:
    """The time as text; its own where a recording without a date was measured."""
    return entry.fields["time"] or iso_utc(entry.time_ns)


def _bytes(text: str) -> bytes:
    r"""UTF-8; half a surrogate pair, which JSON can carry and UTF-8 cannot, as JSON writes it: \ud83d."""
    return text.encode("utf-8", "backslashreplace")
