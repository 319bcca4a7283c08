"""docs/script-api.md, made from gateway/scripts/api.py: every call that a script can make, in its own words."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from gateway.scripts import api

_INTRODUCTION = """\
# The API of scripts

How to write an action is told in [writing-actions.md](writing-actions.md); this page lists the calls. It is made from
the docstrings of `gateway/scripts/api.py` by `make docs`.

`GatewayAPI`, its old name `RustPhotoacousticAPI`, `CustomPythonAction` and, in module style, the object `api` are there
without an import; `from gateway.scripts.api import CustomPythonAction, GatewayAPI` is for editors. Reading costs
microseconds, since the newest values come with each call of the script. Every value handed out is a copy.
"""

_LONGEST = 110


def reference() -> str:
    """The page."""
    example = _blocks(api)[1:-1]  # without the first words of the module, and those on how it is made
    parts = [
        _INTRODUCTION,
        *_described("What an action asks and does: GatewayAPI", api.GatewayAPI),
        *_called(api.GatewayAPI),
        *_described("What an action is derived from: CustomPythonAction", api.CustomPythonAction),
        *_called(api.CustomPythonAction),
        "## In a test of your own\n",
        *(f"{block}\n" for block in example),
        *_described("Readings", api.Readings),
    ]
    return "\n".join(parts)


def _described(title: str, kind: type) -> Iterator[str]:
    """A class: its docstring, and how it is made."""
    yield f"## {title}\n"
    yield from (f"{block}\n" for block in _blocks(kind))
    yield f"    {_call(kind.__name__, vars(kind)['__init__'])}\n"


def _called(kind: type) -> Iterator[str]:
    """The public methods of a class, in the order in which they are written."""
    for name, member in vars(kind).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            yield f"### {name}\n"
            yield f"    {_call(name, member)}\n"
            yield from (f"{block}\n" for block in _blocks(member))


def _call(name: str, function: Any) -> str:
    """The signature as a script writes the call; one parameter a line where it is long."""
    signature = inspect.signature(function)
    words: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        if parameter.name != "self":
            default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
            words.append(f"{parameter.name}: {parameter.annotation}{default}")
    returns = "" if signature.return_annotation == "None" else f" -> {signature.return_annotation}"
    line = f"{name}({', '.join(words)}){returns}"
    if len(line) <= _LONGEST:
        return line
    inside = "".join(f"        {word},\n" for word in words)
    return f"{name}(\n{inside}    ){returns}"


def _blocks(documented: Any) -> list[str]:
    """The paragraphs of a docstring; a class that it shows is set apart as code."""
    found: list[str] = []
    code = False
    for block in (inspect.getdoc(documented) or "").split("\n\n"):
        code = block.startswith("class ") or (code and block.startswith("    "))
        found.append(textwrap.indent(block, "    ") if code else block)
    return found
