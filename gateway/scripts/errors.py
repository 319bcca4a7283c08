"""A customer's exception as a Record: their own file and lines, and nothing of ours.

The exception is the customer's, class, text and all: asking it anything, isinstance included, may raise, hang or return
rubbish. What raises is caught here; what hangs is ended at the deadline of the call, in which this runs.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from types import FunctionType, MethodType, TracebackType
from typing import Any

from gateway.scripts.messages import LONGEST_TEXT, Frame, Record, escaped

MOST_FRAMES = 20
LONGEST_LINE, LONGEST_NAME = 200, 128
"""Characters of a line of source, and of a name; 20 frames of them fit into one message."""

_UNSHOWN = Record("Exception", "the script raised an exception that cannot be shown")
_FULL = Record("MemoryError", "the script has used up its memory", hint="keep less in memory, or raise max_memory_mb")


class Source:
    """The text of a script as it was loaded, under the path that tracebacks name.

    `lines` count as Python counts them: a form feed ends none.
    """

    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.lines = re.split(r"\r\n?|\n", source.decode("utf-8-sig", "replace"))

    def line(self, number: int) -> str:
        """One line without what stands around it; "" if there is none."""
        return self.lines[number - 1].strip() if 0 < number <= len(self.lines) else ""


def describe(exception: BaseException, source: Source, hint: Callable[[BaseException], str], line: int = 0) -> Record:
    """The Record of an exception that a script raised or let through. It never raises.

    `line` is told where no frame is the customer's. A group with one exception in it is told as that one.
    """
    try:
        return _describe(_single(exception), source, hint, line)
    except BaseException as fault:
        return _FULL if MemoryError in (type(exception), type(fault)) else _UNSHOWN


def _describe(exception: BaseException, source: Source, hint: Callable[[BaseException], str], line: int) -> Record:
    frames = _frames(_traceback(exception), source)
    fault: Any = exception
    if issubclass(type(exception), SyntaxError) and fault.filename == source.path:
        line = fault.lineno or 0
    elif frames:
        line = frames[-1][0]
    return Record(
        type=escaped(kind(type(exception)), LONGEST_NAME),
        message=escaped(_text(exception), LONGEST_TEXT),
        line=line if type(line) is int and line >= 0 else 0,
        file=escaped(source.path),
        frames=frames,
        hint=_hinted(exception, hint),
    )


def _single(exception: BaseException) -> BaseException:
    group: Any = exception
    while issubclass(type(group), BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    single: BaseException = group
    return single


def _hinted(exception: BaseException, hint: Callable[[BaseException], str]) -> str:
    try:
        return escaped(hint(exception))
    except BaseException:
        return ""


def _traceback(exception: BaseException) -> TracebackType | None:
    """What the interpreter keeps, whatever the class answers."""
    traceback: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(exception)
    return traceback


def modules(exception: BaseException) -> set[str]:
    """The names of the modules that the exception came through."""
    found = set()
    traceback = _traceback(exception)
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__")
        if type(name) is str:
            found.add(name)
        traceback = traceback.tb_next
    return found


def _frames(traceback: TracebackType | None, source: Source) -> list[Frame]:
    """The customer's frames, outermost first; of too many, the first and the last ones."""
    first: list[tuple[int, str]] = []
    last: deque[tuple[int, str]] = deque(maxlen=MOST_FRAMES // 2)
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename == source.path:
            place = traceback.tb_lineno or 0, _exact(code.co_name)
            if len(first) < MOST_FRAMES // 2:
                first.append(place)
            else:
                last.append(place)
        traceback = traceback.tb_next
    return [
        (number, escaped(name, LONGEST_NAME), escaped(source.line(number), LONGEST_LINE))
        for number, name in (*first, *last)
    ]


def _text(exception: BaseException) -> str:
    try:
        return _exact(str(exception))
    except BaseException as fault:
        return f"(its text cannot be shown: __str__ raised {kind(type(fault))})"


def kind(cls: type) -> str:
    """The name of a class, with its module but for builtins and scripts; nothing of the class itself is asked."""
    name = _exact(type.__dict__["__name__"].__get__(cls))
    module = type.__dict__["__module__"].__get__(cls)
    return name if type(module) is not str or _own(module) else f"{module}.{name}"


def _own(module: str) -> bool:
    return module in ("builtins", "gateway.scripts.guard") or module.startswith(SCRIPT)


SCRIPT = "script_"
"""What the names of scripts' modules begin with, so that none hides a library of the same name."""


def _exact(text: str) -> str:
    """The same as a str itself, if it is of a subclass."""
    return str.__str__(text)


def first_line(function: Any) -> int:
    """Where a function of a script begins; 0 for another callable."""
    if type(function) is MethodType:
        function = function.__func__
    return function.__code__.co_firstlineno if type(function) is FunctionType else 0
