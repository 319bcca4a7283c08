"""Passwords and tokens are kept as hashes, in a file that only its owner reads."""

from __future__ import annotations

import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import SpectrophoneError, UsageError
from gateway.web import access
from gateway.web.access import SCOPES, Access, AccessFile, allows, hashed, matches

GOOD = "correct horse"


def test_a_password_is_known_again_and_no_other_is() -> None:
    kept = hashed(GOOD)
    assert GOOD not in kept
    assert kept != hashed(GOOD)
    assert matches(GOOD, kept)
    assert not matches(GOOD + "!", kept)
    assert not matches("", kept)


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_one_that_is_too_short_or_long_is_refused_with_what_would_be_right(password: str) -> None:
    with pytest.raises(UsageError, match="Take 10 to 256"):
        hashed(password)


def test_scopes_contain_each_other() -> None:
    assert [[allows(held, wanted) for wanted in SCOPES] for held in SCOPES] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_tokens_are_made_found_and_taken_back() -> None:
    with_one, token = Access().with_token("grafana", "read", "2026-11-22T10:00:00.000Z")
    held = with_one.holder(token)
    assert held is not None
    assert (held.name, held.scope) == ("grafana", "read")
    assert token not in repr(with_one)
    assert with_one.holder(token + "x") is None
    assert with_one.holder("") is None
    with pytest.raises(UsageError, match="already"):
        with_one.with_token("grafana", "admin", "")
    assert with_one.without_token("grafana").holder(token) is None
    with pytest.raises(UsageError, match="There are: grafana"):
        with_one.without_token("other")


def test_there_are_not_tokens_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_TOKENS", 1)
    full, _ = Access().with_token("a", "read", "")
    with pytest.raises(UsageError, match="1 tokens already"):
        full.with_token("b", "read", "")


def test_the_file_is_private_whole_and_seen_by_who_reads_it_too(tmp_path: Path) -> None:
    path = tmp_path / "state" / "box.access.json"
    ours, theirs = AccessFile(path), AccessFile(path)
    assert ours.read() == Access()
    ours.change(lambda now: replace(now, password="scrypt$x"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert theirs.read().password == "scrypt$x"
    theirs.change(lambda now: now.with_token("a", "control", "then")[0])
    assert [token.name for token in ours.read().tokens] == ["a"]
    path.unlink()
    assert ours.read() == Access()


def test_two_who_change_it_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "box.access.json"

    def add(who: int) -> None:
        file = AccessFile(path)
        for number in range(8):
            name = f"{who}-{number}"
            file.change(lambda now, name=name: now.with_token(name, "read", "")[0])  # type: ignore[misc]

    threads = [threading.Thread(target=add, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(AccessFile(path).read().tokens) == 32


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": 2, "password": "", "tokens": []}', '{"format": 1, "tokens": [{}]}']
)
def test_a_broken_file_lets_nobody_in_and_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "box.access.json"
    path.write_text(text)
    with pytest.raises(SpectrophoneError, match="spectrophone web password"):
        AccessFile(path).read()
