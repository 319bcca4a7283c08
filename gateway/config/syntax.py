"""From bytes to a tree of YAML nodes, each with its line and column; what is wrong is told in plain words.

PyYAML scans, parses and composes; it is kept from giving meaning to words (gateway/config/scalars.py does),
from nesting without end, and from reading anything but UTF-8.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import yaml

from gateway.errors import Fault

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
PLAIN = "plain"
"""The tag of a scalar that stands without quotes and without a tag."""


class _Words(NamedTuple):
    """What is said of a syntax error, and whether it began where PyYAML's context mark stands."""

    message: str
    remedy: str
    at_context: bool = False


_COLON = _Words(
    "a ':' stands where no value can begin",
    "Check the indentation, and put text that has ': ' in it in quotes",
)
_SYNTAX: tuple[tuple[str, _Words], ...] = (
    (
        "scanning a quoted scalar",
        _Words("a quotation mark is never closed", "Close it on the same line", True),
    ),
    (r"character '\\t'", _Words("a tab stands where spaces are needed", "Indent with spaces")),
    ("mapping values are not allowed", _COLON),
    ("could not find expected ':'", _Words("an option lacks its ':'", "Write `name: value`", True)),
    (
        "expected <block end>|expected '<document start>'",
        _Words("this line does not fit the lines above it", "Indent it exactly like the options beside it"),
    ),
    (
        "flow (mapping|sequence).*expected ','",
        _Words("inside brackets a ',' or the closing bracket is missing", "Add it before this place"),
    ),
    (
        "undefined alias",
        _Words("this * names an anchor that does not exist", "Put text that begins with * in quotes"),
    ),
    (
        "unknown escape character",
        _Words("a \\ in double quotes begins no known escape", "Use single quotes, or write \\\\"),
    ),
    (
        "expected a single document",
        _Words("a second document begins here", "Keep one document: take out the line ---"),
    ),
    ("cannot start any token", _Words("this character cannot begin a value", "Put the value in quotes")),
    ("nested too deep", _Words(f"nested deeper than {MAX_DEPTH} levels", "Make it flatter")),
)


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH:
                raise yaml.MarkedYAMLError(
                    problem="nested too deep",
                    problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
                )
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool] | bool) -> str:
        if kind is yaml.ScalarNode and isinstance(implicit, tuple) and implicit[0]:
            return PLAIN
        tags = {yaml.ScalarNode: "str", yaml.SequenceNode: "seq", yaml.MappingNode: "map"}
        return f"tag:yaml.org,2002:{tags[kind]}"


def text_of(path: Path) -> str | Fault:
    """The file's text without a byte order mark, or what keeps it from being read."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Fault((), "there is no such file", "Check the path", file)
    except IsADirectoryError:
        return Fault((), "this is a directory, not a file", "Name a file in it", file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Fault((), f"the file cannot be read ({reason.lower()})", "Check its permissions", file)
    if len(raw) > MAX_BYTES:
        return Fault((), "the file is larger than 1 MiB", "A configuration is a few kilobytes", file)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        return Fault((), "the file is not UTF-8 text", "Save it in the encoding UTF-8", file, line, column)


def tree_of(text: str, file: str) -> yaml.Node | Fault | None:
    """The document's tree, None for an empty one, or the fault that stops it from being read."""
    try:
        loader = _Loader(text)
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        return _syntax_fault(error, text, file)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        return Fault((), message, "Take it out", file, line, column)


def _syntax_fault(error: yaml.MarkedYAMLError, text: str, file: str) -> Fault:
    told = f"{error.context or ''} {error.problem or ''}"
    other = _Words(str(error.problem or "this is not YAML"), "Check the line and the one above")
    words = next((words for pattern, words in _SYNTAX if re.search(pattern, told)), other)
    message, remedy, at_context = words
    mark = (error.context_mark if at_context else None) or error.problem_mark or error.context_mark
    if mark is None:
        return Fault((), message, remedy, file)
    lines = text.splitlines()
    if "brackets" in message and mark.line < len(lines) and "${" in lines[mark.line]:
        remedy = "Inside { } and [ ] put ${NAME} in quotes"
    return Fault((), message, remedy, file, mark.line + 1, mark.column + 1)
