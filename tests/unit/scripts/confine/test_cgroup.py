"""Control groups, on a tree of files that obeys the rules of the kernel's; the kernel's own is in tests/hil."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from gateway.scripts.confine import cgroup
from gateway.scripts.confine.cgroup import Group, Groups
from gateway.scripts.confine.limits import THREADS, resident_bytes

GATEWAY = "71"
FILES = {
    "cpu": {"cpu.weight": "100"},
    "memory": {"memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0", "memory.events": "oom_kill 0\n"},
    "pids": {"pids.max": "max"},
}
ALL = "cpuset cpu io memory pids"
NOTHING = "no CPU weight, no memory cgroup, no process count: "
NOT_DELEGATED = f"{NOTHING}not delegated (Delegate=cpu memory pids and ProtectControlGroups=no in the unit)"


class Tree:
    """What the kernel makes of directories and files beneath `root`, with the gateway alone in UNIT."""

    def __init__(self, root: Path, controllers: str) -> None:
        self.root = root
        self.marked: set[Path] = set()
        self.read_only = False
        self._mkdir, self._write = Path.mkdir, Path.write_text
        root.mkdir()
        self._fill(root, controllers)
        self._write(root / "cgroup.subtree_control", controllers)
        self.unit = root / "system.slice" / "UNIT"
        self.mkdir(self.unit.parent)
        self._write(self.unit.parent / "cgroup.subtree_control", controllers)
        self.mkdir(self.unit)
        self._write(self.unit / "cgroup.procs", f"{GATEWAY}\n")

    def process(self, own: Path) -> Path:
        """The gateway's directory in /proc, when it is in this group."""
        place = self.root.parent / "process"
        self._mkdir(place)
        mounts = (
            f"25 1 8:1 / / rw - ext4 /dev/sda rw\n30 25 0:26 / {self.root} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
        )
        self._write(place / "mountinfo", mounts)
        self._write(place / "cgroup", f"0::/{own.relative_to(self.root)}\n")
        return place

    def mkdir(self, place: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if exist_ok and place.exists():
            return
        self._mkdir(place)
        self._fill(place, (place.parent / "cgroup.subtree_control").read_text())

    def write(self, place: Path, text: str) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not place.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if place.name == "cgroup.subtree_control":
            self._enable(place.parent, text.removeprefix("+"))
        elif place.name == "cgroup.procs":
            for procs in self.root.rglob("cgroup.procs"):
                self._write(procs, procs.read_text().replace(f"{text}\n", ""))
            self._write(place, place.read_text() + f"{text}\n")
        elif place.name == "cgroup.kill":
            self._write(place.parent / "cgroup.procs", "")
        else:
            self._write(place, text)

    def rmdir(self, place: Path) -> None:
        if (place / "cgroup.procs").read_text() or any(path.is_dir() for path in place.iterdir()):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        shutil.rmtree(place)

    def getxattr(self, place: Path, name: str) -> bytes:
        if place not in self.marked or name != "user.delegate":
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return b"1"

    def of(self, place: Path) -> list[str]:
        return (place / "cgroup.procs").read_text().split()

    def _fill(self, place: Path, controllers: str) -> None:
        usual = {"cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.events": "populated 0\n", "cgroup.kill": ""}
        files = usual | {"cgroup.controllers": controllers}
        for name in controllers.split():
            files |= FILES.get(name, {})
        for name, text in files.items():
            self._write(place / name, text)

    def _enable(self, group: Path, name: str) -> None:
        if name not in (group / "cgroup.controllers").read_text().split():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if self.of(group):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        control = group / "cgroup.subtree_control"
        self._write(control, f"{control.read_text()} {name}")
        for child in [place for place in group.iterdir() if place.is_dir()]:
            for file, text in FILES.get(name, {}).items():
                self._write(child / file, text)


def grown(monkeypatch: pytest.MonkeyPatch, directory: Path, controllers: str = ALL) -> Tree:
    """A tree, in place of what Path does."""
    tree = Tree(directory / "cgroup", controllers)
    monkeypatch.setattr(Path, "mkdir", lambda place, **how: tree.mkdir(place, **how))
    monkeypatch.setattr(Path, "write_text", lambda place, text: tree.write(place, text))
    monkeypatch.setattr(Path, "rmdir", lambda place: tree.rmdir(place))
    monkeypatch.setattr(os, "getxattr", tree.getxattr)
    return tree


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tree:
    return grown(monkeypatch, tmp_path)


@pytest.fixture
def groups(tree: Tree) -> Groups:
    tree.marked.add(tree.unit)
    return cgroup.take(tree.process(tree.unit))


UNIFIED = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
HYBRID = (
    "31 25 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


@pytest.mark.parametrize(
    ("mounts", "groups", "found"),
    [
        (UNIFIED, "0::/system.slice/s.service\n", ("/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/s.service")),
        (UNIFIED, "0::/\n", ("/sys/fs/cgroup", "/sys/fs/cgroup")),
        (HYBRID, "4:memory:/a\n0::/b\n", ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/b")),
        (UNIFIED.replace(" / ", " /pod ", 1), "0::/pod/c\n", ("/sys/fs/cgroup", "/sys/fs/cgroup/c")),
    ],
)
def test_the_gateways_own_group_is_found_where_it_is_mounted(mounts: str, groups: str, found: tuple[str, str]) -> None:
    assert cgroup.placed(mounts, groups) == tuple(map(Path, found))


@pytest.mark.parametrize(
    ("mounts", "groups"),
    [
        ("", "0::/a\n"),
        (HYBRID.rpartition("41")[0], "0::/a\n"),
        (UNIFIED, "4:memory:/a\n"),
        (UNIFIED.replace(" / ", " /pod ", 1), "0::/elsewhere\n"),
        (UNIFIED.replace(" / ", " /pod ", 1), "0::/../outside\n"),
    ],
)
def test_a_group_that_cannot_be_seen_is_none(mounts: str, groups: str) -> None:
    with pytest.raises(LookupError):
        cgroup.placed(mounts, groups)


def test_gateway_and_scripts_part_where_systemd_lets_them(tree: Tree, groups: Groups) -> None:
    assert groups.controllers == ("cpu", "memory", "pids")
    assert groups.notes == ()
    assert (tree.of(tree.unit), tree.of(tree.unit / "gateway")) == ([], [GATEWAY])
    assert (tree.unit / "scripts" / "cpu.weight").read_text() == "10"
    assert (tree.unit / "gateway" / "cpu.weight").read_text() == "100"


def test_a_gateway_that_was_started_in_a_group_of_its_own_stays_there(tree: Tree) -> None:
    own = tree.unit / "main"
    tree.mkdir(own)
    tree.write(own / "cgroup.procs", GATEWAY)
    tree.marked.add(tree.unit)
    assert cgroup.take(tree.process(own)).controllers == ("cpu", "memory", "pids")
    assert tree.of(own) == [GATEWAY]
    assert (tree.unit / "scripts").is_dir()
    assert not (tree.unit / "gateway").exists()


def test_a_command_beside_a_running_gateway_leaves_its_groups_alone(tree: Tree, groups: Groups) -> None:
    assert groups.make() is not None
    own = tree.unit / ".control"
    tree.mkdir(own)
    (tree.root.parent / "process").rename(tree.root.parent / "gateway's")
    assert cgroup.take(tree.process(own)).notes == (NOT_DELEGATED,)
    assert (tree.unit / "scripts" / "1").is_dir()


def test_what_is_not_delegated_is_not_touched(tree: Tree) -> None:
    before = sorted(tree.root.rglob("*"))
    groups = cgroup.take(tree.process(tree.unit))
    assert groups.notes == (NOT_DELEGATED,)
    assert (groups.controllers, groups.make()) == ((), None)
    groups.clear()
    assert sorted(tree.root.rglob("*")) == before
    assert tree.of(tree.unit) == [GATEWAY]


def test_groups_of_version_1_are_named_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tree = grown(monkeypatch, tmp_path, "hugetlb")
    tree.marked.add(tree.unit)
    process = tree.process(tree.unit)
    with (process / "cgroup").open("a") as file:
        file.write("9:name=systemd:/\n4:cpu,cpuacct:/a\n")
    (note,) = cgroup.take(process).notes
    assert note.startswith(f"{NOTHING}they are of version 1 here")
    assert tree.of(tree.unit) == [GATEWAY]


def test_a_machine_without_groups_is_told_of(tmp_path: Path) -> None:
    assert cgroup.take(tmp_path).notes == (f"{NOTHING}this machine has no control groups of version 2",)


def test_a_kernel_with_memory_switched_off_gives_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tree = grown(monkeypatch, tmp_path, "cpu pids")
    tree.marked.add(tree.unit)
    groups = cgroup.take(tree.process(tree.unit))
    assert groups.controllers == ("cpu", "pids")
    assert groups.notes == (
        "no memory cgroup: memory is switched off in this kernel (cgroup_enable=memory on its command line)",
    )
    group = groups.make()
    assert group is not None
    assert (group.place / "pids.max").read_text() == f"{THREADS}"
    group.admit(os.getpid(), 64 << 20)
    assert group.holds(os.getpid())


def test_a_tree_that_is_read_only_is_not_delegated(tree: Tree) -> None:
    tree.marked.add(tree.unit)
    process = tree.process(tree.unit)
    tree.read_only = True
    groups = cgroup.take(process)
    assert (groups.notes, groups.make()) == ((NOT_DELEGATED,), None)


def test_a_tree_that_somebody_else_uses_is_told_of(tree: Tree) -> None:
    tree.marked.add(tree.unit)
    own = tree.unit / "main"
    tree.mkdir(own)
    (note,) = cgroup.take(tree.process(own)).notes
    assert note == f"{NOTHING}{tree.unit}: Device or resource busy"


def test_what_an_earlier_gateway_has_left_is_ended_and_removed(tree: Tree, groups: Groups) -> None:
    left = [groups.make(), groups.make()]
    assert left[0] is not None
    tree.write(left[0].place / "cgroup.procs", "99")
    cgroup.take(tree.root.parent / "process")
    assert [path.name for path in (tree.unit / "scripts").iterdir() if path.is_dir()] == []


def test_a_worker_has_a_group_with_limits(tree: Tree, groups: Groups) -> None:
    group, other = groups.make(), groups.make()
    assert group is not None
    assert other is not None
    assert group.place != other.place
    limits = {name: (group.place / name).read_text() for name in ("pids.max", "memory.swap.max", "memory.oom.group")}
    assert limits == {"pids.max": f"{THREADS}", "memory.swap.max": "0", "memory.oom.group": "1"}


def test_who_is_taken_in_has_his_memory_on_top_of_what_he_has(tree: Tree, groups: Groups) -> None:
    group = groups.make()
    assert group is not None
    group.admit(os.getpid(), 64 << 20)
    most = int((group.place / "memory.max").read_text())
    assert abs(most - (64 << 20) - resident_bytes(os.getpid())) < 4 << 20
    assert group.holds(os.getpid())
    assert not group.holds(int(GATEWAY))


@pytest.mark.parametrize(("events", "starved"), [("low 0\noom 3\noom_kill 0\n", False), ("oom 1\noom_kill 1\n", True)])
def test_the_kernels_count_says_whether_it_ran_out_of_memory(tree: Tree, events: str, starved: bool) -> None:
    group = Group(tree.unit)
    assert not group.out_of_memory()
    tree.write(tree.unit / "memory.events", events)
    assert group.out_of_memory() == starved


def test_a_group_is_removed_once_it_is_empty(tree: Tree, groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_PATIENCE_MS", 1)
    group = groups.make()
    assert group is not None
    tree.write(group.place / "cgroup.procs", "99")
    assert not group.remove()
    tree.write(tree.unit / "gateway" / "cgroup.procs", "99")
    assert group.remove()
    assert not group.place.exists()
    assert group.remove(), "gone is gone"
    assert not group.out_of_memory()
    assert not group.holds(99)


def test_in_the_end_nothing_is_left(tree: Tree, groups: Groups) -> None:
    group = groups.make()
    assert group is not None
    tree.write(group.place / "cgroup.procs", "99")
    groups.clear()
    assert not (tree.unit / "scripts").exists()
    assert tree.of(tree.unit / "gateway") == [GATEWAY]
