"""A real web server for tests, on loopback, with or without TLS: it keeps what comes, answers what the test says, and
can be held, slow, stopped, started again on its port, and killed in the middle of a request."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.servers.authority import Authority

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Request:
    """What came. `connection` counts connections from 1; header names may be written in any case."""

    method: str
    path: str
    headers: Message
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. With `raw` these bytes go instead of HTTP, and the connection is closed behind them."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None


class HttpsServer:
    """A web server for `https://localhost:PORT`; for `http://` without an authority.

    `requests` has all that was received whole. `answers` are given one after the other, then `answer` for ever; both
    may be functions of the request. Before each it waits `delay_s`. `breaks` counts down: as long as it is above 0 a
    request is read to its half, and then the connection is reset.

    `certificate` is another than a good one; with `wants_client` a client must bring one of the authority's.
    """

    def __init__(
        self,
        authority: Authority | None,
        certificate: tuple[Path, Path] | None = None,
        *,
        wants_client: bool = False,
    ) -> None:
        self.requests: list[Request] = []
        self.answers: deque[Answer | Callable[[Request], Answer]] = deque()
        self.answer: Answer | Callable[[Request], Answer] = Answer()
        self.delay_s = 0.0
        self.breaks = 0
        self.begun = 0
        """Requests of which the first line has come."""
        self.connections = 0
        """Connections that were taken; also those whose encryption failed."""
        self.faults: list[BaseException] = []
        self.port = 0
        self.context = None if authority is None else _context(authority, certificate, wants_client)
        self._free, self._stopping = threading.Event(), threading.Event()
        self._free.set()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """https://localhost:PORT, or http://."""
        return self.at("localhost")

    def at(self, host: str) -> str:
        """Its URL under another name of this machine."""
        return f"http{'' if self.context is None else 's'}://{host}:{self.port}"

    def start(self) -> None:
        """Listen; on the port of last time, if there was one."""
        assert self._server is None
        self._stopping.clear()
        self._server = _Server(self, self.port)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection, whatever is going on; return when all that is over."""
        server, self._server = self._server, None
        if server is None:
            return
        assert self._thread is not None
        self._stopping.set()
        server.shutdown()
        self._thread.join()
        server.hang_up()
        server.server_close()

    def hang_up(self) -> None:
        """End every connection that there is now; the port stays open."""
        assert self._server is not None
        self._server.hang_up()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Meanwhile requests are read, and not answered."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def __enter__(self) -> HttpsServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert not self.faults, self.faults

    def received(self, request: Request) -> Answer | None:
        """Keep the request, wait as told; the answer to it, None if the server was stopped instead."""
        self.requests.append(request)
        answer = self.answers.popleft() if self.answers else self.answer
        answer = answer(request) if callable(answer) else answer
        while not self._free.wait(0.01) and not self._stopping.is_set():
            pass
        stopped = self._stopping.wait(self.delay_s) if self.delay_s else self._stopping.is_set()
        return None if stopped else answer


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, face: HttpsServer, port: int) -> None:
        self.face = face
        self.open: dict[socket.socket, int] = {}
        super().__init__((HOST, port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection whose handshake is left to its own thread."""
        taken, address = super().get_request()
        self.face.connections += 1
        if self.face.context is not None:
            taken = self.face.context.wrap_socket(taken, server_side=True, do_handshake_on_connect=False)
        self.open[taken] = self.face.connections
        return taken, address

    def shutdown_request(self, request: Any) -> None:
        """Close, without ceremony: what is to be reset must not be ended properly."""
        self.open.pop(request, None)
        request.close()

    def hang_up(self) -> None:
        """End all connections; their threads notice. Not by SSLSocket.shutdown, which is not for several threads."""
        for taken in list(self.open):
            try:
                socket.socket.shutdown(taken, socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or does not like our certificate, is none of the test's business."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.face.faults.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._number = self.server.open[self.request]

    def _take(self) -> None:
        face = self.server.face
        face.begun += 1
        length = int(self.headers.get("Content-Length", 0))
        if face.breaks > 0:
            face.breaks -= 1
            self.rfile.read(length // 2)
            self._reset()
            return
        request = Request(self.command, self.path, self.headers, self.rfile.read(length), self._number)
        answer = face.received(request) if len(request.body) == length else None
        if answer is None:
            self._reset()
        elif answer.raw is not None:
            self.wfile.write(answer.raw)
            self.close_connection = True
        else:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status >= 200 and answer.status != 204 and "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _take  # noqa: N815 (names that http.server looks for)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _context(authority: Authority, certificate: tuple[Path, Path] | None, wants_client: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*(certificate or authority.issue("server")))
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.file)
    return context
