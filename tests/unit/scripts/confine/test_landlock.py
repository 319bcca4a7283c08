"""Landlock's rulesets for each of its versions, against a kernel that notes what it is told."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from gateway.scripts.confine import kernel, landlock

READ_FILE, READ_DIR, WRITE_FILE = 4, 8, 2
EXECUTE, MAKE_CHAR, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = 1, 1 << 6, 1 << 9, 1 << 10, 1 << 11, 1 << 12
IOCTL_DEV = 1 << 15


class Kernel:
    """One with this ABI of Landlock."""

    def __init__(self, abi: int) -> None:
        self.abi = abi
        self.ruleset = (0, 0, 0, 0)
        self.rules: dict[str, int] = {}
        self.sealed = False

    def call(self, name: str, *arguments: object) -> int:
        if name == "landlock_create_ruleset" and arguments[0] == 0:
            return self.abi
        if name == "landlock_create_ruleset":
            given, size, _ = arguments
            assert isinstance(given, landlock._Ruleset)
            self.ruleset = (given.files, given.network, given.scoped, int(str(size)))
            return os.open("/dev/null", os.O_RDONLY)
        if name == "landlock_add_rule":
            assert not self.sealed
            rule = arguments[2]
            assert isinstance(rule, landlock._Rule)
            self.rules[os.readlink(f"/proc/self/fd/{rule.place}")] = rule.allowed
        if name == "landlock_restrict_self":
            self.sealed = True
        return 0


def told(monkeypatch: pytest.MonkeyPatch, abi: int, readonly: list[str], files: list[tuple[str, bool]]) -> Kernel:
    """What a kernel of this ABI is told."""
    fake = Kernel(abi)
    monkeypatch.setattr(kernel, "call", fake.call)
    landlock.restrict(readonly, files)
    return fake


def test_the_structures_have_the_sizes_of_the_kernel() -> None:
    assert ctypes.sizeof(landlock._Ruleset) == 24
    assert ctypes.sizeof(landlock._Rule) == 12


@pytest.mark.parametrize(
    ("abi", "rights", "network", "scoped", "size"),
    [(1, 13, 0, 0, 8), (2, 14, 0, 0, 8), (3, 15, 0, 0, 8), (4, 15, 3, 0, 16), (5, 16, 3, 0, 16), (6, 16, 3, 3, 24)]
    + [(abi, 16, 3, 3, 24) for abi in (7, 8, 9)],
)
def test_all_that_a_version_can_forbid_is_forbidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, abi: int, rights: int, network: int, scoped: int, size: int
) -> None:
    (tmp_path / "file").touch()
    files = [(str(tmp_path), True), (str(tmp_path / "file"), True)]
    fake = told(monkeypatch, abi, ["/usr"], files)
    assert fake.ruleset == ((1 << rights) - 1, network, scoped, size)
    assert fake.sealed
    assert all(allowed & ~fake.ruleset[0] == 0 for allowed in fake.rules.values())


def test_reading_is_neither_writing_nor_running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fake = told(monkeypatch, 7, ["/usr"], [(str(tmp_path), False), (str(tmp_path / "file"), False)])
    assert fake.rules == {
        "/usr": READ_FILE | READ_DIR,
        str(tmp_path): READ_FILE | READ_DIR,
        str(tmp_path / "file"): READ_FILE,
    }


def test_what_may_be_written_makes_no_devices_and_no_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = told(monkeypatch, 7, [], [(str(tmp_path), True), ("/dev/null", True)])
    never = EXECUTE | MAKE_CHAR | MAKE_BLOCK | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | IOCTL_DEV
    assert fake.rules[str(tmp_path)] & never == 0
    assert fake.rules[str(tmp_path)] & WRITE_FILE
    assert fake.rules["/dev/null"] & READ_DIR == 0


def test_what_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    fake = Kernel(4)
    monkeypatch.setattr(kernel, "call", fake.call)
    said = landlock.restrict([str(tmp_path / "missing")], [(str(tmp_path / "link"), True)])
    missing, loop = os.strerror(errno.ENOENT), os.strerror(errno.ELOOP)
    assert said == f"ABI 4, without {tmp_path}/missing ({missing}), {tmp_path}/link ({loop})"
    assert fake.rules == {}


def test_a_rule_that_the_kernel_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(name: str, *given: object) -> int:
        if name == "landlock_add_rule":
            raise OSError(errno.EINVAL, "landlock_add_rule: Invalid argument")
        return os.open("/dev/null", os.O_RDONLY) if given[0] else 7

    monkeypatch.setattr(kernel, "call", call)
    with pytest.raises(OSError, match="landlock_add_rule"):
        landlock.restrict(["/usr"], [])
