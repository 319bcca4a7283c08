"""`script new` and `script check`: what is written, what is found and where, and one sentence for what cannot be."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.scripts.reference import reference
from tests.support.scripts import ROOT, SHIPPED

FINDING = ["kind", "file", "line", "column", "severity", "message", "remedy"]


def script(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("style", ["class", "module"])
def test_a_new_script_has_no_faults_and_shows_its_own_node(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user_scripts").mkdir()
    file = Path("user_scripts/co2_mail.py")
    assert main(["script", "new", "co2_mail", "--style", style, "--out", "user_scripts"]) == 0
    assert capsys.readouterr().out == f"{file} is written. Next: spectrophone script try {file}\n"
    assert main(["script", "check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: no faults\n"
    text = file.read_text()
    assert max(map(len, text.splitlines())) <= 120
    assert str(file) in (ast.get_docstring(ast.parse(text)) or "")
    assert ("class Co2Mail(CustomPythonAction):" in text) == (style == "class")
    assert "@" not in text


def test_a_name_may_be_given_as_a_file(tmp_path: Path) -> None:
    assert main(["script", "new", "fan.py", "--out", str(tmp_path)]) == 0
    assert "class Fan(" in (tmp_path / "fan.py").read_text()


@pytest.mark.parametrize("name", ["Co2", "9x", "a-b", "../x", "class", "", "a" * 65])
def test_a_name_that_cannot_be(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["script", "new", name, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"spectrophone: '{name}' cannot be the name of a script. Take ")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = script(tmp_path / "fan.py", "# mine\n")
    assert main(["script", "new", "fan", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (f"spectrophone: {file} is already there. Give another name, or move it away\n")
    assert Path(file).read_text() == "# mine\n"
    assert main(["script", "new", "fan", "--out", str(tmp_path / "none")]) == 1
    assert "cannot be written: No such file or directory. Give another --out" in capsys.readouterr().err


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_script_passes_with_the_node_of_its_docstring(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["script", "check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: no faults\n"


BAD = """\
import json
import os.path as p, os
def on_measurement(measurement):
    open("/etc/hostname")
def on_alert():
    pass
"""


def test_every_finding_has_its_place_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = script(tmp_path / "bad.py", BAD)
    assert main(["script", "check", file]) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"{file}:1:1: import of 'json' is not allowed: add it to allowed_imports",
        f"{file}:2:1: import of 'os' is not allowed: add it to allowed_imports",
        f"{file}:2:1: import of 'os.path' is not allowed: add it to allowed_imports",
        f"{file}:4:5: warning: open() reaches no file, because none is listed: list the path under file_access",
        f"{file}:5:1: on_alert takes no parameters, and is called with alert: write `def on_alert(alert):`",
    ]


def test_warnings_alone_are_no_failure_and_json_has_all_fields(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path / "warned.py", "def on_alert(alert):\n    open('/etc/hostname')\n")
    assert main(["script", "check", file, "--json"]) == 0
    finding, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert list(finding) == FINDING
    assert (finding["kind"], finding["line"], finding["column"], finding["severity"]) == ("finding", 2, 5, "warning")
    assert summary == {"kind": "summary", "errors": 0, "warnings": 1}


def test_parameters_allow_what_they_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = script(tmp_path / "a.py", "import json\nclass A:\n    def on_update(self, data):\n        pass\n")
    flat = tmp_path / "flat.yaml"
    flat.write_text("monitored_nodes: [co2]\nallowed_imports: [json]\n")
    whole = tmp_path / "whole.yaml"
    whole.write_text("id: mine\nnode_type: python_action\nparameters:\n  allowed_imports: [json]\n")
    listed = tmp_path / "listed.yaml"
    listed.write_text("# pasted\n\n- id: mine\n  type: python_action\n  parameters:\n    allowed_imports: [json]\n")
    for parameters in (flat, whole, listed):
        assert main(["script", "check", file, "--parameters", str(parameters)]) == 0
    module = script(tmp_path / "m.py", "import json\ndef begin(): pass\ndef on_alert(alert): pass\n")
    driver = tmp_path / "driver.yaml"
    driver.write_text("driver: {type: python, config: {allowed_imports: [json], init_function: begin}}\n")
    assert main(["script", "check", module, "--parameters", str(driver)]) == 0
    capsys.readouterr()
    assert main(["script", "check", file, "--parameters", str(driver)]) == 2
    assert "has no function 'begin'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("- id: a\n  type: python_action\n  parameters:\n    buffer_size: 0\n", "4:5: buffer_size: ", "at least 1"),
        ("allowed_imports: [json]\nmax_memory_mb: 4096\n", "2:1: max_memory_mb: ", "512"),
        ("alowed_imports: [json]\n", "1:1: alowed_imports: ", "Did you mean 'allowed_imports'?"),
        ("driver:\n  type: redis\n", "2:3: driver.type: ", "python"),
        ("type: redis_action\nparameters: {}\n", "1:1: type: ", "a node redis_action runs no script"),
        ("network: ['https://a.b']\n", "1:11: network[0]: ", "a.b:443"),
        ("python_class_name: A\npython_config: {p: '${NOT_SET_ANYWHERE}'}\n", "2:20: python_config.p: ", "NOT_SET"),
        ("python_config: {p: !secret mail}\n", "1:20: python_config.p: ", "secrets.yaml"),
        ("- a\n", "1:1: ", "the file must hold options"),
        ("a: [\n", "2:1: ", ""),
    ],
)
def test_a_fault_of_the_parameters_has_its_line(
    text: str, place: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = script(tmp_path / "a.py", "class A(CustomPythonAction):\n    def on_update(self, data): pass\n")
    parameters = tmp_path / "p.yaml"
    parameters.write_text(text)
    for doing in ("check", "try"):
        assert main(["script", doing, file, "--parameters", str(parameters)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert f"{parameters}:{place}" in err
        assert what in err
        assert "Traceback" not in err


def test_a_fault_of_the_docstrings_node_has_the_line_of_the_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '"""What.\n\n    - id: a\n      type: python_action\n      parameters:\n        buffer_size: none\n"""\n'
    file = script(tmp_path / "a.py", text + "class A:\n    def on_update(self, data): pass\n")
    assert main(["script", "check", file]) == 2
    assert f"{file}:6:9: buffer_size: " in capsys.readouterr().err


def test_secrets_of_the_docstrings_node_are_not_needed_for_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = '"""\n- id: a\n  type: python_action\n  parameters:\n    allowed_imports: [json]\n'
    secrets = '    python_config: {one: "${NOT_SET_ANYWHERE}", two: !secret mail}\n\nMore of it: text.\n"""\n'
    file = script(tmp_path / "a.py", head + secrets + "import json\nclass A:\n    def on_update(self, data): pass\n")
    assert main(["script", "check", file]) == 0
    assert main(["script", "try", file]) == 2
    err = capsys.readouterr().err
    assert f"{file}:6:26: python_config.one: " in err
    assert f"{file}:6:54: python_config.two: " in err


def test_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, none = script(tmp_path / "a.py", "def on_alert(alert): pass\n"), str(tmp_path / "none")
    for doing in ("check", "try"):
        assert main(["script", doing, none]) == 2
        assert capsys.readouterr().err == (
            f"spectrophone: {none} cannot be read: No such file or directory. Give the path of a script\n"
        )
        assert main(["script", doing, str(tmp_path)]) == 2
        assert main(["script", doing, file, "--parameters", none]) == 2
        assert f"--parameters {none}: there is no such file" in capsys.readouterr().err
    assert main(["script", "try", file, "--from", "-2h"]) == 2
    assert "--from and --to are of a journal" in capsys.readouterr().err
    parameters = tmp_path / "p.yaml"
    parameters.write_text("driver: {type: python, config: {file_access: [/none/of/it]}}\n")
    assert main(["script", "try", file, "--parameters", str(parameters)]) == 2
    assert f'{parameters}:1:33: driver.config.file_access: "/none/of/it" cannot be given' in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "x", "1.5", "100001"])
def test_a_number_of_events_that_cannot_be(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["script", "try", "a.py", f"--events={count}"])
    assert ended.value.code == 2
    assert "is no number from 1 to 100000" in capsys.readouterr().err


@pytest.mark.parametrize(
    "source",
    [b"\xff\xfe\x00", b"(" * 5000, b"x = " + b"-" * 100_000 + b"1", b"def on_alert(alert): pass\0", b'"""' * 3, b""],
)
def test_a_file_that_is_no_script_is_a_finding_or_a_fault_and_never_a_traceback(
    source: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.py"
    file.write_bytes(source)
    assert main(["script", "check", str(file)]) == 2
    out, err = capsys.readouterr()
    assert f"{file}:1:" in out
    assert err == ""


def test_the_page_of_the_api_is_up_to_date_and_has_every_call() -> None:
    page = (ROOT / "docs" / "script-api.md").read_text()
    assert page == reference()
    for call in ("get_concentration_data", "get_recent_entries", "set_output", "on_trigger", "trigger_notification"):
        assert f"\n### {call}\n\n    {call}(" in page
    assert 'trigger_notification(message: object, severity: str = "info") -> bool'.replace('"', "'") in page
