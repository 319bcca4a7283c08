"""Permissions as options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.scripts.settings import Permissions

OUTPUTS = ("laser", "relay/fan", "led/status")


def lacking(path: Path, **options: Any) -> dict[str, str]:
    found = Permissions.model_validate(options).lacking("script_path", path, OUTPUTS)
    return {option: f"{message}. {remedy}" for option, message, remedy in found}


@pytest.mark.parametrize(
    "options",
    [
        {"network": ["https://example.org"]},
        {"network": ["example.org"]},
        {"file_access": ["report.csv"]},
        {"file_access": ["/proc"]},
        {"outputs": ["laser"]},
        {"outputs": ["cell"]},
        {"allowed_imports": ["os; import sys"]},
        {"max_memory_mb": 513},
    ],
)
def test_what_cannot_be_given_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Permissions.model_validate(options)


def test_nothing_is_lacking(tmp_path: Path) -> None:
    script = tmp_path / "mail.py"
    script.touch()
    assert not lacking(script, outputs=["relay/fan"], file_access=[f"{tmp_path}:rw"], network=["example.org:25"])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    found = lacking(
        tmp_path / "mail.py", venv_path=tmp_path / "venv", python_paths=[tmp_path / "more"],
        file_access=[f"{tmp_path}/reports:rw"], outputs=["relay/fna"],
    )  # fmt: skip
    assert list(found) == ["script_path", "venv_path", "python_paths", "file_access", "outputs"]
    assert "relay/fan, led/status" in found["outputs"]
    assert "-m venv" in found["venv_path"]


def test_an_environment_of_another_python_is_named(tmp_path: Path) -> None:
    script = tmp_path / "mail.py"
    script.touch()
    (tmp_path / "venv/lib/python3.9/site-packages").mkdir(parents=True)
    own = f"python3.{sys.version_info.minor}"
    said = f"{tmp_path}/venv is an environment of python3.9, and the gateway runs {own}. "
    assert lacking(script, venv_path=tmp_path / "venv") == {
        "venv_path": f"{said}Make it with `{own} -m venv {tmp_path}/venv`"
    }
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    assert not lacking(script, venv_path=tmp_path / "venv")


def test_import_paths_are_absolute(tmp_path: Path) -> None:
    paths = Permissions(venv_path=tmp_path, python_paths=(Path("more"),)).import_paths
    assert paths[0] == str(Path("more").absolute())
    assert paths[1].startswith(f"{tmp_path}/lib/python3.")
