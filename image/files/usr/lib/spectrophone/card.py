"""The partition of the card that every computer can read: settings are put there, and what came of them is told there.

It is mounted read-only, and writable for as long as it takes to write.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

CARD = Path("/boot/config")
SYSTEM = Path("/data/system")
GATEWAY = "/opt/spectrophone/current/bin/spectrophone"
STATUS = "spectrophone-status.txt"


@contextlib.contextmanager
def writable(mounted: Path = CARD) -> Iterator[None]:
    """Make what is mounted there writable in the block. Raises CalledProcessError."""
    subprocess.run(["mount", "-o", "remount,rw", mounted], check=True)
    try:
        yield
    finally:
        os.sync()
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)


def put(path: Path, data: bytes, mode: int = 0o644, group: int | None = None) -> None:
    """Replace a file whole: after a power cut it is the old one or the new one. `group` is a number, root's if None."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.fchmod(file, mode)
        if group is not None:
            os.fchown(file, 0, group)
        os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def overwrite(path: Path, data: bytes) -> None:
    """Write over a file where it lies on the card, then leave `data` there: what it said before is not to be found."""
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def decoded(data: bytes) -> str:
    """A text as any editor leaves it, with a byte order mark, in UTF-16, with CRLF. Raises UnicodeDecodeError."""
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def version() -> str:
    """The image's version, from os-release."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("IMAGE_VERSION="):
            return line.partition("=")[2].strip('"')
    return "unknown"


def tell(slot: str, settings: list[str], update: str) -> None:
    """Leave word on the card. Nothing is written if nothing is new."""
    lines = [f"Spectrophone image {version()}, system {slot}.", *settings, update]
    text = "".join(f"{line}\r\n" for line in lines if line).encode()
    path = CARD / STATUS
    if path.exists() and path.read_bytes() == text:
        return
    with writable():
        put(path, text)
