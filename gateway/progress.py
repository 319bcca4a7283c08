"""A progress line on a terminal; silence where nobody looks."""

from __future__ import annotations

from typing import TextIO


class Progress:
    """Shows how far something of known length is. Writes only to a terminal."""

    def __init__(self, stream: TextIO, what: str, total: float) -> None:
        self._stream = stream if stream.isatty() and total > 0 else None
        self._what = what
        self._total = total
        self._shown = -1

    def at(self, done: float) -> None:
        """`done` of `total` is done."""
        percent = min(100, int(100 * done / self._total)) if self._total else 0
        if self._stream is not None and percent != self._shown:
            self._shown = percent
            self._stream.write(f"\r{self._what}: {percent:3d} %")
            self._stream.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._stream is not None and self._shown >= 0:
            self._stream.write("\n")
            self._stream.flush()
