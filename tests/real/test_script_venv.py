"""Packages of a customer's own environment, pure and native, in real workers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import markupsafe
import numpy as np
import pytest

from gateway.scripts.confine import probe
from gateway.scripts.confine.confine import LEVELS
from gateway.scripts.settings import Permissions
from tests.support.scripted import bench, run

BEST = probe.probe().level
WITH_PATHS = [level for level in LEVELS[LEVELS.index(BEST) :] if level != "C"]  # type: ignore[arg-type]
WITH_ROOTS = [level for level in WITH_PATHS if level != "L"]
"""At level L root's worker does not see the whole standard library where that lies in root's home; numpy needs it."""
NUMPY_BYTES = 128 << 20
"""numpy of an environment is loaded within the script's limit; that of the gateway before it."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Path]:
    """An environment that everybody may read and write, with a pure package and two native ones."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory, "lab")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
        (site,) = place.glob("lib/python*/site-packages")
        (site / "pure").mkdir()
        (site / "pure/__init__.py").write_text("import os\n\nWHERE, UID = 'the environment', os.getuid()\n")
        installed = Path(np.__file__).parent, Path(np.__file__).parents[1] / "numpy.libs"
        for part in (*installed, Path(markupsafe.__file__).parent):
            if part.is_dir():
                shutil.copytree(part, site / part.name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
        subprocess.run(["chmod", "-R", "a+rwX", directory], check=True)
        yield place


def given(lab: Path, *modules: str, **about: Any) -> dict[str, Any]:
    """Of a script that may import these, from the environment too."""
    return {"paths": Permissions(venv_path=lab).import_paths, "allowed_imports": modules, **about}


@pytest.mark.parametrize("level", WITH_PATHS)
def test_its_packages_are_imported_behind_the_walls(lab: Path, level: str) -> None:
    source = """
        import pure
        import markupsafe._speedups as native

        def on_measurement(measurement):
            return [pure.WHERE, pure.UID, native.__file__]
    """

    async def main() -> None:
        async with bench(source, level, **given(lab, "pure", "markupsafe")) as b:
            where, uid, file = await b.call()
            assert where == "the environment"
            assert uid != 0  # so it was not imported before the walls stood
            assert file.startswith(f"{lab}/")
            assert file.endswith(".so")

    run(main)


@pytest.mark.parametrize("level", WITH_ROOTS)
def test_a_numpy_of_its_own(lab: Path, level: str) -> None:
    source = """
        import numpy as np

        def on_measurement(measurement):
            return [np.__file__, float(np.linalg.solve(np.eye(3) * 2, np.ones(3)).sum())]
    """

    async def main() -> None:
        async with bench(source, level, **given(lab, "numpy", memory_bytes=NUMPY_BYTES)) as b:
            file, total = await b.call()
            assert file.startswith(f"{lab}/")
            assert total == 1.5

    run(main)


@pytest.mark.parametrize("level", WITH_PATHS)
@pytest.mark.parametrize("checks", [True, False])
def test_nothing_of_it_can_be_written(lab: Path, level: str, checks: bool) -> None:
    source = f"""
        import os
        import pure

        def on_measurement(measurement):
            package, found = os.path.dirname(pure.__file__), []
            for name, attempt in {{
                "change": lambda: open(pure.__file__, "a").close(),
                "add": lambda: open(package + "/more.py", "w").close(),
                "take away": lambda: os.unlink(pure.__file__),
                "rename": lambda: os.rename(package, package + "2"),
                "directory": lambda: os.mkdir("{lab}/more"),
                "executable": lambda: open("{lab}/pyvenv.cfg", "a").close(),
            }}.items():
                try:
                    attempt()
                except OSError:
                    continue
                found.append(name)
            return found
    """

    async def main() -> None:
        async with bench(source, level, **given(lab, "os", "pure", checks=checks)) as b:
            assert await b.call() == []

    before = sorted(str(path) for path in lab.rglob("pure*"))
    run(main)
    assert sorted(str(path) for path in lab.rglob("pure*")) == before
    assert not list(lab.rglob("more*"))


def test_what_is_not_allowed_is_not_imported_from_it(lab: Path) -> None:
    async def main() -> None:
        async with bench("def on_measurement(m):\n    exec('import pure')", **given(lab)) as b:
            assert "import of 'pure' is not allowed: add it to allowed_imports" in await b.failure()

    run(main)
