"""What a route is: a line of the table from which both the server and its OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from gateway.web.access import Scope
from gateway.web.sessions import Person

if TYPE_CHECKING:
    from gateway.web.desk import Desk

PREFIX = "/api/v1"
SMALL, LARGE = 4096, 1_000_000
"""The most bytes that a request may bring: usually, and where a whole configuration comes."""


class Wish(BaseModel):
    """What a request brings: nothing unknown in it, and no number that is none."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Told(BaseModel):
    """What is answered."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be made: who asks, the parts of its path, its query and its body as they were declared."""

    person: Person
    request: web.Request
    path: Mapping[str, str]
    query: Any = None
    body: Any = None


Handler = Callable[["Desk", Asked], Awaitable[Any]]
"""Answers: a JSON object or list, a response of its own making, or None for 204. Raises Problem, SpectrophoneError."""
Method = Literal["GET", "POST", "PUT", "DELETE"]


@dataclass(frozen=True, slots=True)
class Route:
    """`scope` None: everybody may. `query` and `body` are what comes in, None where nothing does; `told` is what the
    answer is, a model or a kind of media that is no JSON; `refusals` are statuses beside those that every such route
    has; `most` bytes may come in.
    """

    method: Method
    path: str
    scope: Scope | None
    summary: str
    handler: Handler
    told: Any = None
    query: type[Wish] | None = None
    body: type[Wish] | None = None
    refusals: tuple[int, ...] = ()
    media: str = "application/json"
    most: int = SMALL
    success: int = field(default=200)
