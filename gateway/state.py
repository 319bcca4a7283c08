"""The state of the computation, saved and restored in the middle of a stream with no change in what comes after.

Settings are immutable and come from the configuration; what changes while sound flows is named by each class in its
`STATE`, and nothing else is kept. What is of use in a later stream as well is in classes with `LASTING = True`; those
that hold times have `renewed(gap_s)` to forget them. The text is JSON: numbers as Python writes them, which reads back
the same number, arrays as base64 of their bytes. Nothing in it is ever executed.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np

from gateway import types
from gateway.alarms import AlarmState
from gateway.dsp.air import Sound
from gateway.dsp.demodulator import Reference
from gateway.dsp.follow import Belief, Dwell
from gateway.dsp.smooth import Run
from gateway.errors import SpectrophoneError

_VALUES: dict[str, type] = {
    kind.__name__: kind
    for kind in [*vars(types).values(), AlarmState, Belief, Dwell, Reference, Run, Sound]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}
"""The frozen values that may stand in a state."""


class StateError(SpectrophoneError):
    """A saved state that does not fit."""


def text_of(parts: Mapping[str, Any], fingerprint: str) -> str:
    """The state of `parts`, objects with `STATE`, by name; `fingerprint` tells what they are parts of."""
    return json.dumps({"fingerprint": fingerprint, "parts": {name: _saved(part) for name, part in parts.items()}})


def restore(parts: Mapping[str, Any], text: str, fingerprint: str) -> None:
    """Put the state in `text` into `parts`, all of which have `STATE`.

    Raises StateError where it is none, or that of something else; then nothing has changed.
    """
    try:
        data = json.loads(text)
        if data["fingerprint"] != fingerprint:
            raise StateError("the saved state is that of another configuration or version", "Begin without it")
        found = {name: _loaded(data["parts"][name]) for name in parts}
        for name, part in parts.items():
            _check(part, found[name])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(f"the saved state cannot be read: {error!r}", "Begin without it") from None
    for name, part in parts.items():
        _put(part, found[name])


def lasting(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The objects with `LASTING` among `parts` and in their states, by the way to them: "node lock._combiner"."""
    found: dict[str, Any] = {}
    for name, part in parts.items():
        if getattr(part, "LASTING", False):
            found[name] = part
        else:
            found |= lasting({f"{name}.{inner}": getattr(part, inner) for inner in getattr(part, "STATE", ())})
    return found


def renew(parts: Mapping[str, Any], text: str, fingerprint: str, gap_s: float) -> None:
    """As restore(), for `lasting` parts of a stream that begins `gap_s` after the one in which they were saved."""
    restore(parts, text, fingerprint)
    for part in parts.values():
        if hasattr(part, "renewed"):
            part.renewed(gap_s)


def _saved(value: Any) -> Any:
    """JSON for a value; what JSON does not know is an object of one key."""
    match value:
        case None | bool() | str() | int() | float():
            return str(value) if isinstance(value, types.Flag) else value
        case np.ndarray():
            return {"array": [value.dtype.str, list(value.shape), base64.b64encode(value.tobytes()).decode()]}
        case np.generic():
            return _saved(np.asarray(value))
        case complex():
            return {"complex": [value.real, value.imag]}
        case Fraction():
            return {"fraction": str(value)}
        case frozenset() | set():
            return {"set": sorted(map(str, value))}
        case tuple():
            return {"tuple": [_saved(item) for item in value]}
        case list():
            return [_saved(item) for item in value]
        case Mapping():
            return {"mapping": [[_saved(key), _saved(item)] for key, item in value.items()]}
    names = getattr(value, "STATE", None)
    if names is not None:
        return {"state": {name: _saved(getattr(value, name)) for name in names}}
    names = [field.name for field in dataclasses.fields(value)]
    return {"value": [type(value).__name__, {name: _saved(getattr(value, name)) for name in names}]}


def _loaded(data: Any) -> Any:
    """The reverse of `_saved`; the state of an object comes as a dictionary of its attributes."""
    if isinstance(data, list):
        return [_loaded(item) for item in data]
    if not isinstance(data, dict):
        return data
    ((kind, content),) = data.items()
    match kind:
        case "array":
            dtype, shape, text = content
            return np.frombuffer(base64.b64decode(text), dtype).reshape(shape).copy()
        case "complex":
            return complex(*content)
        case "fraction":
            return Fraction(content)
        case "set":
            return frozenset(types.Flag(name) for name in content)
        case "tuple":
            return tuple(_loaded(item) for item in content)
        case "mapping":
            return MappingProxyType({_loaded(key): _loaded(item) for key, item in content})
        case "state":
            return {name: _loaded(item) for name, item in content.items()}
        case "value":
            name, fields = content
            return _VALUES[name](**{key: _loaded(item) for key, item in fields.items()})
    raise ValueError(kind)


def _check(part: Any, found: dict[str, Any]) -> None:
    """Raises KeyError or TypeError where the state is not that of such an object."""
    if set(found) != set(part.STATE):
        raise KeyError(*sorted(set(found) ^ set(part.STATE)))
    for name in part.STATE:
        if hasattr(getattr(part, name), "STATE"):
            _check(getattr(part, name), found[name])


def _put(part: Any, found: dict[str, Any]) -> None:
    for name in part.STATE:
        inner = getattr(part, name)
        if hasattr(inner, "STATE"):
            _put(inner, found[name])
        elif isinstance(inner, dict):
            setattr(part, name, dict(found[name]))
        else:
            setattr(part, name, found[name])
    if hasattr(part, "restored"):
        part.restored()
