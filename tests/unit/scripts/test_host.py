"""Levels and packages; zygotes and workers are in tests/real/test_scripts.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import LinkError
from gateway.scripts import host
from gateway.scripts.confine import cgroup, probe
from gateway.scripts.confine.cgroup import Group, Groups
from gateway.scripts.confine.probe import Capabilities, Reached
from gateway.scripts.confine.seccomp import Level
from gateway.scripts.host import Newborn, Scripts, installed, packages
from gateway.scripts.work import NotLoaded
from gateway.scripts.worker import NO_MEMORY
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


def test_what_holds_of_control_groups_and_what_does_not_is_in_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe", lambda: Capabilities("B", ("no Landlock",)))
    monkeypatch.setattr(cgroup, "take", lambda: Groups(None, ("cpu",), ("no memory cgroup: not delegated",)))

    async def main() -> Scripts:
        scripts = Scripts(FakeClock())
        assert (scripts.status()["control_groups"], scripts.status()["lacking"]) == ([], [])
        await scripts.level()
        return scripts

    status = asyncio.run(main()).status()
    assert status["control_groups"] == ["cpu"]
    assert status["lacking"] == ["no Landlock", "no memory cgroup: not delegated"]


def test_without_its_control_group_no_worker_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probe, "probe", lambda: Capabilities("B", ()))
    monkeypatch.setattr(cgroup, "take", lambda: Groups(tmp_path / "gone"))

    async def main() -> None:
        scripts = Scripts(FakeClock())
        await scripts.level()
        with pytest.raises(NotLoaded, match="there is no control group for it: No such file or directory"):
            await scripts.group()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "kills", "told"), [(-9, 1, NO_MEMORY), (-9, 0, -9), (-11, 1, -11), (0, 0, 0), (None, 1, None)]
)
def test_a_kill_for_want_of_memory_is_told_as_that(
    tmp_path: Path, status: int | None, kills: int, told: int | None
) -> None:
    (tmp_path / "memory.events").write_text(f"oom 1\noom_kill {kills}\n")

    async def main() -> int | None:
        first: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        then: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        first.set_result(status)
        await host._see_out(Newborn(1, -1, first), Group(tmp_path), then)
        return await then

    assert asyncio.run(main()) == told


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
