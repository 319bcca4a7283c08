"""No secret gets into a log line, whichever way it comes."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from gateway.config.redact import MASK, Redaction, Secrets, redact, secrets_in
from gateway.config.settings import Settings

SECRET = "hun'ter\n2"


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Redaction({SECRET, "long-secret", "long-secret-2", "on"}))
    logger = logging.getLogger("test_redact")
    logger.propagate = False
    logger.addHandler(handler)
    yield logger.getChild("child"), stream
    logger.removeHandler(handler)


def test_message_and_arguments(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.warning("connecting with %s and %r", "long-secret", {"password": SECRET})
    assert stream.getvalue() == f"connecting with {MASK} and {{'password': \"{MASK}\"}}\n"


def test_json_and_url(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.warning(json.dumps({"password": SECRET}))
    logger.warning("redis://u:hun%27ter%0A2@host")
    assert stream.getvalue() == f'{{"password": "{MASK}"}}\nredis://u:{MASK}@host\n'


def test_exceptions_and_stacks(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    try:
        raise ValueError("refused: long-secret")
    except ValueError:
        logger.exception("failed", stack_info=True)
    assert f"ValueError: refused: {MASK}" in stream.getvalue()
    assert "refused: long" not in stream.getvalue()
    assert "Stack (most recent call last)" in stream.getvalue()


def test_secrets_that_come_later_are_masked_and_the_earlier_ones_still(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secrets = Secrets({"open-sesame"})
    caplog.handler.addFilter(filtering := Redaction(secrets))
    secrets.add({"new-sesame"})
    logging.getLogger("test_redact_later").warning("open-sesame, new-sesame")
    caplog.handler.removeFilter(filtering)
    assert caplog.messages == [f"{MASK}, {MASK}"]
    assert (sorted(secrets), len(secrets), "new-sesame" in secrets) == (["new-sesame", "open-sesame"], 2, True)


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert redact("long-secret-2", {"long-secret", "long-secret-2"}) == MASK


def test_short_values_would_spoil_ordinary_words() -> None:
    assert redact("the relay is on", {"on", ""}) == "the relay is on"


def test_secrets_in_settings() -> None:
    class Inner(Settings):
        password: SecretStr | None = None

    class Outer(Settings):
        inner: Inner
        many: tuple[Inner, ...]
        named: dict[str, SecretStr]

    outer = Outer(
        inner=Inner(password=SecretStr("a")),
        many=(Inner(password=SecretStr("b")), Inner()),
        named={"x": SecretStr("c")},
    )
    assert secrets_in(outer) == {"a", "b", "c"}
    assert secrets_in(None) == frozenset()
