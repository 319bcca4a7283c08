"""Where files are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.places import directory, state_directory


def test_the_directories_are_systemds_first() -> None:
    assert directory({"RUNTIME_DIRECTORY": "/run/other"}) == Path("/run/other")
    assert state_directory({"STATE_DIRECTORY": "/var/lib/other"}) == Path("/var/lib/other")


def test_without_systemd_root_has_its_own_and_everybody_else_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert directory({}) == Path("/run/spectrophone")
    assert state_directory({}) == Path("/var/lib/spectrophone")
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert directory({"XDG_RUNTIME_DIR": "/run/user/1234"}) == Path("/run/user/1234/spectrophone")
    assert directory({}).name == "spectrophone-1234"
    assert state_directory({"XDG_STATE_HOME": "/home/me/.state"}) == Path("/home/me/.state/spectrophone")


def test_the_services_user_has_the_services_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).endswith("/spectrophone") and mode == os.W_OK)
    assert directory({"XDG_RUNTIME_DIR": "/run/user/1234"}) == Path("/run/spectrophone")
    assert state_directory({"XDG_STATE_HOME": "/home/me/.state"}) == Path("/var/lib/spectrophone")
