"""What the journal has for the broker, as a value machine: pages of entries go in, one message after the other out.

Live values tell what is; here every measurement and alert arrives, with its own time, whatever was away meanwhile. A
page becomes messages of one node and kind each, rows oldest first. One message is under way at a time, and the next
goes when the broker has acknowledged it, so that rows of a node arrive in their order whatever breaks; what was not
acknowledged goes again. Each row begins with the entry's number, which grows and never comes twice from a box: by it
a receiver knows a repeat. A value that is not valid is null, with the reason in `flags`; a time that nobody knows is
null, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from gateway.journal.entry import Entry
from gateway.mqtt import codec
from gateway.mqtt.picture import Message
from gateway.mqtt.topics import Topics

COLUMNS = {
    "measurement": ("id", "time", "value", "sigma", "u95", "valid", "flags"),
    "alert": ("id", "time", "rule", "type", "severity", "state", "value", "threshold", "message"),
}
"""The kinds of entries that are delivered, and what a row of each has."""
ROWS = 100
BYTES = 60_000
"""The most that one message holds."""
REFUSED_NS = 60_000_000_000
"""How long nothing more is tried when the broker has refused a message."""


class History:
    """The page that is being delivered."""

    def __init__(self, box: str, topics: Topics, rows_per_s: float) -> None:
        self.refused = False
        """Whether the broker refused the newest message: its access list does not let us."""
        self.delivered = 0
        """Rows that the broker has acknowledged."""
        self._box = box
        self._topics = topics
        self._row_ns = 1e9 / rows_per_s
        self._waiting: deque[tuple[Message, int]] = deque()
        self._token: int | None = None
        self._next_ns = 0

    @property
    def through(self) -> bool:
        """Whether the broker has acknowledged all of the page, and the next may come."""
        return not self._waiting

    @property
    def due_ns(self) -> int | None:
        """When there is a message to send; None while there is none, or one is under way."""
        return self._next_ns if self._waiting and self._token is None else None

    def put(self, entries: Sequence[Entry]) -> None:
        """The next page, when the one before is through."""
        self._waiting.extend(messages(entries, self._box, self._topics))

    def next(self, now_ns: int) -> Message | None:
        """What is to be sent now, if anything; `sent` says that it was."""
        return self._waiting[0][0] if self.due_ns is not None and now_ns >= self._next_ns else None

    def sent(self, now_ns: int, token: int) -> None:
        """The message is under way; the next one waits for as long as its rows may take."""
        self._token = token
        self._next_ns = now_ns + round(self._waiting[0][1] * self._row_ns)

    def acknowledged(self, now_ns: int, token: int, *, refused: bool = False) -> None:
        """The broker has the message of that token, or has `refused` it; another's token says nothing here."""
        if token != self._token:
            return
        self._token, self.refused = None, refused
        if refused:
            self._next_ns = now_ns + REFUSED_NS
        else:
            self.delivered += self._waiting.popleft()[1]

    def lost(self) -> None:
        """The connection broke: what was under way goes again."""
        self._token = None


def messages(entries: Sequence[Entry], box: str, topics: Topics) -> Iterator[tuple[Message, int]]:
    """The messages of a page, and how many rows each has: by node and kind, in the order of the entries."""
    wanted = sorted((e for e in entries if e.kind in COLUMNS), key=lambda e: (e.subject, e.kind, e.id))
    for (node, kind), group in groupby(wanted, key=lambda e: (e.subject, e.kind)):
        rows = [[_cell(entry, column) for column in COLUMNS[kind]] for entry in group]
        for first in range(0, len(rows), ROWS):
            yield from _fitting(rows[first : first + ROWS], kind, node, box, topics)


def _fitting(rows: list[list[Any]], kind: str, node: str, box: str, topics: Topics) -> Iterator[tuple[Message, int]]:
    body = {"kind": kind, "box": box, "node": node, "unit": "ppm", "from": rows[0][1], "to": rows[-1][1]}
    payload = codec.dump(body | {"columns": COLUMNS[kind], "rows": rows})
    if len(payload) > BYTES and len(rows) > 1:
        yield from _fitting(rows[: len(rows) // 2], kind, node, box, topics)
        yield from _fitting(rows[len(rows) // 2 :], kind, node, box, topics)
    else:
        yield Message(topics.history(node), payload, retain=False), len(rows)


def _cell(entry: Entry, column: str) -> Any:
    fields = entry.fields
    match column:
        case "id":
            return entry.id
        case "sigma" | "u95" | "value" if entry.kind == "measurement":
            name = "ppm" if column == "value" else f"{column}_ppm"
            return codec.number(fields[name]) if fields["valid"] else None
        case "value" | "threshold":
            return codec.number(fields[column])
    return fields[column]
