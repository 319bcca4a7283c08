"""Cuts a stream of samples or phasors into records of one length, and never lets a break in the sound into one.

A record holds values of one unbroken run, the settling time after its beginning left out. Where the run breaks, the
unfinished record is given up: it comes out with no values and the flag lost_samples, so that whoever waits for a
value learns why there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from gateway.types import NO_FLAGS, Flag, Flags

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Record(Generic[T]):
    """`values` [length] or [length, columns], of which the first has the absolute index `first`; None for a record that
    a break ended at `end`. Nobody changes them: they may be the sound itself.
    """

    first: int
    end: int
    values: npt.NDArray[T] | None
    flags: Flags


class Records(Generic[T]):
    """Collects values with absolute indices; gives back full records in order."""

    STATE = ("_kept", "_flags", "_filled", "_waited", "_next", "_begin")

    def __init__(
        self, length: int, settling: int, dtype: type[T], start: int = 0, columns: tuple[int, ...] = ()
    ) -> None:
        """Records of `length` values, the first `settling` values after `start` and after every break left out; a value
        has the shape `columns`.
        """
        self._buffer: npt.NDArray[T] = np.empty((length, *columns), dtype)
        self._settling = settling
        self._flags: Flags = NO_FLAGS
        self._filled = 0
        self._waited = False
        self._next = start
        self._begin = start + settling

    @property
    def due(self) -> int:
        """The index at which the next record is full."""
        return self._begin + len(self._buffer)

    @property
    def _kept(self) -> npt.NDArray[T]:
        """The values of the unfinished record."""
        return self._buffer[: self._filled]

    @_kept.setter
    def _kept(self, values: npt.NDArray[T]) -> None:
        self._buffer[: len(values)] = values

    def restart(self, first: int, pause: int) -> list[Record[T]]:
        """Begin anew, `pause` values after `first`, the next one to come: one may be left out, which was unfinished.

        An unfinished record of which something was said comes out without values, unless it is the first of all, for
        which nobody waits.
        """
        told = bool(self._flags) and self._waited
        given_up: list[Record[T]] = (
            [Record(min(self._begin, self._next), self._next, None, self._flags)] if told else []
        )
        if first == self._next + 1:
            self._next = first
        self._filled, self._flags, self._begin = 0, NO_FLAGS, self._next + pause
        return given_up

    def push(self, first: int, values: npt.NDArray[Any], flags: Flags) -> list[Record[T]]:
        """Take values [n] whose first has index `first`; `flags` count for every record they touch."""
        out: list[Record[T]] = []
        if first != self._next:
            begin = min(self._begin, self._next)
            out.append(Record(begin, self._next, None, self._flags | {Flag.LOST_SAMPLES}))
            self._filled, self._flags, self._begin = 0, NO_FLAGS, first + self._settling
            self._waited = True
        self._next = first + len(values)
        values = values[max(0, self._begin + self._filled - first) :]
        while len(values):
            length = len(self._buffer)
            if not self._filled and len(values) >= length:
                whole = Record(self._begin, self._begin + length, values[:length], self._flags | flags)
                out.append(whole)
                self._waited, self._flags, self._begin = True, NO_FLAGS, whole.end
                values = values[length:]
                continue
            take = min(len(values), length - self._filled)
            self._buffer[self._filled : self._filled + take] = values[:take]
            self._filled += take
            self._flags |= flags
            values = values[take:]
            if self._filled == length:
                self._waited = True
                out.append(Record(self._begin, self._begin + length, self._buffer, self._flags))
                self._buffer = np.empty_like(self._buffer)
                self._begin, self._filled, self._flags = self._begin + length, 0, NO_FLAGS
        return out
