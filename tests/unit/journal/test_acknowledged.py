"""Who has seen which alert is there after a restart, and a broken file stops nobody."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from gateway.journal import acknowledged
from gateway.journal.acknowledged import Acknowledged, Acknowledgement

SEEN = Acknowledgement(17, "owner", "2026-11-22T10:00:00.000Z", "pump was off")


def test_it_is_there_after_a_restart_and_the_first_one_stays(tmp_path: Path) -> None:
    file = tmp_path / "new" / "box.acknowledged.json"
    known = Acknowledged(file)
    known.load()
    assert known.add(SEEN) == SEEN
    assert known.add(Acknowledgement(17, "grafana", "2026-11-22T11:00:00.000Z")) == SEEN
    again = Acknowledged(file)
    again.load()
    assert again.of(17) == SEEN
    assert again.of(18) is None


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledged, "MOST", 3)
    known = Acknowledged(tmp_path / "box.json")
    for number in range(5):
        known.add(Acknowledgement(number, "owner", ""))
    assert [known.of(number) is not None for number in range(5)] == [False, False, True, True, True]
    assert len(json.loads((tmp_path / "box.json").read_text())["acknowledged"]) == 3


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"acknowledged": [{"id": 1}]}', '{"acknowledged": [1]}'])
def test_a_broken_file_is_told_and_begun_anew(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "box.json"
    file.write_text(text)
    known = Acknowledged(file)
    with caplog.at_level(logging.WARNING):
        known.load()
    assert "no alert counts as acknowledged" in caplog.text
    known.add(SEEN)
    assert json.loads(file.read_text())["acknowledged"][0]["by"] == "owner"
