"""A worker's side of the broker's channel, against a broker that answers what the test says; and names that stay names.

What `install` does to a whole process is tested in tests/real/test_script_network.py, in a process of its own.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.scripts import outside
from gateway.scripts.messages import BROKER_LIMIT, Connect, Denied, FromScript, Granted, Open
from gateway.scripts.outside import Channel
from gateway.scripts.wire import Receiver, frame

DEADLINE_S = 30.0


class Broker:
    """The other end."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._receiver: Receiver[FromScript] = Receiver(FromScript, BROKER_LIMIT)

    def take(self, count: int = 1) -> list[FromScript]:
        requests: list[FromScript] = []
        while len(requests) < count:
            requests += self._receiver.feed(self.channel.recv(1000))
        return requests

    def grant(self, number: int, descriptor: int) -> None:
        socket.send_fds(self.channel, [frame(Granted(number))], [descriptor])


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Broker]]:
    """A channel and its broker."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE_S)
    channel = Channel(ours.detach())
    yield channel, Broker(theirs)
    theirs.close()
    channel.close()


@pytest.fixture
def asking() -> Iterator[ThreadPoolExecutor]:
    """Threads of the script's."""
    with ThreadPoolExecutor(8) as threads:
        yield threads


def inode(descriptor: int) -> int:
    """What a descriptor stands for; it is closed."""
    found = os.fstat(descriptor).st_ino
    os.close(descriptor)
    return found


def test_answers_in_another_order(ends: tuple[Channel, Broker], asking: ThreadPoolExecutor) -> None:
    channel, broker = ends
    results = [asking.submit(channel.connect, f"host{number}", 80, None) for number in range(8)]
    requests = broker.take(8)
    pairs = [socket.socketpair() for _ in requests]
    try:
        expected: dict[str, int] = {}
        for request, (one, _) in reversed(list(zip(requests, pairs, strict=True))):
            assert isinstance(request, Connect)
            if request.host == "host3":
                broker.channel.sendall(frame(Denied(request.id, errno.ECONNREFUSED, "nobody there")))
            else:
                expected[request.host] = os.fstat(one.fileno()).st_ino
                broker.grant(request.id, one.fileno())
        for number, result in enumerate(results):
            if number == 3:
                with pytest.raises(ConnectionRefusedError, match="nobody there"):
                    result.result(DEADLINE_S)
            else:
                assert inode(result.result(DEADLINE_S)) == expected[f"host{number}"]
    finally:
        for pair in pairs:
            pair[0].close()
            pair[1].close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EACCES, PermissionError),
        (errno.ETIMEDOUT, TimeoutError),
        (outside.UNRESOLVED, socket.gaierror),
        (errno.EHOSTUNREACH, OSError),
    ],
)
def test_refusals(ends: tuple[Channel, Broker], asking: ThreadPoolExecutor, code: int, kind: type[OSError]) -> None:
    channel, broker = ends
    result = asking.submit(channel.connect, "host", 80, 2.5)
    (request,) = broker.take()
    assert request == Connect(1, "host", 80, 2.5)
    broker.channel.sendall(frame(Denied(1, code, "that is why")))
    with pytest.raises(kind, match="that is why"):
        result.result(DEADLINE_S)


@pytest.mark.parametrize(("given", "asked"), [(None, 60.0), (0.0, 20.0), (600.0, 60.0), (1e-9, 1e-9)])
def test_the_timeout_is_the_brokers(
    ends: tuple[Channel, Broker], asking: ThreadPoolExecutor, given: float | None, asked: float
) -> None:
    channel, broker = ends
    result = asking.submit(channel.connect, "host", 80, given)
    assert broker.take() == [Connect(1, "host", 80, asked)]
    broker.channel.close()
    with pytest.raises(ConnectionError, match="no longer connects"):
        result.result(DEADLINE_S)


@pytest.mark.parametrize(
    ("host", "port", "kind"),
    [
        ("", 80, socket.gaierror),
        ("a" * 129, 80, socket.gaierror),
        ("a\0b", 80, socket.gaierror),
        ("a\ud800b", 80, socket.gaierror),
        ("host", 0, OverflowError),
        ("host", 65536, OverflowError),
    ],
)
def test_what_would_break_the_protocol_is_not_sent(
    ends: tuple[Channel, Broker], host: str, port: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        ends[0].connect(host, port, None)


@pytest.mark.parametrize("path", ["", "/a\0b", "/" + "a" * 2048, "/\ud800"])
def test_no_such_path(ends: tuple[Channel, Broker], path: str) -> None:
    with pytest.raises(FileNotFoundError):
        ends[0].open(path, os.O_RDONLY)


def test_files(ends: tuple[Channel, Broker], asking: ThreadPoolExecutor) -> None:
    channel, broker = ends
    result = asking.submit(channel.open, "/data/a", os.O_WRONLY | os.O_CLOEXEC)
    assert broker.take() == [Open(1, "/data/a", os.O_WRONLY)]
    broker.grant(1, broker.channel.fileno())
    assert inode(result.result(DEADLINE_S)) == os.fstat(broker.channel.fileno()).st_ino


def test_many_threads_and_no_descriptor_left(ends: tuple[Channel, Broker], asking: ThreadPoolExecutor) -> None:
    channel, broker = ends
    before = len(os.listdir("/proc/self/fd"))

    def ask() -> None:
        for _ in range(50):
            os.close(channel.connect("host", 80, None))

    answering = threading.Thread(target=answer_one_by_one, args=(broker, 400))
    answering.start()
    for result in [asking.submit(ask) for _ in range(8)]:
        result.result(DEADLINE_S)
    answering.join(DEADLINE_S)
    assert not answering.is_alive()
    assert len(os.listdir("/proc/self/fd")) == before


def answer_one_by_one(broker: Broker, count: int) -> None:
    """Grants as many requests as there are, in whatever portions they come."""
    while count > 0:
        for request in broker.take():
            broker.grant(request.id, broker.channel.fileno())
            count -= 1


def test_a_name_is_its_own_address() -> None:
    tcp = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    assert outside.getaddrinfo("smtp.example.com", 587) == [(socket.AF_INET, *tcp, ("smtp.example.com", 587))]
    assert outside.getaddrinfo(b"db", "5432", type=socket.SOCK_STREAM) == [(socket.AF_INET, *tcp, ("db", 5432))]
    assert outside.getaddrinfo("::1", 80) == [(socket.AF_INET6, *tcp, ("::1", 80, 0, 0))]
    assert outside.getaddrinfo("db", 80, socket.AF_INET6) == [(socket.AF_INET6, *tcp, ("db", 80, 0, 0))]
    assert outside.getaddrinfo(None, None) == [(socket.AF_INET, *tcp, ("localhost", 0))]
    assert outside.gethostbyname("smtp.example.com") == "smtp.example.com"
    assert outside.gethostbyname(socket.gethostname()) == "127.0.0.1"
    assert outside.gethostbyname_ex("db") == ("db", [], ["db"])
    assert outside.getnameinfo(("db", 80), 0) == ("db", "80")


def test_names_that_are_not_looked_up() -> None:
    with pytest.raises(socket.gaierror, match="TCP connections only"):
        outside.getaddrinfo("db", 53, type=socket.SOCK_DGRAM)
    with pytest.raises(socket.gaierror, match="no address"):
        outside.getaddrinfo("db", 53, flags=socket.AI_NUMERICHOST)
    with pytest.raises(socket.gaierror, match="give its number"):
        outside.getaddrinfo("db", "no such service")
    with pytest.raises(socket.herror, match="no name is looked up"):
        outside.gethostbyaddr("10.0.0.5")


def test_a_descriptor_for_which_no_number_is_free(
    ends: tuple[Channel, Broker], asking: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, broker = ends
    full = [True]

    def receive(taken: socket.socket, size: int, most: int) -> tuple[bytes, list[int], int, None]:
        """As recvmsg(2) when the process has as many descriptors as it may."""
        data, descriptors, flags, _ = socket.recv_fds.__wrapped__(taken, size, most)  # type: ignore[attr-defined]
        if not full.pop():
            return data, descriptors, flags, None
        os.close(descriptors[0])
        return data, [], flags | socket.MSG_CTRUNC, None

    receive.__wrapped__ = socket.recv_fds  # type: ignore[attr-defined]
    monkeypatch.setattr(socket, "recv_fds", receive)
    first = asking.submit(channel.connect, "host", 80, None)
    broker.take()
    broker.grant(1, broker.channel.fileno())
    with pytest.raises(OSError, match="too many files and connections open") as fault:
        first.result(DEADLINE_S)
    assert fault.value.errno == errno.EMFILE
    full.append(False)
    second = asking.submit(channel.connect, "host", 80, None)
    broker.take()
    broker.grant(2, broker.channel.fileno())
    assert inode(second.result(DEADLINE_S)) == os.fstat(broker.channel.fileno()).st_ino
