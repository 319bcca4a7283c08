"""Namespaces: a worker's own users, network, processes, and a root in which there is nothing but what it was given.

The new root is a tmpfs with copies of the given trees hung into it, each restricted before it becomes visible. The
copies are taken before the tmpfs hangs over anything, so it can hang over a directory that always exists. It has no
/proc, /sys and /dev/shm; in the end it is read-only itself.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from gateway.scripts.confine import kernel
from gateway.scripts.confine.limits import only_descriptors

DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
"""All that a worker has of /dev."""

_OVER = "/tmp"
_ROOT_BYTES, _ROOT_FILES, _SCRATCH_FILES = 1 << 20, 1024, 256
_SEEN = kernel.READ_ONLY | kernel.NO_SET_ID | kernel.NO_DEVICES
_GIVEN = kernel.NO_SET_ID | kernel.NO_DEVICES | kernel.NO_PROGRAMS
_DEVICE = kernel.READ_ONLY | kernel.NO_SET_ID | kernel.NO_PROGRAMS


def new_user() -> None:
    """A user namespace in which only this process's own user exists; there it has every capability. Raises OSError.

    The maps of a process that is not dumpable belong to root, so until they are written this one is.
    """
    user, group = os.geteuid(), os.getegid()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    kernel.unshare(kernel.NEW_USERS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(text)


def new_nobody() -> None:
    """A user namespace in which no user exists at all: no id to change to, nothing to own, threads counted apart."""
    kernel.unshare(kernel.NEW_USERS)


def new_worlds() -> None:
    """Mounts, network, System V IPC and host name of one's own. Raises OSError."""
    kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_NETWORK | kernel.NEW_IPC | kernel.NEW_NAMES)


def new_processes(parent: int) -> tuple[int, int]:
    """Go on as the first process of a process namespace; what called stays outside and ends as this one ends.

    It dies with `parent`. Returns this process's id outside, and a descriptor that hangs up when the one outside dies.
    """
    kernel.unshare(kernel.NEW_PROCESSES)
    hear, tell = os.pipe()
    child = os.fork()
    if child:
        _stand_by(child, tell, parent)
    os.close(tell)
    outside = os.read(hear, 8)
    if not outside:
        os.close(hear)
        raise OSError(errno.ESRCH, "the process outside the namespace is gone")
    return int.from_bytes(outside, "little"), hear


def _stand_by(child: int, tell: int, parent: int) -> None:
    code = 1
    try:
        only_descriptors([tell])
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            os.write(tell, child.to_bytes(8, "little"))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            if -code not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
    finally:
        os._exit(code & 0xFF)


def hung_up(descriptor: int) -> bool:
    """Whether the other end is closed."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


def new_root(readonly: Iterable[str], files: Sequence[tuple[str, bool]], scratch_bytes: int, owner: int) -> str:
    """Make a root of the given paths only, and go there. It needs a mount namespace and CAP_SYS_ADMIN over it.

    `readonly` are trees that code may be loaded from; `files` are files and directories with whether they may be
    written, without a symbolic link in their path; `scratch_bytes` is the size of /tmp, 0 for none; `owner` is who may
    write there. What is missing is left out and named in what is returned. Raises OSError.
    """
    kernel.keep_mounts_private()
    missing: list[str] = []
    with ExitStack() as opened:
        trees: dict[str, int] = {}

        def take(path: str, restrictions: int, *, links: bool) -> None:
            try:
                trees[path] = _copy(path, restrictions, links=links)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP):
                    raise
                missing.append(f"{path} ({os.strerror(error.errno)})")
            else:
                opened.callback(os.close, trees[path])

        for path in _outermost(readonly):
            take(path, _SEEN, links=True)
        for path, writable in files:
            take(path, _GIVEN if writable else _GIVEN | kernel.READ_ONLY, links=False)
        for path in DEVICES:
            take(path, _DEVICE, links=True)
        if scratch_bytes:
            size = {"size": scratch_bytes, "nr_inodes": _SCRATCH_FILES}
            trees[_OVER] = kernel.new_tmpfs(**size, mode="0700", uid=owner)
            opened.callback(os.close, trees[_OVER])
        root = kernel.new_tmpfs(size=_ROOT_BYTES, nr_inodes=_ROOT_FILES, mode="0755")
        opened.callback(os.close, root)
        kernel.attach(root, _OVER)
        os.fchdir(root)
        for path in sorted(trees):
            _hang(path, trees[path])
        kernel.restrict_mount(root, kernel.READ_ONLY, recursive=False)
        kernel.change_root(root)
    return f"without {', '.join(missing)}" if missing else ""


def _copy(path: str, restrictions: int, *, links: bool) -> int:
    place = kernel.open_place(path, links=links)
    try:
        tree = kernel.clone_tree(place)
    finally:
        os.close(place)
    try:
        kernel.restrict_mount(tree, restrictions, recursive=True)
    except OSError:
        os.close(tree)
        raise
    return tree


def _outermost(paths: Iterable[str]) -> list[str]:
    """The paths without those beneath another one."""
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda path: PurePosixPath(path).parts):
        if not kept or not PurePosixPath(path).is_relative_to(kept[-1]):
            kept.append(path)
    return kept


def _hang(path: str, tree: int) -> None:
    """Hang a tree at its path beneath the working directory, over something that is made for it if need be."""
    place = Path(path.lstrip("/"))
    before = os.umask(0o022)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            place.mkdir(exist_ok=True)
        else:
            place.touch(exist_ok=True)
    finally:
        os.umask(before)
    kernel.attach(tree, str(place))
