"""`spectrophone script`: an action in Python from the first line to its first call: new, check, try."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.journal.entry import Entry
    from gateway.scripts.messages import Finding
    from gateway.trial.given import Node

_EXAMPLE = """\
example:
  spectrophone script new co2_mail --out user_scripts
  spectrophone script check user_scripts/co2_mail.py
  spectrophone script try user_scripts/co2_mail.py --parameters co2_mail.yaml

docs/writing-actions.md takes you to a working e-mail alert in minutes.
"""

_NEW = """\
example:
  spectrophone script new co2_mail
  spectrophone script new fan --style module --out user_scripts

class: one object of a class of yours, for a python_action node. module: plain functions, for a universal_action node
with the driver python. The file tells in comments what there is, and passes `script check` and `script try` at once.
"""

_PARAMETERS = """\
P is YAML: what stands under `parameters:` of the node in the configuration, or the node itself. ${NAME} and !secret
work as there. Without it the node that the script's docstring shows is taken, and without one nothing is allowed.
"""

_CHECK = f"""\
example:
  spectrophone script check user_scripts/co2_mail.py
  spectrophone script check co2_mail.py --parameters co2_mail.yaml --json

The script is read, and not run. Every finding is printed as file:line:column: what is wrong: what to do. The exit
status is 2 with errors, and 0 without, warnings or not.

{_PARAMETERS}"""

_TRY = f"""\
example:
  spectrophone script try user_scripts/co2_mail.py
  spectrophone script try co2_mail.py --parameters co2_mail.yaml --events 20
  spectrophone script try co2_mail.py --recording lab.wav --json | grep -v '"ok"'
  spectrophone script try co2_mail.py --journal lab-42.journal --from -2h

The script runs in the same confinement as in the gateway, and does what it does: mails are sent. Outputs are not
switched and nobody is notified; what it asks for is printed, with each call's outcome, time and memory. N measurements
rise through the threshold, one alert is raised and cleared. --recording computes W, --journal takes what was kept of
the monitored nodes, both with the thresholds of the node. --level tries a weaker confinement than this machine's best:
A namespaces, Landlock and seccomp, B without Landlock, L without namespaces, C seccomp only. --no-static-check leaves
out the static check and the import guard, which are there for clear errors; what holds is the confinement.

The exit status is 0 if the script was loaded and all calls went well, 1 if not, 2 for faults in what is given.

{_PARAMETERS}"""

_RELATIVE = re.compile(r"-\.?\d")
_LEVELS = {
    "A": "namespaces, Landlock, seccomp",
    "B": "namespaces, seccomp",
    "L": "Landlock, seccomp",
    "C": "seccomp",
}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "script",
        help="customers' actions in Python: new, check, try",
        description="Write, check and try an action in Python.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doings = parser.add_subparsers(dest="doing", metavar="new | check | try", required=True)

    new = _doing(doings, "new", "a script to begin with", _NEW)
    new.add_argument("name", metavar="NAME", help="of the file and the node: lower-case letters, digits and _")
    new.add_argument("--style", choices=("class", "module"), default="class", help="how it is called; class if absent")
    new.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="the directory; this one if absent")
    new.set_defaults(run=_new)

    check = _doing(doings, "check", "find all faults of a script, without running it", _CHECK)
    _add_script(check)
    check.set_defaults(run=_check)

    trying = _doing(doings, "try", "run a script on events, confined as in the gateway", _TRY)
    _add_script(trying)
    events = trying.add_mutually_exclusive_group()
    events.add_argument(
        "--events", type=_count, default=5, metavar="N", help="so many sample measurements; 5 if absent"
    )
    events.add_argument("--recording", type=Path, metavar="W", help="what a WAV or FLAC recording gives")
    events.add_argument("--journal", type=Path, metavar="FILE", help="what a journal has")
    trying.add_argument("--from", dest="since", metavar="T", help="of the journal only what came then or later")
    trying.add_argument("--to", dest="until", metavar="T", help="of the journal only what came before")
    trying._negative_number_matcher = _RELATIVE  # so that -2h is a value and no option
    trying.add_argument("--level", choices=tuple(_LEVELS), help="of confinement; the best there is if absent")
    trying.add_argument("--no-static-check", action="store_true", help="without static check and import guard")
    trying.set_defaults(run=_try)


def _doing(
    doings: argparse._SubParsersAction[argparse.ArgumentParser], name: str, about: str, example: str
) -> argparse.ArgumentParser:
    description = f"{about[:1].upper()}{about[1:]}."
    return doings.add_parser(
        name,
        help=about,
        description=description,
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_script(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="F", type=Path, help="the script")
    parser.add_argument("--parameters", type=Path, metavar="P", help="the node's parameters, a YAML file")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, on standard output")


def _count(text: str) -> int:
    count = int(text) if text.isdecimal() else 0
    if not 1 <= count <= 100_000:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 to 100000")
    return count


def _new(args: argparse.Namespace) -> int:
    """Write a script; 0 when it is there."""
    from gateway.scripts import scaffold

    path = scaffold.write(args.name, args.style, args.out)
    print(f"{path} is written. Next: spectrophone script try {path}")
    return 0


def _check(args: argparse.Namespace) -> int:
    """Print what the static check finds; 2 with errors."""
    import os

    from gateway.scripts.checking import findings
    from gateway.trial import given

    node = given.node(args.file, args.parameters, None if args.parameters is None else os.environ)
    found = findings(node.work)
    errors = sum(finding.severity == "error" for finding in found)
    for finding in found:
        print(json.dumps(_as_object(args.file, finding)) if args.json else _in_words(args.file, finding))
    if args.json:
        print(json.dumps({"kind": "summary", "errors": errors, "warnings": len(found) - errors}))
    elif not found:
        print(f"{args.file}: no faults")
    return 2 if errors else 0


def _in_words(file: Path, finding: Finding) -> str:
    warning = "warning: " if finding.severity == "warning" else ""
    return f"{file}:{finding.line}:{finding.column}: {warning}{finding.message}: {finding.remedy}"


def _as_object(file: Path, finding: Finding) -> dict[str, str | int]:
    return {
        "kind": "finding",
        "file": str(file),
        "line": finding.line,
        "column": finding.column,
        "severity": finding.severity,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _try(args: argparse.Namespace) -> int:
    """Try the script and print each call; 0 if it was loaded and all went well."""
    import asyncio
    import os

    from gateway.clock import RealClock
    from gateway.errors import ConfigError
    from gateway.trial import given
    from gateway.trial.trying import tried

    clock = RealClock()
    node = given.node(args.file, args.parameters, os.environ)
    if lacking := node.lacking():
        raise ConfigError(lacking)
    entries = _events(args, node, clock.utc_ns())
    tell = _print_json if args.json else _print_call
    checks = not args.no_static_check
    summary = asyncio.run(tried(node, entries, clock, tell, level=args.level or "auto", checks=checks))
    if args.json:
        _print_json(summary)
    else:
        print(_summary_in_words(summary))
    return 0 if summary["loaded"] and summary["calls"] == summary["outcomes"]["ok"] else 1


def _events(args: argparse.Namespace, node: Node, now_ns: int) -> AsyncIterator[Entry]:
    """The events that were asked for. Raises UsageError."""
    from gateway.errors import UsageError
    from gateway.export import time_range
    from gateway.trial import events

    if args.journal is None and (args.since or args.until):
        raise UsageError("--from and --to are of a journal", "Give --journal, or leave them out")
    if args.recording is not None:
        return events.recorded(node, args.recording)
    if args.journal is not None:
        return events.journalled(node, args.journal, *time_range(args.since, args.until, now_ns))
    return events.sampled(node, args.events, now_ns)


def _print_json(fields: Mapping[str, Any]) -> None:
    print(json.dumps(fields, allow_nan=False), flush=True)


def _print_call(call: Mapping[str, Any]) -> None:
    from gateway.scripts.messages import escaped

    print(f"{call['hook']:<15}{call['outcome']:<8}{call['ms']:9.2f} ms{call['memory_mb']:8.1f} MB")
    for line in call["log"]:
        print(f"    {line}")
    if call["result"] is not None:
        print(f"    returned {escaped(json.dumps(call['result'], ensure_ascii=False))}")
    if call["error"] is not None:
        print(f"    {call['error']}")
    sys.stdout.flush()


def _summary_in_words(summary: Mapping[str, Any]) -> str:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in summary["outcomes"].items() if count)
    loaded = "" if summary["loaded"] else "The script could not be loaded. "
    times = f"p50 {summary['p50_ms']:.2f} ms, p95 {summary['p95_ms']:.2f} ms, longest {summary['max_ms']:.2f} ms"
    walls = f"level {summary['isolation']} ({_LEVELS[summary['isolation']]})"
    calls = "1 call" if summary["calls"] == 1 else f"{summary['calls']} calls"
    return (
        f"\n{loaded}{calls}: {outcomes}; {times}; memory at most {summary['peak_memory_mb']:.1f} MB; isolation {walls}"
    )
