"""The walls around real children, tried from inside at every level that this machine can do, as root and as a user.

The functions named `try_...` run in the child: they know only what nursery.py imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import inspect
import json
import mmap
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.scripts.confine import kernel
from gateway.scripts.confine.confine import LEVELS

HERE = Path(__file__).parent
GATEWAY = HERE.parents[1] / "gateway"
NOBODY = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
PATHS = "from gateway.scripts.confine.paths import interpreter_paths; print(interpreter_paths(network=True))"


@functools.cache
def ground() -> Path:
    """A directory that every user can reach, with the parts of the gateway that a worker has."""
    place = Path(tempfile.mkdtemp(prefix="walls-"))
    place.chmod(0o755)
    package = place / "gateway/scripts/confine"
    package.mkdir(parents=True)
    for source in (GATEWAY / "__init__.py", *GATEWAY.glob("scripts/confine/*.py"), GATEWAY / "scripts/__init__.py"):
        shutil.copy(source, place / source.relative_to(GATEWAY.parent))
    shutil.copy(HERE / "nursery.py", place)
    for name in ("given", "shown"):
        (place / name).mkdir()
        (place / name / "inside").write_text("inside")
        os.chown(place / name, NOBODY.pw_uid, NOBODY.pw_gid)
    (place / "shown/inside").chmod(0o644)
    os.chown(place / "given/inside", NOBODY.pw_uid, NOBODY.pw_gid)
    (place / "secret").write_text("secret")
    (place / "secret").chmod(0o666)
    subprocess.run(["chmod", "-R", "a+rX", str(place / "gateway"), str(place / "nursery.py")], check=True)
    return place


def become(user: str) -> dict[str, Any]:
    """How subprocess starts something as this user."""
    if user == "root" or os.geteuid() != 0:
        return {}
    return {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}


@functools.cache
def python(user: str) -> str:
    """A Python that this user can start: this one may lie in a home directory."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            command = [candidate, "-I", "-c", "import sys, ssl, sqlite3, ctypes; sys.exit(sys.version_info < (3, 11))"]
            if subprocess.run(command, capture_output=True, **become(user)).returncode == 0:
                return candidate
    raise RuntimeError(f"no Python 3.11 that {user} can start: apt-get install python3")


class Nursery:
    """nursery.py, running as this user."""

    def __init__(self, user: str) -> None:
        self.as_root = user == "root"
        command = [python(user), "-I", "-B", str(ground() / "nursery.py"), str(ground())]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {"SECRET": "s3cret"}}
        self.process = subprocess.Popen(command, **pipes, **become(user))
        listed = [python(user), "-I", "-c", f"import sys; sys.path.insert(0, {str(ground())!r}); {PATHS}"]
        self.paths = eval(subprocess.run(listed, capture_output=True, text=True, check=True, **become(user)).stdout)

    def plan(self, level: str, **changed: Any) -> dict[str, Any]:
        """A plan of this level with a directory to write and one to read."""
        given = [(str(ground() / "given"), True), (str(ground() / "shown"), False)]
        whom = {"uid": NOBODY.pw_uid, "gid": NOBODY.pw_gid} if self.as_root else {}
        return {"level": level, "readonly": self.paths, "files": given, **whom, **changed}

    def call(
        self,
        plan: dict[str, Any] | None,
        function: Callable[..., Any],
        *arguments: Any,
        **more: Any,
    ) -> dict[str, Any]:
        """Let a child behind these walls call the function; what came of it."""
        source = inspect.getsource(function)
        request = {"plan": plan, "source": source, "name": function.__name__, "arguments": arguments}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request | more) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@functools.cache
def nursery(user: str) -> Nursery:
    return Nursery(user)


def end_everything() -> None:
    for user in USERS:
        nursery(user).close()
    nursery.cache_clear()
    shutil.rmtree(ground())
    ground.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def everything_ends() -> Iterator[None]:
    yield
    end_everything()


def try_nothing() -> str:
    return "done"


def reached(user: str, level: str) -> str:
    return str(nursery(user).call(nursery(user).plan(level), try_nothing)["report"]["level"])


def places() -> list[tuple[str, str]]:
    """Who reaches which level on this machine."""
    try:
        return [(user, level) for user in USERS for level in LEVELS if reached(user, level) == level]
    finally:
        end_everything()


USERS = ("root", "user") if os.geteuid() == 0 else ("user",)
PLACES = places()
with_roots = [(user, level) for user, level in PLACES if level in "AB"]
with_paths = [(user, level) for user, level in PLACES if level in "ABL"]
everywhere = pytest.mark.parametrize(("user", "level"), PLACES)
where_paths_are = pytest.mark.parametrize(("user", "level"), with_paths)
where_roots_are = pytest.mark.parametrize(("user", "level"), with_roots)


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
    answer = nursery(user).call(nursery(user).plan(level, network=True), try_imports)
    assert answer["result"] == "42 2.1 Europe/Zurich True"


def home_is_open() -> bool:
    """Whether the worker's user may start the Python that root starts."""
    return python("user") == python("root")


def try_numpy(packages: str) -> float:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    sys.path.append(packages)
    import numpy

    return float(numpy.linalg.solve(numpy.eye(3) * 2, numpy.ones(3)).sum())


@pytest.mark.parametrize("level", sorted({level for user, level in with_roots if user == USERS[0]}))
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
    assert answer["result"][:4] == [1, 0, 10, 0o077]
    assert answer["report"]["pid"] > 1
    assert answer["wrong"] == []


@everywhere
def test_no_descriptor_is_left_of_building_the_walls(user: str, level: str) -> None:
    for processes in (False, True):
        answer = nursery(user).call(nursery(user).plan(level, processes=processes), try_to_look_around)
        assert len(answer["result"][4]) == 3


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
