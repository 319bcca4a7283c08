"""Plans, reports and the course of steps. The walls themselves are tried in tests/hostile/test_confine.py."""

from __future__ import annotations

import errno
import os
import pwd
import threading
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from gateway.scripts.confine import confine, kernel
from gateway.scripts.confine.confine import Plan, Report, Step, Unconfined


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("relative", "absolute"),
        ("", "absolute"),
        ("/", "below the root"),
        ("//etc", "below the root"),
        ("/srv/../etc", "absolute"),
        ("/proc", "/proc"),
        ("/proc/self/fd", "/proc"),
        ("/sys/class/gpio", "/sys"),
        ("/dev/mem", "/dev"),
    ],
)
def test_what_can_never_be_given_is_refused(path: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Plan("C", (), files=((path, False),))
    with pytest.raises(ValueError, match=said):
        Plan("C", (path,))


def test_a_plan_travels_as_plain_data() -> None:
    plan = Plan("B", ("/usr/lib",), files=(("/srv/data", True),), uid=99, gid=99, cpus=(0, 1))
    packed = msgspec.msgpack.encode(plan)
    assert msgspec.msgpack.decode(packed, type=Plan) == plan
    with pytest.raises(msgspec.ValidationError, match="/proc"):
        msgspec.msgpack.decode(packed.replace(b"/srv/data", b"/proc/xyz"), type=Plan)


def test_a_report_travels_and_says_what_is_lacking() -> None:
    steps = (
        Step("keyring", "failed", "keyctl: refused"),
        Step("limits", "ok", "64 MiB"),
        Step("root", "unsupported", "?"),
    )
    report = Report("D", steps, 7)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=Report) == report
    assert report.lacking() == ["keyring: keyctl: refused", "root: ?"]
    assert str(Unconfined(report)) == "root: ?"


@pytest.mark.parametrize(
    ("raised", "outcome", "detail"),
    [
        (OSError(errno.EPERM, "unshare: no"), "failed", "unshare: no"),
        (OSError(errno.ENOSYS, "unshare: no"), "unsupported", "unshare: no"),
        (OSError(errno.EOPNOTSUPP, "off"), "unsupported", "off"),
        (OSError(errno.EINVAL, "what?"), "unsupported", "what?"),
        (ValueError("not allowed to raise maximum limit"), "failed", "not allowed to raise maximum limit"),
    ],
)
def test_a_step_is_told_as_it_was(raised: Exception, outcome: str, detail: str) -> None:
    def do() -> None:
        raise raised

    course = confine._Course()
    course.may("step", do)
    assert course.steps == [Step("step", outcome, detail)]  # type: ignore[arg-type]
    with pytest.raises(Unconfined) as told:
        course.must("wall", do)
    assert told.value.report.level == "D"
    assert [step.name for step in told.value.report.steps] == ["step", "wall"]


def test_threads_and_directories_are_noticed(tmp_path: Path) -> None:
    opened = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=r"descriptor \d+ is an open directory"):
            confine._no_directory()
    finally:
        os.close(opened)
    wait = threading.Event()
    thread = threading.Thread(target=wait.wait)
    thread.start()
    try:
        with pytest.raises(OSError, match="one of several threads"):
            confine._one_thread()
    finally:
        wait.set()
        thread.join()


def test_a_capability_that_stays_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "drop_capabilities", lambda: None)
    monkeypatch.setattr(kernel, "capabilities", lambda: (0, 1 << 21, 0))
    with pytest.raises(OSError, match="some capability is left"):
        confine._drop_capabilities()


def test_a_group_that_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [997, 1000, 29])
    with pytest.raises(OSError, match="only root can drop the groups 29, 997"):
        confine._only_own_group()


def test_an_orphan_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "prctl", lambda *given: 0)
    with pytest.raises(OSError, match="the parent is gone"):
        confine._die_with_parent(os.getppid() + 1, None)
    hear, tell = os.pipe()
    os.close(tell)
    with pytest.raises(OSError, match="the parent is gone"):
        confine._die_with_parent(1, hear)


def test_there_is_no_filter_for_an_unknown_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine, "native", lambda: None)
    with pytest.raises(OSError, match="no filter") as raised:
        confine._filter(Plan("C", ()))
    assert raised.value.errno == errno.ENOSYS


def test_workers_of_root_become_their_own_user_or_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    users = {"spectrophone-script": (990, 991), "nobody": (65534, 65533)}

    def known(name: str) -> SimpleNamespace:
        return SimpleNamespace(pw_uid=users[name][0], pw_gid=users[name][1])

    monkeypatch.setattr(pwd, "getpwnam", known)
    assert confine.worker_user() == (990, 991)
    del users["spectrophone-script"]
    assert confine.worker_user() == (65534, 65533)
    users["nobody"] = (0, 0)
    with pytest.raises(LookupError, match="useradd --system spectrophone-script"):
        confine.worker_user()
