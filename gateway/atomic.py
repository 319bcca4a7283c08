"""Files that are there as a whole or not at all, whenever the power goes."""

from __future__ import annotations

import os
from pathlib import Path


def write(file: Path, text: str, mode: int = 0o666) -> None:
    """Put a text in the file's place, with these rights but what the umask takes. Blocks. Raises OSError; the file is
    then as it was.
    """
    new = file.with_name(f"{file.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
