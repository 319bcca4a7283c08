"""What any of the estimators gave, and how to look up the truth that belongs to it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.precision.twin import SUB, Block, Event
from bench.precision.world import Wave


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading, of the frames `first` to `end`; `ppm` None where there is no valid one.

    `u95` is the half-width of its 95 % interval, NaN where none is claimed.
    """

    first: int
    end: int
    ppm: float | None
    u95: float
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Trial:
    """A reading beside its truth: the matched filter's error on the same noise, the bound, and what happened."""

    reading: Reading
    true_ppm: float
    luck_ppm: float
    bound_ppm: float
    happened: frozenset[str]


class Truth:
    """The truth of a stream of blocks. Keeps the last two minutes."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._rows: list[tuple[float, float, float]] = []
        self._events: list[Event] = []

    def add(self, block: Block) -> None:
        """Take the truth of a block."""
        self._starts += [block.frame + SUB * i for i in range(len(block.ppm))]
        self._rows += [(p, e, block.bound_ppm) for p, e in zip(block.ppm, block.luck_ppm, strict=True)]
        self._events += block.events
        if len(self._starts) > 24_000:
            del self._starts[:12_000], self._rows[:12_000]

    def of(self, reading: Reading) -> Trial:
        """The trial of a reading whose frames have all been added."""
        low, high = (bisect_left(self._starts, frame - SUB // 2) for frame in (reading.first, reading.end))
        rows: Wave = np.array(self._rows[low : max(high, low + 1)])
        ppm, luck, bound = rows.mean(axis=0).tolist()
        seconds = (reading.end - reading.first) / 48_000
        happened = frozenset(event.name for event in self._events if _inside(event, reading))
        return Trial(reading, ppm, luck, bound / max(seconds, 0.01) ** 0.5, happened)


def _inside(event: Event, reading: Reading) -> bool:
    """Lost samples end the record that they interrupt, at its last whole 10 ms; the rest lies within one."""
    if event.name == "lost_samples":
        return reading.first < event.frame < reading.end + SUB
    return reading.first <= event.frame < reading.end


def valid(trials: Sequence[Trial]) -> list[Trial]:
    """Those with a value."""
    return [trial for trial in trials if trial.reading.ppm is not None]
