"""A configuration that people are shown has no secret in it, and comes back with all of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.mask import has_mask, masked, unmasked

TEXT = """\
# the broker's password is hunter22
mqtt:
  host: broker   # hunter22?
  password: hunter22
  username: !secret user
homeassistant: {url: "http://ha:8123", token: 'ey.J0.k'}
actions:
  - {node: a, api_key: "0123abcd", sasl_password: "${SASL}"}
  - node: b
    headers:
      Authorization: Bearer abcdefgh
    config: {token: !secret b_token, tokens_per_s: 5}
    url: redis://u:pass4word@host/0
    folded_password: >-
      two
      lines
"""
SECRETS = {"hunter22", "ey.J0.k", "redis://u:pass4word@host/0"}
LITERAL = ("hunter22", "ey.J0.k", "0123abcd", "abcdefgh", "pass4word", "two", "lines")


def test_no_literal_secret_is_shown_and_references_are() -> None:
    shown = masked(TEXT, SECRETS)
    assert [word for word in LITERAL if word in shown] == []
    assert 'password: "********"' in shown
    for kept in ("!secret user", "${SASL}", "!secret b_token", "http://ha:8123"):
        assert kept in shown


def test_what_is_sent_back_is_what_was_there() -> None:
    assert unmasked(masked(TEXT, SECRETS), TEXT, SECRETS).replace("********", "hunter22") == TEXT
    changed = masked(TEXT, SECRETS).replace("host: broker", "host: other").replace("node: b", "node: c")
    put = unmasked(changed, TEXT, SECRETS)
    assert "password: hunter22\n" in put
    assert "Authorization: Bearer abcdefgh\n" in put
    assert "host: other" in put


def test_a_new_secret_takes_the_place_of_the_mask() -> None:
    changed = masked(TEXT, SECRETS).replace('password: "********"', "password: another1", 1)
    assert "password: another1\n" in unmasked(changed, TEXT, SECRETS)


def test_a_mask_of_which_nobody_knows_the_secret_stays() -> None:
    text = "mqtt: {host: h, password: '********'}\n"
    assert unmasked(text, "mqtt: {host: h}\n", ()) == text
    assert has_mask(text)
    assert not has_mask(unmasked(text, "mqtt: {host: h, password: abcd}\n", ()))


@pytest.mark.parametrize("broken", ["mqtt: {password: hunter22", "a: b: c\n  password: hunter22\n token : 'ey.J0.k\n"])
def test_a_broken_file_shows_no_secret_either(broken: str) -> None:
    shown = masked(broken, SECRETS)
    assert "hunter22" not in shown
    assert "ey.J0.k" not in shown
    assert unmasked(shown, broken, SECRETS) == broken


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}(_password|_token)?", fullmatch=True),
        st.text(
            st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="*$!"), min_size=1, max_size=20
        ),
        max_size=5,
    )
)
def test_any_text_comes_back(options: dict[str, str]) -> None:
    text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in options.items())
    shown = masked(text, ())
    assert unmasked(shown, text, ()) == text
    assert all(f'{name}: "********"' in shown for name in options if name.endswith(("_password", "_token")))
