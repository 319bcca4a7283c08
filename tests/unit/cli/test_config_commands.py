"""The commands check and schema: what they print, where, and with which exit status."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from types import ModuleType

import pytest

from gateway.board import names
from gateway.check import check as whole_check
from gateway.cli import check, schema
from gateway.config.settings import Settings
from gateway.errors import Fault

Kinds = dict[str, type[Settings]]
BROKEN = Path(__file__).parents[2] / "broken" / "ten_faults.yaml"


def faults_of(path: Path, kinds: Kinds) -> tuple[Fault, ...]:
    return whole_check(path, kinds, {}).faults


def parsed(module: ModuleType, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="spectrophone")
    module.register(parser.add_subparsers())
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [(check, ["check"]), (schema, ["schema"])],
)
def test_help_has_an_example(module: ModuleType, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parsed(module, *arguments, "--help")
    assert left.value.code == 0
    assert "example:\n  spectrophone " in capsys.readouterr().out


def test_check_prints_faults_to_standard_error(kinds: Kinds) -> None:
    out, err = io.StringIO(), io.StringIO()
    assert check.report(BROKEN, faults_of(BROKEN, kinds), False, out, err) == 2
    assert out.getvalue() == ""
    lines = err.getvalue().splitlines()
    assert len(lines) == 10
    assert all(line.startswith(f"{BROKEN}:") for line in lines)
    assert ":13:1: gass: unknown option 'gass'. Did you mean 'gas'? Known: acquisition, board, box, " in lines[1]


def test_check_prints_one_object_a_line(kinds: Kinds) -> None:
    out, err = io.StringIO(), io.StringIO()
    assert check.report(BROKEN, faults_of(BROKEN, kinds), True, out, err) == 2
    assert err.getvalue() == ""
    *faults, summary = [json.loads(line) for line in out.getvalue().splitlines()]
    assert summary == {"kind": "summary", "faults": 10}
    assert faults[0] == {
        "kind": "fault",
        "file": str(BROKEN),
        "line": 12,
        "column": 1,
        "option": "board",
        "message": "there is no board 'rpi9'",
        "remedy": f"Known: {', '.join(names())}",
    }


def test_check_of_a_good_file(tmp_path: Path, kinds: Kinds) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("laser: {duty: 0.4}\n")
    out, err = io.StringIO(), io.StringIO()
    assert check.report(file, faults_of(file, kinds), False, out, err) == 0
    assert (out.getvalue(), err.getvalue()) == (f"{file}: no faults\n", "")
    out = io.StringIO()
    assert check.report(file, faults_of(file, kinds), True, out, err) == 0
    assert json.loads(out.getvalue()) == {"kind": "summary", "faults": 0}


def test_check_of_a_file_that_is_not_there(tmp_path: Path, kinds: Kinds) -> None:
    file, err = tmp_path / "no.yaml", io.StringIO()
    assert check.report(file, faults_of(file, kinds), False, io.StringIO(), err) == 2
    assert err.getvalue() == f"{file}: there is no such file. Check the path\n"


def test_the_command_itself_checks_rules_and_nodes_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("rules: [{when: nonsense}]\n")
    assert check.run(parsed(check, "check", str(file))) == 2
    assert capsys.readouterr().err.startswith(f"{file}:1:")
    file.write_text("")
    assert check.run(parsed(check, "check", str(file))) == 0


def test_schema_is_printed_whole_or_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.run(parsed(schema, "schema")) == 0
    whole = capsys.readouterr().out
    assert schema.run(parsed(schema, "schema", "--json")) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert json.loads(line) == json.loads(whole)
