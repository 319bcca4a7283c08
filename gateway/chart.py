"""Charts from series of numbers: SVG text, a page that carries it, or PNG. No JavaScript, nothing from outside.

The drawing is small (480 wide) and its letters large, so that it can be read on a phone; it grows with the page. The
page follows the reader's choice of light or dark. What lies outside the axes is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from gateway.errors import UsageError

_WIDTH, _HEIGHT = 480, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 30, 14, 58
_ROW = 22
_COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#9333ea", "#6b7280")
_DARK = ("#6cb6ff", "#fb923c", "#4ade80", "#d8b4fe", "#9ca3af")
_DASHES = ("", "", "2 4", "9 3 2 3", "7 4")


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers to draw: points, with bars from `low` to `high` where given, or a line through them."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    line: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its `label`, its ends in the data's unit, logarithmic or linear. The ends of a logarithmic one are
    above 0.
    """

    label: str
    first: float
    last: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where `value` lies: 0 at the first end, 1 at the last."""
        if self.log:
            return math.log(max(value, 1e-300) / self.first) / math.log(self.last / self.first)
        return (value - self.first) / (self.last - self.first)

    def ticks(self) -> list[float]:
        """Round numbers on the axis: 1, 2, 5 times powers of ten, or powers of ten alone over three decades."""
        if self.log:
            low, high = math.floor(math.log10(self.first)), math.ceil(math.log10(self.last))
            factors = (1.0,) if math.log10(self.last / self.first) > 2.5 else (1.0, 2.0, 5.0)
            every = [f * 10.0**k for k in range(low, high + 1) for f in factors]
            ticks = [tick for tick in every if self.first * 0.999 <= tick <= self.last * 1.001]
            if len(ticks) > 1:
                return ticks
        step = _round_step((self.last - self.first) / 5.0)
        return [k * step for k in range(math.ceil(self.first / step), math.floor(self.last / step) + 1)]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of at most five `series`, with a `caption` that says in words what it shows."""

    title: str
    caption: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]


def write(chart: Chart, path: Path) -> None:
    """The chart as `path`, .html or .png. Raises UsageError for another suffix, a missing matplotlib, or a path that
    cannot be written.
    """
    writer = writer_of(path)
    try:
        if writer == "png":
            _write_png(chart, path)
        else:
            path.write_text(page(chart), "utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def writer_of(path: Path) -> Literal["png", "html"]:
    """What `write` would make of `path`; raises its UsageError for the suffix or matplotlib before any work is done."""
    match path.suffix.lower():
        case ".html" | ".htm":
            return "html"
        case ".png":
            try:
                import matplotlib  # noqa: F401
            except ImportError:
                raise UsageError(
                    f"{path}: a PNG needs matplotlib, which is not installed: pip install 'spectrophone[plots]', "
                    "or give a name that ends in .html"
                ) from None
            return "png"
    raise UsageError(f"{path}: a plot is a .png or an .html")


def svg(chart: Chart) -> str:
    """The chart as an <svg> element, coloured by the classes that `page` declares."""
    rows = (len(chart.series) + 1) // 2
    height = _HEIGHT + rows * _ROW + 6
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(chart.title)}">',
        f'<clipPath id="inside"><rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH - _LEFT - _RIGHT}" '
        f'height="{_HEIGHT - _TOP - _BOTTOM}"/></clipPath>',
        *_grid(chart),
        '<g clip-path="url(#inside)">',
        *(part for k, series in _back_to_front(chart) for part in _drawn(chart, series, k)),
        "</g>",
        *_legend(chart),
        "</svg>",
    ]
    return "\n".join(parts)


def page(chart: Chart) -> str:
    """A whole HTML page with the chart."""
    light = "".join(f".c{k}{{--c:{colour}}}" for k, colour in enumerate(_COLOURS))
    dark = "".join(f".c{k}{{--c:{colour}}}" for k, colour in enumerate(_DARK))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{escape(chart.title)}</title>
<style>
:root{{color-scheme:light dark;--ink:#1f2328;--paper:#fff;--grid:#d8dee4}}
body{{margin:0 auto;padding:1rem;max-width:40rem;font-family:system-ui,sans-serif;line-height:1.5;
color:var(--ink);background:var(--paper)}}
h1{{font-size:1.2rem;margin:0 0 .75rem}} figure{{margin:0}} figcaption{{margin-top:.75rem}}
svg{{display:block;width:100%;height:auto;font-family:inherit;font-size:16px;fill:var(--ink)}}
.grid{{stroke:var(--grid);fill:none}} .line{{stroke:var(--c);fill:none;stroke-width:2}}
.bar{{stroke:var(--c);fill:none;stroke-width:1.5}} .dot{{fill:var(--c)}}
{light}
@media (prefers-color-scheme:dark){{:root{{--ink:#e6edf3;--paper:#0d1117;--grid:#30363d}}
{dark}}}
</style>
</head>
<body>
<h1>{escape(chart.title)}</h1>
<figure>
{svg(chart)}
<figcaption>{escape(chart.caption)}</figcaption>
</figure>
</body>
</html>
"""


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= step * 0.999)


def _x(chart: Chart, value: float) -> float:
    return _LEFT + _within(chart.x.place(value)) * (_WIDTH - _LEFT - _RIGHT)


def _y(chart: Chart, value: float) -> float:
    return _HEIGHT - _BOTTOM - _within(chart.y.place(value)) * (_HEIGHT - _TOP - _BOTTOM)


def _within(place: float) -> float:
    """Far outside is as good as a little: keeps the numbers small."""
    return min(max(place, -20.0), 20.0)


def _grid(chart: Chart) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [f'<rect class="grid" x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}"/>']
    for tick in chart.x.ticks():
        x = _x(chart, tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{tick:g}</text>')
    for tick in chart.y.ticks():
        y = _y(chart, tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 5:.1f}" text-anchor="end">{tick:g}</text>')
    middle = (_TOP + bottom) / 2
    parts.append(
        f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(chart.x.label)}</text>'
    )
    parts.append(
        f'<text transform="translate(16 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(chart.y.label)}</text>'
    )
    return parts


def _drawn(chart: Chart, series: Series, k: int) -> list[str]:
    xs, ys = [_x(chart, x) for x in series.x], [_y(chart, y) for y in series.y]
    if series.line:
        way = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
        return [f'<path class="line c{k}" stroke-dasharray="{_DASHES[k] or "none"}" d="M{way}"/>']
    parts = []
    for x, low, high in zip(xs, series.low, series.high, strict=False):
        y0, y1 = _y(chart, low), _y(chart, high)
        parts.append(
            f'<path class="bar c{k}" d="M{x:.1f} {y0:.1f}V{y1:.1f}M{x - 4:.1f} {y0:.1f}h8M{x - 4:.1f} {y1:.1f}h8"/>'
        )
    return parts + [f'<circle class="dot c{k}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in zip(xs, ys, strict=True)]


def _back_to_front(chart: Chart) -> list[tuple[int, Series]]:
    """The series with their numbers, lines before points, so that no line hides a point."""
    return sorted(enumerate(chart.series), key=lambda numbered: not numbered[1].line)


def _legend(chart: Chart) -> list[str]:
    parts = []
    for k, series in enumerate(chart.series):
        x, y = 12 + (k % 2) * _WIDTH // 2, _HEIGHT + 8 + (k // 2) * _ROW
        if series.line:
            dash = _DASHES[k] or "none"
            parts.append(f'<path class="line c{k}" stroke-dasharray="{dash}" d="M{x} {y}h30"/>')
        else:
            parts.append(f'<path class="bar c{k}" d="M{x + 15} {y - 8}v16"/>')
            parts.append(f'<circle class="dot c{k}" cx="{x + 15}" cy="{y}" r="4"/>')
        parts.append(f'<text x="{x + 38}" y="{y + 5}">{escape(series.label)}</text>')
    return parts


def _write_png(chart: Chart, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(chart.title)
    axes.set_xscale("log" if chart.x.log else "linear")
    axes.set_yscale("log" if chart.y.log else "linear")
    for side, axis in ((axes.xaxis, chart.x), (axes.yaxis, chart.y)):
        side.set_label_text(axis.label)
        side.set_major_locator(FixedLocator(axis.ticks()))
        side.set_minor_locator(NullLocator())
        side.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.grid(color="#d8dee4")
    for k, series in _back_to_front(chart):
        if series.line:
            dashes = tuple(float(part) / 2 for part in _DASHES[k].split())
            axes.plot(
                series.x, series.y, color=_COLOURS[k], linestyle=(0, dashes) if dashes else "-", label=series.label
            )
            continue
        bars = list(zip(series.y, series.low, series.high, strict=True)) if series.low else []
        reach = [[y - low for y, low, _high in bars], [high - y for y, _low, high in bars]] if bars else None
        axes.errorbar(series.x, series.y, reach, fmt="o", color=_COLOURS[k], capsize=4, label=series.label)
    axes.set_xlim(chart.x.first, chart.x.last)
    axes.set_ylim(chart.y.first, chart.y.last)
    axes.legend()
    figure.supxlabel(chart.caption, fontsize="small", wrap=True)
    figure.savefig(path, dpi=150)
