"""A broker's door: a socket in front of a broker of the mock cluster, through which everybody goes.

It does what the mock cluster leaves out and a broker does. It takes one request of a connection at a time, and of an
idempotent producer only what follows on what is there: a batch that was appended already is answered and not appended
again, one out of order is refused (Kafka's protocol, Produce version 7 and record batch version 2). So what is behind
it is what a broker would hold. It closes and opens, is slow, encrypts, and asks for a password when told to.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field

HOST = "127.0.0.1"
PRODUCE = 0
_SASL_HANDSHAKE, _API_VERSIONS, _SASL_AUTHENTICATE = 17, 18, 36
_OUT_OF_ORDER, _UNSUPPORTED, _WRONG_PASSWORD = 45, 35, 58


@dataclass(slots=True)
class Ledger:
    """What idempotent producers have had appended, at all doors of a cluster: first sequence number, size and offset of
    each batch by partition and producer. `repeats` counts those that came again."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    batches: dict[tuple[str, int, int, int], list[tuple[int, int, int]]] = field(default_factory=dict)
    repeats: int = 0


class Door:
    """The door to the broker at `inside`, open until `close`."""

    def __init__(
        self, inside: int, ledger: Ledger, tls: ssl.SSLContext | None = None, user: tuple[str, str] | None = None
    ) -> None:
        self._inside, self._ledger, self._tls = inside, ledger, tls
        self._token = None if user is None else b"\0%s\0%s" % (user[0].encode(), user[1].encode())
        self._listener: socket.socket | None = None
        self._within: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self.port = 0
        self.delay_s = 0.0

    def open(self) -> None:
        """Listen, on the same port as before."""
        self._closing = threading.Event()
        self._listener = socket.create_server((HOST, self.port))
        self.port = self._listener.getsockname()[1]
        self._start(self._welcome, self._listener)

    def close(self) -> None:
        """Throw everybody out, answers under way or not, and let nobody in."""
        self._closing.set()
        if self._listener is not None:
            _shut(self._listener)
            self._listener.close()
            self._listener = None
        for guest in list(self._within):
            _shut(guest)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _start(self, do: object, *arguments: object) -> None:
        thread = threading.Thread(target=do, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _welcome(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._closing.is_set():
                guest, _ = listener.accept()
                self._within.add(guest)
                self._start(self._serve, guest)

    def _serve(self, guest: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError), guest, self._wrapped(guest) as client:
                self._within.add(client)
                with socket.create_connection((HOST, self._inside)) as broker:
                    self._talk(client, broker)
                self._within.discard(client)
        finally:
            self._within.discard(guest)

    def _wrapped(self, guest: socket.socket) -> socket.socket:
        if self._tls is None:
            return guest
        return self._tls.wrap_socket(guest, server_side=True)

    def _talk(self, client: socket.socket, broker: socket.socket) -> None:
        known = self._token is None
        while (request := _frame(client)) is not None and not self._closing.is_set():
            (kind,) = struct.unpack_from(">h", request)
            if not known:
                answer = self._asked_who(request, broker)
                known = kind == _SASL_AUTHENTICATE and request.endswith(self._token or b"")
            elif kind == PRODUCE:
                answer = self._produced(request, broker)
            else:
                answer = _asked(broker, request)
            if self.delay_s and self._closing.wait(self.delay_s):
                return
            client.sendall(struct.pack(">i", len(answer)) + answer)

    def _asked_who(self, request: bytes, broker: socket.socket) -> bytes:
        """The answer to a client that has not shown its password (KIP-43, KIP-152, all in version 0 or 1)."""
        kind, version, number = struct.unpack_from(">hhi", request)
        if kind == _API_VERSIONS and version > 0:
            return struct.pack(">ihi", number, _UNSUPPORTED, 0)
        if kind == _API_VERSIONS:
            answer = _asked(broker, request)
            (count,) = struct.unpack_from(">i", answer, 6)
            more = struct.pack(">hhhhhh", _SASL_HANDSHAKE, 0, 1, _SASL_AUTHENTICATE, 0, 0)
            return answer[:6] + struct.pack(">i", count + 2) + answer[10:] + more
        if kind == _SASL_HANDSHAKE:
            return struct.pack(">ihih5s", number, 0, 1, 5, b"PLAIN")
        if kind == _SASL_AUTHENTICATE and request.endswith(self._token or b""):
            return struct.pack(">ihhi", number, 0, -1, 0)
        said = b"Invalid username or password"
        return struct.pack(">ihh", number, _WRONG_PASSWORD, len(said)) + said + struct.pack(">i", 0)

    def _produced(self, request: bytes, broker: socket.socket) -> bytes:
        number, topic, partition, records = _produce(request)
        producer, epoch, first, size = struct.unpack_from(">qhii", records, 43)
        with self._ledger.lock:
            had = self._ledger.batches.setdefault((topic.decode(), partition, producer, epoch), [])
            for offset in (offset for start, count, offset in had if (start, count) == (first, size)):
                self._ledger.repeats += 1
                return _answer(number, topic, partition, 0, offset)
            if producer >= 0 and first != sum(count for _, count, _ in had):
                return _answer(number, topic, partition, _OUT_OF_ORDER, -1)
            answer = _asked(broker, request)
            error, offset = struct.unpack_from(">hq", answer, 4 + 4 + 2 + len(topic) + 4 + 4)
            if error == 0:
                had.append((first, size, offset))
            return answer


def _produce(request: bytes) -> tuple[int, bytes, int, bytes]:
    """Number, topic, partition and records of a Produce request of one batch."""
    _, version, number, length = struct.unpack_from(">hhih", request)
    assert version <= 7, version
    at = 10 + max(0, length)
    (length,) = struct.unpack_from(">h", request, at)
    at += 2 + max(0, length) + 2 + 4
    topics, length = struct.unpack_from(">ih", request, at)
    topic = request[at + 6 : at + 6 + length]
    partitions, partition, size = struct.unpack_from(">iii", request, at + 6 + length)
    assert (topics, partitions) == (1, 1), "a request of one batch"
    at += 6 + length + 12
    return number, topic, partition, request[at : at + size]


def _answer(number: int, topic: bytes, partition: int, error: int, offset: int) -> bytes:
    head = struct.pack(">iih", number, 1, len(topic)) + topic
    return head + struct.pack(">iihqqqi", 1, partition, error, offset, -1, 0, 0)


def _asked(broker: socket.socket, request: bytes) -> bytes:
    broker.sendall(struct.pack(">i", len(request)) + request)
    answer = _frame(broker)
    if answer is None:
        raise ConnectionError("the broker is gone")
    return answer


def _frame(peer: socket.socket) -> bytes | None:
    head = _exactly(peer, 4)
    return None if head is None else _exactly(peer, struct.unpack(">i", head)[0])


def _exactly(peer: socket.socket, size: int) -> bytes | None:
    parts = b""
    while len(parts) < size:
        part = peer.recv(size - len(parts))
        if not part:
            return None
        parts += part
    return parts


def _shut(peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)
