"""Finding an option's declaration: from a place in a document to the field of Settings that describes it."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from gateway.config.document import Loc

_UNIONS = (Union, types.UnionType)
_SUFFIXES = {
    "hz": "Hz",
    "ms": "ms",
    "s": "s",
    "db": "dB",
    "deg": "degrees",
    "ppm": "ppm",
    "w": "W",
    "c": "degrees Celsius",
    "k": "K",
    "pa": "Pa",
    "percent": "%",
}


def unit(name: str) -> str:
    """The unit that an option's name tells: "Hz" for rate_hz and center_frequency; empty without one."""
    words = name.split("_")
    if words[-2:] == ["per", "s"]:
        return "1/s"
    if words[-1] in _SUFFIXES and len(name) > 1:
        return _SUFFIXES[words[-1]]
    return "Hz" if {"frequency", "bandwidth"} & set(words) else ""


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's options by the names that people write."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def declared(model: type[BaseModel], data: Any, loc: Loc) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model that holds the last named option of `loc`, and that option's field; None if undeclared."""
    annotation: Any = model
    owner: type[BaseModel] | None = None
    info: FieldInfo | None = None
    value = data
    for part in loc:
        annotation = _choose(annotation, value)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            owner, info = annotation, fields_of(annotation).get(str(part))
            annotation = info.annotation if info else None
        else:
            annotation = _inner(annotation, part)
            info = info if isinstance(part, int) else None
        value = _child(value, part)
    return owner, info


def group(model: type[BaseModel], data: Any, loc: Loc) -> type[BaseModel] | None:
    """The model of the mapping at `loc`."""
    return declared(model, data, (*loc, ""))[0]


def is_secret(info: FieldInfo | None) -> bool:
    """Whether the option holds a secret, whose value is never shown."""
    return info is not None and SecretStr in _parts(info.annotation)


def words(info: FieldInfo | None) -> tuple[str, ...]:
    """The words that an option allows; empty where it is not a choice of words."""
    parts = _parts(info.annotation) if info else ()
    return tuple(str(word) for part in parts if get_origin(part) is Literal for word in get_args(part))


def tags(info: FieldInfo | None) -> tuple[str, ...]:
    """The words that `type` may have in an option that takes one of several groups."""
    models = [part for part in (_parts(info.annotation) if info else ()) if isinstance(part, type)]
    declarations = [part.model_fields.get("type") for part in models if issubclass(part, BaseModel)]
    return tuple(word for declaration in declarations for word in words(declaration))


def bounds(info: FieldInfo | None) -> dict[str, Any]:
    """An option's bounds by pydantic's names: ge, gt, le, lt."""
    if info is None:
        return {}
    found: dict[str, Any] = {}
    for constraint in info.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if (limit := getattr(constraint, name, None)) is not None:
                found[name] = limit
    return found


def _parts(annotation: Any) -> tuple[Any, ...]:
    """An annotation's alternatives and items, flat."""
    if get_origin(annotation) in (*_UNIONS, Annotated, list, tuple, dict):
        return tuple(part for inner in get_args(annotation) for part in _parts(inner))
    return (annotation,)


def _choose(annotation: Any, value: Any) -> Any:
    """The alternative of a union that fits the value: by its `type` for models, else by its shape."""
    if get_origin(annotation) is Annotated:
        return _choose(get_args(annotation)[0], value)
    if get_origin(annotation) not in _UNIONS:
        return annotation
    choices = [_choose(choice, value) for choice in get_args(annotation) if choice is not types.NoneType]
    models = [choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel)]
    if isinstance(value, list):
        return next((choice for choice in choices if get_origin(choice) in (list, tuple)), None)
    tagged = [model for model in models if isinstance(value, dict) and _tag_fits(model, value.get("type"))]
    if len(models) > 1 or tagged:
        return tagged[0] if tagged else None
    return models[0] if models else (choices[0] if choices else None)


def _tag_fits(model: type[BaseModel], tag: Any) -> bool:
    info = model.model_fields.get("type")
    return info is not None and str(tag) in words(info)


def _inner(annotation: Any, part: str | int) -> Any:
    arguments = get_args(annotation)
    if get_origin(annotation) in (list, tuple) and isinstance(part, int) and arguments:
        fixed = len(arguments) > 1 and arguments[-1] is not Ellipsis
        return arguments[part] if fixed and part < len(arguments) else arguments[0]
    if get_origin(annotation) in (dict, Mapping) and len(arguments) == 2:
        return arguments[1]
    return None


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, Sequence) and not isinstance(value, str) and isinstance(part, int) and part < len(value):
        return value[part]
    return None
