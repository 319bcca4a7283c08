"""What the driver makes of what a script prints, and of its settings."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.actions.isolated_python import (
    DEEPEST_RESULT,
    LONGEST_RESULT,
    IsolatedPythonSettings,
    hint,
    installed,
    missing,
    plan,
    result,
)
from gateway.scripts.confine.confine import Plan
from gateway.scripts.confine.seccomp import Level


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
    script, given = tmp_path / "mail.py", tmp_path / "given"
    settings = IsolatedPythonSettings(
        script_path=script, venv_path=tmp_path / "v", python_paths=(tmp_path / "lib",), file_access=(f"{given}:rw",)
    )
    options = ["script_path", "venv_path", "python_paths", "file_access"]
    assert [option for option, _, _ in missing(settings, {})] == options
    script.write_text("raise SystemExit('it is not run')")
    (tmp_path / "lib").mkdir()
    given.mkdir()
    assert settings.site is not None
    settings.site.mkdir(parents=True)
    assert list(missing(settings, {})) == []


@pytest.mark.parametrize("option", ["allowed_imports", "outputs"])
def test_what_has_no_meaning_for_it_is_not_accepted(option: str) -> None:
    given: Any = {option: []}
    with pytest.raises(ValidationError, match=option):
        IsolatedPythonSettings(script_path=Path("x.py"), **given)


def test_the_walls_are_those_of_the_settings(tmp_path: Path) -> None:
    site = tmp_path / "v/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    settings = IsolatedPythonSettings(
        script_path=Path("x.py"), venv_path=tmp_path / "v", python_paths=(tmp_path / "lib",), max_memory_mb=20,
        max_disk_mb=3, file_access=("/a", "/b:rw"),
    )  # fmt: skip
    made = plan(settings, "B")
    assert {str(site), str(tmp_path / "lib")} <= set(made.readonly)
    assert not set(installed()) & set(made.readonly)
    assert (made.level, made.memory_bytes, made.file_bytes, made.network) == ("B", 20 << 20, 3 << 20, False)
    assert made.files == (("/a", False), ("/b", True))
    assert (made.uid is not None) == (os.geteuid() == 0)
    assert plan(settings, "C").files == ()
    own = IsolatedPythonSettings(script_path=Path("x.py"), network=("localhost:25",))
    assert set(installed()) <= set(plan(own, "A").readonly)
    assert plan(own, "A").network


SETTINGS = IsolatedPythonSettings(script_path=Path("x.py"), max_memory_mb=64, file_access=("/given",))


@pytest.mark.parametrize(
    ("told", "level", "remedy"),
    [
        ("MemoryError", "A", " (it may take 64 MB: max_memory_mb)"),
        ("ModuleNotFoundError: No module named 'numpy'", "B", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/given/none'", "B", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'none'", "B", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/etc/x'", "B",
         ' (a call sees what file_access lists, and writes what it lists as "/etc/x:rw")'),
        ("OSError: [Errno 30] Read-only file system: '/given/x'", "A",
         ' (a call sees what file_access lists, and writes what it lists as "/given/x:rw")'),
        ("OSError: [Errno 28] No space left on device: '/given/x'", "A", ""),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "A",
         ' (network access is only through what is listed: network: ["host:port"])'),
        ("PermissionError: [Errno 1] Operation not permitted", "C", " (no new processes, and no power over others)"),
        ("ValueError: no such gas", "C", ""),
    ],
)  # fmt: skip
def test_what_walls_make_fail_is_told_with_the_option(told: str, level: Level, remedy: str) -> None:
    assert hint(told, Plan(level, ()), SETTINGS) == remedy


@pytest.mark.parametrize("name", ["", "on alert", "9", "a.b", "--help"])
def test_a_function_has_a_name(name: str) -> None:
    with pytest.raises(ValidationError):
        IsolatedPythonSettings(script_path=Path("x.py"), update_function=name)
