"""The newest lines of the log, without secrets."""

from __future__ import annotations

import logging

from gateway import recent
from gateway.config.redact import Secrets
from gateway.recent import RecentLines


def test_lines_are_kept_in_order_without_secrets_and_without_end() -> None:
    secrets = Secrets({"hunter22"})
    lines = RecentLines(secrets, private=("12345678",))
    log = logging.Logger("spectrophone.test")
    log.addHandler(lines)
    log.info("password hunter22 and code %s", "12345678")
    log.debug("nobody wants this")
    secrets.add({"later-one"})
    log.warning("later-one")
    try:
        raise ValueError("because of hunter22")
    except ValueError:
        log.exception("failed")
    told = [(line.as_object()["level"], line.message) for line in lines.newest(10, logging.INFO)]
    assert told == [
        ("info", "password ******** and code ********"),
        ("warning", "********"),
        ("error", "failed: ValueError: because of ********"),
    ]
    assert [line.message for line in lines.newest(1, logging.INFO)] == ["failed: ValueError: because of ********"]
    assert [line.level for line in lines.newest(10, logging.WARNING)] == [logging.WARNING, logging.ERROR]


def test_who_asks_again_gets_what_is_new_as_far_as_it_is_kept() -> None:
    lines = RecentLines(())
    log = logging.Logger("spectrophone.test")
    log.addHandler(lines)
    log.info("one")
    new, count = lines.after(0)
    assert [line.message for line in new] == ["one"]
    assert lines.after(count) == ([], count)
    for number in range(recent.KEPT + 50):
        log.info("%d", number)
    new, count = lines.after(count)
    assert len(new) == recent.KEPT
    assert new[-1].message == str(recent.KEPT + 49)
    assert len(lines.newest(10_000, logging.DEBUG)) == recent.KEPT
    log.info("x" * 5000)
    assert len(lines.newest(1, logging.INFO)[0].message) == recent.LONGEST
