"""What the journal keeps of a tick: an entry per measurement, alert and command, and per result that somebody watches.

An entry is one of the JSON lines (gateway/jsonlines.py) with a number and a time. Numbers grow along the journal and
are never used twice, over restarts neither: together with the box they are the key by which a consumer knows a repeat.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway import jsonlines
from gateway.types import Measurement, Outcome, Tick, iso_utc

UNTOLD = frozenset({"track", "start"})
"""Origins of commands that are not kept: they come by themselves, once a second."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal.

    `time_ns` is the wall clock, nanoseconds since 1970, as far as it was known: `time` in the fields is null where it
    was not; `kind` and `subject` say what it is and of what: the node of a
    result, the node that an alert's rule watches, a command's target. `fields` is the JSON object, `kind` and `time` in
    it. `kept` is False for what is handed on and not written down.
    """

    id: int
    time_ns: int
    kind: str
    subject: str
    fields: Mapping[str, Any]
    kept: bool = True


def told(
    tick: Tick, outcome: Outcome, watched: Collection[str], kept: Collection[str], first: int, now_ns: int
) -> Iterator[Entry]:
    """The entries of a tick, numbered from `first`: all measurements, alerts and commands' answers, and of the other
    results those of the nodes in `watched`, which are written down if they are in `kept` too. `now_ns` is the tick's
    time where it has none of its own.
    """
    number = first
    for item in (*tick.results, *tick.alerts):
        measured = isinstance(item, Measurement)
        node = getattr(item, "node", None)
        if node is not None and not measured and node not in watched:
            continue
        fields = jsonlines.of(item, tick)
        if fields is None:
            continue
        time_ns = item.t_ns + (now_ns if tick.utc_ns is None else tick.utc_ns) - tick.t_ns
        subject = fields["source"] if node is None else node
        keep = node is None or measured or node in kept
        yield Entry(number, time_ns, fields["kind"], subject, fields, keep)
        number += 1
    for result in outcome.results:
        if result.command.origin not in UNTOLD:
            time_ns = now_ns if tick.utc_ns is None else tick.utc_ns
            yield Entry(number, time_ns, "command", result.command.target, jsonlines.command(result, tick))
            number += 1


def is_dated(entry: Entry) -> bool:
    """Whether its time is known."""
    return entry.fields["time"] is not None


def dated(entry: Entry, step_ns: int) -> Entry:
    """An entry whose time was not known, now that it is: `step_ns` later than was thought."""
    time_ns = entry.time_ns + step_ns
    return replace(entry, time_ns=time_ns, fields={**entry.fields, "time": iso_utc(time_ns)})
