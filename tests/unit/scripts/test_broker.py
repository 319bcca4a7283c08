"""The broker alone, against sockets on loopback, a resolver in the test's hand, and workers that do as they please."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import Clock, RealClock
from gateway.scripts import broker
from gateway.scripts.broker import Address, Broker
from gateway.scripts.messages import BROKER_LIMIT, Connect, Denied, FromBroker, FromScript, Granted, Open
from gateway.scripts.permissions import Grant, place
from gateway.scripts.rates import Rate
from gateway.scripts.wire import Receiver, frame
from tests.support.clock import FakeClock
from tests.support.until import until

DEADLINE_S = 30.0
QUICK = Rate(1e6, 1_000_000)


class Worker:
    """The other end of the channel: it sends what the test says. Its methods block, in a thread of the test's."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._receiver: Receiver[FromBroker] = Receiver(FromBroker, BROKER_LIMIT)

    def send(self, *requests: FromScript) -> None:
        self.channel.sendall(b"".join(map(frame, requests)))

    def take(self, count: int) -> list[tuple[FromBroker, int | None]]:
        """So many answers, each with its descriptor."""
        answers: list[FromBroker] = []
        descriptors: list[int] = []
        while len(answers) < count:
            data, more, _, _ = socket.recv_fds(self.channel, 1000, 4)
            assert data, "the broker hung up"
            answers += self._receiver.feed(data)
            descriptors += more
        return [(answer, descriptors.pop(0) if isinstance(answer, Granted) else None) for answer in answers]

    async def ask(self, request: FromScript) -> tuple[FromBroker, int | None]:
        self.send(request)
        return (await asyncio.to_thread(self.take, 1))[0]

    async def connected(self, host: str, port: int, timeout_s: float = DEADLINE_S) -> socket.socket:
        answer, descriptor = await self.ask(Connect(1, host, port, timeout_s))
        assert answer == Granted(1)
        return socket.socket(fileno=descriptor)

    async def denied(self, host: str, port: int, timeout_s: float = DEADLINE_S) -> Denied:
        answer, _ = await self.ask(Connect(1, host, port, timeout_s))
        assert isinstance(answer, Denied)
        return answer


class Case:
    """A broker and its worker."""

    def __init__(self, made: Broker, worker: Worker, violations: list[str]) -> None:
        self.broker, self.worker, self.violations = made, worker, violations


@asynccontextmanager
async def brokered(
    network: Sequence[str] = (), files: Sequence[Grant] = (), clock: Clock | None = None, rate: Rate = QUICK
) -> AsyncIterator[Case]:
    """Both, and nothing of them left afterwards."""
    before = descriptors()
    ours, theirs = socket.socketpair()
    violations: list[str] = []
    places = [place(text) for text in network]
    made = Broker(ours, "node mail", places, files, clock or RealClock(), violations.append, rate)
    theirs.settimeout(DEADLINE_S)
    with theirs:
        yield Case(made, Worker(theirs), violations)
        await made.close()
    assert descriptors() == before


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def listening() -> Iterator[tuple[socket.socket, int]]:
    """A server on 127.0.0.1, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, server.getsockname()[1]


def leading(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """From now on every name has these addresses; the list has the names that were asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[Address]:
        asked.append(host)
        return [
            (socket.AF_INET6, (each, port, 0, 0)) if ":" in each else (socket.AF_INET, (each, port))
            for each in addresses
        ]

    monkeypatch.setattr(broker, "resolve", resolve)
    return asked


def run(main: Callable[[], object]) -> None:
    """The test's coroutine."""
    asyncio.run(main())  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["localhost", "LocalHost.", "ｌｏｃａｌｈｏｓｔ"])
def test_a_listed_name_in_any_spelling(host: str) -> None:
    async def main() -> None:
        with listening() as (server, port):
            async with brokered([f"localhost:{port}"]) as case:
                with await case.worker.connected(host, port) as made:
                    taken, _ = server.accept()
                    with taken:
                        assert os.get_blocking(made.fileno())
                        made.sendall(b"hello")
                        assert taken.recv(9) == b"hello"
                assert (case.broker.granted, case.broker.refused, case.violations) == (1, 0, [])

    run(main)


def test_a_listed_address() -> None:
    async def main() -> None:
        with listening() as (_, port):
            async with brokered([f"127.0.0.1:{port}"]) as case:
                (await case.worker.connected("127.0.0.1", port)).close()

    run(main)


@pytest.mark.parametrize(
    "host",
    [
        "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1", "::ffff:127.0.0.1", "::1", "0.0.0.0", "::", "0",
        "localhost.localdomain", "smtp.example.org", "localhost%00", "localhost ", "xlocalhost", "[localhost]",
        "localhost:25", "..", "." * 64, "ß" * 70, "a" * 128, "127。0。0。1",
    ],
)  # fmt: skip
def test_what_is_not_listed_is_not_even_resolved(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = leading(monkeypatch, "127.0.0.1")

    async def main() -> None:
        with listening() as (server, port):
            async with brokered([f"localhost:{port}", "smtp.example.com:587"]) as case:
                denied = await case.worker.denied(host, port)
                assert denied.errno == errno.EACCES
                assert "is not allowed. Add" in denied.message
                assert denied.message.endswith("to `network` of node mail")
                assert not select.select([server], [], [], 0)[0]
        assert asked == []

    run(main)


def test_another_port_of_a_listed_host() -> None:
    async def main() -> None:
        async with brokered(["smtp.example.com:587", "[fd00::5]:80"]) as case:
            denied = await case.worker.denied("SMTP.example.com", 25)
            assert denied.message == (
                "network access to smtp.example.com:25 is not allowed. "
                'Add "smtp.example.com:25" to `network` of node mail'
            )
            denied = await case.worker.denied("fd00::5", 81)
            assert 'Add "[fd00::5]:81" to' in denied.message

    run(main)


def own_address() -> str:
    """An address of this machine other than 127.0.0.1, if it has one. Nothing is sent."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "this machine"),
        ("127.8.9.10", "this machine"),
        ("::1", "this machine"),
        ("0.0.0.0", "this machine"),
        ("::", "this machine"),
        ("::ffff:127.0.0.1", "this machine"),
        ("::127.0.0.1", "this machine"),
        ("64:ff9b::7f00:1", "this machine"),
        ("2002:7f00:1::", "this machine"),
        (own_address(), "this machine"),
        ("169.254.169.254", "an address of the link"),
        ("::ffff:169.254.169.254", "an address of the link"),
        ("fe80::1", "an address of the link"),
        ("224.0.0.251", "a group of machines"),
        ("ff02::fb", "a group of machines"),
        ("255.255.255.255", "a group of machines"),
    ],
)
def test_a_listed_name_that_leads_astray(address: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leading(monkeypatch, address)

    async def main() -> None:
        with listening() as (server, port):
            async with brokered([f"evil.example.com:{port}"]) as case:
                denied = await case.worker.denied("evil.example.com", port)
                assert denied.errno == errno.EACCES
                assert f", {kind}. Write the address itself into `network`" in denied.message
                assert not select.select([server], [], [], 0)[0]

    run(main)


def test_localhost_leads_here_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    leading(monkeypatch, "192.0.2.9")

    async def main() -> None:
        async with brokered(["localhost:80"]) as case:
            assert "not this machine" in (await case.worker.denied("localhost", 80)).message

    run(main)


def test_the_addresses_of_a_name_are_tried_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    leading(monkeypatch, "192.0.2.9", "127.0.0.2", "127.0.0.1")

    async def main() -> None:
        with listening() as (_, port):
            async with brokered([f"localhost:{port}"]) as case:
                (await case.worker.connected("localhost", port)).close()

    run(main)


def test_nobody_there() -> None:
    async def main() -> None:
        with listening() as (_, port):
            pass
        async with brokered([f"127.0.0.1:{port}"]) as case:
            denied = await case.worker.denied("127.0.0.1", port)
            assert denied.errno == errno.ECONNREFUSED
            assert denied.message == f"no connection to 127.0.0.1:{port} (127.0.0.1): Connection refused"

    run(main)


def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(broker, "resolve", resolve)

    async def main() -> None:
        async with brokered(["smtp.example.com:25"]) as case:
            denied = await case.worker.denied("smtp.example.com", 25)
            assert denied == Denied(1, 0, "smtp.example.com has no address: Name or service not known")

    run(main)


def test_a_server_that_does_not_take_the_connection() -> None:
    async def main() -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(0)
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)):  # fills its queue
                async with brokered([f"127.0.0.1:{port}"]) as case:
                    denied = await case.worker.denied("127.0.0.1", port, 0.1)
                    assert denied.errno == errno.ETIMEDOUT
                    assert denied.message == f"no connection to 127.0.0.1:{port} within 0.1 s"

    run(main)


def test_a_name_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, begun = threading.Event(), list[str]()

    def resolve(host: str, port: int) -> list[Address]:
        begun.append(host)
        ended.wait(DEADLINE_S)
        return []

    monkeypatch.setattr(broker, "resolve", resolve)

    async def main() -> None:
        async with brokered(["smtp.example.com:25"]) as case:
            case.worker.send(*(Connect(number, "smtp.example.com", 25, 0.05) for number in range(20)))
            answers = await asyncio.to_thread(case.worker.take, 20)
            assert {answer.errno for answer, _ in answers if isinstance(answer, Denied)} == {errno.ETIMEDOUT}
            assert 0 < len(begun) <= 4
            ended.set()

    run(main)


@pytest.mark.parametrize("rubbish", [b"\xff" * 8, frame(Denied(1, 0, "")), b"\x00\x00\x00\x01\xc0", bytes(100)])
def test_rubbish_is_a_violation(rubbish: bytes) -> None:
    async def main() -> None:
        async with brokered() as case:
            case.worker.channel.sendall(rubbish)
            assert await asyncio.to_thread(case.worker.channel.recv, 1) == b""
            assert len(case.violations) == 1
            assert case.violations[0].startswith("protocol violation on the broker's channel: ")

    run(main)


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_whatever_comes_the_gateway_goes_on(parts: list[bytes]) -> None:
    async def main() -> None:
        async with brokered(["localhost:9"]) as case:
            for part in parts:
                case.worker.channel.sendall(part)
                await asyncio.sleep(0)
                if case.violations:
                    break
            assert len(case.violations) <= 1

    run(main)


def test_a_flood_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with brokered(clock=FakeClock(), rate=Rate(0.001, 1)) as case:
            case.worker.send(*(Connect(number, "x", 1, 60.0) for number in range(70)))
            await until(lambda: case.violations)
            assert case.violations == ["protocol violation on the broker's channel: more than 64 requests at once"]

    monkeypatch.setattr(FakeClock, "sleep_until", lambda clock, at_ns: asyncio.sleep(DEADLINE_S))
    run(main)


def test_who_asks_too_often_waits() -> None:
    clock = FakeClock()

    async def main() -> None:
        async with brokered(clock=clock, rate=Rate(20.0, 60)) as case:
            begun_ns = clock.now_ns
            for _ in range(2):
                case.worker.send(*(Connect(number, "x", 1, 60.0) for number in range(50)))
                await asyncio.to_thread(case.worker.take, 50)
            assert clock.now_ns - begun_ns >= 2_000_000_000
            assert case.violations == []

    run(main)


def test_a_burst_leaves_the_loop_to_others_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, judged = [0], list[int]()

    def normal(host: str) -> str:
        judged.append(rounds[0])
        return host

    monkeypatch.setattr(broker, "normal", normal)

    async def others() -> None:
        while True:
            rounds[0] += 1
            await asyncio.sleep(0)

    async def main() -> None:
        async with brokered() as case:
            running = asyncio.create_task(others())
            case.worker.send(*(Connect(number, "x", 1, 60.0) for number in range(50)))
            await asyncio.to_thread(case.worker.take, 50)
            running.cancel()
            assert len(set(judged)) == 50

    run(main)


def test_who_waits_too_long_is_told_so() -> None:
    async def main() -> None:
        async with brokered(rate=Rate(1e-6, 1)) as case:
            await case.worker.denied("x", 1)
            denied = await case.worker.denied("x", 1, 0.05)
            assert denied.errno == errno.ETIMEDOUT
            assert denied.message == "node mail asks for too many connections: keep one open, or wait between them"

    run(main)


def test_sockets_that_a_worker_does_not_take_are_few() -> None:
    async def main() -> None:
        with listening() as (_, port):
            async with brokered([f"127.0.0.1:{port}"]) as case:
                before = descriptors()
                case.worker.send(*(Connect(number, "127.0.0.1", port, DEADLINE_S) for number in range(60)))
                await until(lambda: case.broker.granted >= 10 and descriptors() == before + 4)
                for _ in range(100):
                    await asyncio.sleep(0.001)
                assert case.broker.granted < 30
                assert descriptors() <= before + 4
                for _, descriptor in await asyncio.to_thread(case.worker.take, 60):
                    assert descriptor is not None
                    os.close(descriptor)

    run(main)


def test_a_worker_that_goes_takes_everything_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(broker, "resolve", lambda host, port: ended.wait(DEADLINE_S) and [])

    async def main() -> None:
        async with brokered(["smtp.example.com:25"]) as case:
            case.worker.send(Connect(1, "smtp.example.com", 25, DEADLINE_S))
            await asyncio.sleep(0.01)
            assert len(asyncio.all_tasks()) == 2
            case.worker.channel.close()
            await until(lambda: len(asyncio.all_tasks()) == 1)
            assert case.violations == []
            ended.set()

    run(main)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("text")
    (tmp_path / "out").mkdir()
    given = [Grant(f"{tmp_path}/in"), Grant(f"{tmp_path}/out", True)]
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

    async def main() -> None:
        async with brokered(files=given) as case:
            answer, descriptor = await case.worker.ask(Open(5, f"{tmp_path}/in/a", os.O_RDONLY))
            assert answer == Granted(5)
            assert descriptor is not None
            assert os.read(descriptor, 9) == b"text"
            os.close(descriptor)
            answer, descriptor = await case.worker.ask(Open(6, f"{tmp_path}/out/b", writing))
            assert descriptor is not None
            os.write(descriptor, b"new")
            os.close(descriptor)
            for path, flags, code, said in (
                (f"{tmp_path}/in/a", writing, errno.EACCES, f'Write "{tmp_path}/in:rw" in `file_access` of node mail'),
                (f"{tmp_path}/input", 0, errno.EACCES, f'Add "{tmp_path}/input" to `file_access` of node mail'),
                ("/etc/passwd", 0, errno.EACCES, 'Add "/etc/passwd" to `file_access` of node mail'),
                ("in/a", 0, errno.EACCES, 'Add "in/a" to'),
                (f"{tmp_path}/in/../out/b", 0, errno.EXDEV, "Invalid cross-device link"),
                (f"{tmp_path}/in/b", 0, errno.ENOENT, f"{tmp_path}/in/b: No such file or directory"),
            ):
                answer, _ = await case.worker.ask(Open(7, path, flags))
                assert isinstance(answer, Denied)
                assert answer.errno == code
                assert said in answer.message

    run(main)
    assert (tmp_path / "out" / "b").read_text() == "new"
