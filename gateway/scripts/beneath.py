"""Opening a file for somebody else, beneath a directory that he was given, whatever he has put there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from gateway.scripts.confine import kernel

_MODE = 0o640
_MAY = os.O_ACCMODE | os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY


def open_beneath(given: str, path: str, flags: int, whose: tuple[int, int] | None = None) -> int:
    """A descriptor of `path`, which is `given` or beneath it, both absolute; `given` itself has no link in it.

    Only a file or directory is opened, through no link, and nothing above `given`; what is made is for the owner to
    write and the group to read. Root opens what is in a directory as the user and group of `whose`, as a worker that
    opens for itself does: what it makes is theirs, and what they may not read stays shut. Raises OSError, with EINVAL
    for flags that have no place here, and EXDEV for "..".
    """
    if flags & ~_MAY:
        raise OSError(errno.EINVAL, f"flags 0o{flags & ~_MAY:o} of open are not possible here")
    above, name = os.path.split(given) if path == given else (given, path[len(given) + 1 :])
    directory = kernel.open_plain(above, os.O_PATH | os.O_DIRECTORY)
    try:
        with _as(whose if path != given else None):
            found = kernel.open_plain(name, flags | os.O_NONBLOCK, _MODE if flags & os.O_CREAT else 0, directory)
    finally:
        os.close(directory)
    kind = os.fstat(found).st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        os.close(found)
        raise OSError(errno.EACCES, "neither a file nor a directory")
    return found


@contextlib.contextmanager
def _as(whose: tuple[int, int] | None) -> Iterator[None]:
    """Let this thread, and no other, open files as this user and group; setfsuid(2) takes root's powers, too."""
    if whose is None or os.geteuid() != 0:
        yield
        return
    try:
        kernel.call("setfsgid", whose[1])
        kernel.call("setfsuid", whose[0])
        if kernel.call("setfsuid", -1) != whose[0] or kernel.call("setfsgid", -1) != whose[1]:
            raise OSError(errno.EPERM, "not as the user of scripts")
        yield
    finally:
        kernel.call("setfsuid", 0)
        kernel.call("setfsgid", 0)
