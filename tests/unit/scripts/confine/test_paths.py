"""What a worker sees of the interpreter."""

from __future__ import annotations

import os
from pathlib import Path

import pydantic

from gateway.scripts.confine.paths import interpreter_paths


def test_all_of_it_exists_and_is_absolute() -> None:
    found = interpreter_paths(network=True)
    assert found == tuple(sorted(set(found)))
    assert all(Path(path).is_absolute() and Path(path).exists() for path in found)


def test_the_standard_library_is_there_and_the_environment_of_the_gateway_is_not() -> None:
    found = [Path(path) for path in interpreter_paths()]
    assert any(Path(os.__file__).is_relative_to(path) for path in found)
    assert not any(Path(pydantic.__file__).is_relative_to(path) for path in found)


def test_certificates_come_with_the_network_only() -> None:
    extra = set(interpreter_paths(network=True)) - set(interpreter_paths())
    assert extra
    assert all("ssl" in path or "certificates" in path or "pki" in path for path in extra)


def test_nobody_is_told_who_the_users_are() -> None:
    found = [Path(path) for path in interpreter_paths(network=True)]
    for secret in ("/etc/passwd", "/etc/shadow", "/etc/ssl/private", "/root/.ssh", "/proc/self", "/home"):
        assert not any(Path(secret).is_relative_to(path) for path in found)
