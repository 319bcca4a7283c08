"""`spectrophone allan [FILE]`: how much averaging helps, and how little can be detected."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.export import add_journal_options

if TYPE_CHECKING:
    from gateway.allan import Run, Series
    from gateway.chart import Chart
    from gateway.dsp.allan import Analysis

_EXAMPLE = """\
example:
  spectrophone allan zero_gas.wav
  spectrophone allan zero_gas.flac --plot zero_gas.html
  spectrophone allan --from 2026-11-22T20:00 --to 2026-11-23T06:00 --node co2_concentration
  spectrophone run --json > night.jsonl; spectrophone allan night.jsonl --node co2_concentration

Take it over constant gas. FILE is a recording, the JSON lines that `replay` and `run --json` print, or a journal; - is
standard input. Without FILE the journal is taken, chosen as in `export`, and T is what it is there. The bounds hold
with 95 % confidence. With --json one object a line: kind allan (tau_s, adev_ppm, low_ppm, high_ppm, n), then kind
summary with the noise, null where none was seen, and the limits of detection (three sigma).
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "allan",
        help="Allan deviation, limit of detection and best averaging time",
        description="Overlapping Allan deviation of FILE or the journal: noise, limit of detection, drift.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", metavar="FILE", type=Path, help="a recording, JSON lines or a journal")
    add_journal_options(parser)
    parser.add_argument("--node", metavar="ID", help="the concentration node, where there are several")
    parser.add_argument("--config", type=Path, metavar="F", help="the configuration, for a recording as in replay")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="a plot: OUT.html, or OUT.png with matplotlib")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the deviations; 0 when there were enough measurements."""
    import sys

    from gateway import allan, chart, jsonlines
    from gateway.dsp.allan import analyse

    if args.plot is not None:
        chart.writer_of(args.plot)
    found = allan.longest_run(*_chosen(args))
    analysis = analyse(found.ppm, found.spacing_s)
    for note in _notes(found, analysis):
        print(f"spectrophone: {note}", file=sys.stderr)
    if args.json:
        for fields in _objects(found, analysis):
            print(jsonlines.line(fields))
    else:
        print("\n".join((*_table(analysis), *_sentences(analysis))))
    if args.plot is not None:
        chart.write(_chart(found, analysis), args.plot)
    return 0


def _chosen(args: argparse.Namespace) -> tuple[str, Series]:
    """A node and its measurements, from wherever they are to come."""
    import sys

    from gateway import allan
    from gateway.errors import UsageError

    file: Path | None = args.file
    if file is None or (str(file) != "-" and allan.is_journal(file)):
        name, series = _of_journal(args)
        return allan.chosen(series, args.node, name)
    for option, given in (("journal", args.journal), ("box", args.box), ("from", args.since), ("to", args.until)):
        if given is not None:
            raise UsageError(f"--{option} is for the journal, and {file} is none")
    if str(file) == "-":
        return allan.chosen(allan.of_lines(sys.stdin.buffer, "standard input"), args.node, "standard input")
    if allan.is_recording(file):
        return allan.chosen(_of_recording(file, args.config), args.node, str(file))
    if args.config is not None:
        raise UsageError(f"--config is for recordings and the journal, and {file} is neither")
    with file.open("rb") as lines:
        return allan.chosen(allan.of_lines(lines, str(file)), args.node, str(file))


def _of_recording(file: Path, config: Path | None) -> dict[str, Series]:
    import asyncio
    import sys

    from gateway import allan, replay
    from gateway.progress import Progress

    recording = replay.prepare(file, config)
    for note in recording.notes:
        print(f"spectrophone: {note}", file=sys.stderr)
    progress = Progress(sys.stderr, f"replaying {file}", recording.seconds)
    try:
        return asyncio.run(allan.of_recording(recording, progress.at))
    finally:
        progress.end()


def _of_journal(args: argparse.Namespace) -> tuple[str, dict[str, Series]]:
    import sys

    from gateway import allan, export
    from gateway.clock import RealClock
    from gateway.errors import UsageError
    from gateway.journal.archive import count_in, entries_in
    from gateway.progress import Progress

    if args.file is not None and (args.journal or args.config or args.box):
        raise UsageError(f"{args.file} is a journal already", "Leave out --journal, --config and --box")
    since_ns, until_ns = export.time_range(args.since, args.until, RealClock().utc_ns())
    file, _ = export.chosen_journal(args.file or args.journal, args.config, args.box)
    asked = (file, since_ns, until_ns, ("measurement",))
    total = count_in(*asked)
    progress = Progress(sys.stderr, f"reading {total} measurements", total)
    try:
        return str(file), allan.of_entries(export.Counted(entries_in(*asked), progress.at))
    finally:
        progress.end()


def _notes(found: Run, analysis: Analysis) -> Iterator[str]:
    if found.invalid or found.apart:
        yield (
            f"{len(found.ppm)} measurements in a row were used; left out: {found.invalid} not valid, "
            f"{found.apart} beyond a gap"
        )
    if analysis.strays_s:
        taus = ", ".join(f"{tau_s:.4g}" for tau_s in analysis.strays_s)
        yield f"white noise, floor and random walk do not explain the deviation at {taus} s: look for drift or a period"


def _table(analysis: Analysis) -> Iterator[str]:
    yield f"{'tau s':>10} {'ADEV ppm':>12} {'lower':>12} {'upper':>12} {'count':>9}"
    for p in analysis.points:
        yield f"{p.tau_s:10.4g} {p.deviation:12.4g} {p.low:12.4g} {p.high:12.4g} {p.count:9d}"


def _sentences(analysis: Analysis) -> Iterator[str]:
    noise, record_s, best_s = analysis.noise, analysis.points[0].tau_s, analysis.best_s
    yield ""
    yield f"white noise:            {_value(noise.white, noise.u_white, 'ppm sqrt(s)')}"
    yield f"floor:                  {_value(noise.floor, noise.u_floor, 'ppm')}"
    yield f"random walk:            {_value(noise.walk, noise.u_walk, 'ppm/sqrt(s)')}"
    yield f"limit of detection:     {3.0 * noise.deviation(record_s):.3g} ppm at 1 record ({record_s:.4g} s)"
    yield (
        f"best averaging time:    {best_s:.4g} s{_why(analysis)}: "
        f"limit of detection {3.0 * noise.deviation(best_s):.3g} ppm"
    )


def _value(value: float, u: float, unit: str) -> str:
    return f"{value:.3g} ± {u:.1g} {unit}" if value else "none seen"


def _why(analysis: Analysis) -> str:
    noise = analysis.noise
    if analysis.best_s == noise.optimum_s:
        return ""
    return ", the longest that this record can judge" if noise.optimum_s > analysis.best_s else ", no averaging at all"


def _objects(found: Run, analysis: Analysis) -> Iterator[dict[str, Any]]:
    for p in analysis.points:
        yield {
            "kind": "allan",
            "node": found.node,
            "tau_s": p.tau_s,
            "adev_ppm": p.deviation,
            "low_ppm": p.low,
            "high_ppm": p.high,
            "n": p.count,
        }
    noise = analysis.noise
    yield {
        "kind": "summary",
        "node": found.node,
        "record_s": found.spacing_s,
        "used": len(found.ppm),
        "not_valid": found.invalid,
        "beyond_gap": found.apart,
        "white_ppm_sqrt_s": noise.white or None,
        "sigma_white": noise.u_white or None,
        "floor_ppm": noise.floor or None,
        "sigma_floor": noise.u_floor or None,
        "flicker_ppm": noise.flicker or None,
        "walk_ppm_per_sqrt_s": noise.walk or None,
        "sigma_walk": noise.u_walk or None,
        "lod_ppm": 3.0 * noise.deviation(found.spacing_s),
        "optimum_s": noise.optimum_s,
        "best_s": analysis.best_s,
        "best_lod_ppm": 3.0 * noise.deviation(analysis.best_s),
        "unexplained_s": list(analysis.strays_s),
    }


def _chart(found: Run, analysis: Analysis) -> Chart:
    """Deviations with their bounds, the three noises and their sum."""
    from gateway.chart import Axis, Chart, Series

    points, noise = analysis.points, analysis.noise
    first, last = points[0].tau_s / 1.4, points[-1].tau_s * 1.4
    taus = [first * (last / first) ** (k / 60) for k in range(61)]
    lines = [("fit", [noise.deviation(t) for t in taus])]
    if noise.white:
        lines.append(("white noise", [noise.white / t**0.5 for t in taus]))
    if noise.floor:
        lines.append(("flicker floor", [noise.floor for _ in taus]))
    if noise.walk:
        lines.append(("random walk", [noise.walk * (t / 3.0) ** 0.5 for t in taus]))
    seen = [p for p in points if p.deviation > 0.0]
    bottom = min(min(p.low for p in seen), *lines[0][1]) / 1.3
    top = max(max(min(p.high, 4.0 * p.deviation) for p in seen), *lines[0][1]) * 1.3
    measured = Series(
        "measured, 95 %",
        [p.tau_s for p in seen],
        [p.deviation for p in seen],
        [p.low for p in seen],
        [p.high for p in seen],
    )
    text = [f"{len(found.ppm)} records of {found.spacing_s:.4g} s", *filter(None, _sentences(analysis))]
    return Chart(
        f"Allan deviation of {found.node}",
        " ".join(f"{line[0].upper()}{' '.join(line[1:].split())}." for line in text),
        Axis("averaging time, s", first, last, log=True),
        Axis("Allan deviation, ppm", bottom, top, log=True),
        (measured, *(Series(label, taus, y, line=True) for label, y in lines)),
    )
