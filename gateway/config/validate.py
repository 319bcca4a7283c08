"""From a document to Settings: pydantic checks, and every error becomes a Fault at its place, in plain words.

Values are checked strictly, as JSON: text is not silently a number, nor `yes` a truth. Two things bend. What
was filled in from the environment or a secret takes the type that the option wants, since its quotes say
nothing. And a group or list whose options are all commented out (`mqtt:` with nothing after it) is an empty
one.
"""

from __future__ import annotations

import copy
import json
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.document import Document, Loc, by_place
from gateway.config.fields import declared, fields_of, group, tags
from gateway.config.redact import redact
from gateway.config.scalars import scalar
from gateway.config.settings import Settings
from gateway.config.wording import Wrong, worded
from gateway.errors import Fault

Model = TypeVar("Model", bound=Settings)

_EMPTY: dict[str, Any] = {"model_type": {}, "dict_type": {}, "list_type": [], "tuple_type": []}
_NUMBERS = frozenset({"int_type", "float_type", "bool_type"})


def validate(document: Document, model: type[Model]) -> tuple[Model | None, tuple[Fault, ...]]:
    """The settings, or None and all faults: those of the document itself and those of its values, by line."""
    settings, errors = _checked(document, model)
    faults = by_place((*document.faults, *errors))
    return (None if faults else settings), faults


def _checked(document: Document, model: type[Model]) -> tuple[Model | None, tuple[Fault, ...]]:
    if () in document.broken:
        return None, ()
    data = document.data
    settings, errors = _try(model, data)
    bent = _bent(document, data, errors)
    if bent is not data:
        data = bent
        settings, errors = _try(model, data)
    found: dict[Loc, Fault] = {}
    locs = [user_loc(data, error) for error in errors]
    for error, loc in zip(errors, locs, strict=True):
        if loc not in found and not document.is_broken(loc) and not _of_another_shape(error, loc, locs):
            found[loc] = _fault(document, model, data, loc, error)
    return settings, tuple(found.values())


def _of_another_shape(error: ErrorDetails, loc: Loc, locs: list[Loc]) -> bool:
    """Whether the error only says that a list is no number, where a list is right but for an item in it."""
    deeper = any(len(other) > len(loc) and other[: len(loc)] == loc for other in locs)
    return deeper and error["type"].endswith("_type")


def _try(model: type[Model], data: Any) -> tuple[Model | None, list[ErrorDetails]]:
    try:
        return model.model_validate_json(json.dumps(data, default=str), strict=True), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _bent(document: Document, data: Any, errors: list[ErrorDetails]) -> Any:
    """The data with what may bend bent to what the option wants; the same object if nothing did."""
    changed = data
    for error in errors:
        kind, loc = error["type"], user_loc(data, error)
        value = _at(data, loc)
        if value is None and kind in _EMPTY and loc:
            wanted = copy.copy(_EMPTY[kind])
        elif loc in document.texts and kind == "string_type":
            wanted = document.texts[loc]
        elif loc in document.texts and kind in _NUMBERS:
            wanted = scalar(document.texts[loc])
        else:
            continue
        if changed is data:
            changed = copy.deepcopy(data)
        _at(changed, loc[:-1])[loc[-1]] = wanted
    return changed


def user_loc(data: Any, error: ErrorDetails) -> Loc:
    """The error's place as the user knows it, without the tags and alternatives that pydantic puts in."""
    path = error["loc"]
    loc: list[str | int] = []
    value = data
    for index, part in enumerate(path):
        last = index == len(path) - 1
        if isinstance(value, dict):
            tag = part == value.get("type") and not last
            known = part in value or (last and error["type"] == "missing")
            if tag or not known:
                continue
            loc.append(part)
            value = value.get(part) if isinstance(part, str) else None
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            loc.append(part)
            value = value[part]
    return tuple(loc)


def _at(data: Any, loc: Loc) -> Any:
    for part in loc:
        if isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif isinstance(data, dict):
            data = data.get(part)
        else:
            return None
    return data


def _fault(document: Document, model: type[Settings], data: Any, loc: Loc, error: ErrorDetails) -> Fault:
    kind = error["type"]
    option = next((part for part in reversed(loc) if isinstance(part, str)), "")
    _, info = declared(model, data, loc)
    known: tuple[str, ...] = ()
    context = error.get("ctx", {})
    if kind in ("extra_forbidden", "missing"):
        around = group(model, data, loc[:-1])
        known = tuple(fields_of(around)) if around else ()
    elif kind.startswith("union_tag"):
        known = tags(info)
        loc = (*loc, "type") if "type" in (_at(data, loc) or {}) else loc
    written = document.written.get(loc, "")
    wrong = Wrong(kind, context, error["msg"], option, _at(data, loc), written, info, known)
    message, remedy = worded(wrong)
    return document.fault(loc, redact(message, document.secrets), redact(remedy, document.secrets))
