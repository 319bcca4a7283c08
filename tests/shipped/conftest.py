"""Scripts of these tests share what their workers come from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.scripts import workers


@pytest.fixture(scope="session", autouse=True)
def _workers() -> Iterator[None]:
    with workers():
        yield


@pytest.fixture(params=["auto", "C"])
def level(request: pytest.FixtureRequest) -> str:
    """A level of the walls: the best that there is (A or B, where namespaces are allowed), and the least."""
    return str(request.param)
