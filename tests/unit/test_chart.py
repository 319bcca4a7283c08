"""Charts: well-formed, nothing from outside, ticks that are round, and the same series as PNG."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from gateway.chart import Axis, Chart, Series, page, svg, write, writer_of
from gateway.errors import UsageError

CHART = Chart(
    'A & B <of> "C"',
    "What <it> shows",
    Axis("tau, s", 1.0, 100.0, log=True),
    Axis("ppm", -1.0, 1.0),
    (
        Series("measured", [1, 10, 100], [0.5, 0.0, -0.5], [0.4, -0.1, -1e9], [0.6, 0.1, -0.4]),
        Series("fit", [0.5, 200.0], [0.6, -0.6], line=True),
    ),
)


def test_the_picture_is_well_formed_and_whole() -> None:
    root = ElementTree.fromstring(svg(CHART))
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert names.count("circle") == 3 + 1  # the legend's own
    assert {"0.5", "100", "tau, s", "ppm", "fit", "measured"} <= {
        element.text for element in root.iter() if element.tag.endswith("text")
    }


def test_the_page_takes_nothing_from_outside() -> None:
    text = page(CHART)
    root = ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))
    for element in root.iter():
        assert not {"href", "src"} & {name.rpartition("}")[2] for name in element.attrib}
        assert element.tag.rpartition("}")[2] not in ("script", "link", "img", "iframe")
    rest = text.replace("http://www.w3.org/2000/svg", "")
    assert not [
        word for word in ("http:", "https:", "//", "@import", "url(") if word in rest.replace("url(#inside)", "")
    ]


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis("", 0.0, 10.0), [0, 2, 4, 6, 8, 10]),
        (Axis("", -1.0, 1.0), [-1, -0.5, 0, 0.5, 1]),
        (Axis("", 0.02, 3.0, log=True), [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]),
        (Axis("", 0.5, 2000.0, log=True), [1, 10, 100, 1000]),
        (Axis("", 0.21, 0.42, log=True), [0.25, 0.3, 0.35, 0.4]),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)


def test_png_and_html_are_written(tmp_path: Path) -> None:
    write(CHART, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    write(CHART, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text("utf-8") == page(CHART)


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"a plot is a \.png or an \.html"):
        writer_of(Path("a.pdf"))
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        write(CHART, tmp_path / "missing" / "a.html")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'spectrophone\[plots\]'"):
        writer_of(Path("a.png"))
