"""Lines to a terminal or a pipe without ever waiting for it.

A thread writes; the loop only puts into a bounded queue. A reader that is too slow loses lines, and is told how many;
one that has gone away is told to the gateway.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TextIO

_MOST_WAITING = 10_000


class LineWriter:
    """Writes lines to `stream` in order, from a thread of its own."""

    def __init__(self, stream: TextIO, gone: Callable[[], None] = lambda: None) -> None:
        """`gone` is called, from the thread, when nobody reads the stream any more."""
        self._stream = stream
        self._gone = gone
        self._queue: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="lines", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Have a line written, some time."""
        try:
            if self._dropped:
                self._queue.put_nowait(f"# {self._dropped} lines were dropped: the reader is too slow")
                self._dropped = 0
            self._queue.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is waiting, within `timeout_s`."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_s)
        self._thread.join(timeout_s)

    def _write(self) -> None:
        try:
            while (line := self._queue.get()) is not None:
                self._stream.write(line + "\n")
                if self._queue.empty():
                    self._stream.flush()
        except (BrokenPipeError, ValueError):
            self._gone()
