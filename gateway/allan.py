"""Values for an Allan deviation: measurements of a recording, of the JSON lines that `run` and `replay` print, or of
the journal.

Only values that follow each other without a gap can be used: neither an invalid value nor a lost record may be
bridged, because averages on its two sides are not adjacent. Of the runs of valid measurements with the usual spacing
the longest one is taken, and what is left out is said.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.dsp.allan import FEWEST
from gateway.errors import UsageError
from gateway.journal.entry import Entry
from gateway.replay import Replay
from gateway.types import Measurement

_SOUND = (b"RIFF", b"RF64", b"fLaC")
_SUFFIXES = (".wav", ".flac")
_DATABASE = b"SQLite format 3\0"
_JITTER = 0.01


@dataclass(slots=True)
class Series:
    """Measurements of one concentration node, in order: `t_s`, end of the record in seconds; `ppm`, NaN where the
    measurement is not valid.
    """

    t_s: array[float] = field(default_factory=lambda: array("d"))
    ppm: array[float] = field(default_factory=lambda: array("d"))

    def add(self, t_s: float, ppm: float | None, valid: bool) -> None:
        """One more measurement."""
        self.t_s.append(t_s)
        self.ppm.append(ppm if valid and ppm is not None else math.nan)


@dataclass(frozen=True, slots=True)
class Run:
    """The longest run without a gap: `ppm`, float64 [measurements], one every `spacing_s`; `invalid` and `apart` count
    what was left out, because it is not valid or lies beyond a gap.
    """

    node: str
    ppm: npt.NDArray[np.float64]
    spacing_s: float
    invalid: int
    apart: int


def is_recording(file: Path) -> bool:
    """Whether `file` is sound, by its name or its first bytes. Raises UsageError where it cannot be read."""
    return _head(file, 4) in _SOUND or file.suffix.lower() in _SUFFIXES


def is_journal(file: Path) -> bool:
    """Whether `file` is a journal, by its first bytes. Raises UsageError where it cannot be read."""
    return _head(file, len(_DATABASE)) == _DATABASE


def _head(file: Path, size: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None


async def of_recording(recording: Replay, seen: Callable[[float], None]) -> dict[str, Series]:
    """Measurements of a recording, by node. `seen` is told how many seconds are done."""
    series: dict[str, Series] = {}
    async for tick in recording.ticks():
        for result in tick.results:
            if isinstance(result, Measurement):
                series.setdefault(result.node, Series()).add(result.t_ns / 1e9, result.value, result.valid)
        seen(tick.t_ns / 1e9)
    return series


def of_lines(lines: Iterable[bytes], name: str) -> dict[str, Series]:
    """Measurements among the JSON `lines` of the file `name`, by node; other kinds of objects are passed over.

    Raises UsageError for a line that is not what docs/json-lines.md describes, with its number.
    """
    series: dict[str, Series] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fields = _object(line, name, number)
        if fields.get("kind") != "measurement":
            continue
        try:
            t_s, ppm = float(fields["t_s"]), fields["ppm"]
            series.setdefault(str(fields["node"]), Series()).add(
                t_s, None if ppm is None else float(ppm), fields["valid"] is True
            )
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"{name}: line {number} is a measurement without node, t_s, ppm or valid") from None
    return series


def of_entries(entries: Iterable[Entry]) -> dict[str, Series]:
    """Measurements among the journal's `entries`, by node.

    Every start of the gateway begins a stream, whose t_s counts from 0 again. Within a stream the times are those of
    the sound, for the wall clock may be set; how far streams are apart is told by the wall clock. A stream is new where
    t_s does not grow, or where it began after the measurement before it.
    """
    series: dict[str, Series] = {}
    streams: dict[str, _Stream] = {}
    for entry in entries:
        if entry.kind != "measurement":
            continue
        t_s, ppm = float(entry.fields["t_s"]), entry.fields["ppm"]
        began_ns = entry.time_ns - round(t_s * 1e9)
        stream = streams.setdefault(entry.subject, _Stream(began_ns))
        if t_s <= stream.t_s or began_ns >= stream.time_ns:
            stream.after_s = (began_ns - stream.first_ns) / 1e9
        stream.t_s, stream.time_ns = t_s, entry.time_ns
        series.setdefault(entry.subject, Series()).add(stream.after_s + t_s, ppm, entry.fields["valid"] is True)
    return series


@dataclass(slots=True)
class _Stream:
    """Where a node's stream began, `after_s` the first one, which did at `first_ns`; its newest measurement."""

    first_ns: int
    after_s: float = 0.0
    t_s: float = -math.inf
    time_ns: int = 0


def _object(line: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise UsageError(
            f"{name}: line {number} is not a JSON object",
            "Give a WAV or FLAC recording, or what `spectrophone replay` or `run --json` printed",
        )
    return fields


def chosen(series: dict[str, Series], node: str | None, name: str) -> tuple[str, Series]:
    """The measurements of `node`, which may be None where there is but one. Raises UsageError with the nodes' names."""
    if not series:
        raise UsageError(f"{name} has no measurements", "A concentration node makes them: see --config")
    names = ", ".join(sorted(series))
    if node is None:
        if len(series) > 1:
            raise UsageError(f"{name} has measurements of several nodes: {names}", "Choose one with --node")
        node = next(iter(series))
    if node not in series:
        raise UsageError(f"{name} has no measurements of {node}", f"There are: {names}")
    return node, series[node]


def longest_run(node: str, series: Series) -> Run:
    """The longest run of valid measurements with the usual spacing, the median one, within 1 %.

    Raises UsageError where fewer than 10 are left, or all are equal.
    """
    t_s, ppm = np.array(series.t_s), np.array(series.ppm)
    valid = np.isfinite(ppm) & np.isfinite(t_s)
    spacings = np.diff(t_s)[valid[1:] & valid[:-1]]
    usual = float(np.median(spacings)) if len(spacings) else 0.0
    first, last = _longest(valid, np.abs(np.diff(t_s) - usual) <= _JITTER * usual)
    count = last - first
    if count < FEWEST:
        raise UsageError(
            f"{node}: {count} of {len(ppm)} measurements are valid and without a gap between, {FEWEST} are needed",
            "Record for longer",
        )
    values = ppm[first:last]
    if usual <= 0.0 or np.ptp(values) == 0.0:
        raise UsageError(f"all {count} values of {node}, or their times, are equal: there is no noise to judge")
    spacing_s = float(t_s[last - 1] - t_s[first]) / (count - 1)
    return Run(node, values, spacing_s, int(np.sum(~valid)), int(np.sum(valid)) - count)


def _longest(valid: npt.NDArray[np.bool_], adjacent: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """First and last + 1 of the longest stretch that is valid throughout and whose members are adjacent."""
    best, first = (0, 0), 0
    for i, good in enumerate(valid):
        if not good:
            first = i + 1
        elif i > first and not adjacent[i - 1]:
            first = i
        if i + 1 - first > best[1] - best[0]:
            best = (first, i + 1)
    return best
