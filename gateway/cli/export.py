"""`spectrophone export`: the journal, or a range of it, as CSV, Parquet or JSON lines."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.export import Counted

_EXAMPLE = """\
example:
  spectrophone export --format csv --from -7d --out week.csv
  spectrophone export --format parquet --from 2026-11-01 --to 2026-12-01 --out november.parquet
  spectrophone export --format jsonl --kind alert --kind command --from 2026-11-22T08:00+01:00
  spectrophone export --format csv --journal card/lab-42.journal --node co2_concentration | head

T is a date or time in ISO 8601, in UTC where it names no zone, or so long ago: -90s, -30min, -2h, -7d. --from is in the
range, --to is not. Without --journal, --config and --box the only journal in the state directory is taken. It may be
written while it is read. CSV and Parquet are a table of one kind, measurements if nothing else is asked for; JSON lines
are of all kinds, see docs/json-lines.md. How much it was is told on standard error. More in docs/journal.md.
"""

_KINDS = ("measurement", "alert", "command", "peak", "lock_in", "level", "resonance")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "export",
        help="the journal as CSV, Parquet or JSON lines",
        description="Write what the journal has of a range of time, while the gateway runs or not.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--format", choices=("csv", "parquet", "jsonl"), required=True, help="what to write")
    add_journal_options(parser)
    parser.add_argument("--config", type=Path, metavar="F", help="the configuration whose journal it is")
    parser.add_argument("--node", action="append", metavar="ID", help="of this node only; may be repeated")
    parser.add_argument("--kind", action="append", choices=_KINDS, help="of this kind only; may be repeated")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file; standard output if absent")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")
    parser.set_defaults(run=run)


def add_journal_options(parser: argparse.ArgumentParser) -> None:
    """Which journal, and from when to when."""
    parser.add_argument("--journal", type=Path, metavar="FILE", help="the journal")
    parser.add_argument("--box", metavar="ID", help="the box whose journal it is")
    parser.add_argument("--from", dest="since", metavar="T", help="only what came then or later")
    parser.add_argument("--to", dest="until", metavar="T", help="only what came before")
    parser._negative_number_matcher = re.compile(r"-\.?\d")  # so that -2h is a value and no option


def run(args: argparse.Namespace) -> int:
    """Export; 0 also where there was nothing in the range."""
    import os
    import sys

    from gateway import export
    from gateway.clock import RealClock
    from gateway.errors import SpectrophoneError
    from gateway.journal.archive import count_in, entries_in
    from gateway.progress import Progress

    kinds = export.kinds_for(args.format, args.kind or (), args.out)
    since_ns, until_ns = export.time_range(args.since, args.until, RealClock().utc_ns())
    file, box = export.chosen_journal(args.journal, args.config, args.box)
    asked = (file, since_ns, until_ns, kinds or None, args.node)
    total = count_in(*asked)
    in_sight = args.out is None and sys.stdout.isatty()  # the entries themselves are
    progress = Progress(sys.stderr, f"exporting {total} entries", 0 if in_sight else total)
    counted = export.Counted(entries_in(*asked), progress.at)
    try:
        if args.out is None:
            export.write(counted, sys.stdout.buffer, args.format, kinds, box)
            sys.stdout.buffer.flush()
        else:
            with export.new_file(args.out, args.overwrite) as out:
                export.write(counted, out, args.format, kinds, box)
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the rest is tried again at the end
        raise SpectrophoneError(f"standard output cannot be written: {error.strerror}") from None
    finally:
        progress.end()
    print(f"spectrophone: {_summary(counted, file, args.out)}", file=sys.stderr)
    return 0


def _summary(counted: Counted, file: Path, out: Path | None) -> str:
    from gateway.journal.extent import extent
    from gateway.types import iso_utc

    to = "" if out is None else f", in {out}"
    if counted.count:
        entries = f"{counted.count} entries" if counted.count > 1 else "1 entry"
        return f"{entries} from {iso_utc(counted.first_ns)} to {iso_utc(counted.last_ns)}{to}"
    ends = extent(file)
    there = "is empty" if ends is None else f"goes from {iso_utc(ends[0])} to {iso_utc(ends[1])}"
    return f"no such entries{to}: {file} {there}"
