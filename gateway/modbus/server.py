"""The server: connections on the event loop, as one more Sink.

No client can cost more than its share. There are at most CLIENTS of them; who comes beyond takes the place of the one
that has been silent longest, of the machine that has the most, so that dead connections lock nobody out. A connection
asks once in PACE_NS, one thing after the other: while it does not take the answer nothing more is read from it, and
after a while it is closed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pymodbus.constants import ExcCodes

from gateway.answers import Answers
from gateway.clock import Clock
from gateway.config.sections import ModbusSection
from gateway.errors import CommandRefused
from gateway.modbus import wire
from gateway.modbus.picture import Picture
from gateway.modbus.wire import Refused
from gateway.mqtt.face import Face
from gateway.ports import Inbox
from gateway.types import Climate, Outcome, Tick

log = logging.getLogger("spectrophone.modbus")

CLIENTS = 16
SILENT_S = 300.0
"""A connection that asks nothing for so long is closed."""
TAKES_S = 10.0
"""So is one that does not take an answer for so long."""
PACE_NS = 10_000_000
_AGAIN_NS = 10_000_000_000
_READ, _UNSENT, _BACKLOG = 1024, 4096, 32
_KERNEL = 8192
"""Bytes that the kernel keeps of a connection either way: so much is read at once, and a client that does not take its
answers is noticed.
"""


class Client:
    """A connection: reads from the picture, writes through the inbox. See wire.Store."""

    def __init__(self, writer: asyncio.StreamWriter, server: ModbusServer, now_ns: int) -> None:
        self.writer, self._server = writer, server
        self.address = str((writer.get_extra_info("peername") or ("?",))[0])
        self.heard_ns = now_ns

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """See wire.Store."""
        picture = self._server.picture
        return picture.bits(address, count) if function in (1, 2) else picture.words(address, count)

    async def write(self, address: int, values: Sequence[int]) -> None:
        """See wire.Store."""
        await self._server.write(address, values, self.address)


class ModbusServer:
    """Serves the box `face`; what is written to it goes into `inbox`."""

    def __init__(
        self,
        settings: ModbusSection,
        face: Face,
        inbox: Inbox,
        clock: Clock,
        climate: Callable[[], Climate | None],
    ) -> None:
        self.picture = Picture(face, settings.word_order, climate)
        self._settings, self._clock = settings, clock
        self._answers = Answers(inbox, "modbus")
        self._clients: dict[asyncio.Task[None], Client] = {}
        self._requests = self._refused = 0
        self._server: asyncio.Server | None = None
        self._binding: asyncio.Task[None] | None = None
        self._problem = ""
        wire.identify(face.box, face.version)

    def status(self) -> Mapping[str, Any]:
        """How it fares, as JSON values: where it listens, `problem` if it cannot, clients, requests, and how many of
        them were refused.
        """
        port = self._settings.port
        if self._server is not None and self._server.sockets:
            port = self._server.sockets[0].getsockname()[1]
        return {
            "listen": self._settings.listen,
            "port": port,
            "problem": self._problem,
            "clients": len(self._clients),
            "requests": self._requests,
            "refused": self._refused,
        }

    async def start(self) -> None:
        """See Sink: begin to listen. An address that is taken is tried again; the measurement does not wait for it."""
        await self._bind()
        if self._server is None:
            self._binding = asyncio.create_task(self._keep_binding(), name="modbus")

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        self.picture.take(tick, outcome)
        self._answers.take(outcome)

    async def close(self) -> None:
        """See Sink."""
        if self._binding is not None:
            self._binding.cancel()
        if self._server is not None:
            self._server.close()
        for task in self._clients:
            task.cancel()
        if self._clients:
            await asyncio.wait(self._clients)

    async def write(self, address: int, values: Sequence[int], who: str) -> None:
        """Set a threshold through the inbox, and wait for the answer. Raises Refused."""
        if self._settings.writes != "thresholds":
            raise Refused(ExcCodes.ILLEGAL_FUNCTION)
        output, number = self.picture.threshold(address, values)
        try:
            result = await self._answers.ask(output.target, "set", {"value": _plain(number)}, who)
        except (CommandRefused, TimeoutError):
            raise Refused(ExcCodes.DEVICE_BUSY) from None
        if not result.done:
            fits = output.span is not None and output.span.least <= number <= output.span.most
            raise Refused(ExcCodes.DEVICE_FAILURE if fits else ExcCodes.ILLEGAL_VALUE)

    async def _bind(self) -> None:
        host, port = self._settings.listen, self._settings.port
        try:
            server = await asyncio.start_server(
                self._serve, host, port, limit=_READ, backlog=_BACKLOG, start_serving=False
            )
            for listener in server.sockets:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL)
            await server.start_serving()
            self._server = server
        except OSError as error:
            problem = f"Modbus cannot listen on {host} port {port}: {error.strerror or error}. Trying again"
            if problem != self._problem:
                log.error("%s", problem)
            self._problem = problem
        else:
            self._problem = ""
            log.info("Modbus TCP on %s port %d", host, self.status()["port"])

    async def _keep_binding(self) -> None:
        while self._server is None:
            await self._clock.sleep_until(self._clock.monotonic_ns() + _AGAIN_NS)
            await self._bind()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection from its beginning to its end, whoever ends it."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._clients) >= CLIENTS:
            self._make_room()
        self._clients[task] = client = Client(writer, self, self._clock.monotonic_ns())
        writer.transport.set_write_buffer_limits(_UNSENT)
        try:
            await self._converse(client, reader)
        except (OSError, TimeoutError, wire.Broken):
            pass
        except asyncio.CancelledError:
            pass  # the place is wanted by another, or the gateway ends
        except Exception:
            log.exception("a fault in the Modbus server; the connection is closed")
        finally:
            self._clients.pop(task, None)
            writer.transport.abort()

    def _make_room(self) -> None:
        """End the connection that has been silent longest, of the machine that has the most."""
        many = Counter(client.address for client in self._clients.values())
        found = min(self._clients, key=lambda each: (-many[self._clients[each].address], self._clients[each].heard_ns))
        found.cancel()
        del self._clients[found]

    async def _converse(self, client: Client, reader: asyncio.StreamReader) -> None:
        frames = wire.Frames()
        while True:
            async with asyncio.timeout(SILENT_S):
                data = await reader.read(_READ)
            if not data:
                return
            for request in frames.feed(data):
                client.heard_ns = self._clock.monotonic_ns()
                response = await wire.answer(request, self._settings.unit, client)
                self._requests += 1
                self._refused += wire.is_refusal(response)
                client.writer.write(response)
                async with asyncio.timeout(TAKES_S):
                    await client.writer.drain()
                await self._clock.sleep_until(client.heard_ns + PACE_NS)


def _plain(number: float) -> float:
    """A float32 as people write it: 900.1, not 900.0999755859375."""
    return float(str(np.float32(number))) if math.isfinite(number) else number
