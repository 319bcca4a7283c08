"""A progress line on a terminal; silence where nobody looks."""

from __future__ import annotations

from typing import TextIO


class Progress:
    """Shows how far something of known length is. Writes only to a terminal."""

    def __init__(self, stream: TextIO, what: str, total: float) -> None:
        self._stream = stream if stream.isatty() and total > 0 else None
        self._what = what
        self._total = total
        self._shown = ""

    def at(self, done: float, detail: str = "") -> None:
        """`done` of `total` is done; `detail` says more about it, and grows only."""
        percent = min(100, int(100 * done / self._total)) if self._total else 0
        text = f"{self._what}: {percent:3d} %{detail}"
        if self._stream is not None and text != self._shown:
            self._shown = text
            self._stream.write(f"\r{text}")
            self._stream.flush()

    def end(self) -> None:
        """Leave the line; the next `at` begins a new one."""
        if self._stream is not None and self._shown:
            self._shown = ""
            self._stream.write("\n")
            self._stream.flush()
