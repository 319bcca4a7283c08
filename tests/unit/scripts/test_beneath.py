"""Opening beneath a directory: files and directories, and nothing else, whatever lies there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.scripts.beneath import open_beneath
from gateway.scripts.confine.confine import worker_user


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Path]:
    """A directory with what a hostile script would put there, beside a secret."""
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "in"
    (inside / "deep").mkdir(parents=True)
    (inside / "a").write_text("text")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "way").symlink_to(tmp_path)
    (inside / "near").symlink_to("a")
    os.mkfifo(inside / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    yield inside
    assert len(os.listdir("/proc/self/fd")) == before


def read(given: Path, path: str) -> bytes:
    """What `path` holds."""
    descriptor = open_beneath(str(given), path, os.O_RDONLY)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def test_files(given: Path) -> None:
    assert read(given, f"{given}/a") == b"text"
    assert read(given, f"{given}/deep/../a") == b"text"
    assert read(given / "a", f"{given}/a") == b"text"
    descriptor = open_beneath(str(given), f"{given}/deep/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, b"new")
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert (given / "deep" / "new").read_bytes() == b"new"
    assert (given / "deep" / "new").stat().st_mode & 0o137 == 0


def test_directories_can_be_listed(given: Path) -> None:
    for path in (str(given), f"{given}/"):
        descriptor = open_beneath(str(given), path, os.O_RDONLY | os.O_DIRECTORY)
        assert "a" in os.listdir(descriptor)
        os.close(descriptor)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("link", errno.ELOOP),
        ("near", errno.ELOOP),
        ("way/secret", errno.ELOOP),
        ("../secret", errno.EXDEV),
        ("deep/../../secret", errno.EXDEV),
        ("pipe", errno.EACCES),
        ("nothing", errno.ENOENT),
        ("a/b", errno.ENOTDIR),
        ("/etc/passwd", errno.EXDEV),
    ],
)
def test_no_way_out(given: Path, name: str, code: int) -> None:
    with pytest.raises(OSError, match=r".") as fault:
        read(given, f"{given}/{name}")
    assert fault.value.errno == code


@pytest.mark.parametrize("flags", [os.O_TMPFILE | os.O_RDWR, os.O_PATH, os.O_NOCTTY, os.O_SYNC, 1 << 30])
def test_flags_without_a_place_here(given: Path, flags: int) -> None:
    with pytest.raises(OSError, match="flags") as fault:
        open_beneath(str(given), f"{given}/a", flags)
    assert fault.value.errno == errno.EINVAL


def test_root_opens_as_the_user_of_scripts_and_anybody_else_as_himself(given: Path) -> None:
    uid, gid = worker_user()
    for above in (given, *given.parents[:3]):
        above.chmod(0o755)
    (given / "a").chmod(0o600)
    given.chmod(0o777)
    os.close(open_beneath(str(given), f"{given}/b", os.O_WRONLY | os.O_CREAT, (uid, gid)))
    made = (given / "b").stat()
    as_root = os.geteuid() == 0
    assert (made.st_uid, made.st_gid) == ((uid, gid) if as_root else (os.geteuid(), os.getegid()))
    with pytest.raises(PermissionError) if as_root else contextlib.nullcontext():
        os.close(open_beneath(str(given), f"{given}/a", os.O_RDONLY, (uid, gid)))
    assert read(given, f"{given}/a") == b"text", "root is root again"
