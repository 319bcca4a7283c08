"""The driver redis against a server that answers by a script: what it sends, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest

from gateway.actions.driver import Refused, Surroundings, Undelivered
from gateway.actions.redis_driver import KIND, RedisDriver, RedisSettings, server
from gateway.actions.settings import with_drivers
from gateway.clock import RealClock
from gateway.config.document import parse
from gateway.config.validate import validate
from gateway.errors import LinkError
from gateway.inbox import CommandInbox
from gateway.journal.entry import Entry

BATCH = [
    Entry(1, 0, "measurement", "co2", {"kind": "measurement", "time": "2026-01-01T00:00:00Z", "ppm": 1.0}),
    Entry(2, 0, "alert", "co2", {"kind": "alert", "time": None, "rule": "a/concentration/co2", "state": "raised"}),
    Entry(3, 0, "measurement", "co2", {"kind": "measurement", "time": "2026-01-01T00:00:01Z", "ppm": 2.0}),
    Entry(4, 0, "command", "relay/fan", {"kind": "command", "time": "2026-01-01T00:00:01Z", "verb": "on"}),
    Entry(5, 0, "alert", "co2", {"kind": "alert", "time": None, "rule": "b", "state": "cleared"}),
]


class Script:
    """A server that gives each command the answer that stands for it, +OK where none does."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = {"EXEC": b"*0\r\n", **answers}
        self.connections = 0
        self.open = 0
        self.seen: list[list[str]] = []
        self.port = 0
        self.hang_up_after = ""
        self.awake = asyncio.Event()
        self.awake.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while line := await reader.readline():
                await self.awake.wait()
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2].decode())
                self.seen.append(words)
                writer.write(self.answers.get(words[0], b"+OK\r\n"))
                if words[0] == self.hang_up_after:
                    break
        except (ConnectionError, EOFError):
            pass
        finally:
            self.open -= 1
            writer.close()

    def sent(self, *names: str) -> list[list[str]]:
        return [words for words in self.seen if words[0] in names]


@asynccontextmanager
async def scripted(**answers):
    script = Script(**answers)
    listener = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield script


def made(**options):
    return RedisDriver(RedisSettings(**options), Surroundings("uplink", "box7", RealClock(), CommandInbox()))


@asynccontextmanager
async def driving(port, login="", **options):
    driver = made(connection_string=f"redis://{login}127.0.0.1:{port}", **options)
    await driver.start()
    try:
        yield driver
    finally:
        await driver.close()


def sent(*names, batch=BATCH, **options):
    """What reaches the server of those commands."""

    async def main():
        async with scripted() as script, driving(script.port, **options) as driver:
            await driver.deliver(batch)
            assert [script.seen[0][0], script.seen[-1][0]] != [names[0], names[0]]
            return script.sent(*names)

    return asyncio.run(main())


def verdict(answers, login="", **options):
    """How the driver puts the server's answers."""

    async def main():
        async with scripted(**answers) as script, driving(script.port, login, **options) as driver:
            with pytest.raises((Undelivered, Refused)) as caught:
                await driver.deliver(BATCH)
            assert driver.status()["connected"] is False
            return caught.value, f"127.0.0.1:{script.port}"

    return asyncio.run(main())


def unreachable(url):
    """Why a server that is not there did not get it."""

    async def main():
        driver = made(connection_string=url)
        await driver.start()
        with pytest.raises(Undelivered) as caught:
            await driver.deliver(BATCH)
        return caught.value.reason

    return asyncio.run(main())


async def until(done):
    """Wait for what must come."""
    for _ in range(3000):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 30 s")


def of_file(text):
    """Settings and faults of a driver's options as they stand in a file."""
    head = "monitored_nodes: [co2]\ndriver:\n  type: redis\n  config:\n"
    body = "".join(f"    {line}\n" for line in text.splitlines())
    settings, faults = validate(parse(head + body, "f", {}), with_drivers({"redis": KIND}))
    return settings, [str(fault) for fault in faults]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://127.0.0.1:6379", ("127.0.0.1", 6379, 0, False, None, None)),
        ("redis://box.local/", ("box.local", 6379, 0, False, None, None)),
        ("rediss://[::1]:7000/12", ("::1", 7000, 12, True, None, None)),
        ("redis://me:p%40s%2Fs@h:1/3", ("h", 1, 3, False, "me", "p@s/s")),
        ("redis://:secret@h", ("h", 6379, 0, False, None, "secret")),
    ],
)
def test_a_connection_string(url, wanted):
    found = server(url)
    assert (found.host, found.port, found.database, found.encrypted, found.username, found.password) == wanted
    assert "s/s" not in repr(found)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "http://:hunter2@h",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunt/er2@h:1",
        "redis://:hunter2#@h",
        "redis://h:hunter2",
        "redis://h:70000",
        "redis://h/hunter2",
        "redis://h/0?password=hunter2",
        "redis://[hunter2",
        "unix:///hunter2",
    ],
)
def test_what_is_no_connection_string_is_not_repeated(url):
    with pytest.raises(ValueError, match="connection_string") as caught:
        server(url)
    assert "er2" not in str(caught.value)
    _, faults = of_file(f'connection_string: "{url}"')
    assert len(faults) == 1
    assert faults[0].startswith("f:5:")
    assert "er2" not in faults[0]


def test_the_specs_example_and_its_defaults():
    settings, faults = of_file('connection_string: "redis://127.0.0.1:6379"')
    assert not faults
    config = settings.driver.config
    assert (config.mode, config.channel_or_prefix, config.expiry_seconds) == ("stream", "spectrophone:{box}", 3600)
    assert "6379" not in repr(settings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            "mode: pub_sub\nexpiry_seconds: 5",
            "expiry_seconds has no effect in mode pub_sub. Take it out, or use key_va",
        ),
        ("mode: key_value\nmax_len: 5", "max_len has no effect in mode key_value. Take it out, or use stream"),
        ("expiry_seconds: 5", "expiry_seconds has no effect in mode stream"),
        ('channel_or_prefix: "gas/{boxes}"', "gas/{boxes} has braces that mean nothing. Known: {box}, {node}, {kind}"),
        ("password: other", "connection_string has a password too. Give it once"),
        ("username: other", "connection_string has a username too. Give it once"),
        ("tls: {}", "tls has no effect on redis://. Begin connection_string with rediss://"),
        ("mode: streams", "Did you mean 'stream'?"),
        ("max_retries: 3", "unknown option 'max_retries'"),
        ("timeout_ms: 1", "at least 100"),
    ],
)
def test_faults_of_options(options, words):
    _, faults = of_file(f'connection_string: "redis://me:hunter2@h"\n{options}')
    assert len(faults) == 1
    assert words in faults[0]
    assert "hunter2" not in faults[0]


def test_a_stream_holds_everything_in_order_within_one_transaction():
    commands = sent("MULTI", "XADD", "XTRIM", "EXEC", max_len=50)
    assert [words[0] for words in commands] == ["MULTI", *["XADD"] * 5, "XTRIM", "EXEC"]
    assert commands[-2] == ["XTRIM", "spectrophone:box7", "MAXLEN", "~", "50"]
    first = commands[1]
    assert first[:3] == ["XADD", "spectrophone:box7", "*"]
    fields = dict(zip(first[3::2], first[4::2], strict=True))
    assert json.loads(fields.pop("payload")) == {"schema": "spectrophone/1", "box": "box7", "key": "box7-1"} | dict(
        BATCH[0].fields
    )
    assert fields == {"key": "box7-1", "kind": "measurement", "node": "co2", "time": "2026-01-01T00:00:00Z"}
    assert [words[4] for words in commands[1:-2]] == [f"box7-{number}" for number in range(1, 6)]
    assert commands[2][9:11] == ["time", ""]


def test_a_channel_by_box_kind_and_node():
    commands = sent("PUBLISH", mode="pub_sub", channel_or_prefix="gas/{box}/{kind}/{node}")
    assert [words[1] for words in commands] == [
        "gas/box7/measurement/co2",
        "gas/box7/alert/co2",
        "gas/box7/measurement/co2",
        "gas/box7/command/relay/fan",
        "gas/box7/alert/co2",
    ]
    assert [json.loads(words[2])["key"] for words in commands] == [f"box7-{number}" for number in range(1, 6)]


def test_keys_hold_the_newest_and_expire_but_a_raised_alert():
    commands = sent("SET", mode="key_value", channel_or_prefix="p", expiry_seconds=60)
    found = {words[1]: (json.loads(words[2])["key"], words[3:]) for words in commands}
    ends = ["EX", "60"]
    assert len(commands) == 4
    assert found == {
        "p:co2": ("box7-3", ends),
        "p:alert:a/concentration/co2": ("box7-2", []),
        "p:command:relay/fan": ("box7-4", ends),
        "p:alert:b": ("box7-5", ends),
    }


@pytest.mark.parametrize("forever", [0, None])
def test_keys_without_an_end(forever):
    assert {len(words) for words in sent("SET", mode="key_value", expiry_seconds=forever)} == {3}


def test_login_and_database():
    async def main():
        async with scripted() as script:
            url = f"redis://127.0.0.1:{script.port}/5"
            driver = made(connection_string=url, username="me", password="hunter2")
            await driver.start()
            await driver.deliver(BATCH)
            assert driver.status() == {"server": f"127.0.0.1:{script.port}", "mode": "stream", "connected": True}
            await driver.close()
            await driver.close()
            assert script.sent("AUTH", "SELECT") == [["AUTH", "me", "hunter2"], ["SELECT", "5"]]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"XADD": b"-LOADING Redis is loading the dataset in memory\r\n"}, "answered: Redis is loading"),
        ({"XADD": b"-BUSY Redis is busy running a script\r\n"}, "answered: BUSY Redis is busy"),
        ({"XADD": b"-MASTERDOWN Link with MASTER is down\r\n"}, "answered: Link with MASTER is down"),
        ({"XADD": b"-CLUSTERDOWN The cluster is down\r\n"}, "answered: The cluster is down"),
        ({"XADD": b"-TRYAGAIN Multiple keys request during rehashing\r\n"}, "answered: Multiple keys"),
        ({"XADD": b"-READONLY You can't write against a read only replica.\r\n"}, "answered: You can't write"),
        ({"XADD": b"-MISCONF Errors writing to the AOF file\r\n"}, "answered: MISCONF"),
        (
            {"XADD": b"-ERR unknown command 'XADD', with args beginning with: 'x'\r\n"},
            "unknown command 'XADD'. Check",
        ),
        ({"XADD": b"-OOM command not allowed\r\n"}, "is out of memory: command not allowed. Raise its maxmemory"),
        ({"XADD": b"-NOPERM no permissions to run 'xadd'\r\n"}, "does not permit it: no permissions"),
        ({"MULTI": b"-NOAUTH Authentication required.\r\n"}, "refused the login: Authentication required. Check"),
        (
            {"AUTH": b"-WRONGPASS invalid username-password pair\r\n"},
            "refused the login: invalid username-password pair",
        ),
        ({"EXEC": b"-EXECABORT Transaction discarded\r\n"}, "answered: Transaction discarded"),
        ({"MULTI": b"HTTP/1.1 400 Bad Request\r\n"}, "failed: Protocol Error"),
        ({"AUTH": b"-ERR max number of clients reached\r\n"}, "failed: max number of clients reached"),
    ],
)
def test_what_may_heal_is_undelivered(answers, words):
    found, where = verdict(answers, ":hunter2@")
    assert isinstance(found, Undelivered)
    assert words in found.reason
    assert where in found.reason
    assert "hunter2" not in found.reason


def test_a_key_of_another_type_is_refused():
    found, where = verdict({"EXEC": b"*2\r\n:1\r\n-WRONGTYPE Operation against a key\r\n"})
    assert isinstance(found, Refused)
    assert found.reason == (
        f"the Redis server {where} holds something else there: WRONGTYPE Operation against a key. "
        "Give another channel_or_prefix"
    )


@pytest.mark.parametrize("password", ["abc", "hunter2"])
def test_a_server_that_repeats_the_password(password):
    echo = f"-ERR unknown command 'AUTH', with args beginning with: '{password}'\r\n".encode()
    found, _ = verdict({"AUTH": echo}, f":{password}@")
    assert password not in found.reason
    echo = f"-ERR what is {password}?\r\n".encode()
    found, _ = verdict({"AUTH": echo}, password="hunter2")
    assert "hunter2" not in found.reason


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert f"no Redis server listens at 127.0.0.1:{port}" in unreachable(f"redis://127.0.0.1:{port}")


def test_nobody_listens_at_any_of_the_names_addresses(monkeypatch):
    def two(*_args, **_options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2")]

    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(socket, "getaddrinfo", two)
        assert f"no Redis server listens at redis.test:{port}" in unreachable(f"redis://redis.test:{port}")


def test_the_name_is_not_known(monkeypatch):
    def unknown(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "the Redis server's name redis.test is not known" in unreachable("redis://redis.test")


def test_a_connection_closed_while_idle_is_made_anew_before_anything_is_sent():
    async def main():
        async with scripted() as script, driving(script.port) as driver:
            script.hang_up_after = "EXEC"
            for count in range(1, 4):
                await driver.deliver(BATCH)
                assert len(script.sent("XADD")) == 5 * count
                await until(lambda: not driver.status()["connected"])
            assert script.connections == 3

    asyncio.run(main())


def test_hung_up_in_the_middle():
    async def main():
        async with scripted() as script, driving(script.port) as driver:
            script.hang_up_after = "XADD"
            with pytest.raises(Undelivered, match=r"the connection to the Redis server .* failed"):
                await driver.deliver(BATCH)
            script.hang_up_after = ""
            await driver.deliver(BATCH)

    asyncio.run(main())


def test_no_answer_in_time():
    found, _ = verdict({"EXEC": b""}, timeout_ms=100)
    assert "does not answer in time" in found.reason
    assert isinstance(found, Undelivered)


def test_what_was_given_up_is_not_carried_out_later():
    """More than the buffers on the way hold: the rest must not follow when the server reads again."""
    large = [Entry(6, 0, "measurement", "co2", {"kind": "measurement", "note": "x" * 30_000_000})]

    async def main():
        async with scripted() as script, driving(script.port, timeout_ms=2000) as driver:
            await driver.deliver(BATCH)
            script.awake.clear()
            script.answers |= {"MULTI": b"", "XADD": b""}
            with pytest.raises(Undelivered, match="does not answer in time"):
                await driver.deliver(large)
            script.awake.set()
            await until(lambda: not script.open)
            assert len(script.sent("MULTI")) == 2
            assert len(script.sent("EXEC")) == 1

    asyncio.run(main())


def test_after_a_cancellation_the_next_batch_has_its_own_answers():
    async def main():
        async with scripted(EXEC=b"") as script, driving(script.port) as driver:
            task = asyncio.create_task(driver.deliver(BATCH))
            await until(lambda: script.sent("EXEC"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert driver.status()["connected"] is False
            await until(lambda: not script.open)
            script.answers["EXEC"] = b"*0\r\n"
            await driver.deliver(BATCH)
            assert script.connections == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"ca": "missing.pem"}, r"missing.pem \(tls.ca\) cannot be read: No such file"),
        ({"ca": "nonsense.pem"}, r"nonsense.pem \(tls.ca\) holds no certificate"),
        ({"certificate": "nonsense.pem"}, r"nonsense.pem holds no certificate with its key"),
        ({"key": "nonsense.pem"}, "tls.key is given without tls.certificate"),
    ],
)
def test_certificate_files_that_are_not(tmp_path, names, words):
    (tmp_path / "nonsense.pem").write_text("nonsense")
    tls = {option: tmp_path / name for option, name in names.items()}
    with pytest.raises(LinkError, match=words):
        asyncio.run(made(connection_string="rediss://h", tls=tls).start())
