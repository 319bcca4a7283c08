"""`spectrophone schema`: the configuration's JSON Schema, for editors to complete and check with."""

from __future__ import annotations

import argparse
import json

from gateway.config.schema import schema

_EXAMPLE = """\
example:
  spectrophone schema > spectrophone.schema.json

An editor with the YAML language server checks against it when the configuration begins with the line
  # yaml-language-server: $schema=spectrophone.schema.json
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "schema",
        help="print the configuration's JSON Schema",
        description="Print the JSON Schema (draft 2020-12) of the configuration.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="on a single line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the schema; 0."""
    from gateway.design import SETTINGS

    print(json.dumps(schema(SETTINGS), indent=None if args.json else 2))
    return 0
