"""The journal's file through all that can happen to it: missing, full, read-only, locked, damaged, of another program.

Whatever it is, the journal goes on in memory, and on the disk as soon as that is possible. Used from one thread, but
for `check`, `stop` and the attributes, which tell how it stands.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import UsageError
from gateway.journal import recovery
from gateway.journal.bounds import Tidied, tidy
from gateway.journal.entry import Entry
from gateway.journal.recovery import Remains
from gateway.journal.store import LARGEST, Store

log = logging.getLogger("spectrophone.journal")

_SLICE_NS = 20_000_000
_BATCH = 500
_FULL = ("the disk is full", "Free some of it, or lower journal.max_mb")
_BARRED = ("it may not be written", "Mount its disk for writing, and give the service the right to it")
_SHUT = (
    "it cannot be opened for writing",
    "See that its disk is mounted for writing and not full, and give the service the right to its directory",
)
_REMEDIES = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _BARRED,
    sqlite3.SQLITE_CANTOPEN: _SHUT,
    sqlite3.SQLITE_BUSY: ("another program keeps it locked", "End that program"),
    sqlite3.SQLITE_IOERR: ("its disk fails", "See whether the disk is full; if it is not, replace the card"),
}
_ERRNOS = {errno.ENOSPC: _FULL, errno.EROFS: _BARRED, errno.EACCES: _BARRED}
_OTHER = ("it cannot be written", "See that its path is right, and its disk sound")


class Disk:
    """The file of a journal, and how it stands."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self.file = file
        self.problem = ""
        """Why it cannot be written now, and what to do."""
        self.found = ""
        """What was found wrong with it, and saved."""
        self.committed_ns: int | None = None
        """When something was committed last, monotonic nanoseconds."""
        self.renewed = 0
        """How often it was put aside for a new one."""
        self.size_bytes = 0
        self.oldest_ns: int | None = None
        self.last_id = 0
        self.cursors: dict[str, int] = {}
        """What was there when it was opened."""
        self.undated_ns: int | None = None
        """What wall clock less monotonic time was taken for while this boot's clock was not set; None if it was."""
        self._clock = clock
        self._store: Store | None = None
        self._writing = False
        self._rescue: Iterator[int] | None = None
        self._saved = 0
        self._checking: Store | None = None
        self._stopping = False

    @property
    def rescuing(self) -> bool:
        """Whether entries of a damaged file are still to come."""
        return self._rescue is not None

    def open(self, last: int = LARGEST) -> bool:
        """Open the file, or make it, or begin a new one beside a damaged one; whether it can be written. One with ids
        greater than `last` cannot: they would not go with those that were given meanwhile.
        """
        try:
            self._open()
            if self.last_id > last:
                raise UsageError(
                    f"{self.file}: the clock was behind it at the start", "Restart the service to write it"
                )
        except (OSError, sqlite3.Error, UsageError) as error:
            self._tell(error)
            if self._store is None:
                with contextlib.suppress(OSError, sqlite3.Error, UsageError):
                    self._take(Store(self.file, writing=False))
        else:
            self._writing = True
            self._worked()
        return self._writing

    def commit(self, entries: Sequence[Entry], cursors: Mapping[str, int], offset_ns: int | None = None) -> bool:
        """Write these down, and how far sinks have got; whether it is done. `offset_ns` is what was added to monotonic
        time for those without a time, where they will get one.
        """
        if not self._writing and not self.open(entries[0].id - 1 if entries else LARGEST):
            return False
        assert self._store is not None
        try:
            self._store.append(entries, cursors, None if offset_ns is None else (self._clock.boot(), offset_ns))
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            return False
        self.committed_ns = self._clock.monotonic_ns()
        self._worked()
        return True

    def date(self, step_ns: int) -> bool:
        """One slice of giving entries that were made before the clock was set their times; whether there is more."""
        if self._store is None or not self._writing:
            return False
        try:
            return self._store.date(self._clock.boot(), step_ns, _BATCH)
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            return False

    def after(self, number: int, limit: int, last: int) -> list[Entry] | None:
        """As Store.after; None where it cannot be read now, and may be later."""
        try:
            return [] if self._store is None else self._store.after(number, limit, last)
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            return None

    def tidy(self, max_bytes: int, oldest_ns: int) -> Tidied:
        """One slice of keeping it within its bounds."""
        if self._store is None:
            return Tidied()
        try:
            done = tidy(self._store, max_bytes, oldest_ns) if self._writing else Tidied()
            self.size_bytes, self.oldest_ns = self._store.size_bytes(), self._store.oldest_ns()
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            return Tidied()
        return done

    def rescue(self) -> bool:
        """One slice of taking over what a damaged file still has; whether there is more."""
        if self._rescue is None:
            return False
        end_ns = self._clock.monotonic_ns() + _SLICE_NS
        try:
            for saved in self._rescue:
                self._saved += saved
                if self._clock.monotonic_ns() >= end_ns:
                    return True
            self.found += f"; {self._saved} entries were saved"
        except (OSError, sqlite3.Error) as error:
            self.found += f"; {self._saved} entries were saved when it ended: {error}"
        log.warning("%s: %s", self.file, self.found)
        self._rescue = None
        return False

    def check(self) -> str | None:
        """What SQLite finds wrong with the file, empty if nothing, None where it cannot look. Reads all of the file, so
        it is for a thread of its own.
        """
        try:
            with contextlib.closing(Store(self.file, writing=False)) as self._checking:
                return None if self._stopping else self._checking.check()
        except (sqlite3.OperationalError, UsageError):  # interrupted, or not to be read
            return None
        except sqlite3.DatabaseError as error:
            return str(error)
        finally:
            self._checking = None

    def stop(self) -> None:
        """End a check that is going on; from any thread."""
        self._stopping = True
        if (checking := self._checking) is not None:
            checking.interrupt()

    def renew(self, why: str) -> None:
        """Put the file aside, which is damaged, and begin a new one, into which `rescue` takes what it has."""
        try:
            self._renew(why)
        except (OSError, sqlite3.Error, UsageError) as error:
            self._writing = False
            self._tell(error)

    def close(self) -> None:
        """Close the file, with all that was committed in it."""
        self._leave()

    def _open(self) -> None:
        self.file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            self._take(Store(self.file))
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._renew(str(error))
        else:
            self._begin_rescue("an earlier start found it damaged")

    def _renew(self, why: str) -> None:
        self._leave()
        self._rescue = None
        when = f"{datetime.fromtimestamp(self._clock.utc_ns() // 1_000_000_000, UTC):%Y%m%dT%H%M%SZ}"
        recovery.set_aside(self.file, when)
        self.renewed += 1
        log.error("%s: is damaged (%s), and is put aside; a new one begins", self.file, why)
        self._take(Store(self.file))
        self._begin_rescue(f"it was damaged ({why})")

    def _take(self, store: Store) -> None:
        self._leave()
        self._store = store
        self._know(store.cursors(), store.last_id())
        self.undated_ns = store.undated_ns(self._clock.boot())

    def _know(self, cursors: Mapping[str, int], last_id: int) -> None:
        for sink, number in cursors.items():
            self.cursors[sink] = max(number, self.cursors.get(sink, 0))
        self.last_id = max(self.last_id, last_id)

    def _leave(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None

    def _begin_rescue(self, why: str) -> None:
        remains = [Remains(aside) for aside in recovery.unread(self.file)]
        for one in remains:
            one.look()
            self._know(one.cursors, one.last_id)
        if remains and self._rescue is None:
            names = ", ".join(one.aside.name.removesuffix(recovery.READING) for one in remains)
            self.found, self._saved = f"{why} and put aside as {names}", 0
            self._rescue = self._rescued(remains)
            assert self._store is not None
            self._store.append([], self.cursors)

    def _rescued(self, remains: Sequence[Remains]) -> Iterator[int]:
        """How many entries each batch brought."""
        for one in remains:
            batch: list[Entry] = []
            for entries in one.entries():
                batch += entries
                if len(batch) >= _BATCH:
                    yield self._append(batch)
                    batch = []
                else:
                    yield 0
            yield self._append(batch)
            recovery.finish(one.aside, self.file)

    def _append(self, entries: Sequence[Entry]) -> int:
        assert self._store is not None
        return self._store.append(entries)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, sqlite3.DatabaseError) and _is_damage(error):
            self.renew(str(error))
        else:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        problem = _sentence(self.file, error)
        if problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    def _worked(self) -> None:
        if self.problem:
            log.info("%s: is written again", self.file)
        self.problem = ""


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _sentence(file: Path, error: Exception) -> str:
    if isinstance(error, UsageError):
        return f"{error}. Until then the newest entries are kept in memory"
    if isinstance(error, OSError):
        what, remedy = _ERRNOS.get(error.errno or 0, _OTHER)
    else:
        what, remedy = _REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, _OTHER)
    return f"{file}: {what} ({error}). {remedy}. Until then the newest entries are kept in memory"
