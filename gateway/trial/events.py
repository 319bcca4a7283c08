"""What an action is tried with: sample values, a recording, or what a journal has, as entries of its own node.

All become what the node would have been given in the gateway: results of the nodes that it watches, alerts of its own
thresholds, alerts of rules that watch the same nodes; once per update interval the newest of each node, alerts at once.
Its own thresholds are judged anew, since they may be what is tried.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from itertools import count as counted
from pathlib import Path
from typing import Any

from gateway import jsonlines
from gateway.actions.history import History
from gateway.actions.queue import BATCH, Newest
from gateway.actions.records import RESULTS
from gateway.actions.settings import WATCHED, ActionSettings
from gateway.actions.triggers import TriggerFault, alarms
from gateway.alarms import Alarms
from gateway.config.config import built_in
from gateway.config.document import nearest
from gateway.errors import UsageError
from gateway.journal.entry import Entry, told
from gateway.trial.given import Node
from gateway.types import (
    NO_FLAGS,
    Alert,
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

PPM_PER_AMPLITUDE = 41_000.0
"""Of the built-in configuration: ppm for an amplitude of full scale."""
LASER_HZ = 2012.5
"""The laser's frequency in the same."""
_LOWEST, _HIGHEST, _BACK = 0.7, 1.3, 0.9
"""Where sample values begin, end, and are when the alert is over, in parts of the threshold."""
_THRESHOLD_PPM = 1000.0
_SIGMA_AMPLITUDE = 1e-5
_KINDS = {"measurement": "concentration", "peak": "peak_finder", "lock_in": "lock_in", "level": "level"}


async def batches(node: Node, entries: AsyncIterator[Entry], history: History) -> AsyncIterator[list[Entry]]:
    """What the driver is given at once, one after the other; `history` gets each result as it comes."""
    queue, interval_ns = Newest(), node.settings.update_interval_ms * 1_000_000
    due_ns: int | None = None
    last_ns, hurry = 0, False
    async for entry in entries:
        waiting = queue.oldest_ns() is not None
        if waiting and entry.time_ns > last_ns and (hurry or due_ns is None or last_ns >= due_ns):
            yield await _taken(queue)
            due_ns, hurry = last_ns + interval_ns, False
        if entry.kind != "alert":
            history.append(entry)
        queue.put(entry)
        hurry |= entry.kind == "alert"
        last_ns = entry.time_ns
    if queue.oldest_ns() is not None:
        yield await _taken(queue)


async def _taken(queue: Newest) -> list[Entry]:
    batch = list(await queue.batch(BATCH))
    queue.done(batch)
    return batch


async def sampled(node: Node, count: int, start_ns: int) -> AsyncIterator[Entry]:
    """Sample events: `count` measurements that rise through the threshold, the alert that is raised then, and its end
    when the value has come back. They begin at `start_ns`, nanoseconds since 1970.
    """
    settings, numbers = node.settings, counted(1)
    kinds = {name: kind_of(name) for name in settings.monitored_nodes}
    rising = [_HIGHEST if count == 1 else _LOWEST + (_HIGHEST - _LOWEST) * i / (count - 1) for i in range(count)]
    step_ns = settings.update_interval_ms * 1_000_000
    raised = False
    for i, part in enumerate(rising):
        tick = Tick(i, i * step_ns, start_ns + i * step_ns, (), (), (), Snapshot())
        results = [_sample(name, kind, part, settings, tick.t_ns) for name, kind in kinds.items()]
        alerts = [_sample_alert(node, kinds, "raised", part, tick.t_ns)] if part > 1.0 and not raised else []
        raised |= bool(alerts)
        for entry in _entries((*results, *alerts), tick, numbers):
            yield entry
    end = Tick(count, count * step_ns, start_ns + count * step_ns, (), (), (), Snapshot())
    for entry in _entries((_sample_alert(node, kinds, "cleared", _BACK, end.t_ns),), end, numbers):
        yield entry


async def recorded(node: Node, file: Path) -> AsyncIterator[Entry]:
    """What a recording brings, computed with its own configuration or else the built-in one.

    Raises UsageError where that has not the nodes that are watched, and as gateway.replay.prepare does.
    """
    from gateway import design, replay
    from gateway.clock import RealClock
    from gateway.graph import kinds

    recording = replay.prepare(file, None)
    named = kinds(design.steps(recording.config))
    given = {name: kind for name, kind in named.items() if kind in WATCHED}
    for name in node.settings.monitored_nodes:
        if name not in given:
            why = f" ({'; '.join(recording.notes)})" if recording.notes else ""
            raise UsageError(f"{file}: nothing gives '{name}' there{why}", nearest(name, given))
    watched, now_ns = frozenset(node.settings.monitored_nodes), RealClock().utc_ns()

    async def entries() -> AsyncIterator[Entry]:
        async for tick in recording.ticks():
            dated = tick if tick.utc_ns is not None else replace(tick, utc_ns=now_ns + tick.t_ns)
            for entry in told(dated, Outcome(), watched, (), 1, now_ns):
                yield entry

    async for entry in _judged(node, entries(), given, recording.config.laser.frequency_hz):
        yield entry


async def journalled(node: Node, file: Path, since_ns: int | None, until_ns: int | None) -> AsyncIterator[Entry]:
    """What a journal has of a range of time, which is from `since_ns` to before `until_ns`; None does not ask.

    Raises UsageError for a file that is no journal, and for one that has nothing of the nodes that are watched.
    """
    from gateway.journal.archive import entries_in

    kinds = {}
    for name in node.settings.monitored_nodes:
        found = next(entries_in(file, since_ns, until_ns, RESULTS, [name]), None)
        kinds[name] = kind_of(name) if found is None else _KINDS[found.kind]
        if found is None and len(node.settings.monitored_nodes) == 1:
            raise UsageError(f"{file} has nothing of '{name}' in that time", "Give another range, or another node")

    async def entries() -> AsyncIterator[Entry]:
        for entry in entries_in(file, since_ns, until_ns, (*RESULTS, "alert")):
            yield entry

    async for entry in _judged(node, entries(), kinds, LASER_HZ):
        yield entry


def kind_of(name: str) -> str:
    """The kind of a node whose name alone is known: that of the built-in configuration, or the one it sounds like."""
    known = {each["id"]: each["type"] for each in built_in().get("processing", "default_graph", "nodes")}
    if known.get(name) in WATCHED:
        return str(known[name])
    return next((kind for word, kind in _SOUNDS.items() if word in name.lower()), "concentration")


_SOUNDS = {"concentration": "concentration", "ppm": "concentration", "peak": "peak_finder", "lock": "lock_in",
           "level": "level"}  # fmt: skip


async def _judged(
    node: Node, entries: AsyncIterator[Entry], kinds: Mapping[str, str], laser_hz: float
) -> AsyncIterator[Entry]:
    """Of `entries` those that are this node's business, numbered anew, and the alerts of its own thresholds."""
    try:
        watching = Alarms(tuple(alarms(node.id, node.settings, kinds, laser_hz)))
    except TriggerFault as wrong:
        raise UsageError(f"triggers[{wrong.index}]: {wrong.fault.message}", wrong.fault.remedy) from None
    numbers, begin_ns = counted(1), None
    async for entry in entries:
        begin_ns = entry.time_ns if begin_ns is None else begin_ns
        t_ns = max(0, entry.time_ns - begin_ns)
        if _wanted(node, entry):
            yield replace(entry, id=next(numbers))
        results = [_result(entry, t_ns)] if entry.subject in kinds and entry.kind in RESULTS else []
        tick = Tick(0, t_ns, entry.time_ns, (), (), (), Snapshot())
        for each in _entries(watching.step(results, t_ns), tick, numbers):
            yield each


def _wanted(node: Node, entry: Entry) -> bool:
    """Whether an entry is this node's business; see gateway.actions.action.Action.wants."""
    if entry.kind == "alert" and (entry.fields["state"] == "told" or "/" in entry.fields["rule"]):
        return False
    return entry.kind in (*RESULTS, "alert") and entry.subject in node.settings.monitored_nodes


def _entries(items: tuple[Result | Alert, ...], tick: Tick, numbers: Iterator[int]) -> Iterator[Entry]:
    for item in items:
        fields = jsonlines.of(item, tick)
        if fields is not None:
            subject = item.source if isinstance(item, Alert) else item.node
            yield Entry(next(numbers), tick.utc_of(item.t_ns) or 0, fields["kind"], subject, fields)


def _result(entry: Entry, t_ns: int) -> Result:
    """The result of which an entry was made, as far as alarms look at it."""
    fields: Mapping[str, Any] = entry.fields
    name, flags = entry.subject, frozenset(Flag(flag) for flag in fields["flags"])
    match entry.kind:
        case "peak":
            return _peak(name, t_ns, fields["frequency_hz"], fields["amplitude"], fields["valid"], flags)
        case "lock_in":
            value, sigma = fields["in_phase"], fields["sigma"]
            return LockInResult(name, t_ns, fields["frequency_hz"], _number(value), 0.0, _number(sigma), 0, 0.0, flags)
        case "level":
            return LevelResult(name, t_ns, _number(fields["rms"]), _number(fields["peak"]), flags)
    source = _peak(fields["source"], t_ns, fields["frequency_hz"], fields["amplitude"], fields["valid"], flags)
    value, sigma = fields["ppm"], fields["sigma_ppm"]
    return Measurement(name, t_ns, value, sigma, None, fields["dof"], None, fields["valid"], flags, source)


def _peak(
    name: str, t_ns: int, frequency_hz: float | None, amplitude: float | None, valid: bool, flags: frozenset[Flag]
) -> PeakResult:
    return PeakResult(name, t_ns, frequency_hz, None, amplitude, 0.0, 0, 1.0, valid, flags)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _sample(name: str, kind: str, part: float, settings: ActionSettings, t_ns: int) -> Result:
    """A result at `part` of the threshold, with the noise and the frequency of the built-in configuration."""
    ppm = round(part * (settings.concentration_threshold or _THRESHOLD_PPM), 3)
    amplitude = part * settings.amplitude_threshold if settings.amplitude_threshold else ppm / PPM_PER_AMPLITUDE
    lock = LockInResult(name, t_ns, LASER_HZ, amplitude, -1e-6, _SIGMA_AMPLITUDE, 30, 1.0)
    match kind:
        case "lock_in":
            return lock
        case "peak_finder":
            return PeakResult(name, t_ns, LASER_HZ, 0.002, amplitude, _SIGMA_AMPLITUDE, 30, 1.0, True)
        case "level":
            return LevelResult(name, t_ns, amplitude / math.sqrt(2), min(1.0, 1.2 * amplitude))
    sigma = _SIGMA_AMPLITUDE * PPM_PER_AMPLITUDE
    source = replace(lock, node="co2_lock_in", in_phase=ppm / PPM_PER_AMPLITUDE)
    limits = 2.04 * sigma, 30, 3.0 * sigma
    return Measurement(name, t_ns, ppm, sigma, *limits, True, NO_FLAGS, source, "ppm", ppm, sigma / 2)


def _sample_alert(node: Node, kinds: Mapping[str, str], state: Any, part: float, t_ns: int) -> Alert:
    """The alert of the first concentration, or else of the first amplitude."""
    settings = node.settings
    source = next((name for name, kind in kinds.items() if kind == "concentration"), next(iter(kinds)))
    limit = settings.concentration_threshold or _THRESHOLD_PPM
    what: Any = "concentration"
    if kinds[source] != "concentration":
        what, limit = "amplitude", settings.amplitude_threshold or limit / PPM_PER_AMPLITUDE
    value = float(f"{part * limit:.6g}")
    return Alert(f"{node.id}/{what}/{source}", what, settings.severity, state, value, limit, source, t_ns)
