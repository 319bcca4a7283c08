"""`spectrophone run`: the service."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.board import Board
    from gateway.config.sections import Mqtt, WebSection
    from gateway.view import Page, View

_EXAMPLE = """\
example:
  spectrophone run --config gateway.yaml
  spectrophone run --config gateway.yaml --salvage
  spectrophone run --demo --ppm 1000
  spectrophone run --demo --microphone default
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "run",
        help="the service: measure, switch, publish",
        description="Measure until told to stop (Ctrl-C or SIGTERM). Every way out leaves laser and relays safe.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="F", help="the configuration; the built-in one if absent")
    parser.add_argument(
        "--salvage", action="store_true", help="with a fault in F run by the rest of it, the laser dark, and say so"
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="the page on every address, unless F says where",
    )
    parser.add_argument(
        "--demo", action="store_true", help="simulated cell, a page and a private MQTT broker on loopback"
    )
    parser.add_argument("--microphone", metavar="DEVICE", help='an ALSA device ("default"), "sim" or "file:PATH"')
    parser.add_argument("--ppm", type=float, metavar="X", help="concentration in the simulated cell")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run; 0 when told to stop."""
    import asyncio
    import os
    import signal
    import sys
    from functools import partial

    from gateway import build, configured, service
    from gateway.broker import PrivateBroker
    from gateway.clock import RealClock
    from gateway.config.override import overridden
    from gateway.config.redact import Secrets
    from gateway.config.sections import Mqtt, WebSection
    from gateway.lines import LineWriter
    from gateway.log import set_up
    from gateway.readings import JsonReadings, Readings

    board_of_demo = "sim" if args.demo else None
    checked = configured.prepare(args.config, board=board_of_demo)
    faults = checked.faults if args.salvage else ()
    if faults:
        checked = configured.salvaged(args.config, board=board_of_demo)
    config, board = configured.accepted(checked)
    secrets = Secrets(checked.secrets)
    set_up(secrets)
    config = overridden(config, device=args.microphone, ppm=args.ppm)
    writer = LineWriter(sys.stdout, gone=lambda: os.kill(os.getpid(), signal.SIGTERM))
    sink = JsonReadings(writer) if args.json else Readings(writer)
    everywhere = WebSection(listen="0.0.0.0", tls="generated") if args.page else None
    web = config.web or everywhere or (_demonstrated(WebSection()) if args.demo else None)

    async def serve(broker: PrivateBroker | None = None) -> None:
        settings = config
        if broker is not None:
            settings = config.model_copy(update={"mqtt": Mqtt(host=broker.host, port=broker.port)})

        def greet(parts: build.Parts, shown: Page | None) -> None:
            greeting = _greeting(parts.face.box, board, settings.mqtt, shown)
            print(greeting, file=sys.stderr if args.json else sys.stdout, flush=True)

        page = None if web is None else partial(_page, web)
        about = {"file": args.config, "secrets": secrets, "faults": faults, "page": page}
        await service.serve(settings, board, RealClock(), [sink], **about, started=greet)

    try:
        asyncio.run(service.with_broker(serve) if args.demo and config.mqtt is None else serve())
    finally:
        writer.close()
    return 0


def _page(settings: WebSection, view: View) -> Page:
    """Imported here, so that a gateway without a page has nothing of it in memory."""
    from gateway.web.server import WebServer

    return WebServer(settings, view)


def _demonstrated(usual: WebSection) -> WebSection:
    """The usual port, or any other where somebody else has it."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((usual.listen, usual.port))
        except OSError:
            return usual.model_copy(update={"port": 0})
    return usual


def _greeting(box: str, board: Board, mqtt: Mqtt | None, page: Page | None) -> str:
    lines = [f"Spectrophone {box} on {board.title}. Ctrl-C ends it and leaves laser and relays safe."]
    if page is not None:
        lines.append(f"Look:     {page.status()['address']}")
    if mqtt is not None:
        where = f"-h {mqtt.host}" + (f" -p {mqtt.port}" if mqtt.port else "")
        topics = f"{mqtt.base_topic}/{box}"
        lines.append(f"Listen:   mosquitto_sub {where} -v -t '{topics}/#'")
        if board.simulated:
            lines.append(f"Set ppm:  mosquitto_pub {where} -t {topics}/cell/set -m 1000")
        if relay := next(iter(board.relays), None):
            lines.append(f"Switch:   mosquitto_pub {where} -t {topics}/relay/{relay}/set -m ON")
    return "\n".join(lines)
