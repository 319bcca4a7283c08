"""How much a script may leave on the disk: bytes and files of the directories that it may write, counted from outside.

Nothing in the kernel counts for one process among others of its user, so the gateway counts every two seconds. Between
two counts it asks the file system ten times a second what is free, which costs microseconds, and counts at once when
that has become less by more than the action may still write. So on ext4 and tmpfs, which tell at once, no more than
what the disk takes in a tenth of a second, and while it is counted, comes on top of the quota; file systems that tell
late (btrfs, xfs) leave it at two seconds. One file never grows beyond the quota (RLIMIT_FSIZE).

Counted is what came since the gateway started: what lay there before is the customer's own. A worker that is killed and
started again has the same quota as before.

What cannot be counted is as good as too much: a script must not hide files where the gateway cannot list them. A file
that is deleted and still open is in no directory; so a disk that runs full while a script may write on it is a reason,
too, whoever fills it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import NamedTuple

from gateway.scripts.aside import Aside
from gateway.scripts.messages import escaped

MOST_BYTES, MOST_FILES = 16 << 20, 1000
MOST_BEFORE = 5000
"""Files that may lie there before: all are counted every time."""
FREE_BYTES = 64 << 20
"""What must stay free on the disk."""
GLANCE_S, GLANCES = 0.1, 20
"""From one glance at what is free to the next, and how many of them from one count to the next."""


_LONGEST = 200
"""Characters of a path in a message: names that a script chose."""


class Free(NamedTuple):
    """What a file system has left."""

    size_bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes and number of files and directories; `hidden` are those that could not be listed, `reason` says why."""

    size_bytes: int = 0
    files: int = 0
    hidden: frozenset[str] = frozenset()
    reason: str = ""


class Quota:
    """The quota of one action, for as long as the gateway runs. It looks at the disk when it is made.

    `paths` are the files and directories that the script may write. Raises ValueError with a sentence if one holds more
    files than can be counted again and again.
    """

    def __init__(self, paths: Sequence[str], max_bytes: int = MOST_BYTES, max_files: int = MOST_FILES) -> None:
        self._paths, self._max_bytes, self._max_files = tuple(paths), max_bytes, max_files
        self._before = {path: usage(path, MOST_BEFORE) for path in paths}
        self._free = self._seen = {path: _free(path) for path in paths}
        self._left = Free(max_bytes, max_files)
        for path, before in self._before.items():
            if before.files > MOST_BEFORE:
                raise ValueError(
                    f"{path} holds more than {MOST_BEFORE} files: give the script a directory of its own in it"
                )

    def look(self) -> str | None:
        """What is too much, in a sentence, or None. It reads the disk."""
        size_bytes = files = 0
        self._seen = {path: _free(path) for path in self._paths}
        for path in self._paths:
            before = self._before[path]
            now = usage(path, before.files + self._max_files)
            if now.hidden - before.hidden:
                where = escaped(min(now.hidden - before.hidden), _LONGEST)
                return f"disk quota cannot be counted: {where}: {now.reason}"
            size_bytes, files = size_bytes + now.size_bytes - before.size_bytes, files + now.files - before.files
        where = ", ".join(self._paths)
        if files > self._max_files:
            return f"disk quota exceeded: more than {self._max_files} files in {where} (max_files)"
        if size_bytes > self._max_bytes:
            allowed = f"{_megabytes(self._max_bytes)} allowed (max_disk_mb)"
            return f"disk quota exceeded: {_megabytes(size_bytes)} in {where}, {allowed}"
        self._left = Free(self._max_bytes - size_bytes, self._max_files - files)
        for path, seen in self._seen.items():
            free = seen.size_bytes
            if free < FREE_BYTES and self._free[path].size_bytes - free > self._max_bytes:
                return f"the disk of {path} runs full: {_megabytes(free)} free, {_megabytes(FREE_BYTES)} must be"
        return None

    def stale(self) -> bool:
        """Whether more than was left at the last look may have been written since, by whomever. It reads little."""
        for path, seen in self._seen.items():
            free = _free(path)
            if any(before - now > left for before, now, left in zip(seen, free, self._left, strict=True)):
                return True
        return False

    async def exceeded(self) -> str:
        """Return the sentence as soon as there is one; look in a thread, every two seconds or when it is stale."""
        aside, over = Aside(1), Event()
        try:
            while (sentence := await aside.do(self.look)) is None:
                await aside.do(lambda: self._wait(over))
            return sentence
        finally:
            over.set()
            aside.close()

    def _wait(self, over: Event) -> None:
        for _ in range(GLANCES):
            if over.wait(GLANCE_S) or self.stale():
                return


def usage(path: str, most_files: int) -> Usage:
    """What lies at and beneath a path; counting ends after `most_files` of them. No link is followed.

    A file counts with what it has on the disk or with its length, whichever is more.
    """
    size_bytes, files, hidden, reason = 0, 0, set(), ""
    waiting: list[str] = []
    try:
        top = os.lstat(path)
        size_bytes = _size(top)
        waiting = [path] if stat.S_ISDIR(top.st_mode) else []
    except FileNotFoundError:
        pass
    while waiting and files <= most_files:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    files += 1
                    if files > most_files:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    size_bytes += _entry(entry)
        except FileNotFoundError:
            continue
        except OSError as error:
            hidden.add(directory)
            reason = error.strerror or str(error)
    return Usage(size_bytes, files, frozenset(hidden), reason)


def _entry(entry: os.DirEntry[str]) -> int:
    try:
        return _size(entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return 0


def _size(found: os.stat_result) -> int:
    return max(found.st_size, found.st_blocks * 512)


def _free(path: str) -> Free:
    try:
        found = os.statvfs(path)
    except OSError:
        return Free(1 << 62, 1 << 62)
    return Free(found.f_bavail * found.f_frsize, found.f_favail)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.3g} MB"
