"""Where a box's journal is, and which one is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.sections import JournalSection
from gateway.errors import UsageError
from gateway.journal.place import journal_file, only_journal


def test_where_the_configuration_says_else_in_the_state_directory() -> None:
    assert journal_file(JournalSection(), "lab-42", Path("/var/lib/x")) == Path("/var/lib/x/lab-42.journal")
    assert journal_file(JournalSection(path=Path("/mnt/kept")), "lab-42", Path("/var/lib/x")) == Path("/mnt/kept")


def test_the_only_one(tmp_path: Path) -> None:
    for name in ("lab-42.warm", "lab-42.journal-wal"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"there is no journal in .*\. Name one with --journal FILE or --config F"):
        only_journal(tmp_path)
    with pytest.raises(UsageError, match="there is no journal in"):
        only_journal(tmp_path / "no")
    (tmp_path / "lab-42.journal").touch()
    assert only_journal(tmp_path) == tmp_path / "lab-42.journal"
    (tmp_path / "attic.journal").touch()
    with pytest.raises(UsageError, match=r"several boxes in .*: attic, lab-42\. Choose one with --box ID"):
        only_journal(tmp_path)
