"""Where in a TOML file an option stands, and what is said of one that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import toml

TEXT = """\
title = "A box"   # a comment
list = [1, 2]

pins = [
    {line = 18, use = "clock"},
    # a comment
    {line = 19, use = "data"},

]
after = 1

[relays.fan]
line = 17

[relays."the valve"]
  line = 22

[[points]]
ppm = 1.5
[[points]]
ppm = 2.5
"""


@pytest.mark.parametrize(
    ("loc", "line", "column", "written"),
    [
        (("title",), 1, 1, '"A box"'),
        (("list", 1), 2, 1, "2"),
        (("pins",), 4, 1, "["),
        (("pins", 0, "line"), 5, 5, "18"),
        (("pins", 1, "use"), 7, 5, '"data"'),
        (("pins", 1, "missing"), 7, 5, ""),
        (("after",), 10, 1, "1"),
        (("relays", "fan"), 12, 1, ""),
        (("relays", "fan", "line"), 13, 1, "17"),
        (("relays", "the valve", "line"), 16, 3, "22"),
        (("points", 1, "ppm"), 21, 1, "2.5"),
    ],
)
def test_an_option_has_its_place_and_its_text(
    tmp_path: Path, loc: tuple[str | int, ...], line: int, column: int, written: str
) -> None:
    file = tmp_path / "a.toml"
    file.write_text(TEXT)
    document = toml.read(file)
    assert document.place(loc) == (str(file), line, column)
    assert document.written.get(loc, "") == written


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = 1\nb = off\n", "2:5: this is not TOML (invalid value): b = off. Mend the line"),
        ("a = 1\na = 2\n", "2:6: this is not TOML (cannot overwrite a value): a = 2. Mend the line"),
        ("a = [", "1:1: this is not TOML (invalid value): a = [. Mend the line"),
        ("a = " + "[" * 5000, "1:1: this is nested too deeply. Take brackets out"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    (fault,) = toml.read(file).faults
    assert str(fault) == f"{file}:{told}"


def test_a_number_too_long_to_be_read(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("a = " + "9" * 5000)
    (fault,) = toml.read(file).faults
    assert "this is not TOML" in str(fault)
    assert len(str(fault)) < 400
