"""From when to when a journal goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import UsageError
from gateway.journal.extent import extent
from gateway.journal.store import Store
from tests.unit.journal.samples import SECOND_NS, UTC_NS, entries


def test_the_oldest_and_the_newest_entry(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.journal")
    assert extent(store.file) is None
    store.append(list(entries(60)))
    assert extent(store.file) == (UTC_NS, UTC_NS + 59 * SECOND_NS)
    store.close()


def test_what_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x" * 2000)
    for name in ("a", "none"):
        with pytest.raises(UsageError, match=name):
            extent(tmp_path / name)
