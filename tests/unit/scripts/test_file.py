"""A script's file, as it changes on a disk."""

from __future__ import annotations

from pathlib import Path

from gateway.scripts.file import File
from gateway.scripts.messages import LONGEST_SOURCE


def test_another_version_is_told_when_it_has_been_the_same_for_two_looks(tmp_path: Path) -> None:
    path = tmp_path / "co2.py"
    path.write_text("1")
    file = File(str(path))
    assert file.read() == b"1"
    assert file.changed(b"1") is None
    path.write_text("22")
    assert file.changed(b"1") is None
    path.write_text("333")
    assert file.changed(b"1") is None
    assert [file.changed(b"1") for _ in range(2)] == [b"333", b"333"]


def test_what_was_tried_is_not_told_again_until_there_was_another(tmp_path: Path) -> None:
    path = tmp_path / "co2.py"
    path.write_text("broken")
    file = File(str(path))
    file.read()
    file.try_(b"broken")
    assert file.changed(b"good") is None
    path.write_text("mended")
    assert [file.changed(b"good") for _ in range(2)] == [None, b"mended"]


def test_a_file_that_cannot_be_read_is_no_version(tmp_path: Path) -> None:
    file = File(str(tmp_path / "absent.py"))
    assert file.read() is None
    assert [file.changed(b"good") for _ in range(3)] == [None] * 3


def test_no_more_is_read_than_shows_that_it_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "co2.py"
    path.write_bytes(b"#" * (LONGEST_SOURCE + 1000))
    assert File(str(path)).read() == b"#" * (LONGEST_SOURCE + 1)
