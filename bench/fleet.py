"""A thousand boxes on one broker: connecting, discovery, steady traffic, and whether a box costs the same among many.

Every box is a real MqttLink (session, paho, socket) in one process; only its ticks are made up, one a second. The
broker is a mosquitto of its own, so that its CPU and memory are told apart from the boxes'. Boxes dial at once, as
after a power cut; then Home Assistant starts, and all announce themselves again. Times are of this machine, the ratios
are not.

    python bench/fleet.py [BOXES ...]
"""

from __future__ import annotations

import asyncio
import dataclasses
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from gateway.broker import PrivateBroker
from gateway.clock import RealClock, cpu_ns
from gateway.config.sections import Mqtt
from gateway.inbox import CommandInbox
from gateway.mqtt.link import MqttLink
from tests.real.mosquitto import listening
from tests.unit.mqtt.samples import FACE, OUTCOME, S, full_tick

COUNTS = (100, 300, 1000)
STEADY_S = 20
BOUND = 2.0
"""How much more a box may cost among a thousand than among a hundred; it would be ten if each paid for all others."""
_DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What some boxes cost. CPU counts by message, because on a busy machine a second of ticks may last longer."""

    boxes: int
    connect_s: float
    birth_s: float
    bytes_each: float
    messages_per_s: float
    broker_us: float
    boxes_us: float
    """CPU for one message."""
    broker_connect_ms: float
    """CPU of the broker for connecting one box and two announcements."""
    broker_kb: float
    """Memory of the broker for one box."""
    late_ms: float
    """The longest that a second of ticks came late."""


class Broker:
    """The mosquitto, seen by the kernel and by its own counters."""

    def __init__(self, pid: int) -> None:
        self._place = Path(f"/proc/{pid}")

    def cpu_s(self) -> float:
        """CPU that it has used: mosquitto has one thread (Documentation/scheduler/sched-stats of Linux)."""
        return int((self._place / "schedstat").read_text().split()[0]) / 1e9

    def kb(self) -> int:
        """Memory that it has."""
        lines = (self._place / "status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


class Traffic:
    """What the boxes send: messages, and bytes of their payloads and topics."""

    def __init__(self) -> None:
        self.messages = self.bytes = self.announced = 0


def counting(link: MqttLink, traffic: Traffic) -> None:
    """Count what the link publishes."""
    publish = link._publish

    def counted(message):
        traffic.messages += 1
        traffic.bytes += len(message.topic) + len(message.payload)
        traffic.announced += message.topic.endswith("/config")
        publish(message)

    link._publish = counted  # type: ignore[method-assign]


async def fleet(boxes: int) -> Cost:
    """Bring up so many, let them talk, and end them."""
    private = PrivateBroker()
    await private.start()
    assert private.pid is not None
    broker, traffic, clock = Broker(private.pid), Traffic(), RealClock()
    settings = Mqtt(host=private.host, port=private.port)
    faces = [dataclasses.replace(FACE, box=f"box{n}", name=f"Box {n}") for n in range(boxes)]
    links = [MqttLink(settings, face, CommandInbox(), clock, np.random.default_rng(n)) for n, face in enumerate(faces)]
    idle_kb, connect_cpu_s = broker.kb(), broker.cpu_s()
    for link in links:
        counting(link, traffic)
    begin = time.monotonic()
    await asyncio.gather(*(link.start() for link in links))
    await until(lambda: all(link.problem is None and not link._flying for link in links))
    connect_s = time.monotonic() - begin
    announced, connect_cpu_s = traffic.bytes, broker.cpu_s() - connect_cpu_s
    for second in range(3):
        await talk(links, second)  # the first ticks bring all states
    birth_s, birth_cpu_s = await birth(private.port, links, traffic, broker)
    for second in range(3, 6):
        await talk(links, second)
    before, broker_s, own_ns, begin = traffic.messages, broker.cpu_s(), cpu_ns(), time.monotonic()
    late_s = [await talk(links, second) for second in range(6, 6 + STEADY_S)]
    took_s = time.monotonic() - begin
    broker_s, own_s, sent = broker.cpu_s() - broker_s, (cpu_ns() - own_ns) / 1e9, traffic.messages - before
    kb = broker.kb() - idle_kb
    assert all(link.problem is None for link in links), {link.problem for link in links}
    await asyncio.gather(*(link.close() for link in links))
    await private.stop()
    return Cost(
        boxes, connect_s, birth_s, announced / boxes, sent / took_s, broker_s / sent * 1e6, own_s / sent * 1e6,
        (connect_cpu_s + birth_cpu_s) / boxes * 1e3, kb / boxes, max(late_s) * 1e3,
    )  # fmt: skip


async def birth(port: int, links: list[MqttLink], traffic: Traffic, broker: Broker) -> tuple[float, float]:
    """Home Assistant starts: the time until all have announced themselves again, and the broker's CPU for it."""
    before, cpu_s, begin = traffic.announced, broker.cpu_s(), time.monotonic()
    await asyncio.to_thread(born, port)
    await until(lambda: traffic.announced - before >= len(links) and not any(link._flying for link in links))
    return time.monotonic() - begin, broker.cpu_s() - cpu_s


def born(port: int) -> None:
    """Home Assistant's birth message."""
    with listening(port, "homeassistant/status") as home:
        home.publish("homeassistant/status", "online")


async def talk(links: list[MqttLink], second: int) -> float:
    """A tick of every box, spread over a second as those of real boxes are; how late the second ended."""
    begin = time.monotonic()
    for n, link in enumerate(links):
        tick = full_tick(400.0 + second + n / 1e3, (second + 1) * S)
        link.offer(tick, OUTCOME)
        if (wait := begin + (n + 1) / len(links) - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        elif n % 10 == 0:
            await asyncio.sleep(0)
    return time.monotonic() - begin - 1.0


async def until(done) -> None:
    """Wait, but not for ever."""
    end = time.monotonic() + _DEADLINE_S
    while not done():
        assert time.monotonic() < end, "not all boxes got through"
        await asyncio.sleep(0.05)


def main() -> None:
    """Measure and print."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    counts = [int(word) for word in sys.argv[1:]] or list(COUNTS)
    costs = [asyncio.run(fleet(count)) for count in counts]
    print(
        " boxes   connected  announced again    each        steady   broker's CPU, memory      boxes' CPU      latest"
    )
    for c in costs:
        print(
            f"{c.boxes:6d} {c.connect_s:9.2f} s {c.birth_s:14.2f} s {c.bytes_each / 1e3:5.1f} kB "
            f"{c.messages_per_s:8.0f}/s {c.broker_us:7.1f} us/msg {c.broker_kb:5.1f} kB "
            f"{c.boxes_us:9.0f} us/msg {c.late_ms:8.0f} ms"
        )
    milliseconds = ", ".join(f"{c.broker_connect_ms:.2f}" for c in costs)
    print(f"CPU of the broker to take a box and two announcements: {milliseconds} ms")
    ratios(costs[0], costs[-1])


def ratios(few: Cost, many: Cost) -> None:
    """How much more a box costs among many than among few."""
    found = {
        "the broker's CPU, announced": many.broker_connect_ms / few.broker_connect_ms,
        "the broker's CPU, a message": many.broker_us / few.broker_us,
        "the broker's memory": many.broker_kb / few.broker_kb,
        "the boxes' CPU, a message": many.boxes_us / few.boxes_us,
    }
    print(f"a box among {many.boxes} against one among {few.boxes}:")
    for name, ratio in found.items():
        print(f"  {name:30} {ratio:5.2f}   {'linear' if ratio < BOUND else 'GROWS'}")


if __name__ == "__main__":
    main()
