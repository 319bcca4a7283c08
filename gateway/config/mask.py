"""A configuration's text without the secrets that stand in it literally, and the same text with them again.

What is a secret is told by its value, where that is known to be one, and by its option's name, so that a file with a
fault, of which nobody has read the values, does not tell either. `!secret name` and a plain `${NAME}` are no secrets
themselves. A mask that comes back is the value of before, if it stands at the same option.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import yaml

from gateway.config.redact import MASK, SHORTEST, redact
from gateway.config.syntax import tree_of
from gateway.errors import Fault

_NAMES = re.compile(
    r"pass(word|wd|phrase)?$|token|secret|credential|authorization|api_?key|private_?key|sasl_pass", re.I
)
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_LINE = re.compile(r"^(?P<head>[\s\-{]*[\"']?(?P<name>[\w.\-]+)[\"']?\s*:\s*)(?P<value>\S.*)$")
_NO_TEXT = frozenset({"null", "~", "true", "false"})
_QUOTED = f'"{MASK}"'

Loc = tuple[str | int, ...]


def masked(text: str, secrets: Collection[str]) -> str:
    """The text with every literal secret as ********; one that is no YAML line by line."""
    tree = tree_of(text, "")
    if isinstance(tree, Fault):
        return redact("\n".join(map(_masked_line, text.split("\n"))), secrets)
    places = [place for loc, place in _scalars(tree, ()) if _is_secret(text[slice(*place)], loc, secrets)]
    return redact(_replaced(text, [(place, _QUOTED) for place in places]), secrets)


def unmasked(text: str, before: str, secrets: Collection[str]) -> str:
    """The text with the secrets of the text `before` again, wherever a mask stands at the same option."""
    old_tree, new_tree = tree_of(before, ""), tree_of(text, "")
    shown_tree = tree_of(shown := masked(before, secrets), "")
    if any(isinstance(tree, Fault) for tree in (old_tree, new_tree, shown_tree)):
        return before if text == shown else text
    old = {loc: before[slice(*place)] for loc, place in _scalars(old_tree, ())}
    was_shown = {loc: shown[slice(*place)] for loc, place in _scalars(shown_tree, ())}
    put = [
        (place, old[loc].rstrip())
        for loc, place in _scalars(new_tree, ())
        if MASK in text[slice(*place)] and _content(text[slice(*place)]) == _content(was_shown.get(loc, ""))
    ]
    return _replaced(text, put)


def has_mask(text: str) -> bool:
    """Whether a mask is left, whose value nobody knows."""
    return MASK in text


def _is_secret(source: str, loc: Loc, secrets: Collection[str]) -> bool:
    value = _content(source)
    if source.startswith("!secret") or _REFERENCE.fullmatch(value) or not value:
        return False
    named = next((part for part in reversed(loc) if isinstance(part, str)), "")
    known = any(len(secret) >= SHORTEST and secret == value for secret in secrets)
    return known or bool(_NAMES.search(named) and source.strip() not in _NO_TEXT)


def _content(source: str) -> str:
    """What stands in a scalar, without its quotes."""
    source = source.strip()
    return source[1:-1] if len(source) >= 2 and source[0] == source[-1] and source[0] in "\"'" else source


def _scalars(node: yaml.Node | Fault | None, loc: Loc) -> Iterator[tuple[Loc, tuple[int, int]]]:
    """Every value and its place in the text. What is named by an alias has one place only."""
    seen: set[int] = set()

    def walk(node: yaml.Node, loc: Loc) -> Iterator[tuple[Loc, tuple[int, int]]]:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield from walk(value, (*loc, str(key.value)))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                yield from walk(value, (*loc, index))
        elif isinstance(node, yaml.ScalarNode):
            yield loc, (node.start_mark.index, node.end_mark.index)

    if isinstance(node, yaml.Node):
        yield from walk(node, loc)


def _replaced(text: str, changes: list[tuple[tuple[int, int], str]]) -> str:
    for (begin, end), new in sorted(changes, reverse=True):
        tail = text[begin:end][len(text[begin:end].rstrip()) :]
        text = text[:begin] + new + tail + text[end:]
    return text


def _masked_line(line: str) -> str:
    found = _LINE.match(line)
    if found is None or not _NAMES.search(found["name"]) or found["value"].startswith(("!secret", "${")):
        return line
    return f"{found['head']}{_QUOTED}"
