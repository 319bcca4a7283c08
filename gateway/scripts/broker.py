"""What a worker cannot do itself is done here, in the gateway: connecting to hosts, and at level C opening files.

A worker has no call that makes a socket. It asks on its channel, and a socket that is already connected comes back as a
descriptor (SCM_RIGHTS; unix(7)). So all decisions fall in one place, outside: the host and port must be listed;
names are resolved here, and nowhere if they are not listed; and a listed name that leads to this machine, to the link
or to a group is refused, since its owner may let it lead anywhere (DNS rebinding). A name may lead to another machine
of the local network: those who list it trust its owner that far. A listed address is taken as it stands, and
"localhost" leads to this machine and nowhere else.

Files are opened beneath what is listed, through no link, and only files and directories.

A worker that asks too fast is made to wait, one that sends what no worker sends is a violation. What waits for it is
bounded by a small buffer; what it holds, by its own limit of descriptors.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from gateway.clock import Clock
from gateway.scripts.aside import Aside
from gateway.scripts.beneath import open_beneath
from gateway.scripts.messages import BROKER_LIMIT, Connect, Denied, FromBroker, FromScript, Granted, Open, escaped
from gateway.scripts.outside import UNRESOLVED
from gateway.scripts.permissions import Grant, Place, normal
from gateway.scripts.rates import Bucket, Rate
from gateway.scripts.wire import LONGEST_READ, Receiver, Violation, frame

CONNECTIONS = Rate(20.0, 60)
"""Connections a second, refused ones too."""
FILES = Rate(200.0, 400)
"""Files opened a second."""
MOST_WAITING = 64
"""Requests under way, those that wait for their turn too; a worker has far fewer threads."""
_AT_ONCE = 4
_SENTENCE = 1000
"""Characters of a refusal."""
_BUFFER = 8 * 1024
"""Bytes of answers not taken. The kernel doubles it, and counts each answer as 768: so about twenty of them."""
_TURN_NS = 20_000_000
_EACH_S = 10.0
"""The longest that one of several addresses of a name is tried."""

Address = tuple[int, tuple[Any, ...]]
"""Family, and address as connect(2) takes it."""


class Broker:
    """The broker of one worker, at work from the beginning until `close`.

    `channel` is the gateway's end of a socketpair (AF_UNIX, SOCK_STREAM), and belongs to the broker. `node` is the
    action's name for messages. `violated` is called once, with a sentence, when the worker breaks the protocol: it must
    be killed. `whose` are the user and group that files are opened as where the gateway is root. `granted` and
    `refused` count answers.
    """

    def __init__(
        self,
        channel: socket.socket,
        node: str,
        network: Sequence[Place],
        files: Sequence[Grant],
        clock: Clock,
        violated: Callable[[str], object],
        connections: Rate = CONNECTIONS,
        whose: tuple[int, int] | None = None,
    ) -> None:
        self.granted = self.refused = 0
        self._channel, self._node, self._clock, self._violated = channel, node, clock, violated
        self._network, self._files, self._whose = frozenset(network), tuple(files), whose
        self._receiver: Receiver[FromScript] = Receiver(FromScript, BROKER_LIMIT)
        self._loop = asyncio.get_running_loop()
        self._names, self._disk, self._at_once = Aside(_AT_ONCE), Aside(_AT_ONCE), asyncio.Semaphore(_AT_ONCE)
        self._connect_turns, self._open_turns = _Turns(Bucket(connections), clock), _Turns(Bucket(FILES), clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        channel.setblocking(False)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._loop.add_reader(channel, self._readable)

    async def close(self) -> None:
        """End everything that is under way."""
        self._hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hang_up(self) -> None:
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel)
            self._loop.remove_writer(self._channel)
            self._channel.close()
        for task in self._tasks:
            task.cancel()
        self._names.close()
        self._disk.close()

    def _readable(self) -> None:
        try:
            data = self._channel.recv(LONGEST_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        try:
            for request in self._receiver.feed(data):
                if len(self._tasks) >= MOST_WAITING:
                    raise Violation(f"more than {MOST_WAITING} requests at once")
                task = self._loop.create_task(self._answer(request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except Violation as violation:
            self._hang_up()
            self._violated(f"protocol violation on the broker's channel: {violation.reason}")

    async def _answer(self, request: FromScript) -> None:
        """One request from its turn to its answer: a socket or file that is not yet handed over counts as under way."""
        until_s = self._loop.time() + request.timeout if isinstance(request, Connect) else None
        try:
            async with asyncio.timeout_at(until_s):
                await (self._connect_turns if isinstance(request, Connect) else self._open_turns).take()
                await self._at_once.acquire()
        except TimeoutError:
            busy = f"{self._node} asks for too many connections: keep one open, or wait between them"
            await self._send(frame(Denied(request.id, errno.ETIMEDOUT, busy)), None)
            return
        try:
            await self._decide(request, until_s)
        finally:
            self._at_once.release()

    async def _decide(self, request: FromScript, until_s: float | None) -> None:
        given: int | None = None
        answer: FromBroker = Granted(request.id)
        try:
            async with asyncio.timeout_at(until_s):
                given = await (self._connected(request) if isinstance(request, Connect) else self._opened(request))
        except OSError as error:
            code = errno.ETIMEDOUT if error.errno is None else error.errno
            answer = Denied(request.id, code, escaped(error.strerror or _late(request), _SENTENCE))
        try:
            await self._send(frame(answer), given)
        finally:
            if given is not None:
                os.close(given)
        self.granted, self.refused = self.granted + (given is not None), self.refused + (given is None)

    async def _send(self, data: bytes, descriptor: int | None) -> None:
        """One frame after the other; the descriptor goes with the first byte of its own."""
        async with self._sending:
            descriptors = [] if descriptor is None else [descriptor]
            while data:
                try:
                    data = data[socket.send_fds(self._channel, [data], descriptors) :]
                    descriptors = []
                except BlockingIOError:
                    await self._writable()
                except OSError:  # the worker has gone
                    return

    async def _writable(self) -> None:
        free = self._loop.create_future()
        self._loop.add_writer(self._channel, _set, free)
        try:
            await free
        finally:
            if self._channel.fileno() >= 0:
                self._loop.remove_writer(self._channel)

    async def _connected(self, request: Connect) -> int:
        """A descriptor of a connected socket in blocking mode. Raises OSError with a whole sentence."""
        wanted = Place(normal(request.host), request.port)
        shown = _shown(request)
        if wanted not in self._network:
            raise OSError(
                errno.EACCES, f'network access to {shown} is not allowed. Add "{shown}" to `network` of {self._node}'
            )
        return await self._reached(wanted, shown, request.timeout)

    async def _reached(self, wanted: Place, shown: str, timeout_s: float) -> int:
        try:
            addresses = await self._names.do(lambda: resolve(wanted.host, wanted.port))
        except OSError as error:
            raise OSError(UNRESOLVED, f"{wanted.host} has no address: {error.strerror}") from None
        last = OSError(UNRESOLVED, f"{wanted.host} has no address")
        each_s = min(_EACH_S, timeout_s / len(addresses)) if len(addresses) > 1 else None
        for family, address in addresses:
            if reason := _forbidden(wanted.host, family, address):
                last = OSError(errno.EACCES, f"{shown} is not allowed: {reason}")
                continue
            try:
                async with asyncio.timeout(each_s):
                    return await self._one(family, address)
            except OSError as error:
                code = error.errno or errno.ETIMEDOUT
                last = OSError(code, f"no connection to {shown} ({address[0]}): {os.strerror(code)}")
        raise last

    async def _one(self, family: int, address: tuple[Any, ...]) -> int:
        with socket.socket(family, socket.SOCK_STREAM) as made:
            made.setblocking(False)
            await self._loop.sock_connect(made, address)
            made.setblocking(True)
            return made.detach()

    async def _opened(self, request: Open) -> int:
        """A descriptor of a file or directory. Raises OSError with a whole sentence."""
        path = request.path
        covering = [each for each in self._files if each.covers(path)]
        if not covering:
            raise OSError(
                errno.EACCES, f'file access to {path} is not allowed. Add "{path}" to `file_access` of {self._node}'
            )
        given = max(covering, key=lambda each: len(each.path))
        if _writes(request.flags) and not given.writable:
            raise OSError(
                errno.EACCES,
                f'file access to {path} for writing is not allowed. Write "{given.path}:rw" in `file_access` of '
                f"{self._node}",
            )
        try:
            return await self._disk.do(lambda: open_beneath(given.path, path, request.flags, self._whose), os.close)
        except OSError as error:
            raise OSError(error.errno, f"{path}: {error.strerror}") from None


def _set(free: asyncio.Future[None]) -> None:
    if not free.done():
        free.set_result(None)


class _Turns:
    """One after the other, no faster than the rate, and no more than one in a round of the event loop."""

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        self._bucket, self._clock, self._line = bucket, clock, asyncio.Lock()

    async def take(self) -> None:
        async with self._line:
            while not self._bucket.take(now_ns := self._clock.monotonic_ns()):
                await self._clock.sleep_until(now_ns + _TURN_NS)
            await asyncio.sleep(0)


def resolve(host: str, port: int) -> list[Address]:
    """Where a name or address leads, in the system's order. It waits for name servers. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [(int(family), address) for family, _, _, _, address in found]


def _forbidden(host: str, family: int, address: tuple[Any, ...]) -> str:
    """Why a listed host may not lead to this address; "" if it may."""
    found = ipaddress.ip_address(str(address[0]))
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return ""  # the address itself is listed
    if host == "localhost":
        return "" if found.is_loopback else f"it leads to {found}, which is not this machine"
    kind = next((kind for each in (found, *_within(found)) if (kind := _kind(each))), "")
    if not kind and _own(family, address):
        kind = "this machine"
    if not kind:
        return ""
    return f"it leads to {found}, {kind}. Write the address itself into `network` and into the script if that is meant"


def _kind(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if address.is_loopback or address.is_unspecified or (address.version == 4 and address.packed[0] == 0):
        return "this machine"
    if address.is_link_local:
        return "an address of the link"
    return "a group of machines" if address.is_multicast or address.packed == b"\xff" * 4 else ""


_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """IPv4 addresses that an IPv6 address stands for: mapped (RFC 4291), compatible, 6to4 (3056), NAT64 (6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    last = ipaddress.IPv4Address(address.packed[12:])
    found = [each for each in (address.ipv4_mapped, address.sixtofour) if each is not None]
    return [*found, last] if address in _TRANSLATED or not any(address.packed[:12]) else found


def _own(family: int, address: tuple[Any, ...]) -> bool:
    """Whether the address is this machine's: then packets to it come from it. Nothing is sent to find out."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
        return bool(probe.getsockname()[0] == probe.getpeername()[0])


def _shown(request: Connect) -> str:
    return str(Place(request.host.lower().removesuffix("."), request.port))


def _late(request: FromScript) -> str:
    return f"no connection to {_shown(request)} within {request.timeout:g} s" if isinstance(request, Connect) else ""


def _writes(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & (os.O_CREAT | os.O_TRUNC))
