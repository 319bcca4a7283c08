"""What the driver makes of what a script prints, and of its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.actions.isolated_python import DEEPEST_RESULT, LONGEST_RESULT, IsolatedPythonSettings, missing, result


@pytest.mark.parametrize(
    ("out", "value"),
    [
        (b'{"sent": true}\n', {"sent": True}),
        (b'{\n "sent": 1\n}', {"sent": 1}),
        (b'connecting\nsent\n["mail", 2]\n\n', ["mail", 2]),
        ('"µ"'.encode(), "µ"),
        (b"", None),
        (b"it went well", None),
        (b"NaN", None),
        (b'{"a": 1e999}', None),
        (b'"\\ud800"', None),
        (b'"\xff"', None),
    ],
)
def test_the_result_is_the_json_that_is_fit_to_be_handed_on(out: bytes, value: Any) -> None:
    assert result(out) == value


def test_a_result_is_neither_long_nor_deep() -> None:
    longest = json.dumps("x" * (LONGEST_RESULT - 2)).encode()
    assert result(longest) is not None
    assert result(longest[:-1] + b'x"') is None
    deepest = DEEPEST_RESULT - 1
    assert result(b"[" * deepest + b"1" + b"]" * deepest) is not None
    assert result(b"[" * (deepest + 1) + b"1" + b"]" * (deepest + 1)) is None
    assert result(b'["' + b"]" * 1500 + b'",' + b"[" * 1200 + b"]" * 1201) is None


def test_what_is_missing_is_named_with_its_option(tmp_path: Path) -> None:
    script = tmp_path / "mail.py"
    settings = IsolatedPythonSettings(script_path=script, venv_path=tmp_path / "v", python_paths=(tmp_path / "lib",))
    assert [option for option, _, _ in missing(settings, {})] == ["script_path", "venv_path", "python_paths"]
    script.write_text("raise SystemExit('it is not run')")
    (tmp_path / "lib").mkdir()
    (tmp_path / "v/bin").mkdir(parents=True)
    (tmp_path / "v/bin/python").touch()
    assert list(missing(settings, {})) == []


@pytest.mark.parametrize("name", ["", "on alert", "9", "a.b", "--help"])
def test_a_function_has_a_name(name: str) -> None:
    with pytest.raises(ValidationError):
        IsolatedPythonSettings(script_path=Path("x.py"), update_function=name)
