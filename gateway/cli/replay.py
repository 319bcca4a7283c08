"""`spectrophone replay FILE`: a recording through the very same path, as fast as it goes."""

from __future__ import annotations

import argparse
from pathlib import Path

_EXAMPLE = """\
example:
  spectrophone replay lab.wav
  spectrophone replay lab.flac --config gateway.yaml | grep measurement
  spectrophone replay lab.wav --calibration calibration/co2_concentration.toml

One JSON object a line for every result and alert; docs/json-lines.md tells what is in them. Without --config the
configuration that `record` wrote into the recording is taken, or the built-in one.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "replay",
        help="compute a WAV or FLAC recording anew",
        description="Put a WAV or FLAC recording through the very same path as live sound, as fast as it goes.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the recording")
    parser.add_argument("--config", type=Path, metavar="F", help="the configuration")
    parser.add_argument("--calibration", type=Path, metavar="C", help="a calibration file, for the configured one")
    parser.add_argument("--json", action="store_true", help="nothing but JSON lines: what it does anyway")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay; 0 at the end of the recording."""
    import asyncio
    import sys

    from gateway import jsonlines, replay
    from gateway.progress import Progress

    recording = replay.prepare(args.file, args.config, args.calibration)
    for note in recording.notes:
        print(f"spectrophone: {note}", file=sys.stderr)
    progress = Progress(sys.stderr, f"replaying {args.file}", recording.seconds)

    async def print_all() -> None:
        async for tick in recording.ticks():
            for fields in jsonlines.objects(tick, live=tick.utc_ns is not None):
                print(jsonlines.line(fields))
            progress.at(tick.t_ns / 1e9)

    try:
        asyncio.run(print_all())
    finally:
        progress.end()
    return 0
