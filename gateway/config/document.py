"""A configuration file as plain data, with the place of every option and the text that stands there.

`read` never raises for what a file holds: everything wrong is in the document's `faults`. Values from the
environment and from secrets.yaml are in the data and in `secrets`, never in `written`, from which messages
are made.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from gateway.config.scalars import UnsetError, is_variable, scalar, substitute
from gateway.config.syntax import MAX_DEPTH, PLAIN, text_of, tree_of
from gateway.errors import Fault

Loc = tuple[str | int, ...]
Place = tuple[str, int, int]
"""File, line and column, counted from 1."""

MAX_NODES = 20_000
_TAG = "tag:yaml.org,2002:"
_COLLECTIONS = {f"{_TAG}map", f"{_TAG}seq"}
_TYPES = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null")}


@dataclass(frozen=True, slots=True)
class Document:
    """`data` is made of dict, list, str, int, float, bool and None. `marks` has the place of every key and
    item.

    `written` is each value's text in the file; `texts` the full text of those filled in from elsewhere.
    `broken` names the options whose value could not be had: nothing further is to be said of them.
    """

    file: str
    data: Any = field(repr=False)
    marks: Mapping[Loc, Place] = field(default_factory=dict)
    written: Mapping[Loc, str] = field(default_factory=dict)
    texts: Mapping[Loc, str] = field(default_factory=dict, repr=False)
    broken: frozenset[Loc] = frozenset()
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    faults: tuple[Fault, ...] = ()

    def place(self, loc: Loc) -> Place:
        """Where the option stands; for one that is not there, the nearest group around it."""
        for end in range(len(loc), -1, -1):
            if loc[:end] in self.marks:
                return self.marks[loc[:end]]
        return self.file, 0, 0

    def fault(self, loc: Loc, message: str, remedy: str = "", at: Loc | None = None) -> Fault:
        """A fault of option `loc`, with its place (or that of `at`)."""
        return Fault(loc, message, remedy, *self.place(loc if at is None else at))

    def get(self, *loc: str | int) -> Any:
        """The value at `loc`; None where there is none."""
        value = self.data
        for part in loc:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def is_broken(self, loc: Loc) -> bool:
        """Whether `loc` is, or is inside, an option whose value could not be had."""
        return any(loc[:end] in self.broken for end in range(len(loc) + 1))

    def without(self, sections: Collection[str]) -> Document:
        """The document as if these sections did not stand in it, nor their faults. A document that could not be read
        stays what it is."""
        if not isinstance(self.data, dict) or () in self.broken:
            return self
        kept = {name: value for name, value in self.data.items() if name not in sections}
        broken = frozenset(loc for loc in self.broken if loc[0] not in sections)
        faults = tuple(fault for fault in self.faults if fault.loc[:1] not in {(name,) for name in sections})
        return replace(self, data=kept, broken=broken, faults=faults)


def read(path: Path, environ: Mapping[str, str]) -> Document:
    """The document in a YAML file. Secrets come from secrets.yaml beside it, opened when first asked for."""
    text = text_of(path)
    if isinstance(text, Fault):
        return _unread(text)
    return parse(text, str(path), environ, path.with_name("secrets.yaml"))


def parse(text: str, file: str, environ: Mapping[str, str] | None, secrets: Path | None = None) -> Document:
    """The document in a YAML text. `environ` fills in ${NAME} (None: it stays), `secrets` serves !secret."""
    tree = tree_of(text, file)
    if isinstance(tree, Fault):
        return _unread(tree)
    reading = _Reading(text, file, environ, secrets)
    reading.marks[()] = (file, 1, 1)
    data = {} if tree is None or (tree.tag == PLAIN and tree.value == "") else reading.whole(tree)
    return Document(
        file,
        data,
        reading.marks,
        reading.written,
        reading.texts,
        frozenset(reading.broken),
        frozenset(reading.secrets),
        by_place(reading.faults),
    )


def _unread(fault: Fault) -> Document:
    return Document(fault.file, {}, broken=frozenset({()}), faults=(fault,))


def by_place(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """The faults in the order of file and line, each once."""
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.file, fault.line, fault.column, fault.option)))


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest known word, or all of them: "Did you mean 'bandwidth'?"."""
    words = sorted(set(known))
    lower = {word.lower(): word for word in words}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    listed = f"Known: {', '.join(words)}" if words else "None is known here"
    return f"Did you mean '{lower[close[0]]}'? {listed}" if close else listed


class _TooBigError(Exception):
    """More nodes or levels than a configuration has."""


class _RefusedError(Exception):
    """A value that cannot be had."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class _Reading:
    """What is found while a tree is walked."""

    def __init__(self, text: str, file: str, environ: Mapping[str, str] | None, secrets: Path | None) -> None:
        self.text, self.file, self.environ, self.secrets_file = text, file, environ, secrets
        self.marks: dict[Loc, Place] = {}
        self.written: dict[Loc, str] = {}
        self.texts: dict[Loc, str] = {}
        self.broken: set[Loc] = set()
        self.secrets: set[str] = set()
        self.faults: list[Fault] = []
        self.nodes = 0
        self._known_secrets: Document | None = None

    def whole(self, tree: yaml.Node) -> Any:
        """The data of the whole tree, which must be a mapping."""
        try:
            if isinstance(tree, yaml.MappingNode):
                return self.value(tree, ())
            self.fault(tree, (), "the file must hold options, `name: value`, one a line", "See `spectrophone schema`")
        except _TooBigError as too_big:
            self.fault(tree, (), str(too_big), "Take out the aliases (*name) that multiply it")
        self.broken.add(())
        return {}

    def fault(self, node: yaml.Node, loc: Loc, message: str, remedy: str) -> None:
        """Note a fault at a node."""
        mark = node.start_mark
        self.faults.append(Fault(loc, message, remedy, self.file, mark.line + 1, mark.column + 1))

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        """The data of a node; what is wrong with it is noted, and None stands in its place."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _TooBigError(f"the file holds more than {MAX_NODES} values once its aliases are filled in")
        if len(loc) > MAX_DEPTH:
            raise _TooBigError(f"nested deeper than {MAX_DEPTH} levels once its aliases are filled in")
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
            self.fault(node, loc, f"the tag {_short(node.tag)} is not known here", "Take it out")
            self.broken.add(loc)
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.mark(item, (*loc, index))
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode), node
        self.written[loc] = self.source(node)
        try:
            return self.scalar(node, loc)
        except (_RefusedError, UnsetError) as refused:
            self.fault(node, loc, refused.message, refused.remedy)
            self.broken.add(loc)
            return None

    def mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        """The options of a mapping; of two with one name the first stands."""
        data: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (PLAIN, f"{_TAG}str"):
                self.fault(key, loc, "an option's name must be plain text", "Write `name: value`")
                continue
            name = key.value
            inner = (*loc, name)
            if name == "<<" and key.tag == PLAIN:
                self.fault(key, loc, "merge keys (<<) are not supported", "Write the options out")
            elif name in data:
                first = self.marks[inner][1]
                message = f"given twice, on lines {first} and {key.start_mark.line + 1}"
                self.fault(key, inner, message, "Keep one of the two")
            elif not _is_text(name):
                self.fault(key, loc, "an option's name holds half a character (a lone surrogate)", "Take it out")
            else:
                self.mark(key, inner)
                data[name] = self.value(value, inner)
        return data

    def mark(self, node: yaml.Node, loc: Loc) -> None:
        """Note the place of an option or item."""
        self.marks[loc] = (self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def source(self, node: yaml.ScalarNode) -> str:
        """A scalar's own text in the file."""
        return self.text[node.start_mark.index : node.end_mark.index].strip()

    def scalar(self, node: yaml.ScalarNode, loc: Loc) -> Any:
        """The value of a scalar, filled in. Raises _RefusedError or UnsetError."""
        if node.tag == "!secret":
            return self.secret(node.value, loc)
        if node.tag not in {PLAIN, *_TYPES}:
            raise _RefusedError(f"the tag {_short(node.tag)} is not known here", "Only !secret is: take it out")
        text, taken = substitute(node.value, self.environ) if self.environ is not None else (node.value, ())
        if not _is_text(text):
            raise _RefusedError("the text holds half a character (a lone surrogate)", "Take the \\u escape out")
        variable = "${" in node.value and self.environ is not None
        if variable:
            self.texts[loc] = text
        quoted = node.tag == f"{_TAG}str"
        value = text if quoted or (variable and not is_variable(node.value)) else scalar(text)
        if isinstance(value, str):
            self.secrets.update(taken)
        return value

    def secret(self, name: str, loc: Loc) -> Any:
        """A value of secrets.yaml. Raises _RefusedError."""
        known = self.secrets_document()
        if name not in known.data:
            message = f"the secret '{name}' is not in {Path(known.file).name}"
            raise _RefusedError(message, nearest(name, known.data))
        value = known.data[name]
        if isinstance(value, (dict, list)) or value is None:
            raise _RefusedError(f"the secret '{name}' is not a single value", f"Write `{name}: value` there")
        text = value if isinstance(value, str) else known.written[(name,)]
        self.secrets.add(text)
        self.texts[loc] = text
        return value

    def secrets_document(self) -> Document:
        """The document in secrets.yaml, read once; in it `${` is plain text. Raises _RefusedError."""
        if self.secrets_file is None:
            raise _RefusedError("!secret cannot be used here", "Write ${NAME} and set the variable")
        name = self.secrets_file.name
        if self._known_secrets is None:
            if not self.secrets_file.exists():
                raise _RefusedError(
                    f"there is no {name} beside the file",
                    "Create it with a line `name: value` for each secret",
                )
            text = text_of(self.secrets_file)
            known = _unread(text) if isinstance(text, Fault) else parse(text, str(self.secrets_file), None)
            self.faults.extend(known.faults)
            self._known_secrets = known
        if () in self._known_secrets.broken:
            raise _RefusedError(f"the secret cannot be had, because {name} has a fault", "Mend that file first")
        return self._known_secrets


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _short(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag
