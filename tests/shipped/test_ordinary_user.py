"""The shipped scripts once more, where neither gateway nor workers are root's: their tests, run by an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.walls import NOBODY, become, python
from tests.shipped.conftest import BEST
from tests.support.scripts import ROOT

PATIENCE_S = 600


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of that user's."""
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, NOBODY.pw_uid, NOBODY.pw_gid)
        yield Path(directory)


def test_the_shipped_scripts_work_for_an_ordinary_user(place: Path) -> None:
    subprocess.run([python("user"), "-m", "venv", "--without-pip", place / "env"], check=True, **become("user"))
    (site,) = (place / "env").glob("lib/python*/site-packages")
    assert site.parent.name == f"python{sys.version_info[0]}.{sys.version_info[1]}", (
        f"apt-get install {site.parent.name}"
    )
    (site / "tests.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    command = [
        place / "env/bin/python",
        "-B",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={place}/tests",
    ]
    command += ["tests/shipped/test_user_scripts.py", "-k", f"level-{BEST} or level-L or not level"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, **become("user")
    )
    assert done.returncode == 0, done.stdout
    assert " skipped" not in done.stdout
    assert done.stdout.count("." * 30), done.stdout
