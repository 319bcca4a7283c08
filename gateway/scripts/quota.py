"""How much a script may leave on the disk: bytes and files of the directories that it may write, counted from outside.

Nothing in the kernel counts for one process among others of its user, so the gateway looks every two seconds; between
two looks the limit of a single file (RLIMIT_FSIZE) holds. Counted is what came since the gateway started: what lay
there before is the customer's own. A worker that is killed and started again has the same quota as before.

What cannot be counted is as good as too much: a script must not hide files where the gateway cannot list them. A file
that is deleted and still open is in no directory; so a disk that runs full while a script may write on it is a reason,
too, whoever fills it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.scripts.aside import Aside

MOST_BYTES, MOST_FILES = 16 << 20, 1000
MOST_BEFORE = 5000
"""Files that may lie there before: all are counted every time."""
FREE_BYTES = 64 << 20
"""What must stay free on the disk."""
INTERVAL_NS = 2_000_000_000


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
        self._free = {path: _free_bytes(path) for path in paths}
        for path, before in self._before.items():
            if before.files > MOST_BEFORE:
                raise ValueError(
                    f"{path} holds more than {MOST_BEFORE} files: give the script a directory of its own in it"
                )

    def look(self) -> str | None:
        """What is too much, in a sentence, or None. It reads the disk."""
        size_bytes = files = 0
        for path in self._paths:
            before = self._before[path]
            now = usage(path, before.files + self._max_files)
            if now.hidden - before.hidden:
                return f"disk quota cannot be counted: {min(now.hidden - before.hidden)}: {now.reason}"
            size_bytes, files = size_bytes + now.size_bytes - before.size_bytes, files + now.files - before.files
        where = ", ".join(self._paths)
        if files > self._max_files:
            return f"disk quota exceeded: more than {self._max_files} files in {where} (max_files)"
        if size_bytes > self._max_bytes:
            allowed = f"{_megabytes(self._max_bytes)} allowed (max_disk_mb)"
            return f"disk quota exceeded: {_megabytes(size_bytes)} in {where}, {allowed}"
        for path in self._paths:
            free = _free_bytes(path)
            if free < FREE_BYTES and self._free[path] - free > self._max_bytes:
                return f"the disk of {path} runs full: {_megabytes(free)} free, {_megabytes(FREE_BYTES)} must be"
        return None

    async def exceeded(self, clock: Clock) -> str:
        """Return the sentence as soon as there is one; look every two seconds, in a thread."""
        aside = Aside(1)
        try:
            while (sentence := await aside.do(self.look)) is None:
                await clock.sleep_until(clock.monotonic_ns() + INTERVAL_NS)
            return sentence
        finally:
            aside.close()


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


def _free_bytes(path: str) -> int:
    try:
        found = os.statvfs(path)
    except OSError:
        return 1 << 62
    return found.f_bavail * found.f_frsize


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.3g} MB"
