"""A TOML file as a document: its data, and the line on which each option stands.

Board and calibration files are TOML. tomllib gives the values without their places; these are found by their looks.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config.document import Document, Loc, Place
from gateway.config.syntax import text_of
from gateway.config.wording import LONGEST
from gateway.errors import Fault


def read(path: Path) -> Document:
    """The document in a TOML file. Never raises for what a file holds: everything wrong is in `faults`."""
    file = str(path)
    text = text_of(path)
    if isinstance(text, Fault):
        return Document(file, {}, broken=frozenset({()}), faults=(text,))
    try:
        data = tomllib.loads(text)
    except RecursionError:
        fault = Fault((), "this is nested too deeply", "Take brackets out", file, 1, 1)
        return Document(file, {}, broken=frozenset({()}), faults=(fault,))
    except ValueError as error:
        where = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(where[1]), int(where[2])) if where else (len(text.splitlines()), 1)
        message = str(error).split(" (at ")[0]
        message = f"this is not TOML ({message[:1].lower()}{message[1:]}): {_short(text, line)}".rstrip(": ")
        fault = Fault((), message, "Mend the line", file, line, column)
        return Document(file, {}, broken=frozenset({()}), faults=(fault,))
    marks, written = _places(text, file)
    for loc, value in _values((), data):
        written.setdefault(loc, json.dumps(value, default=str))
    return Document(file, data, marks, written)


def _short(text: str, number: int) -> str:
    """A line of the text, shortened; nothing where there is none."""
    line = "".join(text.splitlines()[number - 1 : number]).strip()
    return line if len(line) <= LONGEST else line[:LONGEST] + "..."


def _values(loc: Loc, value: Any) -> Iterator[tuple[Loc, Any]]:
    """Every single value with its way, those in inline tables and lists too."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _values((*loc, key), inner)
    else:
        yield loc, value


def _places(text: str, file: str) -> tuple[dict[Loc, Place], dict[Loc, str]]:
    """The lines on which tables and keys stand, found by their looks: good for a place, not for a value."""
    marks: dict[Loc, Place] = {(): (file, 1, 1)}
    written: dict[Loc, str] = {}
    table: Loc = ()
    items: dict[str, int] = {}
    open_list: Loc = ()
    length = 0
    for number, line in enumerate(text.splitlines(), 1):
        if open_list:
            if entry := re.match(r"\s*([{\"'])", line):
                marks.setdefault((*open_list, length), (file, number, entry.start(1) + 1))
                length += 1
            open_list = () if re.match(r"\s*\]", line) else open_list
        elif item := re.match(r"\s*\[\[\s*([\w-]+)\s*\]\]", line):
            table = (item[1], items.get(item[1], 0))
            items[item[1]] = items.get(item[1], 0) + 1
            marks.setdefault(table[:1], (file, number, 1))
            marks.setdefault(table, (file, number, 1))
        elif header := re.match(r"\s*\[\s*([\w.\"' -]+)\s*\]", line):
            table = tuple(part.strip("\"' ") for part in header[1].split("."))
            for end in range(1, len(table) + 1):
                marks.setdefault(table[:end], (file, number, 1))
        elif option := re.match(r"\s*([\w-]+)\s*=\s*([^#]*)", line):
            marks.setdefault((*table, option[1]), (file, number, len(line) - len(line.lstrip()) + 1))
            written.setdefault((*table, option[1]), option[2].strip())
            if option[2].strip() == "[":
                open_list, length = (*table, option[1]), 0
    return marks, written
