"""`spectrophone status`: the running gateway's state in the terminal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_EXAMPLE = """\
example:
  spectrophone status
  spectrophone status --watch
  spectrophone status --json
  SPECTROPHONE_TOKEN=sp_... spectrophone status --watch --url https://box-1.local:8080 --ca box-1.pem
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "status",
        help="the state of the running gateway",
        description="Show what the gateway on this machine, or the box with that page, measures and how it fares.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--watch", action="store_true", help="renew it once a second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--url", metavar="URL", help="the page of a box, http://HOST:8080/; this machine if absent")
    parser.add_argument("--token", help="a token of that page, scope read; SPECTROPHONE_TOKEN if absent")
    parser.add_argument("--ca", type=Path, metavar="F", help="PEM file of the page's certificate or its authority")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show; 1 where no gateway runs."""
    import asyncio
    import contextlib

    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_run(args))
    return 0


async def _run(args: argparse.Namespace) -> int:
    import os
    import sys
    from contextlib import AsyncExitStack

    from gateway import status, watching
    from gateway.clock import RealClock
    from gateway.places import directory

    clock, place = RealClock(), directory(os.environ)
    token = args.token or os.environ.get("SPECTROPHONE_TOKEN", "")

    async def look() -> list[dict[str, Any]]:
        return status.read(place, clock.utc_ns())

    async with AsyncExitStack() as stack:
        looks: watching.Look = look
        if args.url is not None or token:
            import aiohttp

            from gateway import asking

            api = asking.Api(await stack.enter_async_context(aiohttp.ClientSession()), token, args.ca)
            looks = asking.local(api, place, clock) if args.url is None else asking.remote(api, args.url)
        in_place = args.watch and sys.stdout.isatty() and not args.json
        view = watching.Screen(sys.stdout) if in_place else watching.Lines(sys.stdout, sys.stderr, json=args.json)
        if args.watch:
            await watching.watch(looks, view, clock)
        found = await looks()
        view.show(found, "" if found else "no gateway runs here. Start one: spectrophone run --demo")
        return 0 if found else 1
