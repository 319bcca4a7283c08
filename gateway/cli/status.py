"""`spectrophone status`: the running gateway's state in the terminal."""

from __future__ import annotations

import argparse

_EXAMPLE = """\
example:
  spectrophone status
  spectrophone status --watch
  spectrophone status --json
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "status",
        help="the state of the running gateway",
        description="Show what the gateway on this machine measures and how it fares.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--watch", action="store_true", help="renew it once a second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show; 1 where no gateway runs."""
    import asyncio
    import contextlib
    import os
    import sys

    from gateway import jsonlines, status
    from gateway.clock import RealClock
    from gateway.places import directory

    clock = RealClock()

    def show() -> int:
        found = status.read(directory(os.environ), clock.utc_ns())
        for each in found:
            print(jsonlines.line(each) if args.json else status.described(each), flush=True)
        if not found:
            print("spectrophone: no gateway runs here. Start one: spectrophone run --demo", file=sys.stderr)
        return 0 if found else 1

    async def keep_showing() -> None:
        while True:
            if sys.stdout.isatty() and not args.json:
                print("\x1b[2J\x1b[H", end="")
            show()
            await clock.sleep_until(clock.monotonic_ns() + 1_000_000_000)

    if not args.watch:
        return show()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(keep_showing())
    return 0
