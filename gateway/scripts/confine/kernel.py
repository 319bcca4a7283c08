"""The system calls that build the walls and that Python 3.11 has no function for.

Each raises OSError whose text names the call. Mounts are made with the calls of Linux 5.12 (fsopen, open_tree,
move_mount, mount_setattr): a tree is cloned and restricted while it hangs nowhere, so that there is no moment when it
is visible and not yet read-only, and restrictions that it already has stay. Sources: the manual pages of these calls
and include/uapi/linux/{mount,capability,prctl,sched}.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from gateway.scripts.confine.numbers import native

NEW_MOUNTS, NEW_NAMES, NEW_IPC, NEW_USERS, NEW_PROCESSES, NEW_NETWORK = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
"""CLONE_NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of `unshare`."""

READ_ONLY, NO_SET_ID, NO_DEVICES, NO_PROGRAMS = 1, 2, 4, 8
"""MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC of a mount."""

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 1, 4, 24, 28
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_SET_MDWE = 38, 47, 65
PR_CAP_AMBIENT_CLEAR_ALL, PR_MDWE_REFUSE_EXEC_GAIN = 4, 1

_HERE = -100
_EMPTY_PATH, _RECURSIVE = 0x1000, 0x8000
_CLONE_TREE, _CLOSE_ON_EXEC = 1, 0o2000000
_FROM_EMPTY_PATH = 4
_PRIVATE = 1 << 18
_SET_STRING, _CREATE = 1, 6
_DETACH = 2
_JOIN_SESSION = 1
_CAPABILITY_VERSION = 0x20080522

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def call(name: str, *arguments: int | bytes | ctypes.Structure | ctypes.Array[ctypes.c_uint32]) -> int:
    """The result of a system call; structures are passed by reference. Raises OSError with the call's name."""
    machine = native()
    if machine is None or name not in machine.numbers:
        raise OSError(errno.ENOSYS, f"{name}: {os.strerror(errno.ENOSYS)}")
    given = [_word(argument) for argument in arguments]
    result = int(_LIBC.syscall(ctypes.c_long(machine.numbers[name]), *given))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def _word(argument: object) -> object:
    if isinstance(argument, int):
        return ctypes.c_long(argument)
    if isinstance(argument, bytes):
        return ctypes.c_char_p(argument)
    return ctypes.byref(argument)  # type: ignore[arg-type]


def prctl(option: int, *arguments: int) -> int:
    """What prctl(2) answers; arguments that are left out are 0."""
    return call("prctl", option, *arguments, *(0,) * (4 - len(arguments)))


def unshare(what: int) -> None:
    """Leave the namespaces of these kinds for new ones of one's own."""
    call("unshare", what)


def new_keyring() -> None:
    """An empty session keyring in place of the one inherited."""
    call("keyctl", _JOIN_SESSION, 0)


def open_place(path: str, *, links: bool) -> int:
    """A descriptor that names a file or directory and reads nothing; with `links` false no part of it may be a link."""
    return os.open(path, os.O_PATH) if links else open_plain(path, os.O_PATH)


def open_plain(path: str, flags: int, mode: int = 0, directory: int | None = None) -> int:
    """What open(2) gives for a path without any link. Raises OSError: ELOOP for a link, EXDEV for what leads out.

    It goes from `directory`, or the root, step by step, each held open, so that nobody can put a link in its way. This
    is openat2(2), without openat2(2): RestrictSUIDSGID= in a systemd unit forbids that.
    """
    if directory is not None and path.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    *above, last = [part for part in path.split("/") if part not in ("", ".")] or ["."]
    if last == "..":
        above, last = [*above, last], "."
    way = [os.open("/", os.O_PATH) if directory is None else os.dup(directory)]
    try:
        for part in above:
            if part != "..":
                way.append(_step(way[-1], part, os.O_PATH, 0))
            elif len(way) > 1:
                os.close(way.pop())
            else:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return _step(way[-1], last, flags, mode)
    finally:
        for place in way:
            os.close(place)


def _step(place: int, part: str, flags: int, mode: int) -> int:
    found = os.open(part, flags | os.O_NOFOLLOW, mode, dir_fd=place)
    if flags & os.O_PATH and stat.S_ISLNK(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return found


def clone_tree(place: int) -> int:
    """The mounts at and below a place once more, hanging nowhere: a descriptor for `attach`."""
    flags = _CLONE_TREE | _CLOSE_ON_EXEC | _EMPTY_PATH | _RECURSIVE
    return call("open_tree", place, b"", flags)


def new_tmpfs(**options: int | str) -> int:
    """A new file system in memory, hanging nowhere: a descriptor for `attach`."""
    context = call("fsopen", b"tmpfs", 1)
    try:
        for key, value in options.items():
            call("fsconfig", context, _SET_STRING, key.encode(), str(value).encode(), 0)
        call("fsconfig", context, _CREATE, 0, 0, 0)
        return call("fsmount", context, 1, NO_SET_ID | NO_DEVICES | NO_PROGRAMS)
    finally:
        os.close(context)


def attach(tree: int, path: str) -> None:
    """Hang a tree over a file or directory."""
    call("move_mount", tree, b"", _HERE, os.fsencode(path), _FROM_EMPTY_PATH)


class _Attributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "users"))


def restrict_mount(tree: int, attributes: int, *, recursive: bool) -> None:
    """Add restrictions to a mount, or to all mounts of a tree."""
    given = _Attributes(attributes, 0, 0, 0)
    flags = _EMPTY_PATH | (_RECURSIVE if recursive else 0)
    call("mount_setattr", tree, b"", flags, given, ctypes.sizeof(given))


def keep_mounts_private() -> None:
    """From now on no mount appears here that others make, nor theirs that are made here."""
    given = _Attributes(0, 0, _PRIVATE, 0)
    call("mount_setattr", _HERE, b"/", _RECURSIVE, given, ctypes.sizeof(given))


def change_root(tree: int) -> None:
    """Make an attached tree the root and let go of everything else that is mounted."""
    os.fchdir(tree)
    call("pivot_root", b".", b".")
    call("umount2", b".", _DETACH)
    os.chdir("/")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


def capabilities() -> tuple[int, int, int]:
    """The effective, permitted and inheritable capabilities of this thread, as bits."""
    sets = (ctypes.c_uint32 * 6)()
    call("capget", _Header(_CAPABILITY_VERSION, 0), sets)
    low, high = list(sets)[:3], list(sets)[3:]
    return low[0] | high[0] << 32, low[1] | high[1] << 32, low[2] | high[2] << 32


def drop_capabilities() -> None:
    """No capability is left, nor comes back, even by a program of root's."""
    call("capset", _Header(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)())
