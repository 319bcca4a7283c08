"""The running gateway with Redis, Kafka and an HTTPS server that go away, hang and are slow: no block is late, and in
the end each has every measurement, in order, with its own time.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from gateway import status
from tests.real.gateway import gateway
from tests.servers.authority import Authority
from tests.servers.https import HttpsServer
from tests.servers.kafka import KafkaCluster
from tests.servers.redis import RedisServer

AWAY_S = 2.0
"""How long each server is away; a minute is the same with another number."""
EVERY_S = 0.2


def configuration(directory: Path, drivers: dict[str, dict[str, Any]], **sections: Any) -> Path:
    """The simulated box, five measurements a second, and an action node per driver."""
    nodes: list[dict[str, Any]] = [
        {"id": "input", "type": "input"},
        {"id": "lock", "type": "lock_in", "parameters": {"integration_s": EVERY_S}},
        {"id": "co2", "type": "concentration", "parameters": {"source": "lock", "polynomial_coefficients": [0, 41000]}},
    ]
    for name, config in drivers.items():
        driver = {"type": name, "config": config}
        parameters = {"monitored_nodes": ["co2"], "update_interval_ms": 500, "driver": driver}
        nodes.append({"id": name, "type": "universal_action", "parameters": parameters})
    file = directory / "box.yaml"
    processing = {"default_graph": {"nodes": nodes}}
    file.write_text(yaml.safe_dump({"box": {"id": "lab"}, "board": "sim", "processing": processing, **sections}))
    return file


def test_each_target_is_away_killed_and_slow(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as redis, KafkaCluster() as kafka, HttpsServer(Authority(tmp_path)) as web:
        drivers = {
            "redis": {"connection_string": f"redis://127.0.0.1:{redis.port}", "timeout_ms": 1000},
            "kafka": {"bootstrap_servers": kafka.bootstrap, "timeout_ms": 1000},
            "https_callback": {
                "callback_url": f"{web.url}/taken",
                "tls": {"ca": str(tmp_path / "ca.pem")},
                "timeout_ms": 1000,
            },
        }
        told: list[Callable[[], list[dict[str, Any]]]] = [
            lambda: of_redis(redis),
            lambda: of_kafka(kafka),
            lambda: of_web(web),
        ]
        away: list[tuple[Callable[[], object], Callable[[], object]]] = [
            (redis.hold, redis.resume),
            (kafka.down, kafka.up),
            (lambda: setattr(web, "delay_s", 30.0), lambda: setattr(web, "delay_s", 0.0)),
            (redis.kill, redis.start),
            (lambda: kafka.slow(2000), lambda: kafka.slow(0)),
            (web.stop, web.start),
            (lambda: setattr(web, "breaks", 3), lambda: None),
        ]
        file = configuration(tmp_path, drivers)
        with gateway(tmp_path, "run", "--config", str(file), "--json") as running:
            running.wait(lambda: all(each() for each in told), "first deliveries everywhere")
            for begin, end in away:
                begin()
                some = len(running.objects("measurement")) + round(AWAY_S / EVERY_S)
                running.wait(lambda some=some: len(running.objects("measurement")) >= some, "measurements", 10 * AWAY_S)
                end()
            last = running.objects("measurement")[-1]["t_s"]
            for each in told:
                running.wait(lambda each=each: each()[-1]["t_s"] >= last, "everything that was missed", 120.0)
            (state,) = status.read(tmp_path, time.time_ns())
            measured = {line["t_s"]: line for line in running.objects("measurement")}
            assert running.stop() == 0, running.said()
        times = sorted(measured)
        gaps = {round(after - before, 6) for before, after in itertools.pairwise(times)}
        assert (gaps, state["lost_frames"], state["journal"]["lost"]) == ({EVERY_S}, 0, 0)
        for each in told:
            entries = [entry for entry in each() if entry["t_s"] <= last]
            expected = [measured[t] for t in times if entries[0]["t_s"] <= t <= last]
            assert [{name: entry[name] for name in measured[times[0]]} for entry in entries] == expected


def test_a_saved_configuration_moves_thresholds_and_target_and_keeps_the_place(tmp_path: Path) -> None:
    with HttpsServer(None) as web:
        file = configuration(tmp_path, {"https_callback": {"callback_url": f"{web.at('127.0.0.1')}/first"}})
        with gateway(tmp_path, "run", "--config", str(file), "--json") as running:
            running.wait(lambda: of_web(web), "a first delivery")
            text = file.read_text()
            told = text.replace("monitored_nodes:", "concentration_threshold: 10\n        monitored_nodes:")
            told = told.replace("/first", "/second")
            assert told != text
            file.write_text(told)
            running.wait(lambda: any(request.path == "/second" for request in web.requests), "the new target")
            alerts = [lambda: [e for r in list(web.requests) for e in r.json["entries"] if e["kind"] == "alert"]]
            running.wait(alerts[0], "the alert of the new threshold")
            some = len(running.objects("measurement")) + 5
            running.wait(lambda: len(running.objects("measurement")) >= some, "measurements")
            last = running.objects("measurement")[-1]["t_s"]
            running.wait(lambda: of_web(web)[-1]["t_s"] >= last, "their delivery")
            (alert,) = {entry["key"]: entry for entry in alerts[0]()}.values()
            assert (alert["rule"], alert["state"]) == ("https_callback/concentration/co2", "raised")
            times = [entry["t_s"] for entry in of_web(web)]
            assert {round(after - before, 6) for before, after in itertools.pairwise(times)} == {EVERY_S}
            assert running.stop() == 0, running.said()


def of_redis(server: RedisServer) -> list[dict[str, Any]]:
    with server.client() as client:
        return once(json.loads(fields["payload"]) for _, fields in client.xrange("spectrophone:lab"))


def of_kafka(cluster: KafkaCluster) -> list[dict[str, Any]]:
    messages = [json.loads(message.value) for message in cluster.read()]
    assert len({message["key"] for message in messages}) == len(messages), "the idempotent producer repeats nothing"
    return once(messages)


def of_web(server: HttpsServer) -> list[dict[str, Any]]:
    return once(entry for request in list(server.requests) for entry in request.json["entries"])


def once(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The measurements in the order of their first arrival."""
    first: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if entry["kind"] == "measurement":
            first.setdefault(entry["key"], entry)
    return list(first.values())
