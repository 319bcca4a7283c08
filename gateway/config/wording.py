"""What a user reads when an option is wrong: what stands there, and what would be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from gateway.config.document import nearest
from gateway.config.fields import bounds, is_secret, unit, words

LONGEST = 60
_QUOTES = "'\""
_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_PATTERNS = {
    r"^[A-Za-z0-9_-]{1,64}$": "Use letters, digits, - and _, between 1 and 64 of them",
    r"^[^#+\x00]+$": "Leave # and + out: MQTT gives them a meaning of their own",
}


class Wrong(NamedTuple):
    """One error of pydantic's with what the document knows of it."""

    kind: str
    context: Mapping[str, Any]
    message: str
    option: str
    value: Any
    written: str
    info: FieldInfo | None
    known: tuple[str, ...]


def worded(wrong: Wrong) -> tuple[str, str]:
    """Message and remedy, in plain words."""
    word = _WORDS.get(wrong.kind)
    if word is not None:
        return word(wrong)
    text = wrong.message[:1].lower() + wrong.message[1:]
    return f"{shown(wrong)} is not right ({text.rstrip('.')})", _description(wrong)


def shown(wrong: Wrong) -> str:
    """The value as it stands in the file, shortened; nothing of it where it is a secret."""
    if isinstance(wrong.value, dict):
        return "a mapping"
    if isinstance(wrong.value, list):
        return "a list"
    if wrong.value is None:
        return "nothing"
    if is_secret(wrong.info) and not wrong.written.startswith(("!secret", "${")):
        return "the value"
    first = wrong.written.splitlines()[0] if wrong.written else "an empty text"
    return first if len(first) <= LONGEST else first[:LONGEST] + "..."


def _unknown(wrong: Wrong) -> tuple[str, str]:
    return f"unknown option '{wrong.option}'", nearest(wrong.option, wrong.known)


def _missing(wrong: Wrong) -> tuple[str, str]:
    about = wrong.info.description if wrong.info else None
    return f"the option '{wrong.option}' is missing", f"Add `{wrong.option}: ...`" + (f" ({about})" if about else "")


def _range(wrong: Wrong) -> tuple[str, str]:
    direction = "high" if wrong.kind.startswith("less") else "low"
    return f"{shown(wrong)} is too {direction}", f"Give {_limits(wrong)}"


def _limits(wrong: Wrong) -> str:
    """An option's bounds with its unit: "at least 8000 and at most 384000 Hz"; empty where it has none."""
    limits = bounds(wrong.info) or {name: limit for name, limit in wrong.context.items() if name in _LIMITS}
    parts = [f"{_LIMITS[name]} {_number(limit)}" for name, limit in limits.items()]
    measure = unit(wrong.option)
    return " and ".join(parts) + (f" {measure}" if parts and measure else "")


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)


def _kind(noun: str, example: str) -> Callable[[Wrong], tuple[str, str]]:
    def word(wrong: Wrong) -> tuple[str, str]:
        if (
            isinstance(wrong.value, str)
            and noun != "text"
            and wrong.written[:1] in ("'", '"')
            and _is_number(wrong.value)
        ):
            return f"{shown(wrong)} is text, not {noun}", "Take the quotes off"
        if noun == "text" and isinstance(wrong.value, (bool, int, float)):
            return f"{shown(wrong)} is not text", "Put it in quotes"
        if noun == "a whole number" and isinstance(wrong.value, float):
            return f"{shown(wrong)} is not written as a whole number", "Leave the decimal point out"
        limits = _limits(wrong) if "number" in noun else ""
        return f"{shown(wrong)} is not {noun}", f"{example}, {limits}" if limits else example

    return word


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _choice(wrong: Wrong) -> tuple[str, str]:
    known = words(wrong.info)
    if not known:
        return (
            f"{shown(wrong)} is not allowed here",
            f"Write {wrong.context.get('expected', 'another value')}",
        )
    return f"{shown(wrong)} is not one of the known words", nearest(str(wrong.value), known)


def _pattern(wrong: Wrong) -> tuple[str, str]:
    pattern = str(wrong.context.get("pattern", ""))
    message = f"{shown(wrong)} has characters that are not allowed here"
    return message, _PATTERNS.get(pattern, f"It must fit the pattern {pattern}")


def _length(wrong: Wrong) -> tuple[str, str]:
    context = wrong.context
    short = "min_length" in context
    limit = context["min_length"] if short else context["max_length"]
    thing = "characters" if isinstance(wrong.value, str) else "items"
    thing = thing if limit != 1 else thing[:-1]
    message = f"{shown(wrong)} is too {'short' if short else 'long'}"
    return message, f"Give at {'least' if short else 'most'} {limit} {thing}"


def _unknown_type(wrong: Wrong) -> tuple[str, str]:
    tag = str(wrong.context["tag"])
    filled_in = wrong.written.startswith("!secret") or "${" in wrong.written
    return f"unknown type '{wrong.written.strip(_QUOTES) if filled_in else tag}'", nearest(tag, wrong.known)


def _own(wrong: Wrong) -> tuple[str, str]:
    message, _, remedy = str(wrong.context.get("error", wrong.message)).partition(". ")
    return message.rstrip("."), remedy.rstrip(".")


def _description(wrong: Wrong) -> str:
    return (wrong.info.description or "") if wrong.info else ""


_WORDS: dict[str, Callable[[Wrong], tuple[str, str]]] = {
    "extra_forbidden": _unknown,
    "missing": _missing,
    "union_tag_not_found": lambda wrong: (
        "the option 'type' is missing",
        f"Add `type: ...`. Known: {', '.join(sorted(wrong.known))}",
    ),
    "union_tag_invalid": _unknown_type,
    "literal_error": _choice,
    "string_pattern_mismatch": _pattern,
    "value_error": _own,
    "assertion_error": _own,
    "finite_number": lambda wrong: (f"{shown(wrong)} is not a finite number", "Give a number"),
    "none_required": lambda wrong: (f"{shown(wrong)} stands where nothing may", "Take it out"),
    **dict.fromkeys(("greater_than", "greater_than_equal", "less_than", "less_than_equal"), _range),
    **dict.fromkeys(("string_too_short", "string_too_long", "too_short", "too_long"), _length),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), _kind("a whole number", "Give a whole number")),
    **dict.fromkeys(("float_type", "float_parsing"), _kind("a number", "Give a number")),
    **dict.fromkeys(("bool_type", "bool_parsing"), _kind("true or false", "Write true or false")),
    **dict.fromkeys(("string_type", "path_type"), _kind("text", "Write text")),
    **dict.fromkeys(
        ("list_type", "tuple_type", "set_type"), _kind("a list", "Write [a, b], or - a on lines of its own")
    ),
    **dict.fromkeys(
        ("model_type", "model_attributes_type", "dict_type"),
        _kind("a group of options", "Write {name: value}, or options on lines of their own, indented"),
    ),
}
