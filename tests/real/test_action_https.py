"""https_callback against a real web server: what is delivered, what is refused, what is tried again, and who sees the
token."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import os
import socket
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import pytest

from gateway.actions.driver import Refused, Surroundings, Undelivered
from gateway.actions.https_callback import HttpsCallback, HttpsCallbackSettings
from gateway.clock import RealClock
from gateway.errors import LinkError
from gateway.journal.entry import Entry
from tests.real.mosquitto import free_port, until
from tests.servers.authority import Authority
from tests.servers.https import Answer, HttpsServer
from tests.support.clock import FakeClock
from tests.unit.mqtt.samples import Tray

TOKEN, EXTRA = "Bearer sesame-open", "further-secret"
SECRETS = {"auth_token": TOKEN, "headers": {"X-Extra": EXTRA}}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "Somebody else")


@pytest.fixture
def server(authority):
    with HttpsServer(authority) as running:
        yield running


@pytest.fixture
def plain():
    with HttpsServer(None) as running:
        yield running


def entries(first: int = 1, count: int = 3) -> list[Entry]:
    """Measurements numbered from `first`."""
    return [
        Entry(n, n, "measurement", "co2", {"kind": "measurement", "t_s": n / 10, "ppm": 400.0 + n})
        for n in range(first, first + count)
    ]


def numbers(server: HttpsServer) -> list[float]:
    """Which entries the server has, in the order in which they came."""
    return [round(entry["t_s"] * 10) for request in server.requests for entry in request.json["entries"]]


@contextlib.asynccontextmanager
async def driver(url: str, authority: Authority | None = None, clock=None, **options) -> AsyncIterator[HttpsCallback]:
    """The driver, started, for `url`, with these options."""
    if authority is not None and "tls" not in options:
        options["tls"] = {"ca": authority.file}
    settings = HttpsCallbackSettings.model_validate({"callback_url": url, **options})
    made = HttpsCallback(settings, Surroundings("cloud", "box1", clock or RealClock(), Tray()))
    await made.start()
    try:
        yield made
    finally:
        await made.close()
        await made.close()


def delivered(url: str, authority: Authority | None = None, **options) -> None:
    """One batch is taken."""

    async def scene():
        async with driver(url, authority, **options) as d:
            await d.deliver(entries())

    asyncio.run(scene())


def failed(kind, url: str, authority: Authority | None = None, **options):
    """What one batch ends in: an exception of that kind."""

    async def scene():
        async with driver(url, authority, **options) as d:
            with pytest.raises(kind) as raised:
                await d.deliver(entries())
            return raised.value

    return asyncio.run(scene())


def test_a_batch_is_one_post(server, authority):
    async def scene():
        async with driver(f"{server.url}/in?x=1", authority, **SECRETS) as d:
            assert d.status() == {"target": f"localhost:{server.port}", "http_status": None}
            await d.deliver(entries(7))
            assert d.status()["http_status"] == 200

    asyncio.run(scene())
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/in?x=1")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Idempotency-Key"] == "box1-7..box1-9"
    assert request.headers["User-Agent"].startswith("spectrophone/")
    assert request.headers["Authorization"] == TOKEN
    assert request.headers["X-Extra"] == EXTRA
    assert request.json["schema"] == "spectrophone/1"
    assert request.json["box"] == "box1"
    assert [entry["key"] for entry in request.json["entries"]] == ["box1-7", "box1-8", "box1-9"]
    assert request.json["entries"][0]["ppm"] == 407.0


def test_the_token_may_have_another_header_and_the_body_may_be_compressed(server, authority):
    delivered(server.url, authority, auth_header="X-API-Key", auth_token=TOKEN, compress=True)
    (request,) = server.requests
    assert request.headers["X-API-Key"] == TOKEN
    assert "Authorization" not in request.headers
    assert request.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(request.body).startswith(b'{"schema": "spectrophone/1"')


def test_plain_http_on_loopback(plain):
    delivered(plain.url)
    assert numbers(plain) == [1, 2, 3]


def test_many_batches_go_through_one_connection_whatever_is_answered(server, authority):
    long = Answer(500, body=b"x" * 50_000)

    async def scene():
        async with driver(server.url, authority) as d:
            for first in range(0, 60, 3):
                server.answers += [long, Answer(204), Answer(404, body=b"no")]
                with pytest.raises(Undelivered):
                    await d.deliver(entries(first))
                await d.deliver(entries(first))
                with pytest.raises(Refused):
                    await d.deliver(entries(first))

    asyncio.run(scene())
    assert {request.connection for request in server.requests} == {1}
    assert len(server.requests) == 60


def test_an_endless_answer_costs_the_connection_only(server, authority):
    endless = Answer(200, {"Content-Length": "1000000000"}, b"x" * 200_000)

    async def scene():
        async with driver(server.url, authority) as d:
            server.answers += [endless]
            await d.deliver(entries(1))
            await until(lambda: dialled(server.port) == 0, "the end of the connection", 10)
            await d.deliver(entries(4))

    asyncio.run(scene())
    assert [request.connection for request in server.requests] == [1, 2]


# --- encryption ------------------------------------------------------------------------------------------------------


def test_an_unknown_authority(server, authority, stranger):
    for tls in ({"ca": stranger.file}, {}, None):
        reason = failed(Undelivered, server.url, tls=tls).reason
        assert reason.startswith(f"the certificate of localhost:{server.port} is not signed by an authority known here")
        assert reason.endswith("Name its authority in tls.ca")
    assert not server.requests


def test_a_certificate_for_another_name(authority):
    with HttpsServer(authority, authority.issue("cloud", ("cloud.lan",))) as server:
        reason = failed(Undelivered, server.url, authority).reason
        assert reason.startswith(f"the certificate of localhost:{server.port} is for another name")
        reason = failed(Undelivered, server.at("127.0.0.1"), authority).reason
        assert reason.startswith(f"the certificate of 127.0.0.1:{server.port} is for another name")
        assert not server.requests
        delivered(server.url, tls={"ca": authority.file, "server_name": "cloud.lan"})
        assert server.requests[0].headers["Host"] == f"localhost:{server.port}"


def test_a_certificate_that_has_run_out(authority):
    with HttpsServer(authority, authority.issue("old", days=-1)) as server:
        reason = failed(Undelivered, server.url, authority, **SECRETS).reason
        assert reason.startswith(f"the certificate of localhost:{server.port} has expired")
        assert not server.requests


def test_not_verifying_is_possible_and_warned_of(stranger, caplog):
    with HttpsServer(stranger, stranger.issue("old", ("cloud.lan",), days=-1)) as server:
        delivered(f"{server.url}/?key=sesame", verify_ssl=False, **SECRETS)
        assert len(server.requests) == 1
        (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
        assert record.getMessage() == (
            f"cloud: verify_ssl is false, so anybody may pretend to be localhost:{server.port}. "
            "Name its authority in tls.ca instead"
        )


def test_a_certificate_of_ours(authority, stranger):
    mine, foreign = authority.issue("box1"), stranger.issue("box1")
    with HttpsServer(authority, wants_client=True) as server:
        delivered(server.url, tls={"ca": authority.file, "certificate": mine[0], "key": mine[1]})
        for tls in ({}, {"certificate": foreign[0], "key": foreign[1]}):
            reason = failed(Undelivered, server.url, tls={"ca": authority.file, **tls}).reason
            assert reason.startswith(f"localhost:{server.port} does not take our certificate"), reason
        assert len(server.requests) == 1


def test_files_that_are_missing_fail_at_the_start(tmp_path):
    missing = tmp_path / "missing.pem"
    with pytest.raises(LinkError, match=r"missing\.pem \(tls\.ca\) cannot be read"):
        delivered("https://localhost/", tls={"ca": missing})


def test_https_where_the_server_has_none(plain, authority):
    reason = failed(Undelivered, f"https://localhost:{plain.port}", authority).reason
    assert reason.startswith(f"no TLS with localhost:{plain.port}")


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(plain, status):
    plain.answer = Answer(status)
    delivered(plain.url)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_what_may_be_better_later_is_offered_again(plain, status):
    plain.answer = Answer(status, body=b"busy")
    error = failed(Undelivered, plain.url)
    assert error.reason == f'HTTP {status} from localhost:{plain.port} "busy"'
    assert error.retry_after_s is None


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 405, 409, 410, 413, 415, 418, 422, 451, 499])
def test_everything_else_is_refused(plain, status):
    plain.answer = Answer(status, {"Retry-After": "5", "Content-Length": "0"})
    assert failed(Refused, plain.url).reason.startswith(f"HTTP {status} from localhost:{plain.port}")
    assert len(plain.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_make_a_get_is_refused(plain, status):
    plain.answer = Answer(status, {"Location": "/there"})
    assert failed(Refused, plain.url).reason.endswith("Give the final address in callback_url")
    assert len(plain.requests) == 1


def test_retry_after_in_seconds_and_as_a_date(plain):
    clock = FakeClock()
    date = formatdate(clock.utc_ns() / 1e9 + 1800, usegmt=True)
    for text, seconds in (("120", 120.0), (date, 1800.0), ("nonsense", None), ("999999999", 86_400.0)):
        plain.answer = Answer(503, {"Retry-After": text})
        assert failed(Undelivered, plain.url, clock=clock).retry_after_s == seconds


def test_what_the_server_says_is_repeated_short_printable_and_without_secrets(plain):
    said = f"no\x1b[31m \r\n\x00 <{TOKEN}> ".encode() + b"\xff" + EXTRA.encode() + b"!" * 500
    for status, kind in ((400, Refused), (500, Undelivered)):
        plain.answer = Answer(status, body=said)
        reason = failed(kind, plain.url, **SECRETS).reason
        assert reason.startswith(
            f'HTTP {status} from localhost:{plain.port} "no [31m <********> \N{REPLACEMENT CHARACTER}'
        )
        assert reason.isprintable()
        assert len(reason) < 300
        assert "sesame" not in reason
        assert EXTRA not in reason


# --- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_on_the_same_server_keeps_the_token(server, authority, status):
    server.answers += [Answer(status, {"Location": "/moved"}), Answer(status, {"Location": f"{server.url}/again"})]
    delivered(server.url, authority, **SECRETS)
    assert [request.path for request in server.requests] == ["/", "/moved", "/again"]
    assert {request.headers["Authorization"] for request in server.requests} == {TOKEN}
    assert {request.headers["X-Extra"] for request in server.requests} == {EXTRA}
    assert len({request.body for request in server.requests}) == 1
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1


def test_another_name_or_port_does_not_see_the_token_nor_do_those_behind_it(server, authority):
    with HttpsServer(authority) as other:
        for there in (server.at("127.0.0.1"), other.url):
            server.requests.clear()
            other.requests.clear()
            server.answers += [Answer(307, {"Location": f"{there}/away"})]
            (server if there == server.at("127.0.0.1") else other).answers += [
                Answer(308, {"Location": f"{server.url}/back"})
            ]
            delivered(server.url, authority, **SECRETS)
            first, *later = sorted((*server.requests, *other.requests), key=lambda request: request.path)
            assert first.headers["Authorization"] == TOKEN
            assert [request.path for request in later] == ["/away", "/back"]
            for request in later:
                assert "sesame" not in str(request.headers)
                assert EXTRA not in str(request.headers)
                assert request.json["entries"]


def test_another_server_does_not_see_our_certificate(server, authority):
    certificate, key = authority.issue("box1")
    tls = {"ca": authority.file, "certificate": certificate, "key": key}
    with HttpsServer(authority, wants_client=True) as other:
        server.answer = Answer(307, {"Location": other.url})
        assert "does not take our certificate" in failed(Undelivered, server.url, tls=tls).reason
        assert not other.requests


def test_from_https_to_http_is_refused(server, plain, authority):
    server.answer = Answer(307, {"Location": plain.url})
    reason = failed(Refused, server.url, authority, allow_http=True, **SECRETS).reason
    assert f"http://localhost:{plain.port}, unencrypted" in reason
    assert not plain.requests


def test_from_http_to_https_loses_the_token(server, plain):
    plain.answer = Answer(308, {"Location": server.url})
    assert "authority known here" in failed(Undelivered, plain.url, **SECRETS).reason


@pytest.mark.parametrize(
    "there", ["http://192.0.2.1/", "ftp://localhost/", "http://", "http://[/", "//h:99999/", "//a..b/", None]
)
def test_where_a_redirect_may_not_lead(plain, there):
    plain.answer = Answer(307, {} if there is None else {"Location": there})
    assert failed(Refused, plain.url).reason.count("localhost") == 1


def test_a_circle_ends_after_five(plain):
    plain.answer = Answer(307, {"Location": "/"})
    assert "after 5 redirects" in failed(Refused, plain.url).reason
    assert len(plain.requests) == 6


# --- faults on the way -----------------------------------------------------------------------------------------------


def test_nobody_listens_and_no_such_name(authority):
    port = free_port()
    reason = failed(Undelivered, f"https://localhost:{port}/", authority).reason
    assert reason.startswith(f"no server listens at localhost:{port}. Check callback_url")
    reason = failed(Undelivered, "https://nowhere.invalid/", authority, timeout_ms=120_000).reason
    assert reason.startswith("the name nowhere.invalid is not found")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "is not HTTP"),
        (b"\x00\xff" * 5000, "is not HTTP"),
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "broke off its answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "is not HTTP"),
    ],
    ids=["another protocol", "noise", "nothing", "half", "half a head", "endless head"],
)
def test_what_is_no_answer(plain, raw, said):
    plain.answer = Answer(raw=raw)
    reason = failed(Undelivered, plain.url).reason
    assert said in reason
    assert f"localhost:{plain.port}" in reason


def dialled(port: int) -> int:
    """How many sockets of this process lead to that port."""
    found = 0
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(file.readlink()).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(file.name))) as one:
                    found += one.getpeername() == ("127.0.0.1", port)
    return found


def test_a_server_that_hangs_times_out_and_costs_no_socket(server, authority):
    async def scene():
        async with driver(server.url, authority, timeout_ms=200) as d:
            with server.hold():
                for _ in range(3):
                    with pytest.raises(Undelivered) as raised:
                        await d.deliver(entries())
                    said = f"localhost:{server.port} gave no complete answer within 0.2 s"
                    assert raised.value.reason.startswith(said)
                await until(lambda: dialled(server.port) == 0, "the end of the connections", 10)

    asyncio.run(scene())
    delivered(server.url, authority)


def test_a_server_that_says_nothing_times_out_and_costs_no_socket(authority):
    async def scene():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            async with driver(f"https://localhost:{port}", authority, timeout_ms=100) as d:
                with pytest.raises(Undelivered, match=r"gave no complete answer within 0\.1 s"):
                    await d.deliver(entries())
                await until(lambda: dialled(port) == 0, "the end of the connection", 10)

    asyncio.run(scene())


def test_the_event_loop_goes_on_while_the_server_hangs(server, authority):
    beats = 0

    async def tick():
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    async def scene():
        ticker = asyncio.create_task(tick())
        async with driver(server.url, authority, timeout_ms=60_000) as d:
            with server.hold():
                delivery = asyncio.create_task(d.deliver(entries()))
                await until(lambda: server.requests, "the request")
                before = beats
                await until(lambda: beats > before + 1000, "the beats")
                assert not delivery.done()
            await delivery
        ticker.cancel()

    asyncio.run(scene())


def test_a_slow_server_is_waited_for(server, authority):
    server.delay_s = 0.2
    delivered(server.url, authority)


def test_killed_in_the_middle_of_a_request_then_taken_whole(server, authority):
    async def scene():
        async with driver(server.url, authority) as d:
            await d.deliver(entries(1))
            server.breaks = 2
            for _ in range(2):
                with pytest.raises(Undelivered, match=f"localhost:{server.port}"):
                    await d.deliver(entries(4))
            await d.deliver(entries(4))

    asyncio.run(scene())
    assert numbers(server) == [1, 2, 3, 4, 5, 6]


def test_stopped_and_started_again(server, authority):
    async def scene():
        async with driver(server.url, authority) as d:
            await d.deliver(entries(1))
            server.stop()
            with pytest.raises(Undelivered, match=r"closed the connection|no server listens|cannot be reached"):
                await d.deliver(entries(4))
            with pytest.raises(Undelivered, match="no server listens"):
                await d.deliver(entries(4))
            server.start()
            await d.deliver(entries(4))

    asyncio.run(scene())
    assert numbers(server) == [1, 2, 3, 4, 5, 6]


def test_a_connection_that_is_closed_after_each_answer(server, authority):
    server.answer = Answer(200, {"Connection": "close"})

    async def scene():
        async with driver(server.url, authority) as d:
            for first in (1, 4, 7):
                await d.deliver(entries(first))

    asyncio.run(scene())
    assert numbers(server) == list(range(1, 10))
    assert server.connections == 3


def test_a_connection_that_is_closed_while_idle_costs_one_offer_at_most(server, authority):
    async def scene():
        async with driver(server.url, authority) as d:
            for first in range(1, 31, 3):
                await d.deliver(entries(first))
                server.hang_up()
                with contextlib.suppress(Undelivered):
                    await d.deliver(entries(first))
                await d.deliver(entries(first))

    asyncio.run(scene())
    assert sorted(set(numbers(server))) == list(range(1, 31))


def test_a_delivery_that_is_cancelled_leaves_nothing_behind(server, authority):
    async def scene():
        async with driver(server.url, authority) as d:
            before = asyncio.all_tasks()
            with server.hold():
                delivery = asyncio.create_task(d.deliver(entries(1)))
                await until(lambda: server.requests, "the request")
                delivery.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await delivery
                assert asyncio.all_tasks() == before
                await until(lambda: dialled(server.port) == 0, "the end of the connection", 10)
            await d.deliver(entries(4))

    asyncio.run(scene())
    assert numbers(server) == [1, 2, 3, 4, 5, 6]
    assert server.connections == 2


def test_no_secret_is_logged(server, authority, caplog):
    caplog.set_level(logging.DEBUG)
    server.answers += [Answer(401, body=TOKEN.encode()), Answer(503, body=EXTRA.encode()), Answer(200)]

    async def scene():
        async with driver(f"{server.url}/?key=sesame", authority, **SECRETS) as d:
            with pytest.raises(Refused, match="Check auth_token"):
                await d.deliver(entries())
            with pytest.raises(Undelivered):
                await d.deliver(entries())
            server.breaks = 1
            with pytest.raises(Undelivered):
                await d.deliver(entries())
            await d.deliver(entries())
            assert "sesame" not in str(d.status())

    asyncio.run(scene())
    assert "sesame" not in caplog.text
    assert EXTRA not in caplog.text
