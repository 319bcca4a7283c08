"""Who is let through, and who is not: names, origins, scopes, bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.test_utils import make_mocked_request
from pydantic import Field

from gateway.config.sections import WebSection
from gateway.web import gate
from gateway.web.access import AccessFile
from gateway.web.desk import Desk
from gateway.web.problem import Problem
from gateway.web.routes import LARGE, SMALL, Route, Wish
from gateway.web.sessions import Person, Sessions
from tests.support.clock import FakeClock

OWNER = Person("owner", "admin", "the token")


class Numbers(Wish):
    """A body and a query."""

    number: int = Field(ge=1)
    word: str = ""


async def nothing(desk: Desk, asked: Any) -> None:
    """A handler."""


def route(**options: Any) -> Route:
    return Route(**{"method": "POST", "path": "/x", "scope": "control", "summary": "", "handler": nothing, **options})


def desk(directory: Path, **settings: Any) -> Desk:
    made = SimpleNamespace(
        settings=WebSection(**settings),
        access=AccessFile(directory / "box.access.json"),
        sessions=Sessions(),
        view=SimpleNamespace(clock=FakeClock()),
    )
    return cast(Desk, made)


def request(
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    *,
    here: str = "192.168.1.5",
    peer: str = "192.168.1.9",
    body: bytes = b"",
    path: str = "/x",
    eof: bool = True,
) -> web.Request:
    transport = mock.Mock()
    known = {"sockname": (here, 8080), "peername": (peer, 4711)}
    transport.get_extra_info.side_effect = lambda name, default=None: known.get(name, default)
    try:
        loop: Any = asyncio.get_running_loop()
    except RuntimeError:
        loop = mock.Mock()
    stream = StreamReader(mock.Mock(_reading_paused=False), 2**16, loop=loop)
    stream.feed_data(body)
    if eof:
        stream.feed_eof()
    given = {"Host": f"{here}:8080", **(headers or {})}
    return make_mocked_request(method, path, given, transport=transport, payload=stream)


def status_of(call: Any, *args: Any) -> int:
    """The status of the problem that a call raises; 0 if it raises none."""
    try:
        call(*args)
    except Problem as problem:
        return problem.status.value
    return 0


@pytest.mark.parametrize(
    ("host", "here", "status"),
    [
        ("192.168.1.5:8080", "192.168.1.5", 0),
        ("192.168.1.6", "192.168.1.5", 421),
        ("192.168.1.5", "::ffff:192.168.1.5", 0),
        ("[fe80::1]:8080", "fe80::1%eth0", 0),
        ("127.0.0.1:8080", "127.0.0.1", 0),
        ("[::1]", "::1", 0),
        ("localhost:9", "127.0.0.1", 0),
        ("LOCALHOST", "127.0.0.1", 0),
        ("box.example", "192.168.1.5", 0),
        ("BOX.example.:8080", "192.168.1.5", 0),
        ("evil.example", "127.0.0.1", 421),
        ("localhost.evil.example", "127.0.0.1", 421),
        ("127.0.0.1.evil.example", "127.0.0.1", 421),
        ("", "127.0.0.1", 421),
        ("[::1", "127.0.0.1", 421),
    ],
)
def test_only_names_of_this_box_are_answered(tmp_path: Path, host: str, here: str, status: int) -> None:
    told = request("GET", {"Host": host}, here=here)
    assert status_of(gate.check_host, desk(tmp_path, hosts=("Box.example",)), told) == status


def test_its_own_name_is_one_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Lab")
    for host in ("lab", "lab.local:8080", "LAB.LOCAL"):
        assert status_of(gate.check_host, desk(tmp_path), request("GET", {"Host": host})) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-CSRF-Token": "the token"}, 0),
        ({"X-CSRF-Token": "the token", "Origin": "http://192.168.1.5:8080"}, 0),
        ({"X-CSRF-Token": "the token", "Sec-Fetch-Site": "same-origin"}, 0),
        ({}, 403),
        ({"X-CSRF-Token": "another"}, 403),
        ({"X-CSRF-Token": "the token", "Origin": "http://evil.example"}, 403),
        ({"X-CSRF-Token": "the token", "Origin": "http://192.168.1.5:81"}, 403),
        ({"X-CSRF-Token": "the token", "Origin": "null"}, 403),
        ({"X-CSRF-Token": "the token", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-CSRF-Token": "the token", "Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_another_sites_page_changes_nothing(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    assert status_of(gate.check_may, desk(tmp_path), route(), request("POST", headers), OWNER) == status


@pytest.mark.parametrize("wanted", ["read", "control", "admin"])
@pytest.mark.parametrize("held", ["read", "control", "admin", None])
def test_scopes_reach_as_far_as_they_do(tmp_path: Path, wanted: Any, held: Any) -> None:
    order = ["read", "control", "admin"]
    person = gate.NOBODY if held is None else Person("machine", held)
    expected = 401 if held is None else 0 if order.index(held) >= order.index(wanted) else 403
    assert status_of(gate.check_may, desk(tmp_path), route(scope=wanted), request(), person) == expected
    assert status_of(gate.check_may, desk(tmp_path), route(scope=None), request(), person) == 0


def test_who_asks(tmp_path: Path) -> None:
    at = desk(tmp_path)
    token = ""

    def add(now: Any) -> Any:
        nonlocal token
        made, token = now.with_token("grafana", "read", "")
        return made

    at.access.change(add)
    cookie, person = at.sessions.begin("owner", "admin", at.view.clock.monotonic_ns())
    assert gate.who(at, request(headers={"Authorization": f"Bearer {token}"})) == Person("grafana", "read")
    assert gate.who(at, request(headers={"Cookie": f"spectrophone={cookie}"})) is person
    assert gate.who(at, request(headers={"Cookie": "spectrophone=x"})) is gate.NOBODY
    assert gate.who(desk(tmp_path, guests=True), request()) is gate.GUEST
    for given in (f"Bearer {token}x", "Basic b3duZXI6", "Bearer", f"Bearer {cookie}"):
        with pytest.raises(Problem) as wrong:
            gate.who(at, request(headers={"Authorization": given, "Cookie": f"spectrophone={cookie}"}))
        assert wrong.value.status == 401


def test_a_proxy_on_the_box_does_not_make_the_world_local() -> None:
    assert gate.is_local(request(peer="127.0.0.1"))
    assert gate.is_local(request(peer="::1"))
    assert not gate.is_local(request(peer="192.168.1.9"))
    assert not gate.is_local(request(peer="127.0.0.1", headers={"X-Forwarded-For": "10.0.0.1"}))
    assert not gate.is_local(request(peer=""))


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"number": 1}', JSON, 0),
        (b'{"number": 1}', {"Content-Type": "application/json; charset=utf-8"}, 0),
        (b'{"number": 1}', {}, 415),
        (b'{"number": 1}', {"Content-Type": "text/plain"}, 415),
        (b"number=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"", JSON, 400),
        (b'{"number": 1', JSON, 400),
        (b"\xff\xfe", JSON, 400),
        (b"[" * 4000, JSON, 400),
        (b'{"number": 0}', JSON, 422),
        (b'{"number": "1"}', JSON, 422),
        (b'{"number": 1, "more": 1}', JSON, 422),
        (b"[]", JSON, 422),
        (b" " * SMALL + b"1", JSON, 413),
    ],
)
def test_a_body_is_what_was_declared_or_refused(body: bytes, headers: dict[str, str], status: int) -> None:
    async def read() -> int:
        try:
            wish = await gate.body_of(route(body=Numbers), request(headers=headers, body=body))
        except Problem as problem:
            return problem.status.value
        assert wish == Numbers(number=1)
        return 0

    assert asyncio.run(read()) == status


def test_a_body_where_none_is_wanted_and_one_that_says_it_is_too_long() -> None:
    async def read(told: web.Request, most: int = SMALL) -> int:
        try:
            await gate.body_of(route(most=most), told)
        except Problem as problem:
            return problem.status.value
        return 0

    async def scene() -> list[int]:
        long = {"Content-Length": str(SMALL + 1)}
        return [
            await read(request(body=b"")),
            await read(request(body=b"{}")),
            await read(request(headers=long, eof=False)),
            await read(request(headers={"Content-Length": str(LARGE + 1)}, eof=False), LARGE),
        ]

    assert asyncio.run(scene()) == [0, 422, 413, 413]


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_S", 0.02)

    async def read() -> int:
        try:
            await gate.body_of(route(body=Numbers), request(body=b'{"number"', eof=False))
        except Problem as problem:
            return problem.status.value
        return 0

    assert asyncio.run(read()) == 408


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("number=5", 0),
        ("number=5&word=a", 0),
        ("", 422),
        ("number=x", 422),
        ("number=5&number=6", 422),
        ("number=5&z=1", 422),
    ],
)
def test_a_query_is_what_was_declared_or_refused(query: str, status: int) -> None:
    told = request("GET", path=f"/x?{query}")
    assert status_of(gate.query_of, route(query=Numbers), told) == status
    assert status_of(gate.query_of, route(), told) == (422 if query else 0)
