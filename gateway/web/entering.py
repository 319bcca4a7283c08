"""Coming in: the first password, login and logout, another password, tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import Field

from gateway.types import iso_utc
from gateway.web import access, gate
from gateway.web.access import OWNER, SHORTEST, Access, Scope
from gateway.web.desk import Desk
from gateway.web.problem import Problem
from gateway.web.routes import Asked, Told, Wish
from gateway.web.sessions import is_same


class SessionTold(Told):
    """Who asks, and what the page has to do first."""

    user: str = Field(description="owner, guest, a token's name; empty for nobody")
    scope: Scope | None = Field(description="read, control or admin; null for nobody")
    csrf: str = Field(description="what X-CSRF-Token has to say; empty without a session")
    setup: bool = Field(description="whether the first password is still to be set, with POST /setup")
    code_needed: bool = Field(description="whether that wants the code from log and status")


class PasswordWish(Wish):
    """A login."""

    password: str = Field(max_length=1024)


class SetupWish(Wish):
    """The first password."""

    password: str = Field(max_length=1024, description=f"at least {SHORTEST} characters")
    code: str | None = Field(None, max_length=32, description="the code from log and status; not from loopback")


class ChangeWish(Wish):
    """Another password."""

    old: str = Field(max_length=1024)
    new: str = Field(max_length=1024, description=f"at least {SHORTEST} characters")


class TokenWish(Wish):
    """A new token."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="what it is for")
    scope: Scope


class TokenTold(Told):
    """A token, without what makes it one."""

    name: str
    scope: Scope
    created: str


class NewTokenTold(TokenTold):
    """A new token; nobody is told it again."""

    token: str


async def session(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /session."""
    return _told(desk, asked.request, asked.person)


async def setup(desk: Desk, asked: Asked) -> web.Response:
    """POST /setup: the first password, and a session with it."""
    if desk.access.read().password:
        raise Problem(409, "A password is set already. Log in with it, or set another: spectrophone web password")
    if not gate.is_local(asked.request):
        _count(desk, asked.request)
        if not is_same(asked.body.code or "", desk.code):
            raise Problem(403, "That is not the code. It stands in the log and in `spectrophone status`")

    def first(now: Access) -> Access:
        if now.password:
            raise Problem(409, "Somebody else has just set a password. Log in with it")
        return replace(now, password=kept)

    kept = await desk.aside(access.hashed, asked.body.password)
    await desk.aside(desk.access.change, first)
    return _begun(desk, asked.request)


async def login(desk: Desk, asked: Asked) -> web.Response:
    """POST /session: a session for the right password."""
    wrong = Problem(401, "That is not the password. Forgotten, it is set anew by: spectrophone web password")
    await _prove(desk, asked.request, asked.body.password, wrong)
    return _begun(desk, asked.request)


async def logout(desk: Desk, asked: Asked) -> web.Response:
    """DELETE /session."""
    desk.sessions.end(gate.cookie_of(asked.request))
    response = web.Response(status=204)
    response.del_cookie(gate.COOKIE, path="/")
    return response


async def change(desk: Desk, asked: Asked) -> None:
    """POST /password: another one; all other sessions end."""
    wrong = Problem(403, "The old password is another one. Give the one that you log in with")
    await _prove(desk, asked.request, asked.body.old, wrong)
    kept = await desk.aside(access.hashed, asked.body.new)
    await desk.aside(desk.access.change, lambda now: replace(now, password=kept))
    desk.sessions.end_all(but=gate.cookie_of(asked.request))


async def tokens(desk: Desk, asked: Asked) -> list[dict[str, Any]]:
    """GET /tokens."""
    return [{"name": token.name, "scope": token.scope, "created": token.created} for token in desk.access.read().tokens]


async def make_token(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /tokens: the only answer that has the token in it."""
    created, made = iso_utc(desk.view.clock.utc_ns()) or "", ""

    def changed(now: Access) -> Access:
        nonlocal made
        new, made = now.with_token(asked.body.name, asked.body.scope, created)
        return new

    await desk.aside(desk.access.change, changed)
    return {"name": asked.body.name, "scope": asked.body.scope, "created": created, "token": made}


async def drop_token(desk: Desk, asked: Asked) -> None:
    """DELETE /tokens/{name}."""
    name = asked.path["name"]
    if all(token.name != name for token in desk.access.read().tokens):
        raise Problem(404, f"There is no token {name!r}. GET /tokens lists them")
    await desk.aside(desk.access.change, lambda now: now.without_token(name))


def _told(desk: Desk, request: web.Request, person: Any) -> dict[str, Any]:
    is_first = not desk.access.read().password
    nobody = person is gate.NOBODY
    return {
        "user": person.user,
        "scope": None if nobody else person.scope,
        "csrf": person.csrf,
        "setup": is_first,
        "code_needed": is_first and not gate.is_local(request),
    }


async def _prove(desk: Desk, request: web.Request, password: str, wrong: Problem) -> None:
    """Raises `wrong` for another password than the one that is set, and Problem for too many attempts."""
    kept = desk.access.read().password
    if not kept:
        raise Problem(409, "No password is set yet. Set the first one with POST /setup")
    _count(desk, request)
    if not await desk.aside(access.matches, password, kept):
        raise wrong
    desk.attempts.forgive(gate.peer(request))


def _begun(desk: Desk, request: web.Request) -> web.Response:
    desk.sessions.end(gate.cookie_of(request))
    cookie, person = desk.sessions.begin(OWNER, "admin", desk.view.clock.monotonic_ns())
    response = web.json_response(_told(desk, request, person))
    response.set_cookie(gate.COOKIE, cookie, path="/", httponly=True, samesite="Strict", secure=request.secure)
    return response


def _count(desk: Desk, request: web.Request) -> None:
    wait_ns = desk.attempts.wait_ns(gate.peer(request), desk.view.clock.monotonic_ns())
    if wait_ns:
        seconds = -(-wait_ns // 1_000_000_000)
        raise Problem(429, f"Too many attempts. Wait {seconds} s", headers={"Retry-After": str(seconds)})
