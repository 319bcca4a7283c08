"""Single values: what a plain word of YAML means, and how ${NAME} is filled in.

Typing follows YAML 1.2's core schema (section 10.3.2), in which `on`, `yes` and `12:30` are text, not a truth
and a number of seconds: `start: on` means the word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Scalar = str | int | float | bool | None

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], Scalar]], ...] = (
    (re.compile(r"[-+]?[0-9]{1,400}"), int),
    (re.compile(r"0o[0-7]{1,100}"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]{1,100}"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)
_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\$\{)")


def scalar(text: str) -> Scalar:
    """What a plain (unquoted) scalar stands for: nothing, a truth, a number, or the text itself."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    for pattern, number in _NUMBERS:
        if pattern.fullmatch(text):
            return number(text)
    return text


class UnsetError(Exception):
    """A ${...} that cannot be filled in; `message` and `remedy` as in a Fault."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def is_variable(text: str) -> bool:
    """Whether the text is one ${NAME} or ${NAME:-default} and nothing else."""
    match = _VARIABLE.fullmatch(text)
    return match is not None and match["name"] is not None


def substitute(text: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The text with its variables filled in, and the values that came from the environment. Raises
    UnsetError.

    As in a shell, `${NAME:-default}` takes the default where NAME is unset or empty. `$${` stands for `${`.
    """
    taken: list[str] = []

    def value(match: re.Match[str]) -> str:
        if match["broken"]:
            raise UnsetError("'${' here does not begin a variable", "Write ${NAME}, or $${ for the two characters")
        name, default = match["name"], match["default"]
        if name is None:
            return "${"
        if name not in environ and default is None:
            raise UnsetError(
                f"the environment variable {name} is not set", f"Set {name}, or write ${{{name}:-default}}"
            )
        found = environ.get(name, "")
        if default is not None and not found:
            return str(default)
        taken.append(found)
        return found

    return _VARIABLE.sub(value, text), tuple(taken)
