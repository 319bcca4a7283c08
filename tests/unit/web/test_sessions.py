"""Sessions end, and attempts are counted."""

from __future__ import annotations

from gateway.web import sessions
from gateway.web.sessions import EVERYBODY, FREE, IDLE_NS, MOST, WINDOW_NS, Attempts, Sessions, is_same


def test_a_session_is_known_by_its_cookie_until_nothing_is_heard_of_it() -> None:
    known = Sessions()
    cookie, person = known.begin("owner", "admin", 0)
    assert (person.user, person.scope) == ("owner", "admin")
    assert person.csrf not in ("", cookie)
    assert known.of(cookie, IDLE_NS) is person
    assert known.of(cookie, 2 * IDLE_NS) is person
    assert known.of(cookie, 3 * IDLE_NS + 1) is None
    assert known.of(cookie, 3 * IDLE_NS) is None
    assert known.of("", 0) is None


def test_beyond_so_many_the_stalest_goes_and_all_can_be_ended_but_one() -> None:
    known = Sessions()
    cookies = [known.begin("owner", "admin", number)[0] for number in range(MOST)]
    assert known.of(cookies[0], MOST) is not None
    known.begin("owner", "admin", MOST + 1)
    assert known.of(cookies[0], MOST + 2) is not None
    assert known.of(cookies[1], MOST + 2) is None
    known.end_all(but=cookies[5])
    assert [known.of(cookie, MOST + 2) is not None for cookie in cookies[:7]] == [False] * 5 + [True, False]
    known.end(cookies[5])
    known.end("never there")
    assert known.of(cookies[5], MOST + 2) is None


def test_an_empty_secret_is_never_right() -> None:
    assert is_same("abc", "abc")
    assert not is_same("abd", "abc")
    assert not is_same("", "")


def test_an_address_has_some_attempts_a_minute_and_all_together_some_more() -> None:
    tried = Attempts()
    assert [tried.wait_ns("a", number) for number in range(FREE)] == [0] * FREE
    assert tried.wait_ns("a", 10) == WINDOW_NS - 10
    assert tried.wait_ns("b", 10) == 0
    assert tried.wait_ns("a", WINDOW_NS) == 0
    assert tried.wait_ns("a", WINDOW_NS) > 0
    others = [tried.wait_ns(f"c{number}", WINDOW_NS) for number in range(EVERYBODY)]
    assert others.count(0) == EVERYBODY - FREE - 1
    assert all(wait > 0 for wait in others[-5:])


def test_the_right_password_forgives_and_addresses_are_not_kept_without_end() -> None:
    tried = Attempts()
    for number in range(FREE):
        tried.wait_ns("a", number)
    tried.forgive("a")
    assert tried.wait_ns("a", 10) == 0
    for number in range(3 * sessions._ADDRESSES):
        tried.wait_ns(f"x{number}", number * WINDOW_NS // 20)
    assert len(tried._tried_ns) <= sessions._ADDRESSES + 1
