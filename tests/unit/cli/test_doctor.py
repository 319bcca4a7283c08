"""The command doctor: what it prints for people and for programs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from gateway import jsonlines
from gateway.cli import doctor
from gateway.doctor.checks import CHECKS
from gateway.doctor.finding import Finding

FOUND = [
    Finding("board", "board", "ok", "sim"),
    Finding("sound", "sound card", "missing", "there is none", "Plug one in"),
    Finding("sound", "microphone", "unknown", "not looked at"),
    Finding("machine", "clock", "warning", "not synchronised", "Run: timedatectl"),
]


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="spectrophone")
    doctor.register(parser.add_subparsers())
    return doctor.run(parser.parse_args(["doctor", *arguments]))


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run("--help")
    assert left.value.code == 0
    assert "example:\n  spectrophone doctor" in capsys.readouterr().out


def test_in_words() -> None:
    assert list(doctor.in_words(FOUND)) == [
        "BOARD",
        "  ok       board: sim",
        "SOUND",
        "  MISSING  sound card: there is none",
        "             Plug one in.",
        "  unknown  microphone: not looked at",
        "MACHINE",
        "  WARNING  clock: not synchronised",
        "             Run: timedatectl.",
        "",
        "1 thing to mend, 1 warning.",
    ]
    assert list(doctor.in_words(FOUND[:1]))[-1] == "Nothing is missing."
    assert list(doctor.in_words([FOUND[1]] * 3))[-1] == "3 things to mend."


def test_as_json() -> None:
    objects = [json.loads(line) for line in doctor.as_json(FOUND)]
    for fields in objects:
        assert list(fields) == ["kind", *jsonlines.EXAMINED[fields["kind"]]]
    assert objects[1]["remedy"] == "Plug one in"
    summary = {"kind": "summary", "ok": 1, "warning": 1, "missing": 1, "unknown": 1, "not_needed": 0}
    assert objects[-1] == summary


@pytest.mark.parametrize(("text", "code"), [("board: sim\n", 0), ("board: simm\n", 1)])
def test_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, code: int
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    config = tmp_path / "gateway.yaml"
    config.write_text(text)
    assert run("--config", str(config), "--json") == code
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [fields.get("name") for fields in objects] == [*(check.name for check in CHECKS), None]
    assert objects[-1]["missing"] == code
