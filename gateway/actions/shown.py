"""What a display shows: one row for each value and each alert that is raised, in as many columns as there are.

    co2_concentration            co2_concentration            co2_concentration
    412.31 ± 0.42 ppm            no value: laser_off          stale
                                                              WARNING silent 30 s

The digits of a value end where the second one of its standard deviation does. A value with its name takes two rows
where there is room; otherwise the name is cut, then the uncertainty left out, and never a digit. The last row is an
alert's, the worst one's, whenever there is one. A value older than `expire_ns` is never shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gateway.actions import records
from gateway.journal.entry import Entry
from gateway.types import INVALIDATING, iso_utc

State = Literal["ok", "info", "invalid", "warning", "critical"]
"""The states of a display, from the best to the worst."""
STATES: tuple[State, ...] = get_args(State)
MOST_DECIMALS = 6
SHORTEST_NAME = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """How much a display holds, and how it writes: `decimals` of a concentration, None: as its uncertainty says."""

    columns: int
    lines: int
    decimals: int | None = None
    plus_minus: str = "±"


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown: the state, rows of text, and the time of the newest value, ISO 8601; None before there is one."""

    state: State
    lines: tuple[str, ...]
    time: str | None = None


class Picture:
    """The newest result of each node and the alerts that are raised."""

    def __init__(self, layout: Layout, expire_ns: int) -> None:
        self._layout = layout
        self._expire_ns = expire_ns
        self._newest: dict[str, tuple[Entry, int]] = {}
        self._raised: dict[str, Mapping[str, Any]] = {}

    def take(self, entry: Entry, now_ns: int, utc_ns: int) -> None:
        """Take in an entry, at monotonic time `now_ns` and wall clock `utc_ns`, from which its age is counted."""
        if entry.kind in records.RESULTS:
            before = self._newest.get(entry.subject)
            if before is None or before[0].id < entry.id:
                self._newest[entry.subject] = entry, now_ns - max(0, utc_ns - entry.time_ns)
        elif entry.kind == "alert" and entry.fields["state"] == "raised":
            self._raised[entry.fields["rule"]] = entry.fields
        elif entry.kind == "alert":
            self._raised.pop(entry.fields["rule"], None)

    def shown(self, now_ns: int) -> Shown:
        """What is to be seen at monotonic time `now_ns`."""
        states: list[State] = ["ok"]
        values: list[tuple[str, Sequence[str]]] = []
        for node, (entry, seen_ns) in self._newest.items():
            stale = now_ns - seen_ns > self._expire_ns
            texts = ("stale",) if stale else tuple(_value(entry, self._layout))
            states.append("invalid" if stale or not _usable(entry) else "ok")
            values.append((node, texts))
        alerts = sorted(self._raised.values(), key=lambda alert: STATES.index(alert["severity"]), reverse=True)
        states += [alert["severity"] for alert in alerts]
        state = max(states, key=STATES.index) if values else max([*states, "invalid"], key=STATES.index)
        time_ns = max((entry.time_ns for entry, _ in self._newest.values()), default=None)
        return Shown(state, self._rows(values, alerts), iso_utc(time_ns))

    def _rows(
        self, values: Sequence[tuple[str, Sequence[str]]], alerts: Sequence[Mapping[str, Any]]
    ) -> tuple[str, ...]:
        columns, lines = self._layout.columns, self._layout.lines
        tall = 2 * len(values) + len(alerts) <= lines
        above = [row for name, texts in values for row in _rows(name, texts, columns, tall)] or ["no value yet"]
        below = [_row(alert["source"], tuple(_alert(alert)), columns) for alert in alerts]
        below = below[: max(1, lines - len(above))]
        return (*above[: lines - len(below)], *below)


def _rows(name: str, texts: Sequence[str], columns: int, tall: bool) -> tuple[str, ...]:
    if not tall or len(name) + 1 + len(texts[0]) <= columns:
        return (_row(name, texts, columns),)
    return name[:columns], _fitting(texts, columns)


def _row(name: str, texts: Sequence[str], columns: int) -> str:
    """The first of the texts that fits, and as much of the name before it as there is room for."""
    text = _fitting(texts, columns)
    short = name[: max(0, columns - len(text) - 1)]
    short = short if short == name else short.rstrip("_-")
    return f"{short} {text}" if short == name or len(short) >= SHORTEST_NAME else text


def _fitting(texts: Sequence[str], columns: int) -> str:
    return next((text for text in texts if len(text) <= columns), texts[-1][:columns])


def _usable(entry: Entry) -> bool:
    return records.valid(entry) and _quantity(entry)[0] is not None


def _quantity(entry: Entry) -> tuple[float | None, float | None, str]:
    """Value, standard deviation and unit of a result; parts of full scale have none."""
    fields = entry.fields
    match entry.kind:
        case "measurement":
            return fields["ppm"], fields["sigma_ppm"], " ppm"
        case "peak":
            return fields["frequency_hz"], fields["sigma_frequency_hz"], " Hz"
        case "lock_in":
            return fields["amplitude"], fields["sigma"], ""
    return fields["rms"], None, ""


def _value(entry: Entry, layout: Layout) -> Iterator[str]:
    """A value as text, the fullest first."""
    value, sigma, unit = _quantity(entry)
    if value is None or not records.valid(entry):
        why = next((flag for flag in entry.fields["flags"] if flag in INVALIDATING), None)
        yield f"no value: {why}" if why else "no value"
        return
    fixed = layout.decimals if entry.kind == "measurement" else None
    decimals = _decimals(sigma) if fixed is None else fixed
    if sigma is not None:
        yield f"{value:.{decimals}f} {layout.plus_minus} {sigma:.{decimals}f}{unit}"
    yield f"{value:.{decimals}f}{unit}"
    yield f"{value:.{decimals}f}"


def _decimals(sigma: float | None) -> int:
    """Decimals up to the second significant digit of a standard deviation; three where there is none."""
    if sigma is None:
        return 3
    return min(MOST_DECIMALS, max(0, 1 - math.floor(math.log10(sigma)))) if sigma > 0 else MOST_DECIMALS


def _alert(alert: Mapping[str, Any]) -> Iterator[str]:
    """An alert as text, the fullest first."""
    value, threshold = alert["value"], alert["threshold"]
    side = "silent" if value is None else ">" if value > threshold else "<"
    unit = " s" if value is None else records.UNITS.get(alert["type"], "")
    severity = alert["severity"].upper()
    yield f"{severity} {side} {threshold:g}{unit}"
    yield severity
