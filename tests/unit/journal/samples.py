"""Ticks as the path makes them, with measurements, results, alerts and commands of every sort."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.journal.entry import Entry, told
from gateway.types import (
    Alert,
    Command,
    CommandResult,
    Flag,
    LevelResult,
    LockInResult,
    Measurement,
    Outcome,
    PeakResult,
    Result,
    Snapshot,
    Tick,
)

UTC_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000


def measurement(
    t_ns: int, node: str = "co2", value: float | None = 412.345678901234, valid: bool = True
) -> Measurement:
    """A measurement as they are; without a value it is one of a peak_finder that found no tone."""
    if value is None:
        peak = PeakResult("peak", t_ns, None, None, None, 1e-7, 40, 1.0, False)
        return Measurement(node, t_ns, None, None, None, 40, None, False, frozenset({Flag.STALE}), peak)
    lock = LockInResult("lock", t_ns, 2012.5, value * 1e-6, -1.1e-8, 3.3e-7, 93, 1.0)
    flags = frozenset({Flag.LOW_SIGNAL, Flag.IMPULSE}) if valid else frozenset({Flag.OVERLOAD})
    return Measurement(
        node,
        t_ns,
        value,
        0.1234567890123,
        0.25,
        93,
        0.37,
        valid,
        flags,
        lock,
        smoothed=value + 1 / 3,
        sigma_smoothed=0.05,
    )


def tick(
    t_ns: int, results: tuple[Result, ...] = (), alerts: tuple[Alert, ...] = (), utc_ns: int | None = UTC_NS
) -> Tick:
    """A tick that ends at `t_ns`; the stream began at `utc_ns`."""
    wall_ns = None if utc_ns is None else utc_ns + t_ns
    return Tick(t_ns // 100_000_000, t_ns, wall_ns, results, alerts, (), Snapshot())


def alert(t_ns: int, state: str = "raised") -> Alert:
    """An alert of a node's value."""
    raised = "raised" if state == "raised" else "cleared"
    return Alert("co2_high", "concentration", "warning", raised, 1234.5, 1000.0, "co2", t_ns)


def outcome(reason: str = "") -> Outcome:
    """The answer to a command with arguments."""
    asked = Command("relay/fan", "set", {"for_s": 1.5, "who": "Zoë", "none": None}, "mqtt")
    return Outcome((CommandResult(asked, not reason, reason, "on"),))


def entries(seconds: int, first: int = 1000, node: str = "co2") -> Iterator[Entry]:
    """What a second's measurement, a level and now and then an alert and a command leave, numbered from `first`."""
    for second in range(seconds):
        t_ns = second * SECOND_NS
        value = None if second % 11 == 10 else 400.0 + second / 7
        results = (measurement(t_ns, node, value, second % 5 != 4), LevelResult("level", t_ns, 0.1 / 3, 0.5))
        alerts = (alert(t_ns),) if second % 7 == 3 else ()
        done = outcome("no" * (second % 2)) if second % 9 == 2 else Outcome()
        for entry in told(tick(t_ns, results, alerts), done, {"level"}, {"level"}, first, UTC_NS + t_ns):
            yield entry
            first = entry.id + 1
