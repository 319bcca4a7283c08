"""What a script must define, and how it is called: the hooks of both styles, as the static check sees them.

    module style    initialize([config])  on_measurement(measurement)  on_alert(alert)  get_status()  shutdown()
    class style     __init__(self, api)  on_trigger(self, trigger_type, data)  on_update(self, computing_data)
                    get_status(self)  shutdown(self)

All are optional, but a script without any would do nothing. A hook may have defaults, *args and be async. Of a name
that is imported, assigned, decorated or inherited from elsewhere nothing is known, so nothing is said.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gateway.scripts.findings import error, warning
from gateway.scripts.messages import Finding, Functions

Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda, ast.ClassDef)
_LOOPS = (ast.While, ast.For, ast.AsyncFor)


class Hook(NamedTuple):
    """What a hook is called with, and how many of these it must take; `option` renames it in module style."""

    given: tuple[str, ...]
    fewest: int
    option: str = ""


MODULE = {
    "initialize": Hook(("config",), 0, "init_function"),
    "on_measurement": Hook(("measurement",), 1, "update_function"),
    "on_alert": Hook(("alert",), 1, "alert_function"),
    "get_status": Hook((), 0, "status_function"),
    "shutdown": Hook((), 0, "shutdown_function"),
}
CLASS = {
    "__init__": Hook(("api",), 1),
    "on_trigger": Hook(("trigger_type", "data"), 2),
    "on_update": Hook(("computing_data",), 1),
    "get_status": Hook((), 0),
    "shutdown": Hook((), 0),
}
_CALLED = ("on_trigger", "on_update")
_BASES = frozenset({"CustomPythonAction", "object"})


def check_functions(tree: ast.Module, script: str, functions: Functions) -> Iterator[Finding]:
    """What is wrong with the hooks of a script in module style."""
    defined, open_ended = _definitions(tree.body)
    names = {hook: str(getattr(functions, hook)) for hook in MODULE}
    yield from _endless(tree, "the script never finishes loading")
    for hook, name in names.items():
        if name in defined:
            yield from _hook(defined[name], name, MODULE[hook], bound=0)
        elif name != hook and not open_ended:
            message = f"{script} has no function '{name}', which {MODULE[hook].option} names"
            yield error(1, 0, message, _nearest(name, defined) or "define it, or correct the option")
    if not open_ended:
        absent = {name: name for name in names.values() if name not in defined}
        yield from _misnamed(tree, defined, absent | _other_style(names, defined))
        if not any(name in defined for name in names.values()):
            yield _nothing(script, names.values(), defined)


def check_class(tree: ast.Module, script: str, class_name: str) -> Iterator[Finding]:
    """What is wrong with the class of a script in class style."""
    defined, open_ended = _definitions(tree.body)
    yield from _endless(tree, "the script never finishes loading")
    kind = defined.get(class_name)
    if kind is None:
        if not open_ended:
            yield error(1, 0, f"{script} has no class '{class_name}'", _class_remedy(class_name, defined))
    elif isinstance(kind, Function):
        yield error(kind.lineno, kind.col_offset, f"'{class_name}' is a function, not a class", "make it a class")
    elif isinstance(kind, ast.ClassDef):
        yield from _methods(tree, kind, defined)


def _methods(tree: ast.Module, kind: ast.ClassDef, defined: Mapping[str, ast.AST]) -> Iterator[Finding]:
    methods, unknown = _inherited(kind, defined)
    for name, hook in CLASS.items():
        if name in methods:
            yield from _hook(methods[name], name, hook, bound=1)
    if unknown:
        return
    yield from _misnamed(tree, methods, {name: name for name in CLASS if name not in methods})
    if not any(name in methods for name in _CALLED):
        remedy = "define on_update(self, computing_data) or on_trigger(self, trigger_type, data)"
        yield error(kind.lineno, kind.col_offset, f"class '{kind.name}' does nothing", remedy)


def _class_remedy(class_name: str, defined: Mapping[str, ast.AST]) -> str:
    classes = [name for name, node in defined.items() if isinstance(node, ast.ClassDef)]
    near = classes if len(classes) == 1 else difflib.get_close_matches(class_name, classes, 1, 0.6)
    if near:
        return f"set python_class_name to '{near[0]}', or rename the class"
    if any(name in defined for name in MODULE):
        return "define it, or use the driver python, which calls plain functions"
    return "define it, or correct python_class_name"


def _nothing(script: str, names: Iterable[str], defined: Mapping[str, ast.AST]) -> Finding:
    for name, node in defined.items():
        if isinstance(node, ast.ClassDef) and any(method in _definitions(node.body)[0] for method in _CALLED):
            remedy = f"use python_action with python_class_name '{name}'"
            return error(node.lineno, node.col_offset, f"{script} has a class, and no functions to call", remedy)
    return error(1, 0, f"{script} does nothing", f"define at least one of {', '.join(names)}")


def _definitions(body: Iterable[ast.stmt]) -> tuple[dict[str, ast.AST], bool]:
    """What statements define, by name, the last of each; and whether `import *` may have defined anything."""
    found: dict[str, ast.AST] = {}
    open_ended = False
    stack = list(body)[::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            found[node.name] = node
            continue
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.alias):
                found[child.asname or child.name.partition(".")[0]] = child
                open_ended |= child.name == "*"
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        found |= {name.id: name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        stack += _statements(node)
    return found, open_ended


def _statements(node: ast.AST) -> list[ast.stmt]:
    """The statements right inside one, last first."""
    inside: list[ast.stmt] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            inside.append(child)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            inside += child.body
    return inside[::-1]


def _inherited(kind: ast.ClassDef, defined: Mapping[str, ast.AST]) -> tuple[dict[str, ast.AST], bool]:
    """The methods of a class and its bases in this file, and whether there are others that may have more."""
    methods: dict[str, ast.AST] = {}
    unknown = False
    kinds, seen = [kind], {kind}
    while kinds:
        here = kinds.pop(0)
        methods = _definitions(here.body)[0] | methods
        unknown |= bool(here.decorator_list or here.keywords)
        for base in here.bases:
            name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
            above = defined.get(name)
            if not isinstance(above, ast.ClassDef) or above.lineno >= here.lineno:  # the last of a name is not this one
                unknown |= name not in _BASES or name in defined
            elif above not in seen:
                kinds.append(above)
                seen.add(above)
    return methods, unknown


def _hook(node: ast.AST, name: str, hook: Hook, bound: int) -> Iterator[Finding]:
    """What is wrong with one hook; `bound` is 1 where self goes first."""
    if isinstance(node, ast.ClassDef):
        yield error(node.lineno, node.col_offset, f"'{name}' is a class, not a function", "make it a function")
    if not isinstance(node, Function):
        return
    decorators = {getattr(decorator, "id", "?") for decorator in node.decorator_list}
    if decorators <= {"staticmethod", "classmethod"}:
        yield from _signature(node, name, hook, 0 if "staticmethod" in decorators else bound)
    own = list(_own(node.body))
    if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in own):
        remedy = "replace yield by return"
        yield error(node.lineno, node.col_offset, f"{name} is a generator, which does nothing when called", remedy)
    elif name == "__init__" and isinstance(node, ast.AsyncFunctionDef):
        yield error(node.lineno, node.col_offset, "__init__ cannot be async", "await in on_update or on_trigger")
    yield from _endless(node, f"{name} never returns, and is ended at the timeout")


def _signature(node: Function, name: str, hook: Hook, bound: int) -> Iterator[Finding]:
    arguments = node.args
    places = len(arguments.posonlyargs) + len(arguments.args)
    needed = places - len(arguments.defaults)
    most, fewest = len(hook.given) + bound, hook.fewest + bound
    if needed > most or (places < fewest and arguments.vararg is None):
        given = ("self", *hook.given) if bound else hook.given
        wanted = f"`def {name}({', '.join(given)}):`"
        calls = " and ".join(filter(None, [", ".join(given[:-1]), *given[-1:]])) or "nothing"
        message = f"{name} takes {places or 'no'} parameter{'' if places == 1 else 's'}, and is called with {calls}"
        yield error(node.lineno, node.col_offset, message, f"write {wanted}")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is None:
            message = f"{name} is never given its keyword '{argument.arg}'"
            yield error(argument.lineno, argument.col_offset, message, "give it a default, or take it out")


def _own(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of a body, without those of the functions and classes in it."""
    stack = list(body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, _SCOPES):
            stack += ast.iter_child_nodes(node)


def _endless(scope: ast.Module | Function, message: str) -> Iterator[Finding]:
    """A warning for each `while True:` that nothing leaves."""
    for node in _own(scope.body):
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value and not _left(node):
            remedy = "take the loop out: the gateway calls again at each measurement"
            yield warning(node.lineno, node.col_offset, message, remedy)


def _left(loop: ast.While) -> bool:
    """Whether anything in the loop may leave it."""
    stack: list[tuple[ast.AST, bool]] = [(node, True) for node in loop.body]
    while stack:
        node, ours = stack.pop()
        if isinstance(node, ast.Return | ast.Raise | ast.Assert) or (ours and isinstance(node, ast.Break)):
            return True
        if isinstance(node, _LOOPS):
            stack += ((child, False) for child in node.body)
            stack += ((child, ours) for child in node.orelse)
        elif not isinstance(node, _SCOPES):
            stack += ((child, ours) for child in ast.iter_child_nodes(node))
    return False


def _other_style(names: Mapping[str, str], defined: Mapping[str, ast.AST]) -> dict[str, str]:
    """Hooks of the class style among the functions, and what they are here."""
    pairs = {"on_update": names["on_measurement"], "on_trigger": names["on_alert"]}
    return {hook: name for hook, name in pairs.items() if hook in defined and name not in defined}


def _misnamed(tree: ast.Module, defined: Mapping[str, ast.AST], absent: Mapping[str, str]) -> Iterator[Finding]:
    """A warning for each function that nobody calls and whose name is almost, or elsewhere, that of a hook.

    `absent` has what a name might have been meant as, and what to call it.
    """
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for name, node in defined.items():
        if not isinstance(node, Function) or name in used or name.startswith("_") or node.decorator_list:
            continue
        near = [name] if name in absent else difflib.get_close_matches(name, absent, 1, 0.8)
        if near:
            yield warning(node.lineno, node.col_offset, f"nothing calls '{name}'", f"rename it to {absent[near[0]]}")


def _nearest(name: str, defined: Mapping[str, ast.AST]) -> str:
    functions = [known for known, node in defined.items() if isinstance(node, Function)]
    near = difflib.get_close_matches(name, functions, 1, 0.6)
    return f"did you mean '{near[0]}'?" if near else ""
