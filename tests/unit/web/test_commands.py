"""Commands of the command line for the page: what they print, and what they say where they fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.web import commands
from gateway.web.problem import Problem


def test_what_it_prints_comes_in_lines_and_what_it_says_is_the_problem(tmp_path: Path) -> None:
    lines = commands.run("check", "--json", str(tmp_path / "none.yaml"), good=(2,))
    assert lines[-1] == '{"kind": "summary", "faults": 1}'
    with pytest.raises(Problem) as failed:
        commands.run("export", "--format", "csv", "--journal", str(tmp_path / "none.journal"))
    assert failed.value.status == 409
    assert "there is no such journal" in failed.value.detail


def test_one_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "LONGEST_S", 0.01)
    with pytest.raises(Problem, match="took longer"):
        commands.run("schema")
