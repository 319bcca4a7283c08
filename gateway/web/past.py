"""What was: measurements over a range of time, alerts and who has seen them, the journal as a file, the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError as GaveUp
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from aiohttp import web
from pydantic import Field

from gateway import export
from gateway.errors import SpectrophoneError
from gateway.journal import schema, thin
from gateway.journal.acknowledged import Acknowledgement
from gateway.journal.archive import entries_in
from gateway.journal.entry import Entry
from gateway.types import iso_utc
from gateway.web.desk import Desk
from gateway.web.problem import HEADERS, Problem
from gateway.web.routes import Asked, Told, Wish

Kind = Literal["measurement", "peak", "lock_in", "level", "resonance", "alert", "command"]
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PIECE = 64 * 1024
_STUCK_S = 30.0
_TIME = "ISO 8601, or how long ago: -90s, -30min, -2h, -7d"


class RangeWish(Wish):
    """Of which node, and when."""

    node: str | None = Field(None, max_length=200, description="the concentration node; the only one if absent")
    since: str | None = Field(None, alias="from", max_length=40, description=f"{_TIME}; the first if absent")
    until: str | None = Field(None, alias="to", max_length=40, description=f"{_TIME}; now if absent")


class MeasurementsWish(RangeWish):
    """And in how many rows."""

    points: int = Field(500, ge=1, le=thin.MOST)


class RowTold(Told):
    """A stretch of time; null where there is no valid value in it."""

    time: str
    ppm: float | None
    sigma_ppm: float | None
    low_ppm: float | None
    high_ppm: float | None
    valid: bool
    flags: list[str]


class MeasurementsTold(Told):
    """Measurements, thinned."""

    node: str
    thinned: bool
    sampled: bool
    rows: list[RowTold]


class AlertsWish(Wish):
    """Which alerts."""

    since: str | None = Field(None, alias="from", max_length=40, description=f"{_TIME}; the first if absent")
    limit: int = Field(100, ge=1, le=500)


class AcknowledgedTold(Told):
    """Who has seen it."""

    by: str
    time: str
    note: str


class AlertTold(Told):
    """An alert: docs/json-lines.md."""

    id: int
    rule: str
    type: str
    severity: str
    state: str
    value: float | None
    threshold: float | None
    source: str
    message: str
    time: str | None
    t_s: float
    acknowledged: AcknowledgedTold | None


class NoteWish(Wish):
    """What is said with it."""

    note: str = Field("", max_length=500)


class JournalWish(Wish):
    """What is downloaded."""

    format: Literal["csv", "jsonl"] = "csv"
    kind: Kind = "measurement"
    since: str | None = Field(None, alias="from", max_length=40, description=f"{_TIME}; the first if absent")
    until: str | None = Field(None, alias="to", max_length=40, description=f"{_TIME}; now if absent")


class LogsWish(Wish):
    """Which lines."""

    level: Literal["info", "warning", "error"] = Field("info", description="the least")
    limit: int = Field(200, ge=1, le=500)


class LineTold(Told):
    """A line of the log."""

    time: str | None
    level: str
    logger: str
    message: str


def chosen_node(desk: Desk, name: str | None) -> str:
    """A concentration node. Raises Problem where it is none, or not clear."""
    nodes = [gas.node for gas in desk.view.face().gases]
    if name is None and len(nodes) == 1:
        return nodes[0]
    if name not in nodes:
        detail = f"There is no concentration node {name[:100]!r}" if name else "It is not clear which node is meant"
        raise Problem(404 if name else 422, f"{detail}. There are: {', '.join(nodes) or 'none'}")
    return name


async def measurements(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /measurements."""
    wish, journal, now_ns = asked.query, desk.view.journal, desk.view.clock.utc_ns()
    node = chosen_node(desk, wish.node)
    since_ns, until_ns = export.time_range(wish.since, wish.until, now_ns)
    upto_ns = now_ns + 1_000_000_000 if until_ns is None else until_ns
    file = _there(journal.file)
    found = await desk.aside(thin.thinned, file, journal.held(), node, since_ns, upto_ns, wish.points)
    rows = [
        {
            "time": iso_utc(row.time_ns),
            "ppm": row.ppm,
            "sigma_ppm": row.sigma_ppm,
            "low_ppm": row.low_ppm,
            "high_ppm": row.high_ppm,
            "valid": row.valid,
            "flags": list(row.flags),
        }
        for row in found.rows
    ]
    return {"node": node, "thinned": found.thinned, "sampled": found.sampled, "rows": rows}


def _there(file: Path | None) -> Path | None:
    """The journal's file; None where there is none yet, and all is in memory."""
    return file if file is not None and file.exists() else None


async def alerts(desk: Desk, asked: Asked) -> list[dict[str, Any]]:
    """GET /alerts."""
    journal, wish = desk.view.journal, asked.query
    since_ns, _ = export.time_range(wish.since, None, desk.view.clock.utc_ns())
    asks = ("kind = 'alert' AND time_ns >= ?", (-(2**63) if since_ns is None else since_ns,))
    stored = await desk.aside(_stored, _there(journal.file), asks, wish.limit)
    held = [entry for entry in journal.held() if entry.kind == "alert" and entry.time_ns >= (since_ns or 0)]
    known = {entry.id: entry for entry in (*stored, *held)}
    newest = sorted(known.values(), key=lambda entry: entry.id, reverse=True)[: wish.limit]
    return [desk.alert(entry.id, entry.fields) for entry in newest]


async def acknowledge(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /alerts/{id}/acknowledge."""
    journal, number = desk.view.journal, int(asked.path["id"])
    held = [entry for entry in journal.held() if entry.id == number and entry.kind == "alert"]
    if not held and number < 2**63:
        held = await desk.aside(_stored, _there(journal.file), ("kind = 'alert' AND id = ?", (number,)), 1)
    if not held:
        raise Problem(404, f"There is no alert {number}. GET /alerts lists them")
    time = iso_utc(desk.view.clock.utc_ns()) or ""
    new = Acknowledgement(number, asked.person.user, time, asked.body.note)
    await desk.aside(desk.acknowledge, new)
    told = desk.alert(number, held[0].fields)
    desk.stream.put("alert", told)
    return told


def _stored(file: Path | None, asks: tuple[str, tuple[int, ...]], limit: int) -> list[Entry]:
    """The newest events of the journal's file that fit. Raises SpectrophoneError."""
    if file is None:
        return []
    term, values = asks
    with contextlib.closing(schema.read_only(file)) as connection:
        try:
            rows = connection.execute(f"{schema.EVENTS} WHERE {term} ORDER BY id DESC LIMIT ?", (*values, limit))
            return [schema.event(row) for row in rows]
        except sqlite3.DatabaseError as error:
            raise SpectrophoneError(f"{file}: cannot be read: {error}", "Look with: spectrophone doctor") from None


async def logs(desk: Desk, asked: Asked) -> list[dict[str, Any]]:
    """GET /logs."""
    return [line.as_object() for line in desk.lines.newest(asked.query.limit, _LEVELS[asked.query.level])]


async def download(desk: Desk, asked: Asked) -> web.StreamResponse:
    """GET /journal: written in a thread, as fast as it is read."""
    wish, file = asked.query, _there(desk.view.journal.file)
    if file is None:
        raise Problem(409, "This box keeps no journal on its disk. Switch journal.enabled on")
    since_ns, until_ns = export.time_range(wish.since, wish.until, desk.view.clock.utc_ns())
    box = desk.view.face().box
    response = web.StreamResponse(headers=HEADERS)
    response.content_type = "text/csv" if wish.format == "csv" else "application/x-ndjson"
    response.headers["Content-Disposition"] = f'attachment; filename="{box}-{wish.kind}.{wish.format}"'
    response.headers["Cache-Control"] = "no-store"
    pipe = _Pipe(asyncio.get_running_loop())
    writing: asyncio.Future[None] = asyncio.ensure_future(
        desk.aside(_written, pipe, file, (since_ns, until_ns), wish.format, (wish.kind,), box)
    )
    try:
        await response.prepare(asked.request)
        while (piece := await pipe.next(writing)) is not None:
            async with asyncio.timeout(_STUCK_S):
                await response.write(piece)
        await response.write_eof()
    except (TimeoutError, ConnectionError):
        if asked.request.transport is not None:
            asked.request.transport.abort()
    finally:
        pipe.stop()
        await asyncio.wait([writing])
        if not writing.cancelled():
            writing.exception()
    return response


def _written(
    pipe: _Pipe, file: Path, span: tuple[int | None, int | None], form: str, kinds: Sequence[str], box: str
) -> None:
    """Write it all into the pipe; OSError where nobody reads it any more."""
    with contextlib.suppress(BrokenPipeError):
        export.write(_entries(file, span, kinds), cast(BinaryIO, pipe), form, kinds, box)
        pipe.flush()


def _entries(file: Path, span: tuple[int | None, int | None], kinds: Collection[str]) -> Any:
    return entries_in(file, *span, kinds)


class _Pipe(RawIOBase):
    """From a thread that writes to a coroutine that reads: a few pieces wait in between, then the thread does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(4)
        self._stopped = False
        self._piece = bytearray()

    def write(self, data: Any) -> int:
        """In the thread. Raises BrokenPipeError where nobody reads any more."""
        self._piece += data
        if len(self._piece) >= _PIECE:
            self.flush()
        return len(data)

    def flush(self) -> None:
        """In the thread, too."""
        if self._stopped:
            raise BrokenPipeError
        if self._piece:
            piece, self._piece = bytes(self._piece), bytearray()
            try:
                asyncio.run_coroutine_threadsafe(self._pieces.put(piece), self._loop).result(_STUCK_S)
            except (TimeoutError, GaveUp):
                raise BrokenPipeError from None

    async def next(self, writing: asyncio.Future[None]) -> bytes | None:
        """The next piece; None where there is none to come. Raises what `writing` has."""
        taking = asyncio.ensure_future(self._pieces.get())
        both: set[asyncio.Future[Any]] = {taking, writing}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if taking.done():
            return taking.result()
        taking.cancel()
        writing.result()
        return None if self._pieces.empty() else self._pieces.get_nowait()

    def stop(self) -> None:
        """Nobody reads any more."""
        self._stopped = True
        while not self._pieces.empty():
            self._pieces.get_nowait()
