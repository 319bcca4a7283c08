"""Watching a gateway: in place on a terminal, line by line elsewhere, through its end and its next beginning."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.errors import LinkError, UsageError
from gateway.watching import Lines, Screen, watch
from tests.support.clock import FakeClock
from tests.unit.test_status import ABOUT

LAB = {**ABOUT, "pid": 1, "age_s": 0.0, "results": [], "alerts": [], "outputs": {"laser": "on"}}
HALL = {**LAB, "box": "hall"}
Seen = Sequence[dict[str, Any]] | Exception


def watched(view: Screen | Lines, *seen: Seen) -> FakeClock:
    """Watch until all of that has been seen."""
    clock, left = FakeClock(), list(seen)

    async def look() -> Sequence[dict[str, Any]]:
        if not left:
            raise asyncio.CancelledError
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch(look, view, clock))
    return clock


def screens(text: str) -> list[list[str]]:
    """What stood on the terminal after each drawing."""
    return [re.sub(r"\x1b\[[?\d]*[A-Za-z]", "", part).splitlines() for part in text.split("\x1b[H")[2:]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "10")
    return io.StringIO()


def test_the_newest_takes_the_place_of_what_was_there(terminal: io.StringIO) -> None:
    clock = watched(Screen(terminal), [LAB], [{**LAB, "outputs": {"laser": "off"}}])
    assert clock.monotonic_ns() == 3_000_000_000
    first, second = screens(terminal.getvalue())
    assert "  laser on" in first
    assert "  laser off" in second
    assert len(first) == len(second) == 3
    assert terminal.getvalue().count("\x1b[J") == 3
    assert terminal.getvalue().endswith("\x1b[?25h")


def test_an_end_is_told_and_the_beginning_waited_for(terminal: io.StringIO) -> None:
    gone = LinkError("http://lab:8080/ does not answer (connection refused)")
    watched(Screen(terminal), [], [LAB, HALL], [], gone, [LAB])
    nobody, there, ended, unreachable, again = screens(terminal.getvalue())
    assert nobody == ["no gateway runs here. Waiting for one; Ctrl-C ends this"]
    assert any("hall" in line for line in there)
    assert ended == ["lab and hall have ended. Waiting for lab and hall; Ctrl-C ends this"]
    assert unreachable == [f"{gone}. Waiting for lab and hall; Ctrl-C ends this"[:80]]
    assert again[0].startswith("lab on board sim")


def test_a_terminal_gets_no_more_than_it_shows(terminal: io.StringIO) -> None:
    alerts = [{"severity": "warning", "rule": f"r{n}\x1b[31m" + 90 * "x", "t_s": 1.0} for n in range(20)]
    watched(Screen(terminal), [{**LAB, "alerts": alerts}])
    (shown,) = screens(terminal.getvalue())
    assert len(shown) == 9
    assert max(map(len, shown)) == 80
    assert "WARNING r0?[31mxx" in shown[1]
    assert shown[-1] == "... 15 lines more; the window is too low"


def test_json_is_one_object_a_line_and_problems_are_told_aside_once() -> None:
    out, aside = io.StringIO(), io.StringIO()
    watched(Lines(out, aside, json=True), [LAB], [], [], [LAB], [])
    assert [json.loads(line)["box"] for line in out.getvalue().splitlines()] == ["lab", "lab"]
    assert aside.getvalue().splitlines() == 2 * ["spectrophone: lab has ended. Waiting for lab; Ctrl-C ends this"]


def test_text_goes_on_below() -> None:
    out = io.StringIO()
    watched(Lines(out, io.StringIO(), json=False), [LAB], [HALL])
    assert [line.split()[0] for line in out.getvalue().splitlines() if not line.startswith(" ")] == ["lab", "hall"]


def test_what_will_never_do_ends_it(terminal: io.StringIO) -> None:
    async def look() -> Sequence[dict[str, Any]]:
        raise UsageError("the token is not known")

    with pytest.raises(UsageError):
        asyncio.run(watch(look, Screen(terminal), FakeClock()))
