"""What is outside a worker, seen from inside: its TCP connections come from the broker.

`install` changes Python's own `socket` module so that libraries work unchanged. A worker may not make a socket, so what
is new holds one end of a dead pair instead: it can be configured, wrapped in TLS and watched, and is of family AF_INET
to Python and of AF_UNIX to the kernel, by which it is known here. On `connect` the broker's socket is put in its place
under the same number (dup2), with the options set so far. Names are not resolved in here: getaddrinfo answers with the
name as address, and the broker gets it with `connect`.

At level C files come the same way (files.py).

None of this is a wall; the kernel's filter is. It runs among the customer's code: standard library only.
"""

from __future__ import annotations

import _socket
import asyncio
import asyncio.selector_events
import errno
import ipaddress
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from gateway.scripts.files import Files
from gateway.scripts.messages import BROKER_LIMIT, Connect, Denied, FromBroker, FromScript, Open
from gateway.scripts.wire import Receiver, frame

UNRESOLVED = 0
"""The errno of a Denied that says that a name has no address: Python has socket.gaierror for it."""
_LONGEST_S = 60.0
"""The longest timeout of a Connect; a script's call is over before."""
_UNTOLD_S = 20.0
"""The timeout where a socket has none to tell, as in asyncio: one given up holds a place of the broker's so long."""
_INET = (socket.AF_INET, socket.AF_INET6)
_SO_DOMAIN = 39
_FLAGS = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK

Raw: Any = _socket.socket
"""The socket type beneath Python's own, whose methods stay as they were."""


class Channel:
    """The worker's end of the broker's channel, for all threads: the one that finds nobody reading reads for all."""

    def __init__(self, descriptor: int) -> None:
        self._channel = Raw(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
        self._channel.settimeout(None)
        self._receiver: Receiver[FromBroker] = Receiver(FromBroker, BROKER_LIMIT, trusted=True)
        self._news = threading.Condition()
        self._reading = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._last = 0
        self._answers: dict[int, int | Denied | None] = {}
        self._descriptors: deque[int | None] = deque()

    def close(self) -> None:
        """Ask no more."""
        self._channel.close()
        os.close(self._wake)

    def connect(self, host: str, port: int, timeout_s: float | None) -> int:
        """The descriptor of a connected socket in blocking mode. With a timeout of 0, which cannot be, it is 20 s.

        Raises OSError as connect(2) would, PermissionError with the option that would allow it, socket.gaierror.
        """
        return self.wait(self.begin(host, port, timeout_s))

    def begin(self, host: str, port: int, timeout_s: float | None) -> int:
        """Ask for a connection; the number for `wait`."""
        timeout_s = _LONGEST_S if timeout_s is None else min(timeout_s or _UNTOLD_S, _LONGEST_S)
        if not 0 < port <= 0xFFFF:
            raise OverflowError(f"port must be 1-65535, not {port}")
        if not 0 < len(host) <= 128 or not host.isprintable():
            raise socket.gaierror(socket.EAI_NONAME, f"{host[:128]!r} is no host name")
        return self._ask(lambda number: Connect(number, host, port, timeout_s))

    def open(self, path: str, flags: int) -> int:
        """The descriptor of a file or directory. Raises OSError as open(2) would, with the option that would help."""
        if not path or len(path) > 2048 or not path.isprintable():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path[:2048])
        return self.wait(self._ask(lambda number: Open(number, path, flags & ~os.O_CLOEXEC)))

    def give_up(self, number: int) -> None:
        """Who waits for this answer gets ECANCELED at once; what may still come is closed."""
        with self._news:
            if number in self._answers:
                self._answers[number] = Denied(number, errno.ECANCELED, os.strerror(errno.ECANCELED))
                self._news.notify_all()
                os.eventfd_write(self._wake, 1)

    def _ask(self, request: Callable[[int], FromScript]) -> int:
        with self._news:
            self._last += 1
            number = self._last
            self._channel.sendall(frame(request(number)))
            self._answers[number] = None
        return number

    def wait(self, number: int) -> int:
        """The descriptor that was asked for; see `connect` and `open`."""
        try:
            answer = self._answer(number)
        finally:
            with self._news:
                self._answers.pop(number, None)
        if isinstance(answer, int):
            return answer
        if answer.errno == UNRESOLVED:
            raise socket.gaierror(socket.EAI_NONAME, answer.message)
        raise OSError(answer.errno, answer.message)

    def _answer(self, number: int) -> int | Denied:
        while True:
            with self._news:
                while (answer := self._answers[number]) is None and self._reading:
                    self._news.wait()
                if answer is not None:
                    return answer
                self._reading = True
            try:
                self._read()
            finally:
                with self._news:
                    self._reading = False
                    self._news.notify_all()

    def _read(self) -> None:
        """What comes next. A descriptor comes with the first byte of its frame, so they are in the frames' order."""
        waiting = select.poll()
        waiting.register(self._wake, select.POLLIN)
        waiting.register(self._channel, select.POLLIN)
        if any(ready == self._wake for ready, _ in waiting.poll()):
            os.eventfd_read(self._wake)
            return
        data, descriptors, flags, _ = socket.recv_fds(self._channel, BROKER_LIMIT, 4)
        if not data:
            raise ConnectionError(errno.ECONNRESET, "the gateway no longer connects for this script")
        with self._news:
            self._descriptors.extend(descriptors)
            if flags & socket.MSG_CTRUNC:  # no number was free for it
                self._descriptors.append(None)
            for message in self._receiver.feed(data):
                self._take(message)

    def _take(self, message: FromBroker) -> None:
        given = message if isinstance(message, Denied) else self._descriptors.popleft()
        if given is None:
            given = Denied(message.id, errno.EMFILE, "the script has too many files and connections open")
        if self._answers.get(message.id, given) is None:
            self._answers[message.id] = given
        elif isinstance(given, int):  # who asked has given up
            os.close(given)


def install(descriptor: int, level: str) -> Channel:
    """Let `socket` and, at level C, `open` and `os` go to the broker at the other end of `descriptor`."""
    channel = Channel(descriptor)
    _Sockets(channel).install()
    if level == "C":
        Files(channel.open).install()
    return channel


class _Sockets:
    """The functions and methods that take the place of those in `socket`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._init = socket.socket.__init__
        self._sock_connect = asyncio.selector_events.BaseSelectorEventLoop.sock_connect
        self._threads = ThreadPoolExecutor(4, "connecting")
        self._options: dict[int, list[tuple[Any, ...]]] = {}
        """By descriptor of a pair: what is to be set on the connected socket. TLS takes the number, not the object."""

    def install(self) -> None:
        for name in ("connect", "connect_ex", "setsockopt", "getpeername", "bind", "listen"):
            setattr(socket.socket, name, _method(getattr(self, f"_{name}")))
        setattr(socket.socket, "__init__", _method(self._made))  # noqa: B010
        loops: Any = asyncio.selector_events.BaseSelectorEventLoop
        loops.sock_connect, loops.getaddrinfo = (
            _method_async(self._connect_in_loop),
            _method_async(_getaddrinfo_in_loop),
        )
        for function in (getaddrinfo, gethostbyname, gethostbyname_ex, gethostbyaddr, getnameinfo):
            setattr(socket, function.__name__, function)

    def _made(self, made: Any, family: int = -1, type: int = -1, proto: int = -1, fileno: Any = None) -> None:  # noqa: A002
        """socket.__init__."""
        if fileno is not None:
            self._init(made, family, type, proto, fileno)
            return
        family = socket.AF_INET if family == -1 else family
        kind = socket.SOCK_STREAM if type == -1 else type & ~_FLAGS
        proto = 0 if proto == -1 else proto
        if family not in _INET or kind != socket.SOCK_STREAM or proto not in (0, socket.IPPROTO_TCP):
            _refuse("a script has TCP connections to the hosts of its `network` only: no UDP, no other sockets")
        one, other = _socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        other.close()
        self._options.pop(one.fileno(), None)
        self._init(made, family, kind, proto, one.detach())
        if type != -1 and type & socket.SOCK_NONBLOCK:
            made.setblocking(False)

    def _connect(self, made: Any, address: Any) -> None:
        """socket.connect. A socket that may not wait waits all the same, as there is nobody else to go on."""
        host, port = self._where(made, address)
        self._adopt(made, self._channel.connect(host, port, made.gettimeout()))

    def _connect_ex(self, made: Any, address: Any) -> int:
        """socket.connect_ex."""
        try:
            self._connect(made, address)
        except socket.gaierror:
            raise
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    async def _connect_in_loop(self, loop: Any, made: Any, address: Any) -> None:
        """sock_connect of asyncio's loops: a thread waits for the broker."""
        if not _waits(made):
            await self._sock_connect(loop, made, address)
            return
        number = self._channel.begin(*self._where(made, address), _UNTOLD_S)

        def connected() -> Any:
            return Raw(socket.AF_INET, socket.SOCK_STREAM, 0, self._channel.wait(number))

        try:
            given = await loop.run_in_executor(self._threads, connected)  # dropped, it is closed
        except asyncio.CancelledError:
            self._channel.give_up(number)
            raise
        self._adopt(made, given.detach())

    def _where(self, made: Any, address: Any) -> tuple[str, int]:
        """Host and port to connect to. Raises OSError if the socket cannot be connected (any more)."""
        if not _waits(made):
            if made.family in _INET:
                raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
            _refuse("a script has TCP connections to the hosts of its `network` only")
        if not isinstance(address, tuple) or len(address) < 2:
            raise TypeError(f"an address is a tuple of host and port, not {address!r}")
        host, port = address[:2]
        return _text(host), int(port)

    def _adopt(self, made: Any, given: int) -> None:
        """Put the connected socket where the pair was."""
        number = made.fileno()
        try:
            if not _waits(made):
                raise OSError(errno.EBADF, "the socket was closed while it was being connected")
            os.dup2(given, number, inheritable=False)
        finally:
            os.close(given)
        made.settimeout(made.gettimeout())
        for option in self._options.pop(number, []):
            Raw.setsockopt(made, *option)

    def _setsockopt(self, made: Any, *option: Any) -> None:
        """socket.setsockopt, which a socket not yet connected keeps for later."""
        if not _waits(made):
            Raw.setsockopt(made, *option)
            return
        self._options.setdefault(made.fileno(), []).append(option)

    def _getpeername(self, made: Any) -> Any:
        """socket.getpeername."""
        if _waits(made):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return Raw.getpeername(made)

    def _bind(self, made: Any, address: Any) -> NoReturn:
        """socket.bind."""
        _refuse("a script cannot bind a socket: it has connections that it opens, and no address of its own")

    def _listen(self, made: Any, backlog: int = 0) -> NoReturn:
        """socket.listen."""
        _refuse("a script cannot listen: nobody connects to it")


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a method of a class."""

    def method(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    return method


def _method_async(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a coroutine."""

    async def method(*arguments: Any, **named: Any) -> Any:
        return await function(*arguments, **named)

    return method


def _refuse(sentence: str) -> NoReturn:
    raise PermissionError(errno.EACCES, sentence)


def _waits(made: Any) -> bool:
    """Whether it is a socket of ours that is not yet connected. Raises OSError if it is closed."""
    return made.family in _INET and bool(Raw.getsockopt(made, socket.SOL_SOCKET, _SO_DOMAIN) == socket.AF_UNIX)


def _text(host: Any) -> str:
    return host.decode("idna") if isinstance(host, bytes | bytearray) else str(host)


def _is_address(host: str) -> int:
    """4, 6, or 0 for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0


def getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0  # noqa: A002
) -> list[tuple[Any, Any, int, str, Any]]:  # fmt: skip
    """socket.getaddrinfo: the host itself as its only address, for TCP."""
    name = "localhost" if host in (None, "", b"") else _text(host)
    if type & ~_FLAGS not in (0, socket.SOCK_STREAM):
        raise socket.gaierror(socket.EAI_SOCKTYPE, "a script has TCP connections only")
    version = _is_address(name)
    if flags & socket.AI_NUMERICHOST and not version:
        raise socket.gaierror(socket.EAI_NONAME, f"{name} is no address")
    number = _port(port)
    if family == socket.AF_INET6 or (version == 6 and family == 0):
        return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (name, number, 0, 0))]
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (name, number))]


async def _getaddrinfo_in_loop(_loop: Any, host: Any, port: Any, **named: Any) -> Any:
    """getaddrinfo of asyncio's loops: it needs no thread."""
    return getaddrinfo(host, port, **named)


def _port(port: Any) -> int:
    if port is None:
        return 0
    try:
        return int(port)
    except ValueError:
        pass
    try:
        return socket.getservbyname(_text(port), "tcp")
    except OSError:
        raise socket.gaierror(socket.EAI_SERVICE, f"{port!r} is no port: give its number") from None


def gethostbyname(host: str) -> str:
    """socket.gethostbyname: the name itself, which `connect` takes; for this machine's own, 127.0.0.1."""
    return "127.0.0.1" if host in ("", socket.gethostname()) else host


def gethostbyname_ex(host: str) -> tuple[str, list[str], list[str]]:
    """socket.gethostbyname_ex."""
    return host, [], [gethostbyname(host)]


def gethostbyaddr(host: str) -> NoReturn:
    """socket.gethostbyaddr: nobody is asked for the name of an address."""
    raise socket.herror(1, f"no name is looked up for {host}")


def getnameinfo(address: tuple[Any, ...], flags: int) -> tuple[str, str]:
    """socket.getnameinfo: the address as it is."""
    return str(address[0]), str(address[1])
