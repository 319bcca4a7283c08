"""`spectrophone sweep`: resonance frequency and quality factor of the cell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.chart import Chart
    from gateway.scan import Sweep

_EXAMPLE = """\
example:
  spectrophone sweep --ppm 400
  spectrophone sweep --config gateway.yaml --points 21 --seconds 2 --out resonance.json --plot resonance.html

The laser is stepped around laser.frequency_hz; if the resonance is not there, within 5 % of it. Exit status 0 if the
fit is good, 1 if it is not or no resonance is found. With --json an object of kind sweep_point a point, then one of
kind sweep.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "sweep",
        help="resonance frequency and Q of the cell",
        description="Step the laser's modulation across the cell's resonance and fit its frequency and Q.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="F", help="the configuration; the built-in one if absent")
    parser.add_argument("--ppm", type=float, metavar="X", help="concentration in the simulated cell")
    parser.add_argument("--points", type=int, default=11, metavar="N", help="frequencies, 4 to 201 (11)")
    parser.add_argument("--span", type=float, default=1.5, metavar="H", help="half-widths to either side (1.5)")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S", help="seconds of sound a point (0.5)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result and its points to FILE.json")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="a plot: OUT.html, or OUT.png with matplotlib")
    parser.add_argument("--json", action="store_true", help="JSON objects, one a line, on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sweep; 0 when the fit is good, 130 when interrupted."""
    import asyncio
    import sys
    from datetime import UTC, datetime

    from gateway import chart, configured, design, scan, sweep
    from gateway.clock import RealClock
    from gateway.config.override import overridden
    from gateway.log import set_up
    from gateway.progress import Progress

    plan = scan.Plan(args.points, args.span, args.seconds)
    if args.out:
        sweep.check_out(args.out)
    if args.plot:
        chart.writer_of(args.plot)
    checked = configured.prepare(args.config)
    config, board = configured.accepted(checked)
    set_up(checked.secrets)
    config, clock = overridden(config, ppm=args.ppm), RealClock()
    progress = Progress(sys.stderr, "sweeping", 1.0)

    def tell(note: str) -> None:
        progress.end()
        print(f"spectrophone: {note}", file=sys.stderr)

    try:
        made = asyncio.run(sweep.sweep(config, board, clock, plan, told=tell, seen=progress.at))
    finally:
        progress.end()
    if made is None:
        print("spectrophone: interrupted; the laser is off", file=sys.stderr)
        return 130
    print("\n".join(sweep.objects(made) if args.json else sweep.lines(made)))
    if args.out:
        time = datetime.fromtimestamp(clock.utc_ns() // 10**9, UTC).isoformat().replace("+00:00", "Z")
        about = {"time": time, "box": design.box_id(config), "software": f"spectrophone {design.VERSION}"}
        scan.write(args.out, made, about)
    if args.plot:
        chart.write(_chart(made), args.plot)
    return 0 if made.resonance.good else 1


def _chart(made: Sweep) -> Chart:
    """Amplitudes with their 95 % bars, and the fitted resonance."""
    import numpy as np

    from gateway import sweep
    from gateway.chart import Axis, Chart, Series

    hertz = [point.frequency_hz for point in made.points]
    heights = [abs(point.value) for point in made.points]
    bars = [1.96 * point.sigma for point in made.points]
    margin = 0.05 * (hertz[-1] - hertz[0])
    f = np.linspace(hertz[0] - margin, hertz[-1] + margin, 121)
    curve = np.abs(made.resonance.at(f))
    low = [height - bar for height, bar in zip(heights, bars, strict=True)]
    high = [height + bar for height, bar in zip(heights, bars, strict=True)]
    verdict, found = sweep.lines(made)[-2:]
    return Chart(
        "Resonance of the cell",
        f"{found}; {verdict}.",
        Axis("modulation frequency, Hz", float(f[0]), float(f[-1])),
        Axis("amplitude, full scale", 0.0, 1.1 * max(*high, float(curve.max()))),
        (
            Series("measured, 95 %", hertz, heights, low, high),
            Series("fit", f.tolist(), curve.tolist(), line=True),
        ),
    )
