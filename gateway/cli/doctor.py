"""`spectrophone doctor`: what this box has and lacks, each with its remedy."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.doctor.finding import Finding

_EXAMPLE = """\
example:
  spectrophone doctor
  spectrophone doctor --config gateway.yaml
  sudo -u spectrophone spectrophone doctor --config /etc/spectrophone/gateway.yaml --json

Run it as the user that the gateway runs as: rights are part of what is looked at. It drives no output, and takes
nothing from a gateway that runs. The exit status is 1 if something is missing, else 0; warnings do not count. With
--json one object of kind finding a check, then one of kind summary.
"""
_MARKS = {"ok": "ok", "warning": "WARNING", "missing": "MISSING", "unknown": "unknown", "not needed": "-"}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="what this box has and lacks, each with its remedy",
        description="Look at everything that the gateway needs here, and tell how to mend what is missing.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="F", help="the configuration; the built-in one if absent")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look and print; 0 when nothing is missing."""
    import os

    from gateway.clock import RealClock
    from gateway.doctor import checks
    from gateway.doctor.place import look

    place = look(args.config, os.environ, RealClock())
    seen: list[Finding] = []

    def found() -> Iterator[Finding]:
        for finding in checks.findings(place):
            seen.append(finding)
            yield finding

    for line in as_json(found()) if args.json else in_words(found()):
        print(line, flush=True)
    return int(any(finding.state == "missing" for finding in seen))


def in_words(findings: Iterable[Finding]) -> Iterator[str]:
    """Lines for people: groups, what was found, remedies beneath, and how much there is to mend."""
    group, counts = "", dict.fromkeys(_MARKS, 0)
    for finding in findings:
        if finding.group != group:
            group = finding.group
            yield f"{group.upper()}"
        counts[finding.state] += 1
        yield f"  {_MARKS[finding.state]:<8} {finding.name}: {finding.found}"
        if finding.remedy:
            yield f"  {'':<8}   {finding.remedy}."
    yield ""
    yield _verdict(counts)


def _verdict(counts: dict[str, int]) -> str:
    missing, warnings = counts["missing"], counts["warning"]
    mend = "Nothing is missing" if not missing else f"{missing} thing{'s' * (missing > 1)} to mend"
    return mend + (f", {warnings} warning{'s' * (warnings > 1)}." if warnings else ".")


def as_json(findings: Iterable[Finding]) -> Iterator[str]:
    """JSON objects, one a line: the findings, then their number by state."""
    import dataclasses
    import json

    counts = dict.fromkeys(_MARKS, 0)
    for finding in findings:
        counts[finding.state] += 1
        yield json.dumps({"kind": "check", **dataclasses.asdict(finding)}, ensure_ascii=False)
    yield json.dumps({"kind": "summary", **{state.replace(" ", "_"): count for state, count in counts.items()}})
