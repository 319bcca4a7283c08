"""`spectrophone web`: password and tokens without the page."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.web.access import AccessFile, matches


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AccessFile:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    (tmp_path / "box.yaml").write_text("box: {id: lab}\n")
    monkeypatch.chdir(tmp_path)
    return AccessFile(tmp_path / "state" / "lab.access.json")


def run(*arguments: str) -> int:
    return main(["web", *arguments, "--config", "box.yaml"])


def test_the_password_comes_from_standard_input(
    file: AccessFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\nmore\n"))
    assert run("password") == 0
    assert matches("correct horse", file.read().password)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert "correct horse" not in "".join(capsys.readouterr())
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert run("password") == 2
    assert "Take 10 to 256" in capsys.readouterr().err


def test_a_fault_in_the_configuration_keeps_nobody_out(file: AccessFile, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("box.yaml").write_text("box: {id: lab}\nlaser: {duty: 7}\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert run("password") == 0
    assert matches("correct horse", file.read().password)


def test_a_configuration_that_is_not_there_is_told(
    file: AccessFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("box.yaml").unlink()
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert run("password") == 2
    assert "box.yaml" in capsys.readouterr().err
    assert not file.path.exists()


def test_at_a_terminal_it_is_asked_for_twice(
    file: AccessFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = ["correct horse", "correct horse", "correct horse", "other horse"]
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: answers.pop(0))
    assert run("password") == 0
    assert run("password") == 2
    assert "two different passwords" in capsys.readouterr().err


def test_tokens_are_made_listed_and_taken_back(file: AccessFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("token", "grafana") == 0
    token = capsys.readouterr().out.strip()
    held = file.read().holder(token)
    assert held is not None
    assert (held.name, held.scope) == ("grafana", "read")
    assert run("token", "plc", "--scope", "control") == 0
    capsys.readouterr()
    assert run("tokens") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["grafana", "read"], ["plc", "control"]]
    assert token not in "".join(lines)
    assert run("token", "grafana", "--remove") == 0
    assert file.read().holder(token) is None
    assert run("token", "plc") == 2
    assert run("token", "a b") == 2
    assert run("token", "none", "--remove") == 2
    assert "There are: plc" in capsys.readouterr().err
