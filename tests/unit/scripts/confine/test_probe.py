"""What the trial of the walls says, and what is seen of a worker from outside."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from gateway.scripts.confine import probe
from gateway.scripts.confine.cgroup import Group
from gateway.scripts.confine.confine import LEVELS, Plan, Report, Step
from gateway.scripts.confine.limits import Baseline, measure_baseline

BASE = Baseline(os.getpid(), 1 << 20, 1 << 20)


def script(tmp_path: Path, text: str) -> str:
    """A program that stands for Python."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_this_machine_fences_at_some_level() -> None:
    found = probe.probe()
    assert found.level in LEVELS, found.notes
    assert (found.level == "A") == (found.notes == ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 3", "exit status 3"),
        ("echo no such module >&2; exit 1", "no such module"),
        ("echo '{\"level\": '", "Expecting value"),
        ("echo '{}'", "level"),
        ("true", "Expecting value"),
    ],
)
def test_a_trial_that_fails_means_no_walls(tmp_path: Path, text: str, said: str) -> None:
    found = probe.probe(script(tmp_path, text))
    assert found.level == "D"
    assert said in found.notes[0]


def test_a_trial_that_hangs_means_no_walls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_PATIENCE_S", 0.05)
    found = probe.probe(script(tmp_path, "exec sleep 20"))
    assert (found.level, "timed out" in found.notes[0]) == ("D", True)


def test_a_level_that_does_not_exist_is_none(tmp_path: Path) -> None:
    assert probe.probe(script(tmp_path, 'echo \'{"level": "S", "notes": []}\'')).level == "D"


def test_the_strongest_level_that_holds_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    fails = {"A": ["Landlock: no"], "B": ["namespaces: no"], "L": ["Landlock: no"], "C": []}
    monkeypatch.setattr(probe, "worker_user", lambda: (99, 99))
    monkeypatch.setattr(probe, "attempt", lambda plan, base: fails[plan.level])
    assert probe.best(BASE) == probe.Capabilities("C", ("Landlock: no", "namespaces: no"))
    fails["B"] = []
    assert probe.best(BASE) == probe.Capabilities("B", ("Landlock: no",))
    fails.update(B=["x"], C=["seccomp: no"])
    assert probe.best(BASE).level == "D"


def test_a_level_whose_walls_let_something_out_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "confine", lambda plan, base: None)
    said = probe.attempt(Plan("C", ()), measure_baseline())
    assert "behind the walls of level C a worker creates a socket" in said
    assert "behind the walls of level C a worker starts a process" in said
    assert any("opens /etc/passwd" in line for line in said)


def test_a_child_that_dies_in_the_trial_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def confine(plan: Plan, base: Baseline) -> None:
        os.abort()

    monkeypatch.setattr(probe, "confine", confine)
    assert probe.attempt(Plan("L", ()), BASE) == ["level L: the trial ended with signal 6 before it could report"]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("Landlock", errno.EOPNOTSUPP, "add landlock to lsm="),
        ("Landlock", errno.ENOSYS, "level B does without"),
        ("Landlock", errno.EPERM, "add @sandbox to SystemCallFilter="),
        ("user", errno.EPERM, "set User=spectrophone"),
        ("namespaces", errno.EPERM, "RestrictNamespaces"),
        ("root", errno.EPERM, "RestrictNamespaces"),
        ("seccomp", errno.ENOSYS, "CONFIG_SECCOMP_FILTER"),
        ("capabilities", errno.EPERM, "no worker can be fenced"),
    ],
)
def test_the_remedy_fits_what_is_lacking(monkeypatch: pytest.MonkeyPatch, name: str, code: int, said: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: "2")
    line = probe.remedy(Report("D", (Step(name, "failed", f"call: {os.strerror(code)}"),), 7))
    assert line.startswith(f"{name}: call: {os.strerror(code)}: ")
    assert said in line


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1\n", "kernel.apparmor_restrict_unprivileged_userns to 0"),
        ("kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone to 1"),
        ("user/max_user_namespaces", "0\n", "user.max_user_namespaces to 1024"),
    ],
)
def test_a_switch_of_the_kernel_is_named(monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str) -> None:
    def read_text(path: Path) -> str:
        if str(path) != f"/proc/sys/{setting}":
            raise FileNotFoundError(errno.ENOENT, "no")
        return value

    monkeypatch.setattr(Path, "read_text", read_text)
    assert said in probe.remedy(Report("D", (Step("user namespace", "failed", "unshare: no"),), 7))


def test_a_process_without_walls_is_seen_as_one() -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        wrong = probe.verify(sleeper.pid, "A")
        assert "no filter of system calls is loaded" in wrong
        for name in ("mnt", "net", "ipc", "uts"):
            assert f"it shares the {name} namespace of the gateway" in wrong
        assert any(line.startswith("its root is not the empty one") for line in wrong)
        assert "it sees a proc" in wrong
        assert ("it runs as root" in wrong) == (os.geteuid() == 0)
        assert any("capabilities" in line for line in wrong) == (os.geteuid() == 0)
        at_c = probe.verify(sleeper.pid, "C")
        assert at_c == [line for line in at_c if "namespace" not in line and "sees" not in line]
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_process_that_is_gone_is_told() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (said,) = probe.verify(gone.pid, "C")
    assert said == f"process {gone.pid} cannot be looked at: {os.strerror(errno.ENOENT)}"


def test_a_process_that_is_hidden_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_text(path: Path) -> str:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "read_text", read_text)
    (said,) = probe.verify(os.getpid(), "C")
    assert said.endswith(f"{os.strerror(errno.EPERM)}: leave ProtectProc= out of the systemd unit")


def test_a_process_outside_its_control_group_is_seen(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("1\n")
    assert "it is not in its control group" in probe.verify(os.getpid(), "C", Group(tmp_path))
    (tmp_path / "cgroup.procs").write_text(f"1\n{os.getpid()}\n")
    assert "it is not in its control group" not in probe.verify(os.getpid(), "C", Group(tmp_path))
