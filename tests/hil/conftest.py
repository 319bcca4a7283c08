"""The bench is for `make test-hil`, which names its cache; every other run of pytest passes it by."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hil.guest import PROJECT, Guest, wheel

collect_ignore_glob = [] if "SPECTROPHONE_HIL" in os.environ else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """After a failure, where to read on."""
    if exitstatus and "SPECTROPHONE_HIL" in os.environ:
        terminalreporter.write_line(f"the guests' consoles: {os.environ['SPECTROPHONE_HIL']}/log")


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """One guest with the checked-out gateway installed, for tests that leave it as they found it."""
    directory: Path = tmp_path_factory.mktemp("wheel")
    built = wheel(PROJECT, directory)
    with Guest.boot() as guest:
        guest.install(built)
        yield guest
