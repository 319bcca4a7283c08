"""Landlock: the files a worker may open, judged by the kernel at each opening, without any namespace.

What a right of a newer kernel would forbid is free on an older one. Landlock never judges looking at a file, its
permissions, owner or times: the filter does (gateway/scripts/confine/seccomp.py). Stock Raspberry Pi kernels have no
Landlock. Source: Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h of Linux 6.18.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

from gateway.scripts.confine import kernel

_EXECUTE, _WRITE, _READ, _LIST, _REMOVE_DIRECTORY, _REMOVE = 1, 2, 4, 8, 16, 32
_MAKE_DIRECTORY, _MAKE_FILE, _MOVE, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
_LOOK_IN = _READ | _LIST
_CHANGE = _WRITE | _REMOVE_DIRECTORY | _REMOVE | _MAKE_DIRECTORY | _MAKE_FILE | _MOVE | _TRUNCATE
_OF_A_FILE = _EXECUTE | _WRITE | _READ | _TRUNCATE
_VERSION = 1
_PATH_BENEATH = 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("place", ctypes.c_int32))


def version() -> int:
    """The ABI of this kernel's Landlock. Raises OSError: ENOSYS not built in, EOPNOTSUPP built in and switched off."""
    return kernel.call("landlock_create_ruleset", 0, 0, _VERSION)


def handled(abi: int) -> tuple[int, int, int, int]:
    """What this ABI can forbid of files, network and scope, as bits, and the size of the structure that says so."""
    files = {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    network, scoped = (3 if abi >= 4 else 0), (3 if abi >= 6 else 0)
    return (1 << files) - 1, network, scoped, 24 if abi >= 6 else 16 if abi >= 4 else 8


def restrict(readonly: Iterable[str], files: Iterable[tuple[str, bool]]) -> str:
    """From now on this thread opens only what is beneath these paths; of `files` what is true may be written.

    No TCP, no abstract socket and no signal leaves either, where the kernel's Landlock knows of them. It needs
    no_new_privs. A path that cannot be opened, or a link in one of `files`, is left out. Returns the ABI and what was
    left out; raises OSError.
    """
    abi = version()
    forbidden, network, scoped, size = handled(abi)
    ruleset = kernel.call("landlock_create_ruleset", _Ruleset(forbidden, network, scoped), size, 0)
    rules = [(path, _LOOK_IN, True) for path in readonly]
    rules += [(path, _LOOK_IN | _CHANGE if writable else _LOOK_IN, False) for path, writable in files]
    missing = []
    try:
        for path, rights, links in rules:
            try:
                place = kernel.open_place(path, links=links)
            except OSError as error:
                missing.append(f"{path} ({os.strerror(error.errno or 0)})")
                continue
            try:
                _allow(ruleset, place, rights & forbidden)
            finally:
                os.close(place)
        kernel.call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return f"ABI {abi}" + (f", without {', '.join(missing)}" if missing else "")


def _allow(ruleset: int, place: int, rights: int) -> None:
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        rights &= _OF_A_FILE
    kernel.call("landlock_add_rule", ruleset, _PATH_BENEATH, _Rule(rights, place), 0)
