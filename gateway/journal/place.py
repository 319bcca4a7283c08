"""Where a box's journal is."""

from __future__ import annotations

from pathlib import Path

from gateway.config.sections import JournalSection
from gateway.errors import UsageError

SUFFIX = ".journal"


def journal_file(section: JournalSection, box: str, directory: Path) -> Path:
    """The journal of `box`: where its configuration says, else in the state directory (gateway/status.py)."""
    return section.path or directory / f"{box}{SUFFIX}"


def only_journal(directory: Path) -> Path:
    """The journal in `directory`. Raises UsageError where there is none, or more than one."""
    found = sorted(directory.glob(f"*{SUFFIX}"))
    if not found:
        raise UsageError(f"there is no journal in {directory}", "Name one with --journal FILE or --config F")
    if len(found) > 1:
        names = ", ".join(file.stem for file in found)
        raise UsageError(f"there are journals of several boxes in {directory}: {names}", "Choose one with --box ID")
    return found[0]
