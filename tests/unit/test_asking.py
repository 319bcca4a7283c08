"""Asking a page for the state of its box: what comes, and what is said of what does not."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway import asking, status
from gateway.errors import LinkError, UsageError
from tests.support.clock import FakeClock
from tests.unit.test_status import ABOUT

LAB = {**ABOUT, "pid": os.getpid(), "utc_ns": 5, "results": [], "alerts": [], "outputs": {}}


def asked(answer: Callable[[web.Request], web.Response], token: str = "sp_good", path: str = "") -> Mapping[str, Any]:
    """The status that a page tells, which answers so."""

    async def play(api: asking.Api, address: str) -> Mapping[str, Any]:
        return await api.status(f"{address}{path}")

    return asyncio.run(_with_page(answer, token, play))


async def _with_page(
    answer: Callable[[web.Request], web.Response],
    token: str,
    play: Callable[[asking.Api, str], Awaitable[Any]],
) -> Any:
    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    application = web.Application()
    application.router.add_get("/api/v1/state", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            return await play(asking.Api(session, token, None), f"http://127.0.0.1:{runner.addresses[0][1]}/")
    finally:
        await runner.cleanup()


def page(request: web.Request) -> web.Response:
    """A page that knows one token."""
    if request.headers.get("Authorization") == "Bearer sp_good":
        return web.json_response({"status": LAB, "results": {}})
    return web.json_response({"status": 401, "title": "Unauthorized", "detail": "This token is not known"}, status=401)


def test_a_state_comes_with_its_status() -> None:
    assert asked(page) == {**LAB, "age_s": 0.0}
    assert "lab on board sim" in status.described(asked(page))


@pytest.mark.parametrize("token", ["", "sp_other"])
def test_a_token_that_does_not_do_is_told(token: str) -> None:
    with pytest.raises(UsageError, match=r"This token is not known\. Give --token"):
        asked(page, token)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (web.json_response({"detail": "There is no sound yet"}, status=503), "has no state to show: There is no sound"),
        (web.Response(text="<html>"), "does not answer as a box does"),
        (web.json_response([1]), "does not answer as a box does"),
        (web.json_response({"status": 3}), "it tells none"),
        (web.Response(status=302, headers={"Location": "http://elsewhere/"}, text="{}"), "does not answer as a box"),
    ],
)
def test_what_may_pass_is_waited_for(response: web.Response, words: str) -> None:
    with pytest.raises(LinkError, match=words):
        asked(lambda request: response)


def test_nobody_there_and_no_address_are_told() -> None:
    async def play(address: str) -> None:
        async with aiohttp.ClientSession() as session:
            await asking.Api(session, "", None).status(address)

    with pytest.raises(LinkError, match=r"http://127.0.0.1:1/ does not answer \(connection refused\)"):
        asyncio.run(play("http://127.0.0.1:1/"))
    with pytest.raises(UsageError, match="is no address"):
        asyncio.run(play("box-1"))


def test_the_page_of_a_local_gateway_is_asked_and_its_file_taken_where_it_says_nothing(tmp_path: Path) -> None:
    clock = FakeClock()

    async def play(api: asking.Api, address: str) -> list[Any]:
        look = asking.local(api, tmp_path, clock)
        found = []
        for shown in ({"address": address}, {"address": "http://127.0.0.1:1/"}, {}):
            held = {**LAB, "utc_ns": clock.utc_ns(), "blocks": 99, "page": shown}
            (tmp_path / "lab.json").write_text(json.dumps(held))
            found += [each["blocks"] for each in await look()]
        return found

    assert asyncio.run(_with_page(page, "sp_good", play)) == [LAB["blocks"], 99, 99]
