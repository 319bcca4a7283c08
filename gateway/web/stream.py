"""The live stream: server-sent events, to many browsers of which some read slowly and some not at all.

Every client has a few events that wait for it, and a task that writes them. Of states and jobs only the newest waits;
of measurements, alerts and log lines the newest few. So a client that reads slowly misses some, one that does not read
for a while is cut off, and neither makes anybody wait: what is written is text that was made once for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway import jsonlines

MOST = 256
"""Clients at once."""
EVERY_S = 0.5
"""How often anything is written to a client at most."""
HEARTBEAT_S = 15.0
UNREAD_S = 30.0
"""A client that takes nothing for so long is gone."""
KEPT = 64
"""Events that wait for a client, beside the newest state and jobs."""
_BUFFER = 16 * 1024
_NEWEST = ("state", "job")


class Client:
    """One who listens: what waits for it."""

    def __init__(self) -> None:
        self._newest: dict[str, str] = {}
        self._events: deque[str] = deque(maxlen=KEPT)
        self.news = asyncio.Event()

    def put(self, kind: str, text: str) -> None:
        """An event, as it is sent; `kind` is state, a job by its name, or what comes one by one."""
        if kind.startswith(_NEWEST):
            self._newest[kind] = text
        else:
            self._events.append(text)
        self.news.set()

    def take(self) -> str:
        """All that waits."""
        text = "".join((*self._events, *self._newest.values()))
        self._events.clear()
        self._newest.clear()
        self.news.clear()
        return text


class Stream:
    """All who listen."""

    def __init__(self) -> None:
        self._clients: dict[Client, asyncio.Task[Any]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def put(self, kind: str, data: Mapping[str, Any]) -> None:
        """An event for all."""
        text = event(kind, data)
        key = f"{kind} {data['name']}" if kind == "job" else kind
        for client in self._clients:
            client.put(key, text)

    async def serve(self, request: web.Request, first: Mapping[str, Mapping[str, Any]]) -> web.StreamResponse:
        """Write to one client until it goes or does not read, `first` what there is already."""
        client, task = Client(), asyncio.current_task()
        assert task is not None
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.enable_chunked_encoding()
        for kind, data in first.items():
            client.put(kind, event(kind, data))
        self._clients[client] = task
        try:
            _narrow(request)
            await response.prepare(request)
            await _write(client, response)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            del self._clients[client]
        return response

    async def close(self) -> None:
        """End all."""
        tasks = list(self._clients.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


async def _write(client: Client, response: web.StreamResponse) -> None:
    """Raises TimeoutError where the client does not read, ConnectionError where it is gone."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                await client.news.wait()
        async with asyncio.timeout(UNREAD_S):
            await response.write((client.take() or ": still here\n\n").encode())
        await asyncio.sleep(EVERY_S)


def _narrow(request: web.Request) -> None:
    """Let little wait in the buffers between us and the client, so that its not reading is noticed and costs little."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    transport.set_write_buffer_limits(high=_BUFFER)
    if (connection := transport.get_extra_info("socket")) is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)


def event(kind: str, data: Mapping[str, Any]) -> str:
    """An event as it is sent."""
    return f"event: {kind}\ndata: {jsonlines.line(dict(data))}\n\n"
