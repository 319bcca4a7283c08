"""A text display behind a character device: a console, a serial port, a character LCD of the kernel's. It never waits.

Rows are written over each other, from the home position on; of VT100's control sequences "home" and "clear" are used.
Everything is written without blocking: what the device does not take now is dropped, and the next picture is whole.
Before it is closed its queue is emptied, since closing a serial port waits up to 30 s for what is left in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
import termios
from collections.abc import Sequence
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import LinkError

CLEAR, HOME = b"\x1b[2J", b"\x1b[H"
DRAIN_NS, _STEP_NS = 500_000_000, 20_000_000


class Terminal:
    """The display at `path`, of so many columns and lines."""

    def __init__(self, path: Path, columns: int, lines: int) -> None:
        self._path, self._columns, self._lines = path, columns, lines
        self._device: int | None = None
        self._whole = False

    def check(self) -> None:
        """Raises LinkError for a path that is there and no character device."""
        if self._path.exists() and not stat.S_ISCHR(self._path.stat().st_mode):
            raise LinkError(f"{self._path} is no terminal", "Name a device such as /dev/tty1 or /dev/ttyUSB0")

    def show(self, rows: Sequence[str]) -> str:
        """Show the rows in place of what is there; why that did not work, empty if it did."""
        filled = [row.ljust(self._columns) for row in (*rows, *[""] * (self._lines - len(rows)))]
        try:
            return self._write("\r\n".join(filled).encode())
        except BlockingIOError:
            return f"{self._path} takes nothing: is it switched off, or stopped by Ctrl-S?"
        except OSError as error:
            self._drop()
            return f"{self._path} cannot be written: {error.strerror}"

    async def close(self, clock: Clock) -> None:
        """Clear it and give it back, within DRAIN_NS; may be called twice."""
        if self._device is None:
            return
        try:
            with contextlib.suppress(OSError):
                os.write(self._device, CLEAR + HOME)
            end_ns = clock.monotonic_ns() + DRAIN_NS
            while _queued(self._device) and clock.monotonic_ns() < end_ns:
                await clock.sleep_until(clock.monotonic_ns() + _STEP_NS)
        finally:
            self._drop()

    def _write(self, text: bytes) -> str:
        if self._device is None:
            self._device = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            self._whole = False
            if not stat.S_ISCHR(os.fstat(self._device).st_mode):
                self._drop()
                return f"{self._path} is no terminal"
        frame = (HOME if self._whole else CLEAR + HOME) + text
        self._whole = False
        self._whole = os.write(self._device, frame) == len(frame)
        return "" if self._whole else f"{self._path} is too slow: it took part of the text"

    def _drop(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            with contextlib.suppress(OSError, termios.error):
                if _queued(device):
                    termios.tcflush(device, termios.TCOFLUSH)
            with contextlib.suppress(OSError):
                os.close(device)


def _queued(device: int) -> int:
    """Bytes that the device has not sent yet; 0 where it has no queue, or is gone."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(device, termios.TIOCOUTQ, b"\0" * 4))[0])
    except OSError:
        return 0
