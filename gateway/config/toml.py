"""A TOML file as a document: its data, and the line on which each option stands.

Board and calibration files are TOML. tomllib gives the values without their places; these are found by their looks.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from gateway.config.document import Document, Loc, Place
from gateway.config.syntax import text_of
from gateway.errors import Fault


def read(path: Path) -> Document:
    """The document in a TOML file. Never raises for what a file holds: everything wrong is in `faults`."""
    file = str(path)
    text = text_of(path)
    if isinstance(text, Fault):
        return Document(file, {}, broken=frozenset({()}), faults=(text,))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(where[1]), int(where[2])) if where else (len(text.splitlines()), 1)
        message = str(error).split(" (at ")[0]
        fault = Fault((), f"this is not TOML ({message[:1].lower()}{message[1:]})", "Mend the line", file, line, column)
        return Document(file, {}, broken=frozenset({()}), faults=(fault,))
    marks, written = _places(text, file)
    return Document(file, data, marks, written)


def _places(text: str, file: str) -> tuple[dict[Loc, Place], dict[Loc, str]]:
    """The lines on which tables and keys stand, found by their looks: good for a place, not for a value."""
    marks: dict[Loc, Place] = {(): (file, 1, 1)}
    written: dict[Loc, str] = {}
    table: Loc = ()
    items: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if item := re.match(r"\s*\[\[\s*([\w-]+)\s*\]\]", line):
            table = (item[1], items.get(item[1], 0))
            items[item[1]] = items.get(item[1], 0) + 1
            marks.setdefault(table[:1], (file, number, 1))
            marks.setdefault(table, (file, number, 1))
        elif header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            table = tuple(header[1].split("."))
            for end in range(1, len(table) + 1):
                marks.setdefault(table[:end], (file, number, 1))
        elif option := re.match(r"\s*([\w-]+)\s*=\s*([^#]*)", line):
            marks.setdefault((*table, option[1]), (file, number, len(line) - len(line.lstrip()) + 1))
            written.setdefault((*table, option[1]), option[2].strip())
    return marks, written
