"""The OpenAPI 3.1 document, made of the table of routes: what comes in and goes out is declared once, as models."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from gateway import jsonlines
from gateway.web.desk import Desk
from gateway.web.problem import PROBLEM
from gateway.web.routes import PREFIX, Asked, Route

_REFERENCE = "#/components/schemas/{model}"
_PART = re.compile(r"\{(\w+)\}")
_PROBLEM = {
    "type": "object",
    "description": "A refusal (RFC 9457).",
    "properties": {
        "status": {"type": "integer"},
        "title": {"type": "string"},
        "detail": {"type": "string", "description": "what is wrong, and what to do"},
        "faults": {"type": "array", "items": {"type": "object"}, "description": "all that is wrong, if it is several"},
    },
    "required": ["status", "title", "detail"],
}
_ALWAYS = (409, 421, 422, 429, 503)
_WITH_SCOPE, _CHANGING, _WITH_BODY = (401, 403), (403, 408, 413), (400, 415)


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Spectrophone",
            "version": version("spectrophone"),
            "description": "What docs/api.md tells, for programs. What wants a scope takes a session or a token.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "a token of read, control or admin"},
            },
        },
    }


async def served(desk: Desk, asked: Asked) -> web.Response:
    """GET /openapi.json."""
    return web.Response(text=_text(), content_type="application/json")


@functools.cache
def _text() -> str:
    from gateway.web.table import ROUTES

    return jsonlines.line(document(ROUTES))


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    word = re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_")
    parts = [
        {"name": name, "in": "path", "required": True, "schema": _part(name)} for name in _PART.findall(route.path)
    ]
    made: dict[str, Any] = {"operationId": word, "summary": route.summary, "parameters": parts + _query(route, schemas)}
    if route.body is not None:
        content = {"application/json": {"schema": _schema(route.body, schemas, "validation")}}
        made["requestBody"] = {"required": True, "content": content}
    if route.scope is not None:
        made |= {"security": [{"token": []}], "x-scope": route.scope}
    made["responses"] = _responses(route, schemas)
    return made


def _part(name: str) -> dict[str, Any]:
    if name == "id":
        return {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
    return {"type": "string", "minLength": 1}


def _query(route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema(ref_template=_REFERENCE)
    schemas.update(schema.get("$defs", {}))
    wanted = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in wanted, "schema": _single(option)}
        for name, option in schema["properties"].items()
    ]


def _single(option: dict[str, Any]) -> dict[str, Any]:
    """An option of a query without null, which no query can say."""
    choices = [choice for choice in option.get("anyOf", ()) if choice.get("type") != "null"]
    outside = {name: value for name, value in option.items() if name not in ("anyOf", "default")}
    kept = {"default": option["default"]} if option.get("default") is not None else {}
    return {**outside, **(choices[0] if choices else {}), **kept}


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": HTTPStatus(route.success).phrase}
    if route.told is not None:
        told["content"] = {route.media: {"schema": _schema(route.told, schemas, "serialization")}}
    elif route.success != 204:
        told["content"] = {media: {"schema": {"type": "string"}} for media in route.media.split()}
    refusals = {*_ALWAYS, *route.refusals}
    refusals |= set(_WITH_SCOPE) if route.scope else set()
    refusals |= set(_CHANGING) if route.method != "GET" else set()
    refusals |= set(_WITH_BODY) if route.body else set()
    refusals |= {404} if _PART.search(route.path) or route.query else set()
    refusal = {"content": {PROBLEM: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}}
    problems = {str(status): {"description": HTTPStatus(status).phrase, **refusal} for status in sorted(refusals)}
    return {str(route.success): told, **problems}


def _schema(model: Any, schemas: dict[str, Any], mode: Any) -> dict[str, Any]:
    made = TypeAdapter(model).json_schema(ref_template=_REFERENCE, mode=mode)
    schemas.update(made.pop("$defs", {}))
    if isinstance(model, type) and issubclass(model, BaseModel):
        schemas[model.__name__] = made
        return {"$ref": _REFERENCE.format(model=model.__name__)}
    return made
