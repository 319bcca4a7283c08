"""Commands of the command line for the page: what they print, what they say where they fail, and that they end."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway.web import commands
from gateway.web.problem import Problem
from tests.support.until import until


def test_what_it_prints_comes_in_lines_and_what_it_says_is_the_problem(tmp_path: Path) -> None:
    lines = asyncio.run(commands.run("check", "--json", str(tmp_path / "none.yaml"), good=(2,)))
    assert lines[-1] == '{"kind": "summary", "faults": 1}'
    with pytest.raises(Problem) as failed:
        asyncio.run(commands.run("export", "--format", "csv", "--journal", str(tmp_path / "none.journal")))
    assert failed.value.status == 409
    assert "there is no such journal" in failed.value.detail


def test_one_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "LONGEST_S", 0.01)
    with pytest.raises(Problem, match="took longer"):
        asyncio.run(commands.run("schema"))


def test_one_that_nobody_waits_for_any_more_is_ended() -> None:
    async def main() -> None:
        asking = asyncio.create_task(commands.run("run", "--demo"))
        await until(children)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not children()

    asyncio.run(main())


def children() -> str:
    """The processes that this one has begun, zombies too."""
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
