"""What was measured, whether it may stand beside the others, and the verdict on the targets."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE = 1e-4
"""Relative error of the amplitude above which a row is marked: it does not do the same work."""
CLASSIC, FRONT_END = "scipy: classic chain", "ours: demodulator"
GRAPH, TWO_GASES = "ours: default graph", "ours: two gas lines"
_BLOCK_MS = 100
_FRONT_END, _GRAPH, _SECOND = 100 / 1200, 700 / 1200, 0.30


@dataclass(frozen=True, slots=True)
class Row:
    """One method at one length of block: microseconds of CPU per second of sound in each round, and the amplitude it
    found.
    """

    name: str
    block_ms: int
    rounds_us: tuple[float, ...]
    amplitude: float
    truth: float

    @property
    def cpu_us(self) -> float:
        """The least of all rounds."""
        return min(self.rounds_us)

    @property
    def error(self) -> float:
        """Relative error of the amplitude."""
        return self.amplitude / self.truth - 1.0

    @property
    def right(self) -> bool:
        """Whether the amplitude is the true one; not if it is NaN."""
        return abs(self.error) <= TOLERANCE


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target: what was measured, what it may be at most, and whether it is met."""

    target: str
    measured: float
    limit: float
    met: bool


def find(rows: Sequence[Row], name: str, block_ms: int = _BLOCK_MS) -> Row | None:
    """That method at that length of block."""
    return next((row for row in rows if (row.name, row.block_ms) == (name, block_ms)), None)


def ratio(rows: Sequence[Row], row: Row) -> float | None:
    """CPU of `row` over that of the classic chain at the same blocks."""
    classic = find(rows, CLASSIC, row.block_ms)
    return None if classic is None else row.cpu_us / classic.cpu_us


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The targets, at 100 ms blocks, from the median over the rounds of the ratio within a round: a processor that for
    a moment runs faster moves the least of one method alone, and not this. A target is not met by a wrong amplitude,
    however fast. KeyError where a row is missing.
    """
    classic, front_end, graph, two = (_known(rows, name) for name in (CLASSIC, FRONT_END, GRAPH, TWO_GASES))
    return [
        _verdict("front end over classic chain", _times(front_end, classic), _FRONT_END, front_end),
        _verdict("default graph over classic chain", _times(graph, classic), _GRAPH, graph),
        _verdict("second gas line over default graph", _times(two, graph) - 1.0, _SECOND, two, graph),
    ]


def _times(row: Row, other: Row) -> float:
    return statistics.median(mine / its for mine, its in zip(row.rounds_us, other.rounds_us, strict=True))


def _verdict(target: str, measured: float, limit: float, *needed: Row) -> Verdict:
    return Verdict(target, measured, limit, measured <= limit and all(row.right for row in needed))


def _known(rows: Sequence[Row], name: str) -> Row:
    row = find(rows, name)
    if row is None:
        raise KeyError(name)
    return row
