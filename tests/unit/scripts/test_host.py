"""Levels and packages; zygotes and workers are in tests/real/test_scripts.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import LinkError
from gateway.scripts import host
from gateway.scripts.confine import probe
from gateway.scripts.confine.probe import Capabilities, Reached
from gateway.scripts.confine.seccomp import Level
from gateway.scripts.host import Scripts, installed, packages
from tests.support.clock import FakeClock


def level(found: Reached, monkeypatch: pytest.MonkeyPatch, least: Level = "C") -> Level:
    monkeypatch.setattr(probe, "probe", lambda: Capabilities(found, ("no Landlock",)))
    return asyncio.run(Scripts(FakeClock(), least=least).level())


@pytest.mark.parametrize("found", ["A", "B", "L", "C"])
def test_the_best_level_is_taken(found: Reached, monkeypatch: pytest.MonkeyPatch) -> None:
    assert level(found, monkeypatch) == found


@pytest.mark.parametrize(("found", "least"), [("B", "A"), ("L", "B"), ("C", "L"), ("D", "C")])
def test_below_the_least_nothing_runs(found: Reached, least: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LinkError, match=f"level {found}, and min_isolation is {least}: no Landlock"):
        level(found, monkeypatch, least)


def test_a_level_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe", lambda: Capabilities("A", ()))
    scripts = Scripts(FakeClock(), "C")
    assert asyncio.run(scripts.level()) == "C"


def test_only_the_gateways_own_packages_are_loaded_outside_the_walls(tmp_path: Path) -> None:
    allowed = ("numpy.fft", "json", "customers", "gateway.build", "__main__", "no_such_module")
    assert installed(allowed, ()) == ("numpy.fft",)
    assert "numpy" in {Path(place).name for place in packages(allowed, ())}
    (tmp_path / "numpy").mkdir()
    assert installed(allowed, (str(tmp_path),)) == ()


def test_the_environment_of_a_zygote_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_PASSWORD", "sesame")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert set(host._environment()) <= {"LANG", "LC_ALL", "LC_CTYPE", "TZ", *host._ONE_THREAD}
