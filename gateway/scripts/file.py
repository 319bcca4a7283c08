"""A script's file: its bytes, and when another version of it is there for good."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gateway.scripts.messages import LONGEST_SOURCE


class File:
    """The file at a path. It reads the disk, and so belongs into a thread."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen = self._tried = b""

    def read(self) -> bytes | None:
        """Its bytes, no more than a script may have, and one; None if it cannot be read."""
        try:
            with self._path.open("rb") as file:
                source = file.read(LONGEST_SOURCE + 1)
        except OSError:
            self._seen = b""
            return None
        self._seen = _digest(source)
        return source

    def changed(self, source: bytes | None) -> bytes | None:
        """Its bytes, if they are others than `source`, the same as at the look before, and have not been tried."""
        before = self._seen
        now = self.read()
        return now if self._seen == before and now != source and self._seen != self._tried else None

    def try_(self, source: bytes) -> None:
        """These bytes are tried, and are not to be tried again until there have been others."""
        self._tried = _digest(source)


def _digest(source: bytes) -> bytes:
    return hashlib.sha256(source).digest()
