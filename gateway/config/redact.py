"""Keeping secrets out of what is written down: a filter for log handlers, and the same for any text.

A secret is masked as it is, and as it looks in a repr, in JSON and in a URL, because that is how it gets into
messages.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

MASK = "********"
SHORTEST = 4
"""Shorter values are not masked: they would be found inside ordinary words."""


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret masked."""
    for form in _forms(secrets):
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
    """Masks secrets in a record's message, arguments, exception and stack.

    Add it to handlers, not to loggers: a logger's filter does not see the records of its children.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._forms = _forms(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True; the record is changed in place."""
        record.msg, record.args = self._mask(record.getMessage()), None
        if record.exc_info:
            record.exc_text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = self._mask(record.exc_text)
        if record.stack_info:
            record.stack_info = self._mask(record.stack_info)
        return True

    def _mask(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, MASK)
        return text


def _forms(secrets: Iterable[str]) -> tuple[str, ...]:
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
