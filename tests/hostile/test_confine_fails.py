"""Walls that do not stand, and workers that end: nothing runs that should not, and what is told is true.

The functions named `try_...` run in the child: they know only what nursery.py imports.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.walls import (
    PLACES,
    USERS,
    Nursery,
    become,
    everything_ends,  # noqa: F401
    everywhere,
    ground,
    nursery,
    python,
    try_nothing,
    where_paths_are,
    where_roots_are,
)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait until it is so, at most 20 s."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def runs(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@everywhere
@pytest.mark.parametrize("processes", [False, True])
def test_a_worker_dies_with_its_parent(user: str, level: str, processes: bool) -> None:
    parent = Nursery(user)
    answer = parent.call(parent.plan(level, processes=processes), try_nothing, stay=True)
    worker, child = answer["report"]["pid"], answer["child"]
    assert runs(worker)
    assert (worker != child) == (processes and level in "AB")
    parent.close()
    wait_until(lambda: not runs(worker))
    wait_until(lambda: not runs(child))


@where_roots_are
def test_a_worker_in_a_process_namespace_dies_with_who_stands_by(user: str, level: str) -> None:
    parent = Nursery(user)
    try:
        answer = parent.call(parent.plan(level, processes=True), try_nothing, stay=True)
        os.kill(answer["child"], signal.SIGKILL)
        wait_until(lambda: not runs(answer["report"]["pid"]))
    finally:
        parent.close()


def try_to_die(how: str) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "abort":
        os.abort()
    os._exit(7)


@everywhere
@pytest.mark.parametrize("processes", [False, True])
def test_how_a_worker_ended_is_what_its_parent_sees(user: str, level: str, processes: bool) -> None:
    plan = nursery(user).plan(level, processes=processes)
    assert nursery(user).call(plan, try_to_die, "exit")["status"] == 7
    assert nursery(user).call(plan, try_to_die, "abort")["status"] in (-signal.SIGABRT, -signal.SIGSEGV)
    if not processes:
        assert nursery(user).call(plan, try_to_die, "kill")["status"] == -signal.SIGKILL


WALLS = {
    "unshare": ("AB", "namespaces", "user namespace"),
    "open_tree": ("AB", "root"),
    "mount_setattr": ("AB", "root"),
    "pivot_root": ("AB", "root"),
    "umount2": ("AB", "root"),
    "os.setresuid": ("ABLC", "user"),
    "os.setgroups": ("ABLC", "user"),
    "resource.setrlimit": ("ABLC", "limits"),
    "capset": ("ABLC", "capabilities"),
    "landlock_create_ruleset": ("AL", "Landlock"),
    "landlock_restrict_self": ("AL", "Landlock"),
    "gateway.scripts.confine.seccomp.load": ("ABLC", "seccomp"),
}


@everywhere
@pytest.mark.parametrize("broken", WALLS)
@pytest.mark.parametrize(("code", "outcome"), [(errno.EPERM, "failed"), (errno.ENOSYS, "unsupported")])
def test_a_wall_that_fails_leaves_nothing_to_run(user: str, level: str, broken: str, code: int, outcome: str) -> None:
    levels, *names = WALLS[broken]
    needed = level in levels and not (broken.startswith("os.set") and user != "root")
    answer = nursery(user).call(nursery(user).plan(level), try_nothing, broken={broken: code})
    last = answer["report"]["steps"][-1]
    if needed:
        assert answer["report"]["level"] == "D"
        assert (last["name"] in names, last["outcome"]) == (True, outcome)
        assert os.strerror(code) in last["detail"]
        assert broken in last["detail"]
    else:
        assert (answer["report"]["level"], last["name"], last["outcome"]) == (level, "seccomp", "ok")


PROBE_UNDER_A_FILTER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from gateway.scripts.confine import bpf, kernel, numbers, seccomp
machine = numbers.native()
code = bpf.verdict(bpf.ALLOW)
for call in sys.argv[3:]:
    name, _, error = call.partition("=")
    refused = bpf.verdict(bpf.ERROR | int(error))
    code = bpf.ask(bpf.EQUAL, (machine.numbers[name],), refused, code)
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
seccomp.load(bpf.assemble(bpf.load(bpf.NUMBER, code)))
os.execv(sys.executable, [sys.executable, "-I", "-B", "-c", sys.argv[2], sys.argv[1]])
"""
PROBE = """
import dataclasses, json, sys
sys.path.insert(0, sys.argv[1])
from gateway.scripts.confine import probe
print(json.dumps(dataclasses.asdict(probe.probe())))
"""


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("forbidden", "left", "said"),
    [
        ({"unshare": errno.EPERM}, "LC", "RestrictNamespaces="),
        ({"mount_setattr": errno.ENOSYS}, "LC", "mount_setattr"),
        (
            {"landlock_create_ruleset": errno.ENOSYS},
            "BC",
            "Landlock: landlock_create_ruleset: Function not implemented",
        ),
        ({"landlock_create_ruleset": errno.EOPNOTSUPP}, "BC", "add landlock to lsm="),
        ({"unshare": errno.EPERM, "landlock_create_ruleset": errno.EPERM}, "C", "RestrictNamespaces="),
        ({"seccomp": errno.EPERM}, "ABLC", ""),
        ({"seccomp": errno.EPERM, "prctl": errno.EPERM}, "D", "parent: prctl"),
    ],
)
def test_the_probe_finds_what_a_hardened_unit_leaves(
    user: str, forbidden: dict[str, int], left: str, said: str
) -> None:
    best = next((level for level in left if (user, level) in PLACES), "D")
    program = [python(user), "-I", "-B", "-c", PROBE_UNDER_A_FILTER, str(ground()), PROBE]
    calls = [f"{name}={code}" for name, code in forbidden.items()]
    done = subprocess.run([*program, *calls], capture_output=True, text=True, check=True, **become(user))
    found = json.loads(done.stdout)
    assert found["level"] == best
    assert said in "; ".join(found["notes"])


@everywhere
def test_what_no_wall_rests_on_is_told_and_goes_on(user: str, level: str) -> None:
    broken = {"keyctl": errno.EPERM, "os.sched_setscheduler": errno.ENOSYS, "os.setsid": errno.EPERM}
    report = nursery(user).call(nursery(user).plan(level), try_nothing, broken=broken)["report"]
    told = {step["name"]: step["outcome"] for step in report["steps"] if step["outcome"] != "ok"}
    assert report["level"] == level
    expected = {"keyring": "failed", "priority": "unsupported", "session": "failed"}
    assert told == expected | ({} if level in "AB" else {"namespaces": "unsupported"})


def try_reading(*paths: str) -> list[str]:
    seen = []
    for path in paths:
        with contextlib.suppress(OSError):
            seen.append(Path(path).read_text())
    return seen


@where_paths_are
def test_a_path_that_is_a_link_or_missing_is_left_out_and_named(user: str, level: str) -> None:
    link, missing = str(ground() / "given/link"), str(ground() / "missing")
    os.symlink("/etc", link)
    try:
        plan = nursery(user).plan(level, files=[(link, True), (missing, False)])
        answer = nursery(user).call(plan, try_reading, f"{link}/hostname", f"{link}/passwd", missing)
    finally:
        os.unlink(link)
    assert answer["result"] == []
    name = "Landlock" if level == "L" else "root"
    (detail,) = [step["detail"] for step in answer["report"]["steps"] if step["name"] == name]
    assert f"{link} ({os.strerror(errno.ELOOP)})" in detail
    assert f"{missing} ({os.strerror(errno.ENOENT)})" in detail


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("changed", [{"uid": None}, {"uid": 0}, {"gid": None}, {"gid": 0}])
def test_a_worker_of_root_needs_somebody_to_become(user: str, changed: dict[str, Any]) -> None:
    report = nursery(user).call(nursery(user).plan("C", **changed), try_nothing)["report"]
    assert report["level"] == ("D" if user == "root" else "C")
    assert ("never runs as root" in report["steps"][-1]["detail"]) == (user == "root")
