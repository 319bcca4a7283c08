"""What can be read of a damaged journal: its rows, page by page, whatever became of the pages that lead to them.

SQLite keeps rows in the leaf pages of a tree; it cannot pass a damaged page above them. But a leaf can be read by
itself (https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1; 4.2 for the pages in the write-ahead log), and
since rows of the journal are only ever appended, a leaf that is out of date holds nothing that is wrong. Which table a
row is of shows in its columns.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from gateway.journal import schema
from gateway.journal.entry import Entry
from gateway.journal.store import LARGEST

_LEAF = 0x0D
_NEAR = 64
"""Pages at either end of the file that are looked at for the newest ids and the cursors."""
READING = ".reading"
"""The end of the name of a damaged journal that is still to be read."""


def set_aside(file: Path, when: str) -> Path:
    """Rename a damaged journal, with the log beside it, so that a new one can take its place; the new name, which says
    that it is still to be read.
    """
    aside = file.with_name(f"{file.name}.damaged-{when}{READING}")
    log = file.with_name(f"{file.name}-wal")
    if log.exists():
        log.replace(aside.with_name(f"{aside.name}-wal"))
    file.with_name(f"{file.name}-shm").unlink(missing_ok=True)
    return file.replace(aside)


def unread(file: Path) -> list[Path]:
    """The damaged journals of `file` that were set aside and not read to their end yet."""
    return sorted(file.parent.glob(f"{_escaped(file.name)}.damaged-*{READING}"))


def finish(aside: Path, file: Path) -> Path:
    """All has been read: keep the damaged file under its final name, and no older one; that name."""
    for older in file.parent.glob(f"{_escaped(file.name)}.damaged-*"):
        if not older.name.removesuffix("-wal").endswith(READING):
            older.unlink()
    kept = aside.with_name(aside.name.removesuffix(READING))
    log = aside.with_name(f"{aside.name}-wal")
    if log.exists():
        log.replace(kept.with_name(f"{kept.name}-wal"))
    return aside.replace(kept)


@dataclass(slots=True)
class Remains:
    """A damaged journal that was set aside. `cursors` and `last_id` are what a quick look at its ends found."""

    aside: Path
    cursors: dict[str, int] = field(default_factory=dict)
    last_id: int = 0

    def look(self) -> None:
        """Find cursors and the greatest id, where they mostly are. Raises OSError."""
        for number, row in self._rows(ends=True):
            match row:
                case (str(sink), int(got)) if 0 <= got < LARGEST:
                    self.cursors[sink] = max(got, self.cursors.get(sink, 0))
                case (None, int(), *others) if len(others) in (3, 14):
                    self.last_id = max(self.last_id, number)
        self.last_id = max(self.last_id, *self.cursors.values(), 0)

    def entries(self) -> Iterator[list[Entry]]:
        """All entries that can be read, a page of them at a time, in no order; some may come twice. Raises
        OSError.
        """
        names: dict[int, str] = {}
        for page in self._pages():
            names |= {number: row[1] for number, row in _leaf(page) if _is_name(row)}
            yield []
        for page in self._pages():
            yield [entry for number, row in _leaf(page) if (entry := _entry(number, row, names)) is not None]

    def _rows(self, ends: bool) -> Iterator[tuple[int, tuple[Any, ...]]]:
        for page in self._pages(ends):
            yield from _leaf(page)

    def _pages(self, ends: bool = False) -> Iterator[bytes]:
        """The pages of the file, or of its ends only, and those of the log beside it."""
        log = self.aside.with_name(f"{self.aside.name}-wal")
        with self.aside.open("rb") as file:
            head = file.read(100)
            size = int.from_bytes(head[16:18], "big") if len(head) == 100 else 0
            size = size if size in (512, 1024, 2048, 4096, 8192, 16384, 32768) else 4096
            yield from _pieces(file, size, 0, size, _NEAR if ends else None)
        if log.exists():
            with log.open("rb") as file:
                yield from _pieces(file, size, 32, size + 24, None)


def _pieces(file: BinaryIO, size: int, first: int, step: int, near: int | None) -> Iterator[bytes]:
    """The pages of `size` bytes that end each step of `step` bytes from `first` on, `near` many at either end."""
    count = (file.seek(0, 2) - first) // step
    for number in range(max(0, count)):
        if near is None or number < near or number >= count - near:
            file.seek(first + number * step + step - size)
            yield file.read(size)


def _leaf(page: bytes) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """The rows of a leaf, with their ids; rows that are longer than a page, or damaged, are left out."""
    if page[0] != _LEAF:
        return
    (count,) = struct.unpack_from(">H", page, 3)
    for cell in range(min(count, len(page) // 4)):
        try:
            (at,) = struct.unpack_from(">H", page, 8 + 2 * cell)
            size, at = _varint(page, at)
            number, at = _varint(page, at)
            if 0 < number < LARGEST and at + size <= len(page):
                yield number, _record(page[at : at + size])
        except (IndexError, ValueError, struct.error):
            continue


def _record(payload: bytes) -> tuple[Any, ...]:
    """The values of a row. Raises IndexError, ValueError or struct.error where it is none."""
    end, at = _varint(payload, 0)
    values: list[Any] = []
    body = end
    while at < end:
        kind, at = _varint(payload, at)
        value, body = _value(payload, kind, body)
        values.append(value)
    if at != end or body != len(payload):
        raise ValueError("not a record")
    return tuple(values)


def _value(payload: bytes, kind: int, at: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    size = (kind - 13) // 2 if kind > 12 else (0, 1, 2, 3, 4, 6, 8, 8)[kind]
    piece = payload[at : at + size]
    if len(piece) != size:
        raise ValueError("cut off")
    if kind == 7:
        return struct.unpack(">d", piece)[0], at + size
    if kind < 7:
        return int.from_bytes(piece, "big", signed=True), at + size
    return (piece.decode("utf-8") if kind % 2 else piece), at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, of nine bytes at most, and where it ends."""
    value = 0
    for count in range(8):
        byte = data[at + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    return value << 8 | data[at + 8], at + 9


def _is_name(row: tuple[Any, ...]) -> bool:
    return len(row) == 2 and row[0] is None and isinstance(row[1], str)


def _entry(number: int, row: tuple[Any, ...], names: dict[int, str]) -> Entry | None:
    """The entry of a row, None where it is none."""
    try:
        match row:
            case (None, int(time_ns), str(kind), str(subject), str(body)):
                return schema.event((number, time_ns, kind, subject, body))
            case (None, int(time_ns), t_s, int(node), *values, int(valid), int(flags), int(source), hertz, amplitude):
                ppm, sigma, u95, dof, *more = values
                before = (number, time_ns, _real(t_s), names.get(node, f"lost-{node}"), *map(_real, (ppm, sigma, u95)))
                doubt = (valid, names.get(flags, ""), names.get(source, f"lost-{source}"))
                return schema.measurement((*before, dof, *map(_real, more), *doubt, _real(hertz), _real(amplitude)))
    except (TypeError, ValueError, OverflowError, OSError):
        pass
    return None


def _real(value: Any) -> float | None:
    """A column of floats: SQLite keeps whole numbers in fewer bytes."""
    return None if value is None else float(value)


def _escaped(name: str) -> str:
    return "".join(f"[{one}]" if one in "*?[" else one for one in name)
