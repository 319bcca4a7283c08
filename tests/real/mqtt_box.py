"""A box on a broker: the link, and a loop that offers it ticks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gateway.clock import RealClock
from gateway.mqtt.face import Face
from gateway.mqtt.link import MqttLink
from gateway.types import CommandResult, Outcome
from tests.real.mosquitto import Listener
from tests.unit.mqtt.samples import FACE, OUTCOME, S, Tray, full_tick, settings

ROOT = "spectrophone/box1"
STATUS = f"{ROOT}/status"
VALUE = f"{ROOT}/measurement/co2"
CONFIG = "homeassistant/device/spectrophone_box1/config"


class Box:
    """A link that is offered a tick ten times a second, as the loop would do."""

    def __init__(self, link: MqttLink, tray: Tray) -> None:
        self.link, self.tray = link, tray
        self.value = 412.7
        self.extra: list[Any] = []
        self.longest_s = 0.0
        """The longest that the loop had to wait for its turn."""

    async def run(self) -> None:
        loop, t_ns = asyncio.get_running_loop(), 0
        while True:
            t_ns += S // 10
            results = tuple(CommandResult(c, True, state=c.verb) for c in self.tray.drain())
            offered = self.extra.pop(0) if self.extra else full_tick(self.value, t_ns)
            before = loop.time()
            self.link.offer(offered, Outcome(results, OUTCOME.states))
            await asyncio.sleep(0.1)
            self.longest_s = max(self.longest_s, loop.time() - before)


@asynccontextmanager
async def box(port: int, face: Face = FACE, known: Path | None = None, **options: Any) -> AsyncIterator[Box]:
    """A running box on the broker at `port`; `known` is the file of what it has announced."""
    tray = Tray()
    link = MqttLink(settings(port=port, **options), face, tray, RealClock(), np.random.default_rng(1), known=known)
    await link.start()
    made = Box(link, tray)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])
        await link.close()


def number(ear: Listener, topic: str = VALUE) -> float | None:
    """The newest value of that topic."""
    payload = ear.payload(topic)
    return None if payload is None else json.loads(payload)["value"]
