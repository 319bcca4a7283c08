"""What leaves the box: an entry, its box, the version of this form, and a key by which repeats are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gateway.journal.entry import Entry

SCHEMA = "spectrophone/1"
"""The form of the payload. Fields may come under the same number; a field that changes or goes needs the next."""


def payload(entry: Entry, box: str) -> dict[str, Any]:
    """The object that every driver hands over: `schema`, `box`, `key`, and the fields of docs/json-lines.md."""
    return {"schema": SCHEMA, "box": box, "key": key(entry, box), **entry.fields}


def key(entry: Entry, box: str) -> str:
    """The same for every repeat of an entry, and for no other."""
    return f"{box}-{entry.id}"


def text(entry: Entry, box: str) -> str:
    """The payload as JSON, numbers that are not finite as null."""
    return json.dumps(payload(entry, box), allow_nan=False, ensure_ascii=False)


def body(batch: Sequence[Entry], box: str) -> bytes:
    """A batch as one JSON object in UTF-8: `schema`, `box`, and the payloads in `entries`, oldest first."""
    head = json.dumps({"schema": SCHEMA, "box": box}, ensure_ascii=False)[:-1]
    return f'{head}, "entries": [{", ".join(text(entry, box) for entry in batch)}]}}'.encode()
