"""What a worker prints, from the pipe to the lines of its script."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.inbox import CommandInbox
from gateway.scripts.printed import Printed
from gateway.scripts.told import Told
from gateway.scripts.work import Work
from tests.support.clock import FakeClock
from tests.support.until import until

WORK = Work("mail", "mail.py", "module")
Scene = Callable[[Printed, int, Told], Coroutine[Any, Any, None]]


def play(scene: Scene) -> dict[str, Any]:
    """What the script is said to have said after a scene with a pipe, whose writing end the scene closes."""
    told = Told(WORK, FakeClock(), CommandInbox())

    async def main() -> None:
        reading, writing = os.pipe()
        printed = Printed(reading, told)
        await scene(printed, writing, told)
        printed.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(reading)

    asyncio.run(main())
    return told.as_object()


def texts(said: dict[str, Any]) -> list[str]:
    return [line["text"] for line in said["log"]]


def test_lines_come_as_they_are_printed_and_the_last_without_its_end() -> None:
    async def scene(printed: Printed, writing: int, told: Told) -> None:
        printed.listen()
        os.write(writing, b"one\n\n  \ntw")
        await until(lambda: texts(told.as_object()) == ["one"])
        os.write(writing, "o\nth\x1bree ä".encode())
        await printed.heard_out(60)
        os.close(writing)

    assert texts(play(scene)) == ["one", "two", "th\\x1bree ä"]


def test_what_is_printed_before_anybody_listens_is_heard_at_the_end() -> None:
    async def scene(printed: Printed, writing: int, told: Told) -> None:
        os.write(writing, b"last words\n")
        os.close(writing)

    assert texts(play(scene)) == ["last words"]


def test_of_a_flood_a_hundred_lines_are_read_and_the_others_counted() -> None:
    async def scene(printed: Printed, writing: int, told: Told) -> None:
        os.write(writing, b"x\n" * 8000)
        printed.listen()
        await until(lambda: told.as_object()["log"])
        os.close(writing)

    said = play(scene)
    assert len(said["log"]) == 100


def test_a_line_without_end_is_cut() -> None:
    async def scene(printed: Printed, writing: int, told: Told) -> None:
        os.write(writing, b"a" * 40_000)
        os.close(writing)

    (text,) = texts(play(scene))
    assert set(text) <= set("a.")
    assert len(text) < 16_384
