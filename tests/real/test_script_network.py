"""Libraries as customers use them, in a process under the real filter, through the broker to real servers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import RealClock
from gateway.scripts.broker import Broker
from gateway.scripts.permissions import Grant, place, zones
from gateway.scripts.rates import Rate
from tests.real.gateway import eventually
from tests.servers.authority import Authority
from tests.servers.https import Answer, HttpsServer
from tests.servers.postgres import PostgreSQL
from tests.servers.redis import RedisServer
from tests.servers.smtp import MailServer

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
QUICK = Rate(1e6, 1_000_000)
LEVELS = ("B", "C")


@dataclass(frozen=True, slots=True)
class Done:
    """What the script put into `answer`, what it said if it failed, and the broker's record."""

    answer: Any
    said: str
    violations: list[str]
    granted: int
    refused: int


def script(
    source: str,
    network: Sequence[str] = (),
    *,
    level: str = "B",
    files: Sequence[Grant] = (),
    rate: Rate = QUICK,
    **given: object,
) -> Done:
    """Run it to its end; `given` are names that it finds."""
    text = "\n".join([*(f"{name} = {value!r}" for name, value in given.items()), source])

    async def main() -> Done:
        ours, theirs = socket.socketpair()
        violations: list[str] = []
        places = [place(each) for each in network]
        broker = Broker(ours, "mail", places, files, RealClock(), violations.append, rate)
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-B", str(ROOT / "tests/support/brokered.py"), str(ROOT), str(theirs.fileno()), level,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        )  # fmt: skip
        theirs.close()
        try:
            out, said = await asyncio.wait_for(worker.communicate(text.encode()), DEADLINE_S)
        finally:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
            await broker.close()
        answer = json.loads(out) if worker.returncode == 0 else None
        return Done(answer, said.decode(), violations, broker.granted, broker.refused)

    before = len(os.listdir("/proc/self/fd"))
    done = asyncio.run(main())
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before, "all descriptors are closed, the servers' too")
    return done


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The tests' own authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def web(authority: Authority) -> Iterator[HttpsServer]:
    """A web server that says hello."""
    with HttpsServer(authority) as server:
        server.answer = Answer(200, {}, b"hello")
        yield server


def authorities(authority: Authority) -> list[Grant]:
    """What a script that names the authority's file needs at level C."""
    return [Grant(str(authority.file))]


MAIL = """
import smtplib
import ssl
from email.message import EmailMessage

message = EmailMessage()
message["Subject"], message["From"], message["To"] = "CO2 high", "box@example.org", "ops@example.org"
message.set_content("1200 ppm")
with smtplib.SMTP(host, port, timeout=20) as server:
    server.starttls(context=ssl.create_default_context(cafile=ca))
    server.login(user, password)
    server.send_message(message)
answer = "sent"
"""


@pytest.mark.parametrize("level", LEVELS)
def test_mail_with_starttls_and_login(authority: Authority, level: str) -> None:
    with MailServer(authority) as server:
        done = script(
            MAIL, [f"localhost:{server.port}"], level=level, files=authorities(authority),
            host="localhost", port=server.port, user=server.user, password=server.password, ca=str(authority.file),
        )  # fmt: skip
    assert done.answer == "sent", done.said
    assert [mail.message["Subject"] for mail in server.mails] == ["CO2 high"]


WEB = """
import asyncio
import http.client
import socket
import ssl
import urllib.request

context = ssl.create_default_context(cafile=ca)
answer = [urllib.request.urlopen(f"https://localhost:{port}/a", timeout=20, context=context).read().decode()]

client = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
for _ in range(2):
    client.request("POST", "/b", body=b"1200")
    answer.append(client.getresponse().read().decode())
client.close()


def body(data):
    return data.decode().split("\\r\\n\\r\\n")[1]


async def get():
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    writer.write(b"GET /c HTTP/1.0\\r\\n\\r\\n")
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return body(data)


async def get_all():
    return await asyncio.gather(*(get() for _ in range(6)))

answer += asyncio.run(get_all())

# As in the documentation of ssl: wrapped first, connected then.
with context.wrap_socket(socket.socket(), server_hostname="localhost") as wrapped:
    wrapped.settimeout(20)
    wrapped.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wrapped.connect(("localhost", port))
    assert wrapped.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert wrapped.gettimeout() == 20
    wrapped.sendall(b"GET /d HTTP/1.0\\r\\n\\r\\n")
    data = b""
    while part := wrapped.recv(1000):
        data += part
    answer.append(body(data))
"""


@pytest.mark.parametrize("level", LEVELS)
def test_the_web(authority: Authority, level: str) -> None:
    with web(authority) as server:
        done = script(
            WEB, [f"localhost:{server.port}"], level=level, files=authorities(authority),
            port=server.port, ca=str(authority.file),
        )  # fmt: skip
    assert done.answer == ["hello"] * 10, done.said
    assert sorted(request.path for request in server.requests) == ["/a", "/b", "/b", *["/c"] * 6, "/d"]
    assert done.refused == 0


REQUESTS = """
from pip._vendor import requests

with requests.Session() as session:
    answer = [session.post(f"https://localhost:{port}/a", json={"ppm": 1200}, verify=ca, timeout=20).text]
    answer.append(session.get(f"https://localhost:{port}/b", verify=ca, timeout=(1, 20)).text)
try:
    requests.get("https://api.example.com/", timeout=20)
except requests.ConnectionError as error:
    answer.append(str(error))
"""


def test_requests(authority: Authority) -> None:
    with web(authority) as server:
        done = script(REQUESTS, [f"localhost:{server.port}"], port=server.port, ca=str(authority.file))
    assert done.answer is not None, done.said
    assert done.answer[:2] == ["hello", "hello"]
    assert 'Add "api.example.com:443" to `network` of mail' in done.answer[2].replace("\\", "")


UNTRUSTED = """
import ssl
import urllib.request

try:
    urllib.request.urlopen(f"https://localhost:{port}/", timeout=20)
except OSError as error:
    answer = str(error)
answer = [answer, ssl.create_default_context().cert_store_stats()["x509_ca"] > 0]
"""


@pytest.mark.parametrize("level", LEVELS)
def test_a_server_whom_the_machine_does_not_trust(
    authority: Authority, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("# An authority of Zürich\n" + Authority(tmp_path / "other", "Other").file.read_text())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with web(authority) as server:
        done = script(
            UNTRUSTED, [f"localhost:{server.port}"], level=level, files=[Grant(str(bundle))], port=server.port
        )
    assert done.answer is not None, done.said
    assert "certificate verify failed" in done.answer[0]
    assert done.answer[1]


POSTGRES = """
import pg8000.dbapi
import ssl

with pg8000.dbapi.connect(
    user, host="localhost", port=port, database=database, password=password, timeout=20,
    ssl_context=ssl.create_default_context(cafile=ca),
) as connection:
    cursor = connection.cursor()
    cursor.execute("create table ppm (value float)")
    cursor.executemany("insert into ppm values (%s)", [(1.5,), (2.5,)])
    connection.commit()
    cursor.execute("select sum(value) from ppm")
    answer = cursor.fetchone()[0]
"""


def test_postgresql(authority: Authority, tmp_path: Path) -> None:
    with PostgreSQL(tmp_path, authority) as server:
        done = script(
            POSTGRES, [f"localhost:{server.port}"], port=server.port, user=server.user, password=server.password,
            database=server.database, ca=str(server.ca),
        )  # fmt: skip
        assert done.answer == 4.0, done.said
        assert server.query("select count(*) from ppm") == [(2,)]


REDIS = """
import redis

with redis.Redis(host="localhost", port=port, socket_timeout=20, socket_keepalive=True) as client:
    client.set("ppm", 1200)
    answer = client.get("ppm").decode()
"""


def test_redis(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        done = script(REDIS, [f"localhost:{server.port}"], port=server.port)
    finally:
        server.kill()
    assert done.answer == "1200", done.said


REFUSED = """
import asyncio
import socket
import urllib.request


def outcome(work):
    try:
        work()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def http(host, port):
    return outcome(lambda: urllib.request.urlopen(f"http://{host}:{port}/", timeout=20))


answer = {host: http(host, port) for host in (
    "127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "smtp.example.com",
    "localhost.localdomain",
)}
answer["port"] = http("localhost", port + 1)
answer["asyncio"] = outcome(lambda: asyncio.run(asyncio.open_connection("127.0.0.1", port)))
answer["connect_ex"] = str(socket.socket().connect_ex(("127.0.0.1", port)))
answer["udp"] = outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
answer["raw"] = outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
answer["unix"] = outcome(lambda: socket.socket(socket.AF_UNIX))
answer["bind"] = outcome(lambda: socket.socket().bind(("127.0.0.1", 0)))
answer["listen"] = outcome(lambda: socket.create_server(("127.0.0.1", 0)))
connected = socket.create_connection(("localhost", port))
answer["again"] = outcome(lambda: connected.connect(("localhost", port)))
answer["elsewhere"] = outcome(lambda: socket.SocketType.connect(connected, ("127.0.0.1", port)))
answer["below"] = outcome(lambda: super(socket.socket, connected).connect(("127.0.0.1", port)))
new = socket.socket()
answer["not yet"] = outcome(new.getpeername)
new.close()
answer["closed"] = outcome(lambda: new.connect(("localhost", port)))
"""


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_refused(authority: Authority, level: str) -> None:
    with web(authority) as server:
        done = script(REFUSED, [f"localhost:{server.port}"], level=level, port=server.port)
        connections = server.connections
    assert done.answer is not None, done.said
    told = dict(done.answer)
    assert told.pop("connect_ex") == "13"
    for what, said in (
        ("udp", "no UDP"), ("raw", "no UDP"), ("unix", "no other sockets"), ("bind", "cannot bind"),
        ("listen", "cannot bind"), ("again", "already connected"), ("elsewhere", "Permission denied"),
        ("below", "Permission denied"), ("not yet", "not connected"), ("closed", "Bad file descriptor"),
    ):  # fmt: skip
        assert said in told.pop(what), what
    for what, said in told.items():
        assert "is not allowed. Add" in said, what
        assert "to `network` of mail" in said, what
    assert connections == 1
    assert done.violations == []


REBINDING = """
import socket

try:
    socket.create_connection(("evil.example.com", port), timeout=20)
except PermissionError as error:
    answer = str(error)
"""


def test_a_name_that_leads_to_this_machine(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.scripts.broker.resolve", lambda host, port: [(socket.AF_INET, ("127.0.0.1", port))])
    with web(authority) as server:
        done = script(REBINDING, [f"evil.example.com:{server.port}"], port=server.port)
        assert server.connections == 0
    assert done.answer is not None, done.said
    assert "it leads to 127.0.0.1, this machine" in done.answer


UNKNOWN = """
import socket
import urllib.request

answer = []
try:
    socket.create_connection(("nobody.invalid", 80), timeout=20)
except socket.gaierror as error:
    answer.append(error.strerror)
try:
    urllib.request.urlopen("http://nobody.invalid/", timeout=20)
except urllib.error.URLError as error:
    answer.append(type(error.reason).__name__)
"""


def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("gateway.scripts.broker.resolve", resolve)
    done = script(UNKNOWN, ["nobody.invalid:80"])
    assert done.answer == ["nobody.invalid has no address: Name or service not known", "gaierror"], done.said


HANGING = """
import asyncio
import socket

answer = []
try:
    socket.create_connection(("localhost", port), timeout=0.3)
except TimeoutError as error:
    answer.append(error.strerror)
reading = socket.create_connection(("localhost", open_port), timeout=0.3)
try:
    reading.recv(1)
except TimeoutError as error:
    answer.append(str(error))


async def main():
    try:
        async with asyncio.timeout(0.3):
            await asyncio.open_connection("localhost", port)
    except TimeoutError:
        answer.append("asyncio")

asyncio.run(main())
"""


def test_servers_that_hang() -> None:
    with socket.socket() as full, socket.create_server(("127.0.0.1", 0)) as silent:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port, open_port = full.getsockname()[1], silent.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            done = script(HANGING, [f"localhost:{port}", f"localhost:{open_port}"], port=port, open_port=open_port)
    assert done.answer == [f"no connection to localhost:{port} within 0.3 s", "timed out", "asyncio"], done.said


MANY = """
import os
import socket

first = socket.create_connection(("localhost", port), timeout=20)
before = set(os.listdir("/proc/self/fd"))
for number in range(200):
    if number % 2:
        socket.create_connection(("localhost", port), timeout=20).close()
    else:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=20)
        except PermissionError:
            pass
answer = len(set(os.listdir("/proc/self/fd")) - before)
"""


def test_two_hundred_connections_leave_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        done = script(MANY, [f"localhost:{server.getsockname()[1]}"], port=server.getsockname()[1])
    assert done.answer == 0, done.said
    assert (done.granted, done.refused) == (101, 100)


FLOOD = """
import os

from gateway.scripts.messages import Connect
from gateway.scripts.wire import frame

data = b"".join(frame(Connect(number, "localhost", 9, 60.0)) for number in range(1000))
try:
    while True:
        os.write(descriptor, data)
except OSError as error:
    answer = type(error).__name__
"""


def test_a_script_that_floods_the_broker() -> None:
    source = "import sys\ndescriptor = int(sys.argv[2])\n" + FLOOD
    done = script(source, ["localhost:9"], rate=Rate(1.0, 1))
    assert done.answer in ("BrokenPipeError", "ConnectionResetError"), done.said
    assert done.violations == ["protocol violation on the broker's channel: more than 64 requests at once"]


FILES = """
import csv
import json
import os
import sqlite3
import zoneinfo
from datetime import datetime
from pathlib import Path

report = Path(folder) / "report.csv"
new = not report.exists()
with report.open("a", newline="") as file:
    writer = csv.writer(file)
    if new:
        writer.writerow(["time", "ppm"])
    writer.writerow([1, 1200])
with open(f"{folder}/state.json", "w", encoding="utf-8") as file:
    json.dump({"ppm": 1200}, file)
answer = {
    "text": report.read_text(),
    "listed": sorted(os.listdir(folder)),
    "iterated": sorted(path.name for path in Path(folder).iterdir()),
    "size": report.stat().st_size,
    "is": [report.is_file(), Path(folder).is_dir(), os.path.exists("/etc/passwd"), report.stat().st_mtime > 1e9],
    "fstat": os.fstat(0).st_ino > 0,
    "globbed": sorted(path.name for path in Path(folder).glob("*.*")),
    "scanned": {each.name: [each.is_dir(), each.is_file()] for each in os.scandir(folder)},
    "zone": datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Vienna")).tzname(),
}
Path(folder).mkdir(exist_ok=True)


def outcome(work):
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


answer["passwd"] = outcome(lambda: open("/etc/passwd"))
answer["readonly"] = outcome(lambda: open(readonly, "w"))
answer["rename"] = outcome(lambda: os.rename(report, f"{folder}/other"))
answer["sqlite"] = outcome(lambda: sqlite3.connect(f"{folder}/log.sqlite").execute("create table t (x)"))
"""


def test_files_where_no_call_takes_a_path(tmp_path: Path) -> None:
    folder, readonly = tmp_path / "out", tmp_path / "in.txt"
    folder.mkdir()
    readonly.write_text("text")
    done = script(
        FILES, level="C", files=[Grant(str(folder), True), Grant(str(readonly)), *zones()],
        folder=str(folder), readonly=str(readonly),
    )  # fmt: skip
    assert done.answer is not None, done.said
    assert done.answer["text"] == "time,ppm\n1,1200\n"
    assert done.answer["listed"] == done.answer["iterated"] == ["report.csv", "state.json"]
    assert done.answer["size"] == (folder / "report.csv").stat().st_size
    assert done.answer["is"] == [True, True, False, True]
    assert done.answer["fstat"]
    assert 'Add "/etc/passwd" to `file_access` of mail' in done.answer["passwd"]
    assert f'Write "{readonly}:rw" in `file_access` of mail' in done.answer["readonly"]
    assert done.answer["globbed"] == ["report.csv", "state.json"]
    assert done.answer["scanned"] == {"report.csv": [False, True], "state.json": [False, True]}
    assert done.answer["zone"] == "CEST"
    assert "lets a script open files: it cannot rename or remove any" in done.answer["rename"]
    assert "unable to open database file" in done.answer["sqlite"]
    assert json.loads((folder / "state.json").read_text()) == {"ppm": 1200}
