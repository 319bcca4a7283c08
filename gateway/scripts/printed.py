"""What a worker prints: its standard output and error, line by line, into what its script has said.

No more is read than a bounded amount at a time, with a pause behind it: a worker that floods waits in its own write.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select

from gateway.scripts.messages import escaped
from gateway.scripts.told import Told

_CHUNK, _LINES, _PAUSE_S = 16 * 1024, 100, 0.05
_LAST_CHUNKS = 4


class Printed:
    """The end of a pipe that is read, from `listen` to `close`; the descriptor is its own."""

    def __init__(self, descriptor: int, told: Told) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self._told = descriptor, told
        self._loop = asyncio.get_running_loop()
        self._line = b""

    def listen(self) -> None:
        """Read what comes from now on."""
        if self._descriptor >= 0:
            self._loop.add_reader(self._descriptor, self._readable)

    async def heard_out(self, seconds: float) -> None:
        """Return when what is printed so far has been read, or after so many seconds."""
        end = self._loop.time() + seconds
        while self._descriptor >= 0 and select.select([self._descriptor], [], [], 0)[0]:
            if self._loop.time() > end:
                return
            await asyncio.sleep(0.002)

    def close(self) -> None:
        """Take the last words, no more than the pipe holds, and read no more."""
        for _ in range(_LAST_CHUNKS):
            with contextlib.suppress(OSError):
                if data := os.read(self._descriptor, _CHUNK):
                    self._take(data)
        if self._line:
            self._take(b"\n")
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1

    def _readable(self) -> None:
        if self._descriptor < 0:
            return
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        self._loop.remove_reader(self._descriptor)
        if data:
            self._take(data)
            self._loop.call_later(_PAUSE_S, self.listen)

    def _take(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n", _LINES)
        if len(lines) == _LINES:
            self._told.suppressed(self._line.count(b"\n"))
            self._line = self._line.rpartition(b"\n")[2]
        self._line = self._line[-_CHUNK:]
        for line in lines:
            if line.strip():
                self._told.line("info", escaped(line[:8192].decode("utf-8", "replace")))
