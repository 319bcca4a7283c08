"""`spectrophone record OUT`: the microphone to a WAV or FLAC file that replay computes as it was."""

from __future__ import annotations

import argparse
from pathlib import Path

_EXAMPLE = """\
example:
  spectrophone record lab.wav --seconds 60 --config gateway.yaml
  spectrophone record demo.flac --seconds 10
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "record",
        help="the microphone to a WAV or FLAC file",
        description="Record the configured microphone, with the configuration inside the file.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the file: NAME.wav or NAME.flac")
    parser.add_argument("--seconds", type=float, metavar="N", required=True, help="how long")
    parser.add_argument("--config", type=Path, metavar="F", help="the configuration; the built-in one if absent")
    parser.add_argument("--microphone", metavar="DEVICE", help='an ALSA device ("default"), "sim" or "file:PATH"')
    parser.add_argument("--ppm", type=float, metavar="X", help="concentration in the simulated cell")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")
    parser.add_argument("--json", action="store_true", help="a JSON object about the recording, on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Record; 0 when the file is whole."""
    import asyncio
    import sys

    from gateway import capture, configured, jsonlines
    from gateway.clock import RealClock
    from gateway.config.override import overridden
    from gateway.errors import UsageError
    from gateway.log import set_up
    from gateway.progress import Progress

    if not 0 < args.seconds <= 86_400:
        raise UsageError(f"--seconds {args.seconds:g}: a recording lasts more than 0 and at most 86400 seconds")
    checked = configured.prepare(args.config)
    config, board = configured.accepted(checked)
    set_up(checked.secrets)
    config = overridden(config, device=args.microphone, ppm=args.ppm)
    written = capture.recomputable(checked)
    progress = Progress(sys.stderr, f"recording {args.out}", args.seconds)
    try:
        made = asyncio.run(
            capture.record(
                args.out,
                args.seconds,
                config,
                board,
                RealClock(),
                written=written,
                overwrite=args.overwrite,
                seen=progress.at,
            )
        )
    finally:
        progress.end()
    lost = f", {made['lost_frames']} frames lost" if made["lost_frames"] else ""
    print(jsonlines.line(made) if args.json else f"{args.out}: {made['seconds']:g} s{lost}")
    return 0
