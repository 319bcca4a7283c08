"""Runs in the child, before the customer's script: puts up the walls, then becomes the script.

    python -I -S -B -c PROGRAM DIRECTORY GIVEN SCRIPT FUNCTION JSON

PROGRAM imports this module from DIRECTORY, that of the gateway's package, so that it is compiled once, and calls main.

GIVEN is a JSON object: `plan`, the fields of a Plan; `parent`, the gateway's process, with which the child dies;
`seconds` of CPU, a second line behind the gateway's own watch; `own`, where the gateway's packages are; `paths`, from
which the script imports beside the standard library; `broker`, the descriptor of the broker's channel, or null; `gate`,
that of a socket. The script finds sys.argv as [SCRIPT, FUNCTION, JSON] and itself as __main__.

When the walls stand the child says SEALED at the gate and waits there until the gateway, which has looked at them from
outside, lets it in with one byte. If a wall does not stand it says which, and ends with status UNCONFINED. Nothing of
the script's runs before, so that the gateway knows whether it did. The script's text is read before the walls are up,
and parsed and compiled behind them. At level C nothing can be opened there, so its import statements are found in the
text, by a regular expression, and what they name of the standard library is imported before.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import site
import sys
import time  # noqa: TID251  -- tzset
import types
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

UNCONFINED = 70
SEALED = b"sealed"

_IMPORT = (
    r"(?:^|[;:])[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]*(?:\(([^)]{0,2000})|([^\n;#]*))|import[ \t]+([^\n;#]+))"
)
_LATE = {
    "time": ("_strptime", "encodings.idna", "encodings.latin_1", "encodings.unicode_escape"),
    "concurrent.futures": ("concurrent.futures.thread",),
    "email.message": ("email.generator", "email.policy"),
    "fractions": ("decimal",),
    "traceback": ("ast", "unicodedata"),
    "urllib.request": ("email.utils", "fnmatch", "http.cookiejar", "mimetypes"),
}
"""What modules of the standard library import at first use only; `time` is always there."""
_NEVER = frozenset({"antigravity", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo"})
"""Modules of the standard library that do something when they are imported, or are no libraries."""


def named(text: str) -> Iterator[str]:
    """The modules that the text's import statements may mean, functions' own too, and some that it does not mean."""
    for package, braced, listed, modules in re.findall(_IMPORT, text, re.MULTILINE):
        words = [part.split()[0] for part in (braced or listed or modules).split(",") if part.strip()]
        if package:
            yield package
        yield from (f"{package}.{word}" if package else word for word in words)


def load(source: bytes) -> None:
    """Import what the script names of the standard library, and what that imports late."""
    for name in named(source.decode("utf-8", "replace")):
        first, *rest = name.split(".")
        known = first in sys.stdlib_module_names and first not in _NEVER
        if known and not any(part.startswith("__") for part in rest):
            with suppress(Exception):
                importlib.import_module(name)
    for name in [late for module, lates in _LATE.items() if module in sys.modules for late in lates]:
        importlib.import_module(name)


def seal(given: dict[str, Any], source: bytes) -> None:
    """Put up the walls, for ever, and wait to be let in. Ends the process if one does not stand."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (given["seconds"], given["seconds"]))
    standard = sys.path[1:]
    sys.path += given["own"]
    try:
        from gateway.scripts.confine.confine import Plan, confine
        from gateway.scripts.confine.limits import measure_baseline

        plan = Plan(**given["plan"])
        if given["broker"] is not None:
            from gateway.scripts import outside
        sys.path[:] = standard
        time.tzset()
        if plan.level == "C":
            load(source)
        confine(plan, replace(measure_baseline(), parent=given["parent"]))
        if given["broker"] is not None:
            outside.install(given["broker"], plan.level)
        os.write(given["gate"], SEALED)
        if not os.read(given["gate"], 1):
            os._exit(UNCONFINED)
    except Exception as fault:
        os.write(given["gate"], str(fault).encode())
        os._exit(UNCONFINED)
    os.close(given["gate"])
    sys.path[:] = [*given["paths"]["before"], *standard, *given["paths"]["behind"]]


def become(script: str, source: bytes, arguments: list[str]) -> None:
    """Run the script as python itself would have."""
    site.setquit()
    sys.argv[:] = [script, *arguments]
    module = types.ModuleType("__main__")
    module.__file__ = script
    sys.modules["__main__"] = module
    exec(compile(source, script, "exec", dont_inherit=True), module.__dict__)


def main() -> None:
    """The child, from its first line to its last."""
    script, arguments = sys.argv[2], sys.argv[3:]
    with open(script, "rb") as file:  # noqa: PTH123
        source = file.read()
    seal(json.loads(sys.argv[1]), source)
    become(script, source, arguments)
