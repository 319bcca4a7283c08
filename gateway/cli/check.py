"""`spectrophone check F`: a configuration's faults, all of them, without touching hardware or network."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from gateway.errors import Fault

_EXAMPLE = """\
example:
  spectrophone check gateway.yaml
  spectrophone check --json gateway.yaml

Every fault is printed as file:line:column: option: what is wrong. What would be right.
The exit status is 0 without faults and 2 with them.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "check",
        help="find all faults of a configuration, without touching anything",
        description="Find all faults of a configuration file, without touching hardware or network. "
        "Scripts are read, and not run.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="F", type=Path, help="the configuration, a YAML file")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check and print; 0 without faults, 2 with them."""
    from gateway.configured import prepare

    return report(args.file, prepare(args.file, scripts=True).faults, args.json, sys.stdout, sys.stderr)


def report(path: Path, faults: Sequence[Fault], as_json: bool, out: TextIO, err: TextIO) -> int:
    """Print what was found in a file; the exit status."""
    for fault in faults:
        print(json.dumps(as_object(fault)) if as_json else fault, file=out if as_json else err)
    if as_json:
        print(json.dumps({"kind": "summary", "faults": len(faults)}), file=out)
    elif not faults:
        print(f"{path}: no faults", file=out)
    return 2 if faults else 0


def as_object(fault: Fault) -> dict[str, str | int]:
    """A fault as a JSON object."""
    return {
        "kind": "fault",
        "file": fault.file,
        "line": fault.line,
        "column": fault.column,
        "option": fault.option,
        "message": fault.message,
        "remedy": fault.remedy,
    }
