"""`spectrophone replay FILES`: recordings through the very same path, as fast as it goes, here or on a fleet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.archive import Given, Job, Recomputed

_EXAMPLE = """\
example:
  spectrophone replay lab.wav
  spectrophone replay lab.flac --config gateway.yaml | grep measurement
  spectrophone replay lab.wav --calibration calibration/co2_concentration.toml
  spectrophone replay archive/ --scheduler tcp://10.0.0.5:8786 --calibration new.toml > anew.jsonl

One JSON object a line for every result and alert; docs/json-lines.md tells what is in them. Without --config the
configuration that `record` wrote into the recording is taken, or the built-in one.

Of several FILES, or a directory, all objects come in the order of the files, each with one more field: file, as it was
given. A file at fault is told on standard error, the others go on, and the exit status is 2 at the end. --scheduler
has them computed by the workers of a Dask scheduler, tcp://HOST:8786 or tls://HOST:8786, or by one process a core of
this machine with `local`: the same numbers, in the same order. It needs pip install 'spectrophone[fleet]', and workers
that see the files at the same path; docs/fleet.md tells how.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "replay",
        help="compute WAV or FLAC recordings anew",
        description="Put WAV or FLAC recordings through the very same path as live sound, as fast as it goes.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "a recording, or a directory for all .wav and .flac in it"
    parser.add_argument("files", metavar="FILE", type=Path, nargs="+", help=what)
    parser.add_argument("--config", type=Path, metavar="F", help="the configuration")
    parser.add_argument("--calibration", type=Path, metavar="C", help="a calibration file, for the configured one")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler whose workers do it, or local")
    parser.add_argument("--json", action="store_true", help="nothing but JSON lines: what it does anyway")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay; 0 at the end of the recordings, 2 if there was a fault in one."""
    from gateway import archive

    jobs = archive.jobs(args.files)
    if args.scheduler is None and not jobs[0].marked:
        _stream(args.files[0], args.config, args.calibration)
        return 0
    return _recompute(jobs, archive.given(args.config, args.calibration), args.scheduler)


def _stream(file: Path, config: Path | None, calibration: Path | None) -> None:
    """Print one recording's objects as they come."""
    import asyncio
    import sys

    from gateway import jsonlines, replay
    from gateway.progress import Progress

    recording = replay.prepare(file, config, calibration)
    for note in recording.notes:
        print(f"spectrophone: {note}", file=sys.stderr)
    progress = Progress(sys.stderr, f"replaying {file}", recording.seconds)

    async def print_all() -> None:
        async for tick in recording.ticks():
            for fields in jsonlines.objects(tick, live=tick.utc_ns is not None):
                print(jsonlines.line(fields))
            progress.at(tick.t_ns / 1e9)

    try:
        asyncio.run(print_all())
    finally:
        progress.end()


def _recompute(jobs: list[Job], given: Given, scheduler: str | None) -> int:
    """Print the objects of all recordings, in order."""
    from gateway.archive import recompute

    report = _Report(len(jobs))
    try:
        if scheduler is None:
            for job in jobs:
                report.take(recompute(job, given))
        else:
            from gateway import fleet

            fleet.replay(scheduler, jobs, given, report.take, report.tell)
    finally:
        report.end()
    return 2 if report.faults else 0


class _Report:
    """Prints results, and tells what is to be known of them: a note that many share, once and how often."""

    def __init__(self, total: int) -> None:
        import sys
        from collections import Counter

        from gateway.progress import Progress

        self._stderr, self._total = sys.stderr, total
        self._progress = Progress(sys.stderr, "replaying", total)
        self._notes: Counter[str] = Counter()
        self._done, self._seconds = 0, 0.0
        self.faults = 0

    def take(self, result: Recomputed) -> None:
        """Print one result."""
        print(result.lines, end="", flush=True)
        for note in result.notes:
            self._notes[note] += 1
            if self._notes[note] == 1:
                self.tell(f"{result.job.shown}: {note}")
        if result.fault:
            self.faults += 1
            self.tell(result.fault)
        self._done += 1
        self._seconds += result.seconds
        self._progress.at(self._done, f", {self._done} of {self._total} files, {self._seconds:.0f} s of sound")

    def tell(self, text: str) -> None:
        """A sentence on standard error."""
        self._progress.end()
        print(f"spectrophone: {text}", file=self._stderr)

    def end(self) -> None:
        """Tell what many had in common."""
        self._progress.end()
        for note, count in self._notes.items():
            if count > 1:
                self.tell(f"{count} of {self._total} recordings: {note}")
