"""The server: aiohttp in the gateway's own event loop, as one more Sink.

Each tick is taken by looking at it; nothing here waits for a client, and nothing that a client does is waited for by a
block. What is slow to compute is put into a thread (Desk.aside); what is slow to read, or to write, has a limit of time
and size.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from aiohttp import web

from gateway import jsonlines
from gateway.config.sections import WebSection
from gateway.errors import SpectrophoneError, UsageError
from gateway.recent import SOURCE
from gateway.types import Measurement, Outcome, Tick
from gateway.view import View
from gateway.web import certificate, files, gate
from gateway.web.desk import Desk
from gateway.web.jobs import Job
from gateway.web.problem import HEADERS, Problem
from gateway.web.routes import PREFIX, Route
from gateway.web.table import PATTERNS, ROUTES

log = logging.getLogger("spectrophone.web")

MOST_CONNECTIONS = 400
IDLE_S = 10.0
"""How long a connection may stand without a whole request."""
HANDSHAKE_S, GOODBYE_S = 10.0, 5.0
_AGAIN_NS = 10_000_000_000
_STATE_NS = 500_000_000
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer:
    """A Page: see gateway.view."""

    def __init__(self, settings: WebSection, view: View) -> None:
        self._settings = settings
        self._clock = view.clock
        self._desk = Desk(settings, view)
        self._tls: ssl.SSLContext | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._binding: asyncio.Task[None] | None = None
        self._state_ns = 0
        self._problem = ""
        self._said = 0
        self._jobs: dict[str, Job] = {}

    def status(self) -> Mapping[str, Any]:
        """See Page."""
        code = "" if self._has_password() else self._desk.code
        return {"address": self.address, "problem": self._problem, "code": code, "streams": len(self._desk.stream)}

    @property
    def address(self) -> str:
        """Where the page is, for a browser."""
        port = self._settings.port
        if self._server is not None and self._server.sockets:
            port = self._server.sockets[0].getsockname()[1]
        host = self._settings.listen
        if host in ("0.0.0.0", "::"):
            host = gate.own_names()[1]
        shown = f"[{host}]" if ":" in host else host
        return f"http{'s' if self._tls else ''}://{shown}:{port}/"

    async def start(self) -> None:
        """See Sink: begin to listen. An address that is taken is tried again. Without its certificate there is no page;
        neither keeps anybody from measuring.
        """
        view, names = self._desk.view, gate.names(self._settings)
        await asyncio.to_thread(self._desk.load)
        logging.getLogger(SOURCE).addHandler(self._desk.lines)
        called = [*names, "127.0.0.1", "::1"]
        try:
            self._tls = await asyncio.to_thread(
                certificate.context, self._settings, view.state, view.face().box, called
            )
        except SpectrophoneError as error:
            self._problem = f"nobody can see the page: {error}"
            log.error("%s", self._problem)
            return
        runner = web.AppRunner(
            application(self._desk),
            access_log=None,
            logger=_quiet(),
            handle_signals=False,
            keepalive_timeout=IDLE_S,
            handler_cancellation=True,
            auto_decompress=False,  # nobody sends a megabyte in a kilobyte
            shutdown_timeout=1.0,
        )
        await runner.setup()
        self._runner = runner
        await self._bind(runner)
        if self._server is None:
            self._binding = asyncio.create_task(self._keep_binding(runner), name="web")

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        desk = self._desk
        desk.take(tick, outcome)
        lines, self._said = desk.lines.after(self._said)
        if not len(desk.stream):
            return
        for item in (*tick.results, *tick.alerts):
            if isinstance(item, Measurement) and (fields := jsonlines.of(item, tick)) is not None:
                desk.stream.put("measurement", fields)
        for entry in desk.view.journal.fresh:
            if entry.kind == "alert":
                desk.stream.put("alert", desk.alert(entry.id, entry.fields))
        for line in lines:
            if line.level >= logging.WARNING:
                desk.stream.put("log", line.as_object())
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._state_ns:
            self._state_ns = now_ns + _STATE_NS
            desk.stream.put("state", desk.state())
            self._put_jobs()

    def _put_jobs(self) -> None:
        for each in self._desk.jobs():
            if self._jobs.get(each.name) != each:
                self._jobs[each.name] = each
                self._desk.stream.put("job", asdict(each))

    async def close(self) -> None:
        """See Sink."""
        logging.getLogger(SOURCE).removeHandler(self._desk.lines)
        if self._binding is not None:
            self._binding.cancel()
        await self._desk.stream.close()
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _has_password(self) -> bool:
        with contextlib.suppress(SpectrophoneError):
            return bool(self._desk.access.read().password)
        return True

    async def _bind(self, runner: web.AppRunner) -> None:
        """Listen, or say why not."""
        listen, port = self._settings.listen, self._settings.port
        try:
            assert runner.server is not None
            encrypted = self._tls is not None
            self._server = await asyncio.get_running_loop().create_server(
                Entrance(runner.server),
                listen,
                port,
                ssl=self._tls,
                backlog=128,
                ssl_handshake_timeout=HANDSHAKE_S if encrypted else None,
                ssl_shutdown_timeout=GOODBYE_S if encrypted else None,
            )
        except OSError as error:
            problem = f"nobody can see the page: {listen}:{port} {(error.strerror or str(error)).lower()}"
            self._problem = f"{problem}. Write another web.port or web.listen"
            log.error("%s", self._problem)
            return
        self._problem = ""
        log.info("the page is at %s", self.address)
        if not self._has_password():
            # not a warning: those go out over MQTT
            log.info("no password is set yet; from elsewhere than this machine that wants the code %s", self._desk.code)

    async def _keep_binding(self, runner: web.AppRunner) -> None:
        while self._server is None:
            await self._clock.sleep_until(self._clock.monotonic_ns() + _AGAIN_NS)
            await self._bind(runner)


def application(desk: Desk) -> web.Application:
    """All routes, behind the gate."""

    @web.middleware
    async def guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
        return await _guarded(desk, request, handler)

    app = web.Application(middlewares=[guarded])
    for route in ROUTES:
        app.router.add_route(
            route.method, PREFIX + PATTERNS.get(route.path, route.path), partial(_answered, desk, route)
        )
    (scraped,) = (route for route in ROUTES if route.path == "/metrics")
    app.router.add_get(scraped.path, partial(_answered, desk, scraped))  # where Prometheus looks
    pages, vendor = files.page_files(), files.vendor_files()

    async def file(request: web.Request) -> web.StreamResponse:
        return files.response(request, {**pages, **vendor})

    app.router.add_get("/{path:(?!api/).*}", file)
    return app


def _quiet() -> logging.Logger:
    """For aiohttp, which would tell of every client that speaks no HTTP. Our own faults _guarded tells."""
    found = log.getChild("aiohttp")
    found.setLevel(logging.CRITICAL)
    return found


async def _guarded(desk: Desk, request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every answer: to a name of ours only, faults as problems, with the headers that browsers heed."""
    try:
        gate.check_host(desk, request)
        response = await handler(request)
    except Problem as problem:
        response = problem.response()
    except web.HTTPException as refused:
        response = _as_problem(refused)
    except UsageError as error:
        response = Problem(422, str(error)).response()
    except SpectrophoneError as error:
        response = Problem(409, str(error)).response()
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        response = Problem(500, "A fault of the software. Report what the log says of it").response()
    if not response.prepared:
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _as_problem(refused: web.HTTPException) -> web.Response:
    if refused.status == 405:
        allowed = refused.headers.get("Allow", "")
        return Problem(405, f"That cannot be done here, but: {allowed}", headers={"Allow": allowed}).response()
    if refused.status == 404:
        return Problem(404, "There is nothing here. /api/v1/openapi.json lists what there is").response()
    return Problem(refused.status, f"{refused.reason}. See /api/v1/openapi.json").response()


async def _answered(desk: Desk, route: Route, request: web.Request) -> web.StreamResponse:
    made = await route.handler(desk, await gate.passed(desk, route, request))
    if isinstance(made, web.StreamResponse):
        return made
    if made is None:
        return web.Response(status=204)
    return web.Response(text=jsonlines.line(made), content_type="application/json", status=route.success)


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class Entrance:
    """Who serves a new connection. One that is still shaking hands over TLS counts, too."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._coming: dict[asyncio.BaseProtocol, float] = {}

    def __call__(self) -> asyncio.BaseProtocol:
        """A connection has come."""
        here, now_s = set(self._server.connections), asyncio.get_running_loop().time()
        self._coming = {each: until for each, until in self._coming.items() if until > now_s and each not in here}
        if len(here) + len(self._coming) >= MOST_CONNECTIONS:
            return _Refused()
        made = self._server()
        self._coming[made] = now_s + HANDSHAKE_S
        return made
