"""Which modules a script names, as far as its text tells before it is parsed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.actions import launch


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("import json", {"json"}),
        ("import json, email.mime.text as mime; import csv", {"json", "email.mime.text", "csv"}),
        ("from email.mime import text, base as b  # sent", {"email.mime", "email.mime.text", "email.mime.base"}),
        ("from xml import (\n    etree,\n    sax as more,\n)", {"xml", "xml.etree", "xml.sax"}),
        ("def later():\n    import csv\n    return csv", {"csv"}),
        ("try: import tomllib\nexcept ImportError: tomllib = None", {"tomllib"}),
        ("important = 1\nimport_all()\nfrom_here = 'import os'", set()),
        ("import", set()),
        ("from (", set()),
    ],
)  # fmt: skip
def test_import_statements_are_found_in_the_text(text: str, modules: set[str]) -> None:
    assert set(launch.named(text)) == modules


LOADING = """
import sys
sys.path.insert(0, sys.argv[1])
import launch
launch.load(sys.argv[2].encode())
print(" ".join(name for name in sys.argv[3:] if name in sys.modules))
"""


def loaded(source: str, *modules: str) -> list[str]:
    """Which of the modules a fresh interpreter has when it has loaded what the script names."""
    command = [sys.executable, "-I", "-S", "-B", "-c", LOADING, str(Path(launch.__file__).parent), source, *modules]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_standard_library_is_loaded_with_what_it_imports_late() -> None:
    source = "import colorsys\nfrom email.mime import text\nimport no.such, colorsys.none"
    wanted = ["colorsys", "email.mime.text", "email.generator", "_strptime"]
    assert loaded(source, *wanted) == wanted


def test_what_does_something_when_it_is_imported_is_not_loaded() -> None:
    assert loaded("import this, antigravity, venv.__main__, test.support, pip, numpy", "this", "venv", "pip") == []
