"""The document is whole, every reference leads somewhere, and each route says who may."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from gateway.web import openapi
from gateway.web.routes import PREFIX
from gateway.web.table import PATTERNS, ROUTES

DOCUMENT = openapi.document(ROUTES)


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _references(each)


def test_every_route_is_in_it_once_under_its_own_name() -> None:
    operations = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]
    assert sorted(operations) == sorted((PREFIX + route.path, route.method.lower()) for route in ROUTES)
    names = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)
    assert set(PATTERNS) <= {route.path for route in ROUTES}


def test_every_reference_leads_to_a_schema_and_every_schema_is_one() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for reference in _references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in schemas
    for schema in schemas.values():
        jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_only_what_comes_before_a_login_is_open() -> None:
    free = {(route.method, route.path) for route in ROUTES if route.scope is None}
    assert free == {("GET", "/session"), ("POST", "/session"), ("POST", "/setup"), ("GET", "/openapi.json")}


def test_whatever_changes_something_wants_more_than_read() -> None:
    for route in ROUTES:
        if route.method != "GET" and route.scope is not None:
            assert route.scope != "read" or route.path == "/session"
        if re.match(r"/(configuration|tokens|password)", route.path):
            assert route.scope == "admin"
