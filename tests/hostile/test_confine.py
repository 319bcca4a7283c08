"""The walls around real children, tried from inside at every level that this machine can do, as root and as a user.

The functions named `try_...` run in the child: they know only what nursery.py imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import inspect
import mmap
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.scripts.confine import kernel
from tests.hostile.walls import (
    NOBODY,
    PLACES,
    USERS,
    WITH_ROOTS,
    everything_ends,  # noqa: F401
    everywhere,
    ground,
    nursery,
    python,
    try_nothing,
    where_paths_are,
    where_roots_are,
)


def test_some_level_holds_for_every_user() -> None:
    assert {user for user, _ in PLACES} == set(USERS)
    assert {level for _, level in PLACES} >= {"C"}


@everywhere
def test_the_walls_stand_and_are_seen_from_outside(user: str, level: str) -> None:
    answer = nursery(user).call(nursery(user).plan(level), try_nothing)
    assert answer["report"]["level"] == level
    lacking = [step["detail"] for step in answer["report"]["steps"] if step["outcome"] != "ok"]
    assert lacking == ([] if level in "AB" else ["no /tmp of its own without namespaces"])
    assert answer["wrong"] == []
    assert (answer["result"], answer["status"]) == ("done", 0)


@everywhere
def test_a_worker_that_claims_a_better_level_is_found_out(user: str, level: str) -> None:
    answer = nursery(user).call(nursery(user).plan(level), try_nothing, claimed="B")
    found = [line for line in answer["wrong"] if line.startswith("its root is not the empty one")]
    assert len(found) == (level in "LC")


@everywhere
def test_a_parent_that_hides_its_memory_is_no_obstacle(user: str, level: str) -> None:
    report = nursery(user).call(nursery(user).plan(level), try_nothing, hidden=True)["report"]
    assert report["level"] == level


def try_to_reach(parent: int, secret: str) -> list[str]:
    """What may be reached only without walls: the names of what was."""
    attempts = {
        "passwd": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "passwd by ..": lambda: os.open("/usr/lib/../../etc/passwd", os.O_RDONLY),
        "a file beside the given ones": lambda: os.open(secret, os.O_RDONLY),
        "writing it": lambda: os.open(secret, os.O_WRONLY),
        "truncating it": lambda: os.truncate(secret, 3),
        "environment of the parent": lambda: os.open(f"/proc/{parent}/environ", os.O_RDONLY),
        "its own /proc": lambda: os.open("/proc/self/status", os.O_RDONLY),
        "/sys": lambda: os.listdir("/sys"),
        "shared memory": lambda: os.open("/dev/shm/walls", os.O_RDWR | os.O_CREAT),
        "/tmp of the machine": lambda: (os.open("/tmp/walls-were-here", os.O_CREAT), os.stat(secret)),
        "INET": lambda: socket.socket(socket.AF_INET),
        "INET6": lambda: socket.socket(socket.AF_INET6),
        "UNIX": lambda: socket.socket(socket.AF_UNIX),
        "UNIX datagram": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        "NETLINK": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "signal to the parent": lambda: os.kill(parent, 0),
        "handle of the parent": lambda: os.pidfd_open(parent),
        "limits of the parent": lambda: kernel.call("prlimit64", parent, 0, 0, bytes(16)),
        "a process": lambda: os.fork() or os._exit(0),
        "memory without a limit": lambda: os.memfd_create("walls"),
        "a user namespace": lambda: kernel.unshare(kernel.NEW_USERS),
    }
    reached = []
    for name, attempt in attempts.items():
        with contextlib.suppress(OSError):
            attempt()
            reached.append(name)
    return reached


def names_of(attempts: Callable[..., Any]) -> list[str]:
    return [line.split('"')[1] for line in inspect.getsource(attempts).splitlines() if '": lambda' in line]


@everywhere
def test_nothing_is_reached_that_was_not_given(user: str, level: str) -> None:
    secret = str(ground() / "secret")
    parent = nursery(user).process.pid
    assert nursery(user).call(nursery(user).plan(level), try_to_reach, parent, secret)["result"] == []
    assert Path(secret).read_text() == "secret"


def test_all_of_it_is_reached_without_walls() -> None:
    try:
        parent = nursery("user").process.pid
        answer = nursery("user").call(None, try_to_reach, parent, str(ground() / "secret"))
    finally:
        Path("/tmp/walls-were-here").unlink(missing_ok=True)
        Path("/dev/shm/walls").unlink(missing_ok=True)
        (ground() / "secret").write_text("secret")
    assert answer["result"] == names_of(try_to_reach)


def try_to_come_back(uid: int) -> list[str]:
    """Becoming somebody else or going elsewhere: what succeeded."""
    numbers = (ctypes.c_uint32 * 6)(*(0xFFFFFFFF,) * 6)
    attempts = {
        "setuid": lambda: os.setuid(0),
        "setgid": lambda: os.setgid(0),
        "setresuid": lambda: os.setresuid(0, 0, 0),
        "setresgid": lambda: os.setresgid(0, 0, 0),
        "setgroups": lambda: os.setgroups([0]),
        "even itself": lambda: os.setuid(uid),
        "capset": lambda: kernel.call("capset", kernel._Header(0x20080522, 0), numbers),
        "mount": lambda: kernel.call("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
        "proc": lambda: kernel.call("mount", b"none", b"/tmp", b"proc", 0, 0),
        "remount": lambda: kernel.call("mount", b"none", b"/", b"none", 0x20 | 0x1000, 0),
        "umount": lambda: kernel.call("umount2", b"/tmp", 2),
        "open_tree": lambda: kernel.call("open_tree", -100, b"/", 1),
        "fsopen": lambda: kernel.call("fsopen", b"tmpfs", 0),
        "mount_setattr": lambda: kernel.call("mount_setattr", -100, b"/", 0, kernel._Attributes(0, 1, 0, 0), 32),
        "pivot_root": lambda: kernel.call("pivot_root", b"/", b"/"),
        "chroot": lambda: os.chroot("/tmp"),
        "unshare users": lambda: kernel.unshare(kernel.NEW_USERS),
        "unshare mounts": lambda: kernel.unshare(kernel.NEW_MOUNTS),
        "setns": lambda: kernel.call("setns", 0, 0),
        "mknod": lambda: os.mknod("/tmp/kmem", 0o20666, os.makedev(1, 2)),
        "link": lambda: os.symlink("/etc", "/tmp/link"),
        "keyring": lambda: kernel.call("keyctl", 0, -1, 0),
        "ptrace": lambda: kernel.call("ptrace", 0, 0, 0, 0),
        "no death signal": lambda: kernel.prctl(kernel.PR_SET_PDEATHSIG, 0),
        "dumpable": lambda: kernel.prctl(kernel.PR_SET_DUMPABLE, 1),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 0),
        "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "other processors": lambda: os.sched_setaffinity(0, range(os.cpu_count())),
        "bpf": lambda: kernel.call("bpf", 0, 0, 0),
        "another filter": lambda: kernel.call("seccomp", 2, 0, 0),
        "a program": lambda: os.execv("/bin/true", ["true"]),
        "writable code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    }
    back = []
    for name, attempt in attempts.items():
        with contextlib.suppress(OSError):
            attempt()
            back.append(name)
    return back


@everywhere
def test_there_is_no_way_back(user: str, level: str) -> None:
    answer = nursery(user).call(nursery(user).plan(level), try_to_come_back, NOBODY.pw_uid)
    assert (answer["result"], answer["status"]) == ([], 0)


def try_files(given: str, shown: str) -> list[str]:
    """What the plan gives, then what it does not."""
    said = []
    with open(f"{given}/inside") as file:
        said.append(file.read())
    with open(f"{shown}/inside") as file:
        said.append(file.read())
    with open(f"{given}/new", "w") as file:
        said.append(f"wrote {file.write('new')}")
    os.mkdir(f"{given}/folder")
    os.rename(f"{given}/new", f"{given}/folder/new")
    said.append(" ".join(sorted(os.listdir(given))))
    os.unlink(f"{given}/folder/new")
    os.rmdir(f"{given}/folder")
    with open("/dev/null", "w") as null:
        said.append(f"null {null.write('gone')}")
    with open("/dev/urandom", "rb") as chance:
        said.append(f"chance {len(chance.read(8))}")
    for path in (f"{shown}/inside", f"{shown}/new", "/new", "/usr/new", "/etc/new", "/dev/new", given):
        try:
            open(path, "w").close()
            said.append(f"opened {path} for writing")
        except OSError:
            pass
    for path in (f"{shown}/inside", given):
        try:
            os.unlink(path)
            said.append(f"removed {path}")
        except OSError:
            pass
    return said


@where_paths_are
def test_what_is_given_can_be_used_and_nothing_else_written(user: str, level: str) -> None:
    given, shown = str(ground() / "given"), str(ground() / "shown")
    answer = nursery(user).call(nursery(user).plan(level), try_files, given, shown)
    assert answer["result"] == ["inside", "inside", "wrote 3", "folder inside", "null 4", "chance 8"]


def try_imports() -> str:
    import ctypes.wintypes  # noqa: F401
    import decimal
    import sqlite3
    import ssl
    import zoneinfo

    assert not {"ctypes.wintypes", "decimal", "sqlite3", "ssl", "zoneinfo"} & loaded_before  # noqa: F821
    certificates = ssl.create_default_context().cert_store_stats()["x509"]
    lines = sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()
    return f"{lines[0]} {decimal.Decimal('0.1') + 2} {zoneinfo.ZoneInfo('Europe/Zurich')} {certificates > 0}"


@where_paths_are
def test_python_loads_its_own_parts_behind_the_walls(user: str, level: str) -> None:
    if level == "L" and user == "root" and not home_is_open():
        answer = nursery(user).call(nursery(user).plan(level), try_imports)
        assert "No module named 'ctypes.wintypes'" in answer["result"]  # the worker's user may not cross root's home
        assert any("Permission denied" in step["detail"] for step in answer["report"]["steps"])
        return
    plan = nursery(user).plan(level, network=True)
    reading = plan | {"files": [(path, False) for path, _ in plan["files"]]}
    assert nursery(user).call(reading, try_imports)["result"] == "42 2.1 Europe/Zurich True"
    said = nursery(user).call(plan, try_imports)["result"]
    if level == "L":  # where it writes, no file becomes code: no mount could say which
        assert "failed to map segment" in said
    else:
        assert said == "42 2.1 Europe/Zurich True"


def home_is_open() -> bool:
    """Whether the worker's user may start the Python that root starts."""
    return python("user") == python("root")


def try_numpy(packages: str) -> float:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    sys.path.append(packages)
    import numpy

    return float(numpy.linalg.solve(numpy.eye(3) * 2, numpy.ones(3)).sum())


@pytest.mark.parametrize("level", sorted({level for user, level in WITH_ROOTS if user == USERS[0]}))
def test_a_native_package_is_loaded_from_its_place(level: str) -> None:
    import numpy

    packages = str(Path(numpy.__file__).parents[1])
    here = nursery(USERS[0])
    plan = here.plan(level, readonly=[*here.paths, packages], memory_bytes=256 << 20)
    assert here.call(plan, try_numpy, packages)["result"] == 1.5


def try_the_root(devices: list[str]) -> list[Any]:
    sizes = []
    try:
        with open("/tmp/filler", "wb") as file:
            while True:
                file.write(bytes(65536))
                file.flush()
    except OSError as error:
        sizes.append(errno.errorcode[error.errno])
    sizes.append(os.path.getsize("/tmp/filler"))
    os.unlink("/tmp/filler")
    made = 0
    try:
        while made < 1000:
            open(f"/tmp/{made}", "w").close()
            made += 1
    except OSError as error:
        sizes += [errno.errorcode[error.errno], made]
    for _ in range(made):
        made -= 1
        os.unlink(f"/tmp/{made}")
    with tempfile.TemporaryFile() as file:
        sizes.append(file.write(b"temporary"))
    up = os.open("..", os.O_PATH)
    os.fchdir(up)
    there = [name for name in devices if os.path.exists(f"/dev/{name}")]
    return [*sizes, there, os.path.exists("/proc"), os.path.exists("etc/passwd")]


@where_roots_are
def test_the_root_is_small_and_empty(user: str, level: str) -> None:
    plan = nursery(user).plan(level, files=[], scratch_bytes=1 << 20)
    devices = os.listdir("/dev")
    called = nursery(user).call(plan, try_the_root, devices)
    full, size, full_again, files, temporary, seen, proc, passwd = called["result"]
    assert (full, size, full_again) == ("ENOSPC", 1 << 20, "ENOSPC")
    assert 200 < files < 256
    assert temporary == 9
    assert sorted(seen) == ["null", "urandom", "zero"]
    assert not proc
    assert not passwd
    no_scratch = nursery(user).plan(level, files=[], scratch_bytes=0)
    assert "FileNotFoundError" in nursery(user).call(no_scratch, try_the_root, devices)["result"]


def try_limits(given: str) -> list[str]:
    said = []
    try:
        kept = bytearray(32 << 20)
        kept = [bytearray(1 << 20) for _ in range(64)]
        said.append(f"{len(kept)} MiB")
    except MemoryError:
        said.append("MemoryError")
    kept = None
    try:
        kept = mmap.mmap(-1, 96 << 20)
        said.append("shared memory")
    except (OSError, MemoryError):
        said.append("no shared memory")
    wait = threading.Event()
    threads = []
    try:
        while len(threads) < 100:
            thread = threading.Thread(target=wait.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        said.append(f"{len(threads) + 1} threads")
    wait.set()
    for thread in threads:
        thread.join()
    pipes = []
    try:
        while len(pipes) < 100:
            pipes.append(os.pipe())
    except OSError as error:
        said.append(f"{errno.errorcode[error.errno]} at {max(map(max, pipes)) // 2 * 2}")
    for pair in pipes:
        os.close(pair[0])
        os.close(pair[1])
    if given:
        try:
            with open(f"{given}/large", "wb") as file:
                for _ in range(4):
                    file.write(bytes(1 << 20))
        except OSError as error:
            said.append(f"{errno.errorcode[error.errno]} at {os.path.getsize(f'{given}/large')}")
        os.unlink(f"{given}/large")
    return said


@everywhere
@pytest.mark.parametrize("processes", [False, True])
def test_limits_hold(user: str, level: str, processes: bool) -> None:
    plan = nursery(user).plan(level, memory_bytes=64 << 20, file_bytes=2 << 20, processes=processes)
    given = "" if level == "C" else str(ground() / "given")
    said = nursery(user).call(plan, try_limits, given)["result"]
    assert said[:4] == ["MemoryError", "no shared memory", "8 threads", "EMFILE at 62"]
    assert said[4:] == ([] if level == "C" else ["EFBIG at 2097152"])


def try_to_look_around() -> list[Any]:
    return [os.getpid(), os.getppid(), os.getpriority(os.PRIO_PROCESS, 0), os.umask(0), open_descriptors()]  # noqa: F821


@where_roots_are
def test_in_a_process_namespace_there_is_nobody_else(user: str, level: str) -> None:
    plan = nursery(user).plan(level, processes=True)
    answer = nursery(user).call(plan, try_to_look_around)
    assert answer["result"][:4] == [1, 0, os.nice(0) + 10, 0o077]
    assert answer["report"]["pid"] > 1
    assert answer["wrong"] == []


@everywhere
def test_no_descriptor_is_left_of_building_the_walls(user: str, level: str) -> None:
    for processes in (False, True):
        answer = nursery(user).call(nursery(user).plan(level, processes=processes), try_to_look_around)
        assert len(answer["result"][4]) == 3
