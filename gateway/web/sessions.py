"""Who has logged in, and how often somebody tried. In memory: a restart of the gateway ends all sessions.

No clock in here: times are monotonic nanoseconds.
"""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from dataclasses import dataclass

from gateway.web.access import Scope

_S = 1_000_000_000
IDLE_NS = 12 * 3600 * _S
"""A session of which nothing is heard for so long is over."""
MOST = 64
"""Sessions at once; beyond these the one that was heard of the longest ago goes."""
FREE, EVERYBODY, WINDOW_NS = 5, 30, 60 * _S
"""Attempts to log in that one address, and all together, may make in so long."""
_ADDRESSES = 1024


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: `user` is owner, guest, or a token's name; `csrf` is empty but for a session."""

    user: str
    scope: Scope
    csrf: str = ""


class Sessions:
    """The sessions, by the secret in the browser's cookie."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}
        self._heard_ns: dict[str, int] = {}

    def begin(self, user: str, scope: Scope, now_ns: int) -> tuple[str, Person]:
        """A new one, with new secrets."""
        while len(self._people) >= MOST:
            self.end(min(self._heard_ns, key=lambda cookie: self._heard_ns[cookie]))
        cookie, person = secrets.token_urlsafe(32), Person(user, scope, secrets.token_urlsafe(32))
        self._people[cookie], self._heard_ns[cookie] = person, now_ns
        return cookie, person

    def of(self, cookie: str, now_ns: int) -> Person | None:
        """Whose session it is; None where it is none any more."""
        person = self._people.get(cookie)
        if person is not None and now_ns - self._heard_ns[cookie] > IDLE_NS:
            self.end(cookie)
            return None
        if person is not None:
            self._heard_ns[cookie] = now_ns
        return person

    def end(self, cookie: str) -> None:
        """That one is over, if there is one."""
        self._people.pop(cookie, None)
        self._heard_ns.pop(cookie, None)

    def end_all(self, but: str = "") -> None:
        """All are over, but that one."""
        for cookie in [cookie for cookie in self._people if cookie != but]:
            self.end(cookie)


def is_same(given: str, wanted: str) -> bool:
    """Whether a secret is the right one, and not empty; takes the same time whatever was given."""
    return bool(wanted) and hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


class Attempts:
    """Attempts to log in, counted by address and all together."""

    def __init__(self) -> None:
        self._tried_ns: dict[str, deque[int]] = {}

    def wait_ns(self, address: str, now_ns: int) -> int:
        """Count an attempt; how long it has to wait instead, 0 if it may be made."""
        for key in ("", address):
            self._forget(key, now_ns)
        waits = [self._wait_ns(key, most, now_ns) for key, most in (("", EVERYBODY), (address, FREE))]
        if max(waits) > 0:
            return max(waits)
        if len(self._tried_ns) >= _ADDRESSES:
            self._tried_ns.pop(next(key for key in self._tried_ns if key not in ("", address)))
        for key in ("", address):
            self._tried_ns.setdefault(key, deque()).append(now_ns)
        return 0

    def forgive(self, address: str) -> None:
        """It was the right password: what that address tried before does not count."""
        self._tried_ns.pop(address, None)

    def _forget(self, key: str, now_ns: int) -> None:
        tried = self._tried_ns.get(key)
        while tried and now_ns - tried[0] >= WINDOW_NS:
            tried.popleft()
        if tried is not None and not tried:
            del self._tried_ns[key]

    def _wait_ns(self, key: str, most: int, now_ns: int) -> int:
        tried = self._tried_ns.get(key)
        return tried[0] + WINDOW_NS - now_ns if tried and len(tried) >= most else 0
