"""Files by name where no call may take a path (level C): the broker opens them.

`open`, `os.open`, `os.stat`, `os.listdir` and `os.scandir` ask the broker, and with them pathlib's open, read_text,
exists, iterdir, glob and the like; TLS reads its authorities through `open`, and ZoneInfo (Python's own) its zones.
Nothing can be renamed, removed or made but by opening, and says so. What a library in C opens itself, such as sqlite3
its database, cannot be had here.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import io
import os
import ssl
import stat
import struct
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import _zoneinfo  # type: ignore[attr-defined]

from gateway.scripts.confine.numbers import native


def _authorities() -> str:
    known = ssl.get_default_verify_paths()
    paths = (known.cafile, known.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt")
    return next((os.path.realpath(path) for path in paths if path and Path(path).is_file()), paths[-1])


AUTHORITIES = _authorities()
"""The machine's bundle of certificate authorities, found when this module is imported, before any wall is up."""
_STAT = {
    "x86_64": struct.Struct("=QQ Q II I 4x Q q q q qQqQqQ 24x"),
    "aarch64": struct.Struct("=QQ II I I Q 8x q i 4x q qQqQqQ 8x"),
}
"""struct stat of the kernel: dev, ino, then nlink and mode (aarch64: mode and nlink), uid, gid, rdev, size, blksize,
blocks, three times in s and ns. Source: include/uapi of arch/x86 and asm-generic, stat.h."""
_ENTRY, _NAME = struct.Struct("=16xHB"), 19
"""In struct linux_dirent64: the length of an entry and its type (DT_DIR and so on), and where its name begins."""
_KINDS = {stat.S_IFDIR >> 12, stat.S_IFREG >> 12, stat.S_IFLNK >> 12}
_IMPOSSIBLE = ("rename", "replace", "remove", "unlink", "rmdir", "mkdir", "link", "symlink", "truncate")
_ONLY_OPENED = (
    "isolation level C, all that this machine has, lets a script open files: it cannot rename or remove any, nor make "
    "directories"
)
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_LOAD: Any = ssl._ssl._SSLContext.load_verify_locations  # type: ignore[attr-defined]


def fstat(descriptor: int) -> os.stat_result:
    """os.fstat by fstat(2): the C library's takes a path, an empty one, which the kernel's filter cannot see."""
    layout = _STAT[os.uname().machine]
    found = ctypes.create_string_buffer(layout.size)
    _call("fstat", descriptor, found)
    device, inode, one, two, uid, gid, rdev, size, block, blocks, *times = layout.unpack(found.raw)
    links, mode = (one, two) if os.uname().machine == "x86_64" else (two, one)
    seconds, fractions = times[::2], times[1::2]
    exact: dict[str, Any] = {"st_blksize": block, "st_blocks": blocks, "st_rdev": rdev}
    for name, second, fraction in zip(("st_atime", "st_mtime", "st_ctime"), seconds, fractions, strict=True):
        exact[name], exact[f"{name}_ns"] = second + fraction * 1e-9, second * 1_000_000_000 + fraction
    return os.stat_result((mode, inode, device, links, uid, gid, size, *seconds), exact)


def entries(directory: int) -> list[tuple[bytes, int]]:
    """What is in a directory, and of what type, by getdents64(2): the C library looks at a directory first, by that
    same path.
    """
    found: list[tuple[bytes, int]] = []
    buffer = ctypes.create_string_buffer(32 * 1024)
    while size := _call("getdents64", directory, buffer, len(buffer)):
        data, at = buffer.raw[:size], 0
        while at < size:
            length, kind = _ENTRY.unpack_from(data, at)
            found.append((data[at + _NAME : at + length].split(b"\0", 1)[0], kind))
            at += length
    return [(name, kind) for name, kind in found if name not in (b".", b"..")]


def _call(name: str, *arguments: Any) -> int:
    machine = native()
    if machine is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(_LIBC.syscall(ctypes.c_long(machine.numbers[name]), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class Entry(os.PathLike[str]):
    """An os.DirEntry. What the kernel does not tell of it with its name, `stat` does."""

    def __init__(self, directory: str, name: str, kind: int) -> None:
        self.name, self.path, self._kind = name, os.path.join(directory, name), kind  # noqa: PTH118

    def __fspath__(self) -> str:
        return self.path

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """See os.DirEntry."""
        return os.stat(self.path, follow_symlinks=follow_symlinks)  # noqa: PTH116

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """See os.DirEntry."""
        return self._is(stat.S_IFDIR)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """See os.DirEntry."""
        return self._is(stat.S_IFREG)

    def is_symlink(self) -> bool:
        """See os.DirEntry."""
        return self._kind == stat.S_IFLNK >> 12

    def _is(self, wanted: int) -> bool:
        if self._kind in _KINDS:
            return self._kind == wanted >> 12
        try:
            return stat.S_IFMT(self.stat().st_mode) == wanted
        except OSError:
            return False


class Entries:
    """What os.scandir gives."""

    def __init__(self, found: list[Entry]) -> None:
        self._found = iter(found)

    def __iter__(self) -> Iterator[Entry]:
        return self._found

    def __next__(self) -> Entry:
        return next(self._found)

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See os.scandir."""
        self._found = iter(())


class Files:
    """The functions that take the place of those that open files by name."""

    def __init__(self, opened: Callable[[str, int], int]) -> None:
        self._opened = opened
        self._open, self._stat = io.open, os.stat

    def install(self) -> None:
        """From now on."""
        places: list[Any] = [builtins, io]
        for place in places:
            place.open = self.open
        system: Any = os
        system.open, system.stat, system.listdir, system.fstat = self.os_open, self.stat, self.listdir, fstat
        system.scandir = self.scandir
        for name in _IMPOSSIBLE:
            setattr(system, name, _impossible)
        zones: Any = zoneinfo
        zones.ZoneInfo = _zoneinfo.ZoneInfo
        context: Any = ssl.SSLContext
        context.load_verify_locations = lambda given, *where, **named: self.load_verify_locations(
            given, *where, **named
        )
        context.load_default_certs = lambda given, *_, **__: self.load_verify_locations(given, AUTHORITIES)

    def open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        """open: as ever, but the broker opens what is given by name."""
        by_name = opener is None and not isinstance(file, int)
        return self._open(
            file, mode, buffering, encoding, errors, newline, closefd, self._by_name if by_name else opener
        )

    def os_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """os.open: what is made is for its owner to write and its group to read, whatever `mode` says."""
        if dir_fd is not None:
            raise PermissionError(errno.EACCES, "files cannot be opened by dir_fd here: give the whole path")
        return self._by_name(path, flags)

    def stat(self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        """os.stat: of what can be opened for reading."""
        if isinstance(path, int):
            return fstat(path)
        if dir_fd is not None:
            return self._stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        with _Closing(self._by_name(path, os.O_RDONLY)) as opened:
            return fstat(opened)

    def listdir(self, path: Any = ".") -> list[Any]:
        """os.listdir."""
        found = [name for name, _ in self._entries(path)]
        return found if isinstance(path, bytes) else [os.fsdecode(name) for name in found]

    def scandir(self, path: Any = ".") -> Entries:
        """os.scandir, with names as text."""
        where = "" if isinstance(path, int) else os.fsdecode(path)
        return Entries([Entry(where, os.fsdecode(name), kind) for name, kind in self._entries(path)])

    def _entries(self, path: Any) -> list[tuple[bytes, int]]:
        if isinstance(path, int):
            return entries(path)
        with _Closing(self._by_name(path, os.O_RDONLY | os.O_DIRECTORY)) as opened:
            return entries(opened)

    def load_verify_locations(
        self, context: Any, cafile: Any = None, capath: Any = None, cadata: str | bytes | None = None
    ) -> None:
        """SSLContext.load_verify_locations: `cafile` is read as any file; a directory cannot be searched here."""
        if cafile is not None:
            with self.open(cafile, "rb") as stream:
                text = stream.read().decode("ascii", "ignore")  # between certificates there may be names
            _LOAD(context, cadata=text)
        if cadata is not None:
            _LOAD(context, cadata=cadata)

    def _by_name(self, path: Any, flags: int) -> int:
        # The current directory is always /.
        name = os.fsdecode(path)
        return self._opened(os.path.normpath(name if name.startswith("/") else f"/{name}"), flags)


def _impossible(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.EOPNOTSUPP, _ONLY_OPENED)


class _Closing:
    """A descriptor that is closed afterwards."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
