"""The state of boxes, looked at again and again. A gateway that ends, or cannot be reached, is waited for."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TextIO

from gateway import jsonlines, status
from gateway.clock import Clock
from gateway.errors import LinkError

Look = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]
"""The statuses that there are. Raises LinkError for what may pass, UsageError for what does not."""
EVERY_NS = 1_000_000_000
_HOME, _TO_END, _BELOW, _HIDE, _SHOW = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[?25l", "\x1b[?25h"


class Screen:
    """A terminal on which the newest takes the place of what was there."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = False

    def show(self, found: Sequence[Mapping[str, Any]], problem: str) -> None:
        """Draw it; with nothing found, the problem."""
        text = "\n".join(status.described(each) for each in found) or problem
        size = shutil.get_terminal_size()
        lines = [_printable(line)[: size.columns] for line in text.split("\n")]
        if len(lines) > size.lines - 1:
            lines = [*lines[: size.lines - 2], f"... {len(lines) - size.lines + 2} lines more; the window is too low"]
        begin = "" if self._begun else f"{_HIDE}{_HOME}{_BELOW}"
        self._begun = True
        self._stream.write(begin + _HOME + "".join(f"{line}{_TO_END}\n" for line in lines) + _BELOW)
        self._stream.flush()

    def close(self) -> None:
        """Leave it as it is, with the cursor below."""
        if self._begun:
            self._stream.write(_SHOW)
            self._stream.flush()


class Lines:
    """One after the other, for a file or a pipe: JSON, or text. A problem is told aside, once."""

    def __init__(self, stream: TextIO, aside: TextIO, *, json: bool) -> None:
        self._stream, self._aside, self._json = stream, aside, json
        self._problem = ""

    def show(self, found: Sequence[Mapping[str, Any]], problem: str) -> None:
        """Write what is found; a problem where it is news."""
        for each in found:
            self._stream.write(jsonlines.line(dict(each)) if self._json else status.described(each))
            self._stream.write("\n")
        self._stream.flush()
        if problem and problem != self._problem:
            self._aside.write(f"spectrophone: {problem}\n")
            self._aside.flush()
        self._problem = problem

    def close(self) -> None:
        """Nothing is left to do."""


async def watch(look: Look, view: Screen | Lines, clock: Clock) -> None:
    """Look and show once a second, for ever. Raises UsageError where that will never do."""
    names: list[str] = []
    try:
        while True:
            next_ns = clock.monotonic_ns() + EVERY_NS
            found, problem = await _looked(look, names)
            names = [each["box"] for each in found] or names
            view.show(found, problem)
            await clock.sleep_until(next_ns)
    finally:
        view.close()


async def _looked(look: Look, names: Sequence[str]) -> tuple[Sequence[Mapping[str, Any]], str]:
    """What there is; with nothing, why, and that it is waited for."""
    try:
        if found := await look():
            return found, ""
        ended = f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'} ended"
        why = ended if names else "no gateway runs here"
    except LinkError as error:
        why = str(error)
    return [], f"{why}. Waiting for {' and '.join(names) or 'one'}; Ctrl-C ends this"


def _printable(line: str) -> str:
    """Without control characters, which a script's words may have."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)
