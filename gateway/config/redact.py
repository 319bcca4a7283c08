"""Keeping secrets out of what is written down: a filter for log handlers, and the same for any text.

A secret is masked as it is, and as it looks in a repr, in JSON and in a URL, because that is how it gets into
messages.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

MASK = "********"
SHORTEST = 4
"""Shorter values are not masked: they would be found inside ordinary words."""


class Secrets(Collection[str]):
    """The secrets of the configuration. Where it changes there are more; none is forgotten."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = frozenset(known)

    def add(self, more: Iterable[str]) -> None:
        """From now on these are secrets, too. Any thread may call it."""
        self._known |= frozenset(more)

    def __contains__(self, value: object) -> bool:
        return value in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret masked."""
    for form in _forms(frozenset(secrets)):
        text = text.replace(form, MASK)
    return text


def secrets_in(settings: object) -> frozenset[str]:
    """The values of all SecretStr options in a group of settings, however deep."""
    if isinstance(settings, SecretStr):
        return frozenset({settings.get_secret_value()})
    if isinstance(settings, BaseModel):
        return frozenset().union(*(secrets_in(value) for _, value in settings))
    if isinstance(settings, dict):
        return frozenset().union(*(secrets_in(value) for value in settings.values()))
    if isinstance(settings, (list, tuple)):
        return frozenset().union(*(secrets_in(value) for value in settings))
    return frozenset()


class Redaction(logging.Filter):
    """Masks secrets, those that come later too, in a record's message, arguments, exception and stack.

    Add it to handlers, not to loggers: a logger's filter does not see the records of its children.
    """

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True; the record is changed in place."""
        record.msg, record.args = redact(record.getMessage(), self._secrets), None
        if record.exc_info:
            record.exc_text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text, self._secrets)
        if record.stack_info:
            record.stack_info = redact(record.stack_info, self._secrets)
        return True


@functools.lru_cache(maxsize=64)
def _forms(secrets: frozenset[str]) -> tuple[str, ...]:
    forms: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            forms |= {
                secret,
                repr(secret)[1:-1],
                json.dumps(secret)[1:-1],
                quote(secret, safe=""),
                quote(secret),
            }
    return tuple(sorted(forms, key=len, reverse=True))
