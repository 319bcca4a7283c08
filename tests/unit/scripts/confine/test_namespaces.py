"""The new root, put together in a directory with mounts that are only noted."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.scripts.confine import kernel, namespaces


class Mounts:
    """A kernel that notes in which order mounts are made; its trees are what open_place opened."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: list[tuple[str, str, int]] = []
        self.names: dict[int, str] = {}

    def keep_mounts_private(self) -> None:
        self.steps.append(("private", "", 0))

    def clone_tree(self, place: int) -> int:
        tree = os.dup(place)
        self.names[tree] = os.readlink(f"/proc/self/fd/{place}")
        return tree

    def new_tmpfs(self, **options: int | str) -> int:
        tree = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        self.names[tree] = "tmpfs" if "nr_inodes" in options and "uid" in options else "root"
        return tree

    def restrict_mount(self, tree: int, attributes: int, *, recursive: bool) -> None:
        self.steps.append(("restrict", self.names[tree], attributes | (16 if recursive else 0)))

    def attach(self, tree: int, path: str) -> None:
        assert Path(path).exists()
        self.steps.append(("attach", f"{self.names[tree]} at {path}", 0))

    def change_root(self, tree: int) -> None:
        self.steps.append(("go", self.names[tree], 0))


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mounts:
    (tmp_path / "root").mkdir()
    fake = Mounts(tmp_path / "root")
    for name in ("keep_mounts_private", "clone_tree", "new_tmpfs", "restrict_mount", "attach", "change_root"):
        monkeypatch.setattr(kernel, name, getattr(fake, name))
    monkeypatch.chdir("/")
    return fake


def test_every_tree_is_restricted_before_it_is_seen(mounts: Mounts, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "table.csv").touch()
    code, data, table = (str(tmp_path / name) for name in ("code", "data", "table.csv"))
    before = len(os.listdir("/proc/self/fd"))
    assert namespaces.new_root([code], [(data, True), (table, False)], 1 << 20, 7) == ""
    assert len(os.listdir("/proc/self/fd")) == before
    restricted = [(name, bits) for step, name, bits in mounts.steps if step == "restrict"]
    assert restricted[:3] == [(code, 16 | 1 | 2 | 4), (data, 16 | 2 | 4 | 8), (table, 16 | 1 | 2 | 4 | 8)]
    attached = [name for step, name, _ in mounts.steps if step == "attach"]
    assert attached[0] == "root at /tmp"
    assert attached[1:] == sorted(attached[1:], key=lambda name: name.split(" at ")[1])
    assert f"{code} at {code[1:]}" in attached
    assert "tmpfs at tmp" in attached
    kinds = [step for step, _, _ in mounts.steps]
    assert kinds[0] == "private"
    assert kinds.index("attach") > max(
        i for i, (step, name, _) in enumerate(mounts.steps) if step == "restrict" and name != "root"
    )
    assert mounts.steps[-2:] == [("restrict", "root", 1), ("go", "root", 0)]
    assert (mounts.root / code[1:]).is_dir()
    assert (mounts.root / table[1:]).is_file()
    assert sorted(os.listdir(mounts.root / "dev")) == ["null", "urandom", "zero"]


def test_directories_can_be_crossed_whatever_the_mask(mounts: Mounts, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        namespaces.new_root(["/usr/lib"], [], 0, 7)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert (mounts.root / "usr/lib").stat().st_mode & 0o777 == 0o755


def test_what_is_missing_is_named_and_what_cannot_be_cloned_is_an_error(
    mounts: Mounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("/etc")
    said = namespaces.new_root([str(tmp_path / "no")], [(str(tmp_path / "link"), True)], 0, 7)
    missing, loop = os.strerror(errno.ENOENT), os.strerror(errno.ELOOP)
    assert said == f"without {tmp_path}/no ({missing}), {tmp_path}/link ({loop})"

    def clone_tree(place: int) -> int:
        raise OSError(errno.EPERM, "open_tree: Operation not permitted")

    monkeypatch.setattr(kernel, "clone_tree", clone_tree)
    with pytest.raises(OSError, match="open_tree"):
        namespaces.new_root(["/usr/lib"], [], 0, 7)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["/usr/lib/python3", "/usr/lib", "/usr/lib64"], ["/usr/lib", "/usr/lib64"]),
        (["/a/b", "/a-b", "/a", "/a"], ["/a", "/a-b"]),
        ([], []),
    ],
)
def test_a_tree_within_a_tree_is_hung_once(given: list[str], kept: list[str]) -> None:
    assert namespaces._outermost(given) == kept


def test_a_line_hangs_up_when_its_other_end_is_closed() -> None:
    hear, tell = os.pipe()
    assert not namespaces.hung_up(hear)
    os.close(tell)
    assert namespaces.hung_up(hear)
    os.close(hear)
