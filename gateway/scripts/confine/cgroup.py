"""Control groups: what all scripts together may take of the processor, and each of memory, counted by the kernel.

    UNIT ──┬── gateway      the gateway itself and its zygotes, cpu.weight 100
           └── scripts ──┬── 1      a worker, with its memory.max and pids.max; all together cpu.weight 10
                         └── 2 ...

UNIT is the group that systemd has put the gateway into. It belongs to the gateway only where systemd says so, by the
mark user.delegate (Delegate= in the unit): otherwise root could write there too, and nothing is touched. A group with
groups beneath it may hold no process, so the gateway moves into one of its own, unless systemd has started it in one
(DelegateSubgroup=). What the kernel counts here beside what limits.py bounds: pipes, buffers of sockets, files in
memory, its own pages. A worker that has too much is ended at once, whole, and without swapping.

A page is charged to the group that touched it first: what a worker inherits from its zygote costs nothing until it is
written to, so a worker may have as much as it inherited on top of what its script may use.

Sources: Documentation/admin-guide/cgroup-v2.rst of Linux 6.12; systemd.resource-control(5); docs/CGROUP_DELEGATION.md
of systemd. The mark is there from systemd 251 and Linux 5.7 on.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gateway.scripts.confine.limits import THREADS, resident_bytes

CONTROLLERS = {"cpu": "CPU weight", "memory": "memory cgroup", "pids": "process count"}
"""What is asked for, and what people call it."""
SCRIPTS_WEIGHT = 10
"""cpu.weight of all scripts together; the gateway has the usual 100."""

_MARKS = ("user.delegate", "trusted.delegate")
_DELEGATE = f"not delegated (Delegate={' '.join(CONTROLLERS)} and ProtectControlGroups=no in the unit)"
_TRIES, _PATIENCE_MS = 10, 100


@dataclass(frozen=True, slots=True)
class Group:
    """The group of one worker."""

    place: Path

    def holds(self, pid: int) -> bool:
        """Whether this process is in it."""
        with suppress(OSError):
            return str(pid) in (self.place / "cgroup.procs").read_text().split()
        return False

    def admit(self, pid: int, memory_bytes: int) -> None:
        """Take a process in, which may then use so much memory beside what it has. Raises OSError.

        It must be one that nobody has reaped yet, so that its number is its own. This waits for all processors, some 20
        ms; what the process does meanwhile is charged to where it comes from.
        """
        limit = self.place / "memory.max"
        if limit.exists():
            limit.write_text(str(memory_bytes + resident_bytes(pid)))
        (self.place / "cgroup.procs").write_text(str(pid))

    def out_of_memory(self) -> bool:
        """Whether the kernel has ended a process in it for want of memory."""
        with suppress(OSError):
            counts = dict(line.split() for line in (self.place / "memory.events").read_text().splitlines())
            return int(counts.get("oom_kill", 0)) > 0
        return False

    def remove(self) -> bool:
        """Wait, a second at most, until all in it have ended, and remove it; whether it is gone. Blocks."""
        try:
            with (self.place / "cgroup.events").open() as events:
                empty = select.poll()
                empty.register(events, select.POLLPRI)
                for _ in range(_TRIES):
                    events.seek(0)
                    events.read()  # from now on the kernel tells of a change
                    if _removed(self.place):
                        return True
                    empty.poll(_PATIENCE_MS)
        except OSError:
            return not self.place.exists()
        return False


class Groups:
    """The groups of a gateway's workers, beneath `place`; without one there are none. `controllers` says what holds,
    `notes` what does not, each with its remedy.
    """

    def __init__(self, place: Path | None, controllers: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> None:
        self.controllers, self.notes = controllers, notes
        self._place = place
        self._numbers = itertools.count(1)

    def make(self) -> Group | None:
        """A group for one worker; None where there are none. Raises OSError."""
        if self._place is None:
            return None
        group = Group(self._place / str(next(self._numbers)))
        group.place.mkdir()
        limits = {"pids.max": str(THREADS)} if "pids" in self.controllers else {}
        if "memory" in self.controllers:
            limits |= {"memory.oom.group": "1", "memory.swap.max": "0"}
        for name, value in limits.items():
            if (group.place / name).exists():  # a kernel without swap has no limit of it
                (group.place / name).write_text(value)
        return group

    def clear(self) -> None:
        """End what is in them, and remove them all. Blocks."""
        if self._place is not None:
            _clear(self._place)


def take(process: Path = Path("/proc/self")) -> Groups:
    """Prepare the groups of scripts where systemd has delegated some, after removing what an earlier gateway has left.

    `process` is the gateway in /proc. Blocks; never raises.
    """
    try:
        groups = (process / "cgroup").read_text()
        mount, own = placed((process / "mountinfo").read_text(), groups)
        there = (mount / "cgroup.controllers").read_text().split()
    except (OSError, LookupError):
        return Groups(None, notes=_lacking((), "this machine has no control groups of version 2"))
    if {"cpu", "memory"} & {name for line in groups.splitlines() for name in line.split(":")[1].split(",")}:
        why = "they are of version 1 here (systemd.unified_cgroup_hierarchy=1 on the kernel's command line)"
        return Groups(None, notes=_lacking((), why))
    unit = next((group for group in (own, own.parent) if _delegated(group)), None)
    if unit is None or own.name == ".control":  # what systemd starts beside a gateway that runs
        return Groups(None, notes=_lacking((), _DELEGATE))
    try:
        controllers = _prepare(unit, own)
    except OSError as error:
        why = _DELEGATE if error.errno == errno.EROFS else f"{unit}: {error.strerror}"
        return Groups(None, notes=_lacking((), why))
    switched_off = "memory is switched off in this kernel (cgroup_enable=memory on its command line)"
    why = _DELEGATE if "memory" in there else switched_off
    return Groups(unit / "scripts" if controllers else None, controllers, _lacking(controllers, why))


def placed(mounts: str, groups: str) -> tuple[Path, Path]:
    """Where groups of version 2 are mounted, and there the one of a process.

    `mounts` and `groups` are the texts of /proc/PID/mountinfo and /proc/PID/cgroup. Raises LookupError if it cannot be
    seen.
    """
    inside = next((line[3:] for line in groups.splitlines() if line.startswith("0::")), "")
    for line in mounts.splitlines():
        mount, _, system = line.partition(" - ")
        root, place = mount.split()[3:5]
        if system.startswith("cgroup2 ") and inside and PurePosixPath(inside).is_relative_to(root):
            return Path(place), Path(place, PurePosixPath(inside).relative_to(root))
    raise LookupError("no group of version 2")


def _prepare(unit: Path, own: Path) -> tuple[str, ...]:
    """Give the gateway and the scripts a group each; the controllers that hold beneath the latter. Raises OSError."""
    if own == unit:
        _move(unit, unit / "gateway")
    scripts = unit / "scripts"
    _clear(scripts)
    _enable(unit, CONTROLLERS)
    scripts.mkdir(exist_ok=True)
    holding = _enable(scripts, (scripts / "cgroup.controllers").read_text().split())
    if "cpu" in holding:
        (scripts / "cpu.weight").write_text(str(SCRIPTS_WEIGHT))
    return holding


def _move(unit: Path, to: Path) -> None:
    """All processes of a group into one beneath it."""
    to.mkdir(exist_ok=True)
    for _ in range(_TRIES):
        pids = (unit / "cgroup.procs").read_text().split()
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                (to / "cgroup.procs").write_text(pid)


def _enable(group: Path, wanted: Iterable[str]) -> tuple[str, ...]:
    """Let the groups beneath have these controllers; those of ours that they have."""
    control = group / "cgroup.subtree_control"
    for name in wanted:
        if name in CONTROLLERS:
            with suppress(FileNotFoundError):  # not among those of the group
                control.write_text(f"+{name}")
    return tuple(sorted(set(control.read_text().split()) & set(CONTROLLERS)))


def _clear(scripts: Path) -> None:
    with suppress(FileNotFoundError):
        for place in [place for place in scripts.iterdir() if place.is_dir()]:
            with suppress(OSError):
                (place / "cgroup.kill").write_text("1")
            Group(place).remove()
        _removed(scripts)


def _removed(place: Path) -> bool:
    """Remove an empty group; False if there is something in it. Raises OSError."""
    try:
        place.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def _delegated(group: Path) -> bool:
    for mark in _MARKS:
        with suppress(OSError):
            return os.getxattr(group, mark) == b"1"
    return False


def _lacking(controllers: tuple[str, ...], why: str) -> tuple[str, ...]:
    without = [words for name, words in CONTROLLERS.items() if name not in controllers]
    return (f"no {', no '.join(without)}: {why}",) if without else ()
