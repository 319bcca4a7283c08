"""The static check of a script: every fault with its line and what to do, before anything runs.

It reads, it does not run, and it never raises, whatever the bytes are. It is a courtesy and not the wall: what it lets
through is confined by the kernel all the same. An `error` keeps the script from being loaded; a `warning` is told and
goes on. Parser and compiler are CPython's own, and there are files of 256 KiB that cost them seconds and much memory:
so the worker checks, after it has been confined and within the time for loading.

An import is allowed if the module, or a package around it, is in allowed_imports or in advice.ALWAYS. The parent of an
allowed module is not: with "os.path" listed, `from os import path` and `import os.path as p` are right, while
`import os.path` would give the whole of `os`, and is refused. Imports that cannot run (`if TYPE_CHECKING:`, `if
__name__ == "__main__":`) are passed over, and those in a `try` that catches ImportError are a warning only.
"""

from __future__ import annotations

import ast
import difflib
import functools
import re
import sys
import warnings
from collections.abc import Collection, Iterator
from typing import Literal

from msgspec.structs import replace

from gateway.scripts import advice
from gateway.scripts.findings import error, order, warning
from gateway.scripts.hooks import check_class, check_functions
from gateway.scripts.messages import LONGEST_SOURCE, Finding, Functions, escaped

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)")
_BLANK = re.compile(rb"^[ \t\f]*(?:#|$)")
_UTF8 = frozenset({"utf-8", "utf8", "utf-8-sig", "u8", "utf", "ascii", "us-ascii"})
_CATCHING = frozenset({"ImportError", "ModuleNotFoundError"})


def check(
    source: bytes,
    script: str,
    allowed: Collection[str],
    style: Literal["class", "module"],
    class_name: str = "",
    functions: Functions | None = None,
    *,
    network: bool = False,
    files: bool = False,
) -> tuple[Finding, ...]:
    """All that is wrong with a script, by line; nothing if it is fit to be loaded.

    `script` is what messages call the file, `allowed` the list allowed_imports; `class_name` matters in class style and
    `functions` in module style. `network` and `files` say whether anything at all is listed under network and
    file_access.
    """
    try:
        text = _text(source)
        tree, found = _tree(text)
    except _Unreadable as unreadable:
        return (unreadable.finding,)
    found += _look(tree, frozenset(filter(None, allowed)) | advice.ALWAYS, network, files)
    if style == "class":
        found += check_class(tree, script, class_name)
    else:
        found += check_functions(tree, script, functions or Functions())
    lines = re.split(r"\r\n?|\n", text)
    return tuple(sorted({_by_character(finding, lines) for finding in found}, key=order))


def allows(allowed: Collection[str], module: str) -> bool:
    """Whether the module, or a package around it, is in `allowed`. For `import a.b`, which gives `a`, ask for `a`."""
    parts = module.split(".")
    return any(".".join(parts[:length]) in allowed for length in range(1, len(parts) + 1))


class _Unreadable(Exception):
    """There is nothing to look at but this one fault."""

    def __init__(self, line: int, column: int, message: str, remedy: str) -> None:
        super().__init__(message)
        self.finding = error(line, column, message, remedy)


def _text(source: bytes) -> str:
    if len(source) > LONGEST_SOURCE:
        message = f"the script has {len(source)} bytes, more than {LONGEST_SOURCE}"
        raise _Unreadable(1, 1, message, "keep data in a file of its own, listed under file_access")
    for number, line in enumerate(re.split(rb"\r\n?|\n", source, maxsplit=2)[:2], 1):
        cookie = _COOKIE.match(line)
        if cookie and cookie[1].decode().lower().replace("_", "-") not in _UTF8:
            message = f"the encoding {cookie[1].decode()} is declared"
            raise _Unreadable(number, 1, message, "save the file as UTF-8 and delete this comment")
        if not _BLANK.match(line):
            break
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = _line(source, fault.start)
        raise _Unreadable(line, 1, "this line is not UTF-8", "save the file as UTF-8") from None
    if "\0" in text:
        line = _line(source, source.index(b"\0"))
        raise _Unreadable(line, 1, "there is a null byte in this line", "save the file as UTF-8 text")
    return text


def _line(source: bytes, at: int) -> int:
    return len(re.split(rb"\r\n?|\n", source[:at]))


def _tree(text: str) -> tuple[ast.Module, list[Finding]]:
    """The syntax tree, and what the compiler warns of. Raises _Unreadable for what is no Python."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            tree = ast.parse(text)
            compile(tree, "script", "exec", dont_inherit=True)
        except SyntaxError as fault:
            message = f"syntax error: {fault.msg}"
            raise _Unreadable(fault.lineno or 1, max(1, fault.offset or 1), message, "correct this line") from None
        except (RecursionError, MemoryError):
            raise _Unreadable(1, 1, "the script is nested too deeply to be read", "split what is long in it") from None
        except ValueError as fault:
            raise _Unreadable(1, 1, f"the script cannot be read: {fault}", "correct it") from None
    found = [warning(w.lineno, 0, f"the compiler says: {w.message}", "correct this line") for w in told]
    return tree, found


def _by_character(finding: Finding, lines: list[str]) -> Finding:
    """The finding with its column counted in characters from 1; the tree counts bytes from 0."""
    before = "".join(lines[finding.line - 1 : finding.line]).encode()[: finding.column]
    return replace(finding, column=len(before.decode("utf-8", "ignore")) + 1)


def _look(tree: ast.Module, allowed: frozenset[str], network: bool, files: bool) -> list[Finding]:
    rebound = _rebound(tree)
    found: list[Finding] = []
    for node, lenient in _running(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += _imported(node, allowed, lenient)
            found += () if network else _offline(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in rebound:
            found += _builtin(node, files)
        elif isinstance(node, ast.Attribute):
            found += _attribute(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            words = (word.value for word in node.args if isinstance(word, ast.Constant))
            found += (_walk(node, word) for word in words if isinstance(word, str) and word in advice.WALKS)
    return found


def _running(tree: ast.Module) -> Iterator[tuple[ast.AST, bool]]:
    """Every node that can run, and whether an ImportError at it would be caught."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, lenient = stack.pop()
        yield node, lenient
        if isinstance(node, ast.If) and _never_true(node.test):
            stack += ((child, lenient) for child in node.orelse)
        elif isinstance(node, ast.Try) and any(_catches(handler) for handler in node.handlers):
            stack += ((child, True) for child in node.body)
            stack += ((child, lenient) for child in (*node.handlers, *node.orelse, *node.finalbody))
        else:
            inside = lenient and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            stack += ((child, inside) for child in ast.iter_child_nodes(node))


def _never_true(test: ast.expr) -> bool:
    """`TYPE_CHECKING`, `typing.TYPE_CHECKING` and `__name__ == "__main__"`: not in a worker."""
    if isinstance(test, ast.Compare):
        sides = (test.left, *test.comparators)
        named = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
        main = any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)
        return named and main and isinstance(test.ops[0], ast.Eq) and len(test.ops) == 1
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(kind, ast.Name) and kind.id in _CATCHING for kind in kinds)


def _rebound(tree: ast.Module) -> set[str]:
    """Names that the script gives a meaning of its own, somewhere."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


def _imported(node: ast.Import | ast.ImportFrom, allowed: frozenset[str], lenient: bool) -> Iterator[Finding]:
    """What is wrong with an import."""
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            remedy = "put the code into this file, or its directory into python_paths and import it by name"
            yield error(node.lineno, node.col_offset, "a script has no package to import from with a dot", remedy)
        elif advised := _never(module, *(f"{module}.{name.name}" for name in node.names)):
            yield error(node.lineno, node.col_offset, f"import of '{module}' is not allowed", advised)
        elif not all(allows(allowed, f"{module}.{name.name}") for name in node.names):
            yield _refused(node, module, allowed, lenient)
        return
    for name in node.names:
        given = name.name if name.asname else name.name.partition(".")[0]
        if advised := _never(name.name):
            yield error(node.lineno, node.col_offset, f"import of '{name.name}' is not allowed", advised)
        elif not allows(allowed, name.name):
            yield _refused(node, name.name, allowed, lenient)
        elif not allows(allowed, given):
            parent, _, last = name.name.rpartition(".")
            remedy = f"`import {name.name}` gives all of it; write `from {parent} import {last}`"
            yield error(node.lineno, node.col_offset, f"import of '{given}' is not allowed", remedy)


def _never(*modules: str) -> str:
    """Why none of the modules can be of use, or nothing."""
    return next((why for module in modules for name, why in advice.NEVER.items() if allows((name,), module)), "")


def _refused(node: ast.stmt, module: str, allowed: frozenset[str], lenient: bool) -> Finding:
    top = module.partition(".")[0]
    remedy = "add it to allowed_imports"
    near = _near(module, allowed)
    if top in advice.INSTEAD:
        remedy = advice.INSTEAD[top]
    elif near and top not in sys.stdlib_module_names:
        remedy = f"did you mean '{near}'? Otherwise add it to allowed_imports"
    told = warning if lenient else error
    return told(node.lineno, node.col_offset, f"import of '{escaped(module, 100)}' is not allowed", remedy)


@functools.lru_cache(maxsize=64)
def _near(module: str, allowed: frozenset[str]) -> str:
    alike = [known for known in allowed if known[0] == module[0] and abs(len(known) - len(module)) <= 2]
    return "".join(difflib.get_close_matches(module, alike, 1, 0.8))


def _offline(node: ast.Import | ast.ImportFrom) -> Iterator[Finding]:
    """A warning for a module that is of no use without the network."""
    modules = [name.name for name in node.names]
    if isinstance(node, ast.ImportFrom):
        modules = [node.module or "", *(f"{node.module}.{name}" for name in modules)]
    for module in modules if not getattr(node, "level", 0) else ():
        if allows(advice.NETWORK, module):
            message = f"'{module}' needs the network, and this action has none"
            yield warning(node.lineno, node.col_offset, message, "list its servers as host:port under network")
            return


def _builtin(node: ast.Name, files: bool) -> Iterator[Finding]:
    """What there is to say of a builtin name."""
    if node.id == "__import__":
        message, remedy = "import by __import__ is not allowed", "write an import statement"
        yield error(node.lineno, node.col_offset, message, remedy)
    elif node.id == "open" and not files:
        message = "open() reaches no file, because none is listed"
        yield warning(node.lineno, node.col_offset, message, "list the path under file_access")
    elif node.id in advice.BUILTINS:
        yield warning(node.lineno, node.col_offset, *advice.BUILTINS[node.id])
    elif node.id in advice.WALKS:
        yield _walk(node, node.id)


def _attribute(node: ast.Attribute) -> Iterator[Finding]:
    """What there is to say of `something.attr`."""
    if node.attr in advice.WALKS:
        yield _walk(node, node.attr)
    elif isinstance(node.value, ast.Name) and node.attr in advice.PROCESSES.get(node.value.id, ()):
        message = f"{node.value.id}.{node.attr} is refused when it is called"
        yield warning(node.lineno, node.col_offset, message, advice.NEVER["subprocess"])


def _walk(node: ast.expr, name: str) -> Finding:
    message = f"'{name}' leads into the interpreter, where there is nothing for a script"
    return warning(node.lineno, node.col_offset, message, "use the API, and what is imported")
