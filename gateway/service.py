"""The service: parts are started, the loop runs, a changed configuration is applied, and everything is ended in
order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gateway import build, design, hardware, loop, viewing
from gateway.board import Board
from gateway.broker import PrivateBroker
from gateway.clock import Clock, utc_of
from gateway.config.config import Config
from gateway.config.redact import Secrets
from gateway.errors import Fault, SpectrophoneError
from gateway.health import Health, LastCalibration
from gateway.interlock import Condition
from gateway.life import Restart, Starts
from gateway.outputs import LASER, START, Outputs
from gateway.places import directory, state_directory
from gateway.ports import Sink
from gateway.reload import Reloader
from gateway.rules import name_of
from gateway.safety import SUFFIX
from gateway.status import StatusFile
from gateway.systemd import StatusText
from gateway.tuning import Tuning
from gateway.types import Command, Tick
from gateway.view import MakePage, Page
from gateway.warm import WarmFile

log = logging.getLogger("spectrophone.service")


async def serve(
    config: Config,
    board: Board,
    clock: Clock,
    sinks: Sequence[Sink],
    *,
    file: Path | None = None,
    secrets: Secrets | None = None,
    faults: Sequence[Fault] = (),
    page: MakePage | None = None,
    started: Callable[[build.Parts, Page | None], None] = lambda parts, page: None,
) -> None:
    """Run the gateway until it is told to stop (SIGINT, SIGTERM) or the recording ends.

    `file` is the configuration that is looked at for changes, `secrets` are those in it, more when it changes. With
    `faults` in it `config` is what could be salvaged: the laser stays dark, and once the file is mended the gateway
    begins anew. `page` makes what people look at; `started` is called when the loop begins. Raises what makes running
    impossible: DeviceError, LinkError, RecordingError; Restart where it was told to begin anew.
    """
    secrets = Secrets() if secrets is None else secrets
    parts = build.parts(config, board, clock, secrets, file)
    tuning = Tuning(config, board, parts.inbox)
    parts.outputs.add(tuning.outputs(parts.path))
    health = _health(config, parts, clock)
    reloader = None if file is None else _reloader(file, tuning, parts, config, board, secrets, faults)
    about = partial(_about, board, parts, tuning, health, reloader)
    view = viewing.view(config, board, parts, tuning, clock, about, file, secrets)
    shown = None if page is None else page(view)
    told = about if shown is None else lambda: {**about(), "page": shown.status()}
    status = StatusFile(directory(os.environ) / f"{parts.face.box}.json", clock, told)
    place = state_directory(os.environ) / f"{parts.face.box}.warm"
    learnt = WarmFile(place, clock, parts.path, _about_sound(config, board))
    starts = Starts(state_directory(os.environ) / f"{parts.face.box}.starts", parts.life, clock.boot())
    everybody: list[Sink] = [
        starts,
        parts.signals,
        parts.journal,
        parts.actions,
        *sinks,
        status,
        learnt,
        StatusText(parts.systemd),
    ]
    everybody += [sink for sink in (parts.calibrator, parts.link, parts.modbus, shown) if sink is not None]
    helpers: list[asyncio.Task[None]] = []
    try:
        for sink in everybody:
            await sink.start()
        helpers.append(asyncio.create_task(health.watch(), name="health"))
        if reloader is not None:
            complain(parts, reloader.faults)
            helpers.append(asyncio.create_task(reloader.watch(clock), name="reload"))
        with guarded(parts):
            if faults:
                log.error("%s has %d faults: the gateway runs by the rest of it, without light", file, len(faults))
                doubt(parts.outputs, f"the configuration has a fault: {faults[0]}")
            else:
                light(parts.outputs, config, board)
            parts.buttons.start()
            parts.systemd.ready()
            started(parts, shown)
            await until_told(loop.run(parts.inputs, parts.path, parts.outputs, everybody, parts.inbox, parts.watch))
        starts.forget()
    except SpectrophoneError:
        starts.withdraw()
        raise
    finally:
        parts.systemd.stopping()
        parts.buttons.close()
        for helper in helpers:
            helper.cancel()
        _tell_the_end(parts, everybody, clock)
        others = [sink.close() for sink in everybody if sink is not parts.journal]
        await asyncio.gather(*others, *helpers, return_exceptions=True)
        await parts.journal.close()
        parts.inputs.microphone.close()
        parts.outputs.close()
    if parts.life.restarting:
        raise Restart("told to begin anew")


@contextlib.contextmanager
def guarded(parts: build.Parts) -> Iterator[None]:
    """The watch looks, the guardian stands by, and what is safe is written down for who comes after both. Every way out
    makes the outputs safe first.
    """
    file = directory(os.environ) / f"{parts.face.box}{SUFFIX}"
    if parts.plan is not None:
        file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        file.write_text(parts.plan.text(), "utf-8")
    try:
        parts.watch.start()
        yield
    finally:
        parts.outputs.make_safe()
        parts.watch.stop()
        file.unlink(missing_ok=True)


def _reloader(
    file: Path,
    tuning: Tuning,
    parts: build.Parts,
    config: Config,
    board: Board,
    secrets: Secrets,
    faults: Sequence[Fault],
) -> Reloader:
    """Who looks at the configuration file, and tells light, broker and people what has become of it."""

    def followed(now: Config) -> None:
        show(parts, config, board, now)
        complain(parts, reloader.faults)

    doubted = partial(doubt, parts.outputs)
    reloader = Reloader(file, tuning, board, parts.inbox, secrets, doubted, followed, faults)
    return reloader


def complain(parts: build.Parts, faults: Sequence[str]) -> None:
    """Home Assistant sees what is wrong with the configuration file."""
    if parts.link is not None:
        parts.link.complain([f"configuration: {fault}" for fault in faults])


def doubt(outputs: Outputs, why: str) -> None:
    """The configuration file does not say how to drive the laser, for that reason; or, with none, it does."""
    if why:
        outputs.lose(Condition.CONFIGURATION, why)
    else:
        outputs.restore(Condition.CONFIGURATION)


def show(parts: build.Parts, begun: Config, board: Board, config: Config) -> None:
    """Home Assistant sees the rules and nodes of a changed configuration; what else has changed in it since the gateway
    has `begun` waits for a restart, and so does what only a restart can open.
    """
    if parts.link is not None:
        parts.link.show(viewing.followed(parts, begun, board, config))


def temper(outputs: Outputs, config: Config) -> None:
    """Bring the laser to its temperature, if the configuration says so."""
    if config.tec is not None:
        outputs.apply([Command("tec", "on", origin=START)], 0)


def light(outputs: Outputs, config: Config, board: Board) -> None:
    """Light the laser before the first block, if the configuration says so and there is one; its TEC before it."""
    temper(outputs, config)
    if config.laser.start == "on" and LASER in hardware.verbs(config, board):
        outputs.apply([Command(LASER, "on", origin=START)], 0)


async def with_broker(run: Callable[[PrivateBroker], Any]) -> None:
    """Run with a private broker on loopback, which ends with it."""
    broker = PrivateBroker()
    await broker.start()
    try:
        await run(broker)
    finally:
        await broker.stop()


async def until_told(running: Any) -> None:
    """Await, and take SIGINT and SIGTERM for a wish to end."""
    task = asyncio.ensure_future(running)
    events = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        events.add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            events.remove_signal_handler(number)


def _tell_the_end(parts: build.Parts, sinks: Sequence[Sink], clock: Clock) -> None:
    """The safe states, read back, to everybody who shows them."""
    state = parts.path.state
    newest = max((result.t_ns for result in state.results.values()), default=0)
    outcome = parts.outputs.apply((), newest)
    end = Tick(0, newest, utc_of(clock, clock.monotonic_ns()), (), (), (), state)
    for sink in sinks:
        loop.tell(sink, end, outcome, lambda name: None)


def _about_sound(config: Config, board: Board) -> str:
    """What the sound comes from, in words: what was learnt of other sound is of no use."""
    return repr((design.VERSION, board.name, config.acquisition, config.laser))


def _health(config: Config, parts: build.Parts, clock: Clock) -> Health:
    """How the box fares: what the gateway counts, and who is told."""
    made, statistics = LastCalibration(), parts.watch.statistics

    def counted() -> Mapping[str, Any]:
        waiting = {} if parts.link is None else parts.link.history()
        return {
            **{name: waiting[name] for name in ("queue_depth", "queue_age_s") if name in waiting},
            "overruns": statistics.overruns,
            "lost_frames": statistics.lost_frames,
            "last_calibration": made.of(design.calibration_files(config).values()),
        }

    def tell(facts: Mapping[str, Any]) -> None:
        if parts.link is not None:
            parts.link.health(facts)

    return Health(clock, state_directory(os.environ), counted, tell)


def _about(
    board: Board, parts: build.Parts, tuning: Tuning, health: Health, reloader: Reloader | None
) -> Mapping[str, Any]:
    statistics = parts.watch.statistics
    laser, why = parts.outputs.safety()
    return {
        "kind": "status",
        "box": parts.face.box,
        "board": board.name,
        "version": design.VERSION,
        "pid": os.getpid(),
        "safe_mode": parts.life.safe_because,
        "configuration_faults": [] if reloader is None else list(reloader.faults),
        "laser": laser,
        "laser_dark_because": why,
        "blocks": statistics.blocks,
        "overruns": statistics.overruns,
        "lost_frames": statistics.lost_frames,
        "block_mean_ms": statistics.mean_s * 1e3,
        "block_longest_ms": statistics.longest_s * 1e3,
        "history": {} if parts.link is None else dict(parts.link.history()),
        "block_seconds": statistics.took.as_object(),
        "late_seconds": statistics.late.as_object(),
        "rules": [name_of(rule) for rule in tuning.file.rules],
        "link": {} if parts.link is None else dict(parts.link.counts()),
        "modbus": {} if parts.modbus is None else dict(parts.modbus.status()),
        "mqtt": "not configured" if parts.link is None else parts.link.problem or "connected",
        "health": dict(health.newest),
        "climate": {} if parts.inputs.climate is None else dict(parts.inputs.climate.status()),
        "journal": parts.journal.status(),
        "actions": parts.actions.status(),
        "scripts": dict(parts.actions.isolation()),
        "set_by_hand": tuning.status(),
    }
