"""What every request passes before anything is done for it: the right name, who asks and may, and what it brings.

A page of somebody else's that is open in the owner's browser can send requests here, with the cookie if it lies under
the same site. So what changes something wants three things that such a page cannot have: our own Origin where the
browser names one, the session's token in a header, and JSON, which another origin may send only if we let it. The name
in Host keeps out a name of somebody else's that was made to point here (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from gateway.config.sections import WebSection
from gateway.web.access import allows
from gateway.web.desk import Desk
from gateway.web.problem import Problem
from gateway.web.routes import Asked, Route, Wish
from gateway.web.sessions import Person, is_same

COOKIE = "spectrophone"
BODY_S = 10.0
"""The longest that a body may take to come."""
GUEST, NOBODY = Person("guest", "read"), Person("", "read")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%\w]+\]|[\w.-]+)(:\d{1,5})?")
_SAFE = ("GET", "HEAD")
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


def check_host(desk: Desk, request: web.Request) -> None:
    """Refuse a request to a name that is not this box's. Raises Problem."""
    found = _HOST.fullmatch(request.host)
    host = found["name"].strip("[]").lower() if found else ""
    here = request.transport.get_extra_info("sockname") if request.transport else None
    if host.rstrip(".") in names(desk.settings) or _is_address(host, here[0] if here else ""):
        return
    detail = f"This box is not called {host[:100]!r}. Use its address, or write the name into web.hosts"
    raise Problem(421, detail)


def names(settings: WebSection) -> set[str]:
    """By what this box may be called, beside its addresses."""
    return {"localhost", *own_names(), *(name.lower() for name in settings.hosts)}


def own_names() -> tuple[str, str]:
    """The machine's own name, and that by which mDNS knows it."""
    name = socket.gethostname().lower()
    return name, f"{name.removesuffix('.local')}.local"


def _is_address(host: str, here: str) -> bool:
    """Whether a host is the address at which the request came in, or of this machine alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    own = ipaddress.ip_address(here.partition("%")[0]) if here else None
    mapped = getattr(own, "ipv4_mapped", None)
    return address.is_loopback or address in (own, mapped)


def peer(request: web.Request) -> str:
    """The address that a request comes from."""
    return request.remote or ""


def is_local(request: web.Request) -> bool:
    """Whether it comes from this machine, and not through a proxy on it."""
    try:
        near = ipaddress.ip_address(peer(request).partition("%")[0]).is_loopback
    except ValueError:
        return False
    return near and not any(name in request.headers for name in _FORWARDED)


def cookie_of(request: web.Request) -> str:
    """The secret of the session, "" where there is none."""
    return request.cookies.get(COOKIE, "")


def who(desk: Desk, request: web.Request) -> Person:
    """Who asks. Raises Problem for a token that is none."""
    given = request.headers.get("Authorization")
    if given is not None:
        kind, _, token = given.partition(" ")
        held = desk.access.read().holder(token.strip()) if kind.lower() == "bearer" else None
        if held is None:
            detail = "This token is not known. Make one: spectrophone web token NAME --scope read"
            raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
        return Person(held.name, held.scope)
    person = desk.sessions.of(cookie_of(request), desk.view.clock.monotonic_ns())
    return person or (GUEST if desk.settings.guests else NOBODY)


def check_may(desk: Desk, route: Route, request: web.Request, person: Person) -> None:
    """Whether who asks may have that. Raises Problem."""
    if request.method not in _SAFE:
        _check_origin(request)
    if route.scope is None:
        return
    if person is NOBODY:
        detail = "This wants a login, or a token. Log in with the password"
        raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
    if not allows(person.scope, route.scope):
        raise Problem(403, f"{person.user} may {person.scope}, and this wants {route.scope}. Log in as the owner")
    if (
        person.csrf
        and request.method not in _SAFE
        and not is_same(request.headers.get("X-CSRF-Token", ""), person.csrf)
    ):
        raise Problem(403, "The header X-CSRF-Token is not that of this session. Load the page anew")


def _check_origin(request: web.Request) -> None:
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    foreign = origin is not None and origin.partition("://")[2].lower() != request.host.lower()
    if foreign or site in ("cross-site", "same-site"):
        raise Problem(403, "This comes from another site's page, which may not. Open the box's own page")


def query_of(route: Route, request: web.Request) -> Wish | None:
    """The declared query. Raises Problem."""
    model = route.query
    twice = [name for name in request.query if len(request.query.getall(name)) > 1]
    if twice:
        raise Problem(422, f"The query has {twice[0]} twice. Give it once")
    if model is None:
        if request.query:
            raise Problem(422, f"There is no {next(iter(request.query))!r} to give here. Leave the query out")
        return None
    try:
        return model.model_validate_strings(dict(request.query), strict=False)
    except ValidationError as error:
        raise _wrong(error, "query") from None


async def body_of(route: Route, request: web.Request) -> Wish | None:
    """The declared body. Raises Problem."""
    text = await _read(request, route.most)
    if route.body is None:
        if text:
            raise Problem(422, "Nothing is wanted in the body. Leave it out")
        return None
    if request.content_type != "application/json":
        raise Problem(415, "The body is not application/json. Say so in Content-Type, and send JSON")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON. Send a JSON object") from None
    try:
        return route.body.model_validate_json(text)
    except ValidationError as error:
        raise _wrong(error, "body") from None


async def _read(request: web.Request, most: int) -> bytes:
    detail = f"The body is longer than {most} bytes. Send less"
    if (request.content_length or 0) > most:
        raise Problem(413, detail, headers={"Connection": "close"})
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.content.iter_any():
                found += chunk
                if len(found) > most:
                    raise Problem(413, detail, headers={"Connection": "close"})
    except TimeoutError:
        raise Problem(408, f"The body did not come within {BODY_S:g} s. Send it again") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Problem(400, "The body did not come whole. Send it again") from None
    return bytes(found)


def _wrong(error: ValidationError, where: str) -> Problem:
    faults = [
        {"option": ".".join(map(str, each["loc"])), "message": each["msg"], "remedy": ""}
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    first = faults[0]
    option = first["option"] or where
    return Problem(422, f"{option}: {first['message']}. See /api/v1/openapi.json for what the {where} takes", faults)


async def passed(desk: Desk, route: Route, request: web.Request) -> Asked:
    """The request, once it has passed all of this. Raises Problem."""
    person = who(desk, request)
    check_may(desk, route, request, person)
    path: dict[str, Any] = dict(request.match_info)
    return Asked(person, request, path, query_of(route, request), await body_of(route, request))
