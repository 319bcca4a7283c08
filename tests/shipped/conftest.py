"""Scripts of these tests share what their workers come from."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gateway.scripts.confine import probe
from tests.support.scripts import workers

BEST = probe.probe().level
LEVELS = {"A": "ABLC", "B": "BC", "L": "LC", "C": "C"}[BEST].replace("" if os.geteuid() else "L", "")
"""What this machine can fence a worker with. At L, where nothing is mounted anew, the workers of root's tests cannot
come to files in root's directories; those of an ordinary user's can (test_ordinary_user.py)."""


@pytest.fixture(scope="session", autouse=True)
def _workers() -> Iterator[None]:
    with workers():
        yield


@pytest.fixture(params=LEVELS, ids=lambda level: f"level-{level}")
def level(request: pytest.FixtureRequest) -> str:
    """A level of the walls."""
    return str(request.param)


@pytest.fixture(params=LEVELS.removesuffix("C"), ids=lambda level: f"level-{level}")
def level_with_files(request: pytest.FixtureRequest) -> str:
    """A level at which a script opens files itself."""
    return str(request.param)
