"""`spectrophone web password | token | tokens`: who may come in to the page, without the page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.web.access import AccessFile

_EXAMPLE = """\
example:
  spectrophone web password
  spectrophone web token prometheus --scope read
  spectrophone web token prometheus --remove
  spectrophone web tokens

A gateway that runs goes by it at once. Run it as the user that the gateway runs as. The password is asked for, or is
the first line of standard input; a token is printed once, and kept as a hash only.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser(
        "web",
        help="the page's password, and tokens for machines",
        description="Set the page's password, make and take back tokens for machines.",
        epilog=_EXAMPLE,
        formatter_class=plain,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    helps = {"password": "set the password", "token": "make or take back a token", "tokens": "list the tokens"}
    for action, told in helps.items():
        each = actions.add_parser(action, help=told, description=f"{told}.", epilog=_EXAMPLE, formatter_class=plain)
        each.add_argument("--config", type=Path, metavar="F", help="the configuration; the built-in one if absent")
        if action == "token":
            each.add_argument("name", metavar="NAME", help="what it is for")
            each.add_argument("--scope", choices=("read", "control", "admin"), default="read", help="read if absent")
            each.add_argument("--remove", action="store_true", help="take it back")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Set, make or list; 0 when it is done."""
    import os

    from gateway import configured, design
    from gateway.places import state_directory
    from gateway.web.access import SUFFIX, AccessFile

    # A fault in the file keeps nobody out, as in `run --salvage`; that there is none is told.
    read = configured.salvaged if args.config is not None and args.config.is_file() else configured.prepare
    config, _ = configured.accepted(read(args.config))
    file = AccessFile(state_directory(os.environ) / f"{design.box_id(config)}{SUFFIX}")
    match args.action:
        case "password":
            _set_password(file)
        case "token":
            _change_token(file, args)
        case _:
            for token in file.read().tokens:
                print(f"{token.name:<20} {token.scope:<8} since {token.created}")
    return 0


def _set_password(file: AccessFile) -> None:
    import getpass
    import sys
    from dataclasses import replace

    from gateway.errors import UsageError
    from gateway.web.access import hashed

    if sys.stdin.isatty():
        password = getpass.getpass("password: ")
        if getpass.getpass("again: ") != password:
            raise UsageError("these are two different passwords", "Try again")
    else:
        password = sys.stdin.readline().rstrip("\n")
    kept = hashed(password)
    file.change(lambda now: replace(now, password=kept))
    print(f"the password is set ({file.path})", file=sys.stderr)


def _change_token(file: AccessFile, args: argparse.Namespace) -> None:
    import re

    from gateway.clock import RealClock
    from gateway.errors import UsageError
    from gateway.types import iso_utc
    from gateway.web.access import Access

    made = ""

    def changed(now: Access) -> Access:
        nonlocal made
        new, made = now.with_token(args.name, args.scope, iso_utc(RealClock().utc_ns()) or "")
        return new

    if args.remove:
        file.change(lambda now: now.without_token(args.name))
        return
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", args.name):
        raise UsageError(f"{args.name} is no name for a token", "Take letters, digits, - and _")
    file.change(changed)
    print(made)
