"""Lines of a GPIO chip, through the kernel's character device, and their simulated twins.

A chip is found by its label, which the board file names: its number differs between kernels. A line is requested
together with its first level, so it never passes through another one, and belongs to whoever requested it until that
one closes it or dies. What becomes of its level then is the kernel's business: an input again on one, driven for ever
on another. So the owner drives it to its safe state first, and somebody else does it for an owner that died.

The bindings (gpiod, libgpiod 2) are imported on open. Nothing here is for two threads at once.
"""

from __future__ import annotations

import contextlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from gateway.errors import DeviceError

CONSUMER = "spectrophone"
"""Whose a line is, as `gpioinfo` shows it."""
CHIPS = Path("/dev")
Bias = Literal["pull_up", "pull_down", "none"]

_INSTALL = "On a Raspberry Pi: pip install 'spectrophone[pi]'; elsewhere choose board: sim"
_REFUSED = (OSError, ValueError, NotImplementedError)  # what the bindings make of errno


def find_chip(label: str | None, chips: Path = CHIPS) -> Path:
    """The device file, in the directory `chips`, of the GPIO chip of that label. Raises DeviceError."""
    bindings, found, barred = _bindings(), dict[str, Path](), list[Path]()
    for path in sorted(chips.glob("gpiochip*")):
        try:
            with bindings.Chip(str(path)) as chip:
                found.setdefault(chip.get_info().label, path)
        except PermissionError:
            barred.append(path)
        except OSError:
            continue
    if label in found:
        return found[label]
    if barred:
        raise DeviceError(f"{barred[0]} may not be opened", "Put the gateway's user into the group gpio")
    if not found:
        raise DeviceError("there is no GPIO chip on this machine", "Choose board: sim, or run it on a Raspberry Pi")
    there = f"This machine has: {', '.join(found)}"
    if label is None:
        raise DeviceError("the board file does not say on which GPIO chip its lines are", f"Give gpiochip. {there}")
    raise DeviceError(f"there is no GPIO chip '{label}'", f"Choose another board, or mend its gpiochip. {there}")


class Line:
    """An open output line: number `line` of the chip called `chip_label`; `active_high` False turns its level round; it
    begins with `lit`.

    Raises DeviceError where there are no such chip and line, or somebody else has it.
    """

    def __init__(self, chip_label: str | None, line: int, active_high: bool, lit: bool, *, chips: Path = CHIPS) -> None:
        bindings = _bindings()
        settings = bindings.LineSettings(
            direction=bindings.line.Direction.OUTPUT,
            active_low=not active_high,
            output_value=bindings.line.Value(lit),
        )
        self._line, self._values = line, bindings.line.Value
        self._request: Any = _request(bindings, find_chip(chip_label, chips), line, settings)

    def set(self, lit: bool) -> None:
        """Drive the line; nothing happens once it is closed. Raises DeviceError."""
        if self._request is None:
            return
        try:
            self._request.set_value(self._line, self._values(lit))
        except OSError as error:
            raise _gone(self._line, "set", error) from None

    def get(self) -> bool:
        """The line's level, read back from the chip; False once it is closed. Raises DeviceError."""
        return self._request is not None and _level(self._request, self._line)

    def close(self) -> None:
        """Give the line back as it is; may be called twice."""
        if self._request is not None:
            self._request.release()
            self._request = None


class SimulatedLine:
    """A line of no board."""

    def __init__(self, lit: bool) -> None:
        self._lit, self._open = lit, True

    def set(self, lit: bool) -> None:
        """See Line."""
        self._lit = lit

    def get(self) -> bool:
        """See Line."""
        return self._lit and self._open

    def close(self) -> None:
        """See Line."""
        self._open = False


class Input:
    """An open input line: number `line` of the chip called `chip_label`, active on a high level or, with `active_high`
    False, on a low one. The chip puts the resistor `bias` to it; changes shorter than `debounce_ms` do not count.

    Raises DeviceError as Line does.
    """

    def __init__(
        self,
        chip_label: str | None,
        line: int,
        active_high: bool,
        bias: Bias,
        debounce_ms: int = 0,
        *,
        chips: Path = CHIPS,
    ) -> None:
        bindings = _bindings()
        resistors = {"pull_up": "PULL_UP", "pull_down": "PULL_DOWN", "none": "DISABLED"}
        settings = bindings.LineSettings(
            direction=bindings.line.Direction.INPUT,
            edge_detection=bindings.line.Edge.BOTH,
            bias=bindings.line.Bias[resistors[bias]],
            active_low=not active_high,
            debounce_period=timedelta(milliseconds=debounce_ms),
        )
        self._line = line
        self._request: Any = _request(bindings, find_chip(chip_label, chips), line, settings)
        os.set_blocking(self._request.fd, False)

    def fileno(self) -> int:
        """A descriptor that is readable while there are changes that get() has not seen; -1 once it is closed."""
        return -1 if self._request is None else int(self._request.fd)

    def get(self) -> bool:
        """Whether the line is active now; forgets the changes before. Raises DeviceError, also once it is closed."""
        if self._request is None:
            raise DeviceError(f"GPIO line {self._line} is closed")
        try:
            with contextlib.suppress(BlockingIOError):
                self._request.read_edge_events()
        except OSError as error:
            raise _gone(self._line, "read", error) from None
        return _level(self._request, self._line)

    def close(self) -> None:
        """Give the line back; may be called twice."""
        if self._request is not None:
            self._request.release()
            self._request = None


class SimulatedInput:
    """An input of no board, which set() moves."""

    def __init__(self, active: bool) -> None:
        self._active = active
        self._changes = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self, active: bool) -> None:
        """Make it active or not, as if somebody had pressed or let go."""
        if active != self._active:
            self._active = active
            os.eventfd_write(self._changes, 1)

    def fileno(self) -> int:
        """See Input."""
        return self._changes

    def get(self) -> bool:
        """See Input."""
        if self._changes < 0:
            raise DeviceError("the simulated input is closed")
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._changes)
        return self._active

    def close(self) -> None:
        """See Input."""
        if self._changes >= 0:
            os.close(self._changes)
            self._changes = -1


def _bindings() -> Any:
    try:
        import gpiod
    except ImportError as error:
        raise DeviceError(f"GPIO lines cannot be opened: {str(error).rstrip('.!').lower()}", _INSTALL) from None
    return gpiod


def _request(bindings: Any, path: Path, line: int, settings: Any) -> Any:
    try:
        with bindings.Chip(str(path)) as chip:
            try:
                return chip.request_lines({line: settings}, CONSUMER)
            except OSError as error:
                holder = chip.get_line_info(line)
                if not holder.used:
                    raise
                told = f"GPIO line {line} is in use already, by '{holder.consumer}'"
                raise DeviceError(told, "End that, or give this part another line") from error
    except _REFUSED as error:
        told = getattr(error, "strerror", None) or str(error)
        remedy = f"Look what {path} has: gpioinfo"
        raise DeviceError(f"GPIO line {line} cannot be opened: {told.lower()}", remedy) from None


def _level(request: Any, line: int) -> bool:
    try:
        return bool(request.get_value(line))
    except OSError as error:
        raise _gone(line, "read", error) from None


def _gone(line: int, done: str, error: OSError) -> DeviceError:
    told = (error.strerror or str(error)).lower()
    return DeviceError(f"GPIO line {line} cannot be {done}: {told}", "Look whether its chip is there: gpioinfo")
