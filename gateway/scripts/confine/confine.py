"""The walls around a worker, put up in the order in which each is still possible.

What needs /proc comes before the new root, what needs capabilities before they are dropped, what opens files before the
filter. As root the namespaces are root's own, which sees paths the worker's user may not even cross; after that the
process becomes that user. As an ordinary user a user namespace gives the power to make the others. At every level a
last, empty user namespace lets the kernel count the worker's threads apart from all others of its user, and leaves it
no other id and no power over its own mounts. Changing the user makes the kernel forget the parent-death signal, so that
comes after it.

Each step is reported. A wall that fails ends the attempt: the worker must not run.
"""

from __future__ import annotations

import errno
import os
import pwd
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from gateway.scripts.confine import kernel, landlock, limits, namespaces, seccomp
from gateway.scripts.confine.limits import Baseline
from gateway.scripts.confine.numbers import native
from gateway.scripts.confine.seccomp import Level

LEVELS: tuple[Level, ...] = ("A", "B", "L", "C")
"""From the strongest to the weakest that still fences; D is none of them, and no worker runs."""

_NOT_HERE = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_NEVER_GIVEN = ("/proc", "/sys", "/dev")
_NO_WAY_BACK = 0xEF
"""SECBIT_NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE on, KEEP_CAPS off, all four locked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker may see and use.

    `readonly` are trees of code and libraries; `files` the files and directories given to the script, with whether it
    may write there, real paths without a symbolic link. `network` says that connected sockets may be passed in.
    `file_bytes` is the most a file may grow to, `scratch_bytes` the size of /tmp (levels A and B; 0: none).
    `uid` and `gid` are whom a worker of root's becomes. No `cpus`: all of them. `processes` adds a process namespace
    (levels A and B), which costs a second process. Raises ValueError for paths that can never be given.
    """

    level: Level
    readonly: tuple[str, ...]
    files: tuple[tuple[str, bool], ...] = ()
    network: bool = False
    memory_bytes: int = 64 << 20
    file_bytes: int = 16 << 20
    scratch_bytes: int = 4 << 20
    uid: int | None = None
    gid: int | None = None
    cpus: tuple[int, ...] = ()
    nice: int = 10
    processes: bool = False

    def __post_init__(self) -> None:
        for path in (*self.readonly, *(path for path, _ in self.files)):
            pure = PurePosixPath(path)
            if not pure.is_absolute() or ".." in pure.parts or len(pure.parts) < 2 or path.startswith("//"):
                raise ValueError(f"a worker can be given only absolute paths below the root, not {path!r}")
            if any(pure.is_relative_to(never) for never in _NEVER_GIVEN):
                raise ValueError(f"a worker is never given anything of /{pure.parts[1]}: {path!r}")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: how it ended, and in words with what or why."""

    name: str
    outcome: Literal["ok", "unsupported", "failed"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What stands around a worker: the level that was reached, D if a wall is lacking; its id as its parent sees it."""

    level: Literal["A", "B", "L", "C", "D"]
    steps: tuple[Step, ...]
    pid: int

    def lacking(self) -> list[str]:
        """The steps that did not succeed, each in words."""
        return [f"{step.name}: {step.detail}" for step in self.steps if step.outcome != "ok"]


class Unconfined(Exception):
    """A wall is lacking: the process must end. `report` says which."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.lacking()[-1] if report.lacking() else "a wall is lacking")
        self.report = report


def worker_user() -> tuple[int, int]:
    """The user and group that workers of a gateway started by root become. Raises LookupError if there is none."""
    for name in ("spectrophone-script", "nobody"):
        try:
            known = pwd.getpwnam(name)
        except KeyError:
            continue
        if known.pw_uid != 0:
            return known.pw_uid, known.pw_gid
    raise LookupError("no user for scripts: create one with `useradd --system spectrophone-script`")


class _Course:
    """The steps so far, and which process takes them."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.pid = os.getpid()
        self.lifeline: int | None = None

    def may(self, name: str, do: Callable[[], object]) -> None:
        """A step that the walls do not rest on."""
        try:
            detail = do()
        except (OSError, ValueError) as error:
            code, said = (error.errno, error.strerror) if isinstance(error, OSError) else (None, None)
            self.steps.append(Step(name, "unsupported" if code in _NOT_HERE else "failed", said or str(error)))
        else:
            self.steps.append(Step(name, "ok", detail if isinstance(detail, str) else ""))

    def must(self, name: str, do: Callable[[], object]) -> None:
        """A wall. Raises Unconfined if it does not stand."""
        self.may(name, do)
        if self.steps[-1].outcome != "ok":
            raise Unconfined(Report("D", tuple(self.steps), self.pid))


def confine(plan: Plan, base: Baseline) -> Report:
    """Put up the walls of `plan.level` around this process, for ever.

    It must be freshly forked from `base.parent`, have one thread, and no descriptor open but those the script may use.
    With `plan.processes`, what returns is a child of the process that called, which stands by. Raises Unconfined, with
    the steps taken so far, if a wall does not stand: then nothing of the script's may run.
    """
    course = _Course()
    as_root = os.geteuid() == 0
    if as_root:
        course.must("whom to become", lambda: _whom(plan))
    _settle(course, plan)
    if plan.level in ("A", "B"):
        _move_out(course, plan, base, as_root)
    elif plan.scratch_bytes or plan.processes:
        asked = [what for what, given in (("/tmp", plan.scratch_bytes), ("processes", plan.processes)) if given]
        said = f"no {' and '.join(asked)} of its own without namespaces"
        course.steps.append(Step("namespaces", "unsupported", said))
    if as_root:
        course.must("user", lambda: _become(plan.uid or 0, plan.gid or 0))
    else:
        course.may("groups", _only_own_group)
    course.may("threads", _count_threads)
    course.must("limits", lambda: limits.limit_use(base, plan.memory_bytes, plan.file_bytes))
    course.may("capabilities of programs", _bound_capabilities)
    course.must("capabilities", _drop_capabilities)
    course.must("parent", lambda: _die_with_parent(base.parent, course.lifeline))
    course.must("no new privileges", lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
    course.may("no writable code", lambda: kernel.prctl(kernel.PR_SET_MDWE, kernel.PR_MDWE_REFUSE_EXEC_GAIN))
    if plan.level in ("A", "L"):
        scratch = (("/tmp", True),) if plan.level == "A" and plan.scratch_bytes else ()
        files = (*plan.files, *((device, True) for device in namespaces.DEVICES), *scratch)
        course.must("Landlock", lambda: landlock.restrict(plan.readonly, files))
    course.must("not dumpable", lambda: kernel.prctl(kernel.PR_SET_DUMPABLE, 0))
    course.must("seccomp", lambda: _filter(plan))
    return Report(plan.level, tuple(course.steps), course.pid)


def _settle(course: _Course, plan: Plan) -> None:
    """What the walls take for granted, what they do not rest on, and what needs /proc."""
    course.may("session", os.setsid)
    course.must("one thread", _one_thread)
    course.must("descriptors", _no_directory)
    course.must("working directory", _stand_nowhere)
    course.may("priority", lambda: limits.step_back(plan.nice))
    if plan.cpus:
        course.may("processors", lambda: limits.use_processors(plan.cpus))
    course.may("out of memory", limits.die_first)
    course.may("keyring", kernel.new_keyring)


def _move_out(course: _Course, plan: Plan, base: Baseline, as_root: bool) -> None:
    """Into namespaces of its own and a root of its own."""

    def start_over() -> str:
        course.pid, course.lifeline = namespaces.new_processes(base.parent)
        return f"{course.pid} outside, {os.getpid()} inside"

    if not as_root:
        course.must("user namespace", namespaces.new_user)
    if plan.processes:
        course.must("process namespace", start_over)
    course.must("namespaces", namespaces.new_worlds)
    owner = plan.uid if as_root and plan.uid else os.geteuid()
    course.must("root", lambda: namespaces.new_root(plan.readonly, plan.files, plan.scratch_bytes, owner))


def _one_thread() -> None:
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise OSError(errno.EBUSY, "Landlock and namespaces would hold for one of several threads only")


def _no_directory() -> None:
    """An open directory would be a door in every wall that judges paths."""
    for place in Path("/proc/self/fd").iterdir():
        try:
            mode = os.fstat(int(place.name)).st_mode
        except OSError:
            continue  # the one that read the list
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, f"descriptor {place.name} is an open directory")


def _stand_nowhere() -> None:
    os.chdir("/")
    os.umask(0o077)


def _whom(plan: Plan) -> str:
    if not plan.uid or not plan.gid:
        raise OSError(errno.EPERM, "a worker never runs as root: the plan must name a user and a group")
    return f"user {plan.uid}, group {plan.gid}"


def _become(uid: int, gid: int) -> str:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or os.getgroups():
        raise OSError(errno.EPERM, "setresuid: some part of root is left")
    return f"{uid}"


def _only_own_group() -> None:
    others = sorted(set(os.getgroups()) - {os.getegid()})
    if others:
        raise OSError(errno.EPERM, f"only root can drop the groups {', '.join(map(str, others))}")


def _count_threads() -> str:
    namespaces.new_nobody()
    return limits.limit_threads()


def _bound_capabilities() -> None:
    kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_CLEAR_ALL)
    kernel.prctl(kernel.PR_SET_SECUREBITS, _NO_WAY_BACK)
    for capability in range(64):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL or capability == 0:
                raise
            return


def _drop_capabilities() -> None:
    kernel.drop_capabilities()
    if any(kernel.capabilities()):
        raise OSError(errno.EPERM, "capset: some capability is left")


def _die_with_parent(parent: int, lifeline: int | None) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if lifeline is None:
        alone = os.getppid() != parent
    else:
        alone = namespaces.hung_up(lifeline)
        os.close(lifeline)
    if alone:
        raise OSError(errno.ESRCH, "the parent is gone")


def _filter(plan: Plan) -> str:
    machine = native()
    if machine is None:
        raise OSError(errno.ENOSYS, f"no filter for {os.uname().machine}")
    writes = any(writable for _, writable in plan.files)
    seccomp.load(seccomp.program(machine, plan.level, network=plan.network, pid=os.getpid(), writes=writes))
    return machine.name
