"""Every measurement reaches a real mosquitto at least once, in order and with its own time: through kill -9 of the
gateway, a broker that comes and goes, and a day's outage.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.clock import RealClock
from gateway.config.sections import JournalSection
from gateway.journal.archive import entries_in
from gateway.journal.journal import Journal
from gateway.mqtt.backlog import CURSOR
from gateway.mqtt.codec import number
from gateway.mqtt.link import MqttLink
from gateway.types import Outcome, iso_utc
from tests.real.gateway import gateway
from tests.real.mosquitto import HOST, Listener, Mosquitto, listening, until
from tests.real.mqtt_box import ROOT, VALUE
from tests.real.test_run_actions import configuration
from tests.support.clock import FakeClock
from tests.unit.mqtt.samples import FACE, OUTCOME, Tray, alert, full_tick, ppm, settings, tick

KILLS = 25
"""Of each of two boxes."""
DAY_S = 86_400
PERSISTENT = ("persistence true", "autosave_interval 1", "max_queued_messages 0")


class Ear:
    """A receiver whom the broker keeps what it misses: every batch, in the order of arrival."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []

    @property
    def count(self) -> int:
        """How many rows have come."""
        return sum(len(batch["rows"]) for batch in list(self.batches))

    def rows(self, kind: str = "measurement") -> list[dict[str, Any]]:
        """The rows of that kind, as they came, repeats and all."""
        batches = [batch for batch in list(self.batches) if batch["kind"] == kind]
        return [dict(zip(b["columns"], row, strict=True)) for b in batches for row in b["rows"]]


@contextmanager
def ear(port: int, topics: str, name: str = "ear") -> Iterator[Ear]:
    """An Ear for `topics` on the broker at `port`, in a session that outlasts connections."""
    made = Ear()
    client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda *_: client.subscribe(topics, 1)
    client.on_message = lambda _client, _data, message: made.batches.append(json.loads(message.payload))
    lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    lasting.SessionExpiryInterval = 3600
    client.connect(HOST, port, clean_start=False, properties=lasting)
    client.loop_start()
    try:
        yield made
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def flapping(broker: Mosquitto, rng: random.Random) -> Iterator[list[int]]:
    """The broker is ended and begun anew at random moments; how often, in the list."""
    done, over = [0], threading.Event()

    def flap() -> None:
        while not over.wait(rng.uniform(0.5, 6.0)):
            broker.end()
            time.sleep(rng.uniform(0.0, 1.0))
            broker.start()
            done[0] += 1

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def kill_often(place: Path, port: int, seed: int) -> Path:
    """A box of that directory's name is killed KILLS times, at random moments; its configuration."""
    rng = random.Random(seed)
    place.mkdir()
    sections = {"box": {"id": place.name}, "mqtt": {"host": HOST, "port": port}, "journal": {"commit_s": 0.3}}
    config = configuration(place, {}, **sections)
    config.write_text(config.read_text().replace("integration_s: 0.2", "integration_s: 0.1"))
    for count in range(KILLS):
        with gateway(place, "run", "--config", str(config), "--json") as running:
            if count % 3:
                running.wait(lambda: running.lines, "a measurement")
            time.sleep(rng.uniform(0.0, 1.5))
            running.stop(signal.SIGKILL)
        (place / f"{place.name}.starts").unlink(missing_ok=True)  # so many crashes in a row would lead to safe mode
    return config


def test_boxes_killed_fifty_times_with_a_broker_that_comes_and_goes(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, *PERSISTENT, f"persistence_location {tmp_path}/")
    places, begun_ns = [tmp_path / "first", tmp_path / "second"], time.time_ns()
    with broker, ExitStack() as stack:
        ears = [stack.enter_context(ear(broker.port, f"spectrophone/{p.name}/history/#", p.name)) for p in places]
        with flapping(broker, random.Random(7)) as flaps, ThreadPoolExecutor() as threads:
            configs = list(threads.map(kill_often, places, [broker.port] * 2, range(2)))
        for place, config, heard in zip(places, configs, ears, strict=True):
            last = run_to_the_end(place, config, heard)
            nothing_is_missing(place / f"{place.name}.journal", heard.rows(), last, begun_ns)
    print(f"the broker ended {flaps[0]} times")


def run_to_the_end(place: Path, config: Path, heard: Ear) -> int:
    """Run the box once more, until all that it had kept by then has come; the number of the newest of it."""
    with gateway(place, "run", "--config", str(config), "--json") as running:
        running.wait(lambda: len(running.objects("measurement")) > 3, "measurements")
        last = running.wait(lambda: newest(place / f"{place.name}.journal"), "a journal")
        running.wait(lambda: max(row["id"] for row in heard.rows()) >= last, "all that was kept")
        assert running.stop() == 0, running.said()
    return int(last)


def nothing_is_missing(file: Path, came: list[dict[str, Any]], last: int, begun_ns: int) -> None:
    """All measurements of a journal up to number `last` have come, in order and with their own times."""
    kept = [entry for entry in entries_in(file) if entry.kind == "measurement"]
    wanted = {entry.id: entry for entry in kept if entry.id <= last}
    first = list({row["id"]: row for row in came}.values())
    assert not wanted.keys() - {row["id"] for row in first}
    assert all(one["id"] < other["id"] for one, other in pairwise(first))
    assert all(begun_ns < entry.time_ns < time.time_ns() for entry in kept)
    assert all(row["time"] == iso_utc(wanted[row["id"]].time_ns) for row in came if row["id"] in wanted)
    assert all(one["time"] < other["time"] for one, other in pairwise(first))
    again = Counter(json.dumps(row) for row in came)
    assert len(again) == len(first), "a repeat differs from what it repeats"
    print(f"{len(first)} rows, {len(came) - len(first)} repeats")


def newest(file: Path) -> int:
    """The number of the newest measurement that is kept."""
    return max(entry.id for entry in entries_in(file, kinds={"measurement"}))


async def outage(file: Path) -> None:
    """A day of measurements, one a second, that nobody took: by the journal's own door, with a faster clock."""
    clock = FakeClock(utc_ns=time.time_ns() - (DAY_S + 60) * 1_000_000_000)
    journal = Journal(file, JournalSection(commit_s=600.0), clock)
    await journal.start()
    journal.reached(CURSOR, journal.newest)
    for second in range(DAY_S):
        clock.advance(1.0)
        journal.offer(tick(ppm(400.0 + second / 1000), t_ns=clock.now_ns, utc_ns=clock.utc_ns()), Outcome())
        behind = second % 100 == 0 and journal.status()["waiting"] > 2000  # a day in seconds is faster than the disk
        await asyncio.sleep(0.1 if behind else 0.0)
    assert journal.status()["lost"] == 0
    await journal.close()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_history_comes_in_either_version_and_while_the_access_list_forbids_it_waits(tmp_path, protocol):
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite #\ntopic deny {ROOT}/history/#\n" if protocol == "5" else "topic readwrite #\n")

    async def scene() -> None:
        journal = Journal(tmp_path / "j", JournalSection(), RealClock())
        await journal.start()
        with Mosquitto(tmp_path, f"acl_file {acl}") as broker, ear(broker.port, f"{ROOT}/history/#") as heard:
            options = settings(port=broker.port, protocol=protocol)
            link = MqttLink(options, FACE, Tray(), RealClock(), np.random.default_rng(1), journal=journal)
            await link.start()
            await asyncio.sleep(0.1)
            for number in range(300):
                brought = tick(ppm(float(number)), alerts=(alert(),) if number == 7 else (), utc_ns=time.time_ns())
                journal.offer(brought, OUTCOME)
                link.offer(brought, OUTCOME)
            if protocol == "5":
                await until(lambda: link.history()["problem"], "the refusal")
                assert link.history()["queue_depth"] == 301
                assert not heard.batches
                acl.write_text("topic readwrite #\n")
                broker.end()
                broker.start()
            await until(lambda: link.history()["queue_depth"] == 0, "an empty queue", 90.0)
            await until(lambda: len(heard.rows()) == 300 and heard.rows("alert"), "all")
            assert [row["value"] for row in heard.rows()] == list(range(300))
            assert [row["rule"] for row in heard.rows("alert")] == ["co2_high"]
            assert not link.history()["problem"]
            await link.close()
        await journal.close()

    asyncio.run(scene())


def seen(live: Listener, value: float) -> bool:
    """Whether the live value has arrived."""
    payload = live.payload(VALUE)
    return payload is not None and json.loads(payload)["value"] == value


def test_a_days_outage_arrives_whole_with_its_times_and_live_values_first(tmp_path: Path) -> None:
    async def scene() -> tuple[Ear, list[tuple[float, int]], float]:
        await outage(tmp_path / "j")
        journal = Journal(tmp_path / "j", JournalSection(), RealClock())
        await journal.start()
        with (
            Mosquitto(tmp_path) as broker,
            ear(broker.port, f"{ROOT}/history/#") as heard,
            listening(broker.port, VALUE) as live,
        ):
            options = settings(port=broker.port, history_rows_per_s=10_000)
            link = MqttLink(options, FACE, Tray(), RealClock(), np.random.default_rng(1), journal=journal)
            await link.start()
            shown, late, begun_s = 0.0, [], None
            while link.history().get("queue_depth", 0) or not link.history()["delivered"]:
                begun_s = begun_s or (time.monotonic() if link.history()["delivered"] else None)
                shown += 1.0
                sent_s, come = time.monotonic(), heard.count
                link.offer(full_tick(shown, round(shown * 1e8)), OUTCOME)
                if begun_s:
                    await until(partial(seen, live, shown), "a live value")
                    late.append((time.monotonic() - sent_s, heard.count - come))
                await asyncio.sleep(0.1)
            took_s = time.monotonic() - (begun_s or 0.0)
            await until(lambda: heard.count >= DAY_S)
            await link.close()
        await journal.close()
        return heard, late, took_s

    heard, late, took_s = asyncio.run(scene())
    rows, kept = heard.rows(), list(entries_in(tmp_path / "j", kinds={"measurement"}))
    assert [row["id"] for row in rows] == [entry.id for entry in kept]
    assert [row["time"] for row in rows] == [entry.fields["time"] for entry in kept]
    assert [row["value"] for row in rows] == [number(entry.fields["ppm"]) for entry in kept]
    assert len(rows) == DAY_S
    late_s, rows_before = map(max, zip(*late, strict=True))
    print(f"{DAY_S / took_s:.0f} rows/s; a live value took {late_s * 1e3:.0f} ms, and {rows_before} rows, at most")
    assert rows_before < DAY_S / 10
