"""Into real brokers: every entry once and in order, whatever becomes of the brokers meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from gateway.actions.driver import Refused, Surroundings, Undelivered
from gateway.actions.kafka_driver import KafkaDriver
from gateway.actions.kafka_settings import KafkaSettings
from gateway.clock import Clock, RealClock
from gateway.config.document import parse
from gateway.errors import LinkError
from gateway.journal.entry import Entry
from tests.real.mosquitto import until
from tests.servers.authority import Authority
from tests.servers.kafka import INIT_PRODUCER_ID, KafkaCluster
from tests.unit.mqtt.samples import Tray

START_NS = 1_790_000_000_123_456_789
QUICK = {"reconnect.backoff.ms": "20", "reconnect.backoff.max.ms": "100", "retry.backoff.ms": "20"}
PASSWORD = "open-sesame"
DOCS = Path(__file__).parents[2] / "docs"


def entries(first: int, count: int, text: str = "") -> list[Entry]:
    """Measurements, one a second."""
    return [
        Entry(
            number,
            START_NS + number * 10**9,
            "measurement",
            "co2",
            {"kind": "measurement", "ppm": number, "text": text},
        )
        for number in range(first, first + count)
    ]


@asynccontextmanager
async def driver(
    servers: str, box: str = "box-1", clock: Clock | None = None, **options: object
) -> AsyncIterator[KafkaDriver]:
    """A driver that looks again soon."""
    configs = {**QUICK, **options.pop("producer_configs", {})}  # type: ignore[dict-item]
    settings = KafkaSettings(bootstrap_servers=servers, producer_configs=configs, **options)
    made = KafkaDriver(settings, Surroundings("cloud", box, clock or RealClock(), Tray()))
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def offer(to: KafkaDriver, batch: Sequence[Entry], times: int = 1000) -> list[str]:
    """Offer a batch until it is taken; the reasons why it was not at first."""
    reasons: list[str] = []
    for _ in range(times):
        try:
            await to.deliver(batch)
        except Undelivered as undelivered:
            reasons.append(undelivered.reason)
            await asyncio.sleep(0.02)
        else:
            return reasons
    raise AssertionError(reasons[-3:])


def numbers(cluster: KafkaCluster, count: int, box: str = "box-1", **options: str) -> list[int]:
    """What a consumer reads of a box, in order, once there are `count` messages; all in one partition."""
    mine = [message for message in cluster.read(count, **options) if message.key == box.encode()]
    assert len({message.partition for message in mine}) == 1
    return [json.loads(message.value)["ppm"] for message in mine]


def test_a_message_is_keyed_by_the_box_and_knows_its_form_and_time():
    async def scene(cluster):
        async with driver(cluster.bootstrap, timeout_ms=30_000) as to:
            await to.deliver(entries(7, 1))
            assert to.status() == {
                "brokers": cluster.bootstrap, "topic": "spectrophone", "under_way": 0, "problem": ""
            }  # fmt: skip

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        (message,) = cluster.read(1)
    assert message.key == b"box-1"
    assert message.headers == {"schema": b"spectrophone/1", "kind": b"measurement", "key": b"box-1-7"}
    assert message.time_ms == 1_790_000_007_123
    said = {"schema": "spectrophone/1", "box": "box-1", "key": "box-1-7", "kind": "measurement", "ppm": 7, "text": ""}
    assert json.loads(message.value) == said


def test_boxes_share_a_topic_and_each_keeps_its_order():
    boxes = ["box-1", "box-2", "box-3"]

    async def fill(cluster, box):
        async with driver(cluster.bootstrap, box) as to:
            for first in range(0, 100, 10):
                await offer(to, entries(first, 10))

    async def scene(cluster):
        await asyncio.gather(*(fill(cluster, box) for box in boxes))

    with KafkaCluster(3) as cluster:
        asyncio.run(scene(cluster))
        for box in boxes:
            assert numbers(cluster, 300, box) == list(range(100))


def test_brokers_that_are_away_for_a_while_miss_nothing_and_get_nothing_twice(capfd, caplog):
    async def scene(cluster):
        async with driver(cluster.bootstrap, timeout_ms=300) as to:
            for first in range(0, 50, 5):
                await offer(to, entries(first, 5))
            await asyncio.to_thread(cluster.down)
            for _ in range(3):
                with pytest.raises(Undelivered, match=r"no answer from the brokers 127\.0\.0\.1:") as told:
                    await to.deliver(entries(50, 5))
            assert "within 0.3 s" in told.value.reason
            assert "messages that wait in the producer: 5" in told.value.reason
            assert to.status()["under_way"] == 5
            await until(lambda: "refused" in to.status()["problem"], "the problem in the status")
            await asyncio.to_thread(cluster.up)
            for first in range(50, 100, 5):
                await offer(to, entries(first, 5))
            assert to.status()["under_way"] == 0
            assert to.status()["problem"] == ""

    with KafkaCluster(3) as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 100) == list(range(100))
    assert capfd.readouterr() == ("", "")
    assert 1 <= len([record for record in caplog.records if record.name == "spectrophone.kafka"]) <= 3


def test_an_answer_that_is_lost_with_the_connection_makes_no_repeat():
    async def scene(cluster):
        async with driver(cluster.bootstrap, timeout_ms=100) as to:
            await offer(to, entries(0, 10))
            cluster.slow(60_000)
            with pytest.raises(Undelivered):
                await to.deliver(entries(10, 10))
            await until(lambda: cluster.appended == 20, "the second batch")
            await asyncio.to_thread(cluster.down)
            cluster.slow(0)
            await asyncio.to_thread(cluster.up)
            await offer(to, entries(10, 10))
            await offer(to, entries(20, 10))

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert cluster.repeats > 0
        assert numbers(cluster, 30) == list(range(30))


def test_slow_brokers_are_waited_for():
    async def scene(cluster):
        async with driver(cluster.bootstrap, timeout_ms=100) as to:
            cluster.slow(150)
            reasons = [reason for first in range(0, 20, 5) for reason in await offer(to, entries(first, 5))]
            assert any("no answer" in reason for reason in reasons)
            cluster.slow(0)
            await offer(to, entries(20, 5))

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 25) == list(range(25))


def test_what_brokers_may_mend_is_tried_again_in_order():
    errors = (
        KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.KAFKA_STORAGE_ERROR,
    )  # fmt: skip

    async def scene(cluster):
        async with driver(cluster.bootstrap, timeout_ms=30_000, producer_configs={"linger.ms": "0"}) as to:
            for first, error in zip(range(0, 180, 30), errors, strict=True):
                cluster.fail(error)
                await to.deliver(entries(first, 30))

    with KafkaCluster(3) as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 180) == list(range(180))


def test_a_cancelled_delivery_is_under_way_and_not_made_again():
    async def scene(cluster):
        async with driver(cluster.bootstrap, timeout_ms=30_000) as to:
            await to.deliver(entries(0, 5))
            cluster.slow(200)
            for _ in range(3):
                task = asyncio.create_task(to.deliver(entries(5, 10)))
                await until(lambda: to.status()["under_way"] == 10, "the batch under way")
                task.cancel()
                assert (await asyncio.gather(task, return_exceptions=True))[0].__class__ is asyncio.CancelledError
            cluster.slow(0)
            await to.deliver(entries(5, 7))
            await to.deliver(entries(12, 8))

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 20) == list(range(20))


def test_a_message_that_is_too_large_is_refused_and_the_others_arrive():
    batch = [*entries(0, 3), *entries(3, 1, "x" * 2_000_000), *entries(4, 3)]

    async def scene(cluster):
        async with driver(cluster.bootstrap) as to:
            with pytest.raises(Refused, match=r"size.*messages turned down: 1"):
                await to.deliver(batch)
            await to.deliver(entries(7, 3))

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 9) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_messages_that_are_too_large_together_travel_alone():
    async def scene(cluster):
        async with driver(cluster.bootstrap, producer_configs={"linger.ms": "50"}) as to:
            cluster.fail(KafkaError.MSG_SIZE_TOO_LARGE)
            with pytest.raises(Undelivered, match="turned down: 10"):
                await to.deliver(entries(0, 10))
            cluster.fail(KafkaError.NO_ERROR, KafkaError.MSG_SIZE_TOO_LARGE)
            with pytest.raises(Refused, match="turned down: 1"):
                await to.deliver(entries(0, 10))
            await to.deliver(entries(10, 10))

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 19) == [0, *range(2, 20)]


@pytest.mark.parametrize("error", ["TOPIC_AUTHORIZATION_FAILED", "UNSUPPORTED_COMPRESSION_TYPE"])
def test_what_people_may_mend_is_offered_again(error):
    async def scene(cluster):
        async with driver(cluster.bootstrap, producer_configs={"linger.ms": "50"}) as to:
            cluster.fail(getattr(KafkaError, error))
            with pytest.raises(Undelivered, match="topic 'spectrophone', messages turned down: 10"):
                await to.deliver(entries(0, 10))
            await offer(to, entries(0, 10))

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 10) == list(range(10))


def test_a_topic_that_is_missing_is_told_and_waited_for():
    async def scene(cluster):
        cluster.forbid(KafkaError.UNKNOWN_TOPIC_OR_PART)
        soon = {"topic.metadata.propagation.max.ms": "100", "topic.metadata.refresh.interval.ms": "100"}
        async with driver(cluster.bootstrap, producer_configs=soon) as to:
            with pytest.raises(Undelivered, match=r"[Uu]nknown topic"):
                await to.deliver(entries(0, 10))
            cluster.forbid(KafkaError.NO_ERROR)
            await offer(to, entries(0, 10))

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 10) == list(range(10))


def test_a_producer_that_is_made_anew_may_find_its_files_gone(tmp_path):
    authority = Authority(tmp_path)

    async def scene(cluster):
        async with driver(cluster.bootstrap, tls={"ca": authority.file}) as to:
            cluster.fail(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
            moved = authority.file.rename(tmp_path / "moved.pem")
            with pytest.raises(Undelivered, match=r"ca\.pem cannot be read"):
                await to.deliver(entries(0, 1))
            moved.rename(authority.file)
            assert "made anew" in (await offer(to, entries(0, 1)))[0]

    with KafkaCluster(tls=authority.issue("127.0.0.1")) as cluster:
        asyncio.run(scene(cluster))
        told = {"security_protocol": "SSL", "ssl_ca_location": str(authority.file)}
        assert numbers(cluster, 1, **told) == [0]


def test_a_producer_that_lost_its_order_is_made_anew():
    async def scene(cluster):
        async with driver(cluster.bootstrap, producer_configs={"linger.ms": "50"}) as to:
            await to.deliver(entries(0, 10))
            cluster.fail(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
            with pytest.raises(Undelivered, match="made anew, which may repeat messages"):
                await to.deliver(entries(10, 10))
            await to.deliver(entries(10, 10))

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 20) == list(range(20))


def test_a_box_that_may_not_be_idempotent_is_told():
    async def scene(cluster):
        cluster.fail(*[KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 2, request=INIT_PRODUCER_ID)
        async with driver(cluster.bootstrap) as to:
            reasons = await offer(to, entries(0, 10))
            assert "authorization failed" in reasons[0]

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 10) == list(range(10))


def test_more_than_the_producer_holds_waits_for_room():
    async def scene(cluster):
        async with driver(cluster.bootstrap, producer_configs={"queue.buffering.max.messages": "10"}) as to:
            await to.deliver(entries(0, 100))

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert numbers(cluster, 100) == list(range(100))


def test_brokers_that_are_away_at_the_start_and_at_the_end():
    async def scene(cluster):
        threads = len(os.listdir("/proc/self/task"))
        async with driver(cluster.bootstrap, timeout_ms=200) as to:
            with pytest.raises(Undelivered, match="messages that wait in the producer: 10"):
                await to.deliver(entries(0, 10))
        await to.close()
        with pytest.raises(Undelivered, match="closed"):
            await to.deliver(entries(0, 10))
        await until(lambda: len(os.listdir("/proc/self/task")) <= threads + 2, "the end of the producer's threads")
        await asyncio.to_thread(cluster.up)
        async with driver(cluster.bootstrap) as to:
            await to.deliver(entries(0, 10))

    with KafkaCluster() as cluster:
        cluster.down()
        asyncio.run(scene(cluster))
        assert numbers(cluster, 10) == list(range(10))


def test_close_waits_a_little_for_what_is_under_way():
    class Patient(RealClock):
        def monotonic_ns(self) -> int:
            return super().monotonic_ns() // 20

    async def scene(cluster):
        async with driver(cluster.bootstrap, clock=Patient(), producer_configs={"linger.ms": "300"}) as to:
            task = asyncio.create_task(to.deliver(entries(0, 10)))
            await until(lambda: to.status()["under_way"] == 10, "the batch under way")
            task.cancel()
            assert cluster.appended == 0

    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert cluster.appended == 10


def test_the_loop_has_its_turns_during_a_long_batch_and_while_brokers_are_away():
    seen: list[int] = []

    async def look(at):
        while True:
            seen.append(at.status()["under_way"])
            await asyncio.sleep(0)

    async def scene(cluster):
        async with driver(cluster.bootstrap, timeout_ms=200) as to:
            looking = asyncio.create_task(look(to))
            with pytest.raises(Undelivered):
                await to.deliver(entries(0, 500))
            looking.cancel()

    with KafkaCluster() as cluster:
        cluster.down()
        asyncio.run(scene(cluster))
    assert set(seen) >= set(range(1, 501))
    assert seen.count(500) > 10


def test_encrypted_and_verified(tmp_path):
    authority, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other", "Somebody else")
    server, client = authority.issue("127.0.0.1"), authority.issue("box-1")

    async def scene(cluster):
        async with driver(cluster.bootstrap, tls={"ca": other.file}, timeout_ms=200) as to:
            with pytest.raises(Undelivered, match="within"):
                await to.deliver(entries(0, 10))
            await until(lambda: "verify" in to.status()["problem"], "the problem")
        tls = {"ca": authority.file, "certificate": client[0], "key": client[1]}
        async with driver(cluster.bootstrap, tls=tls) as to:
            await to.deliver(entries(0, 10))
        with pytest.raises(LinkError, match=r"nowhere.pem cannot be read"):
            async with driver(cluster.bootstrap, tls={"ca": tmp_path / "nowhere.pem"}):
                pass
        with pytest.raises(LinkError, match="no way to Kafka: ssl"):
            async with driver(cluster.bootstrap, tls={**tls, "key": other.issue("x")[1]}):
                pass

    with KafkaCluster(tls=server) as cluster:
        asyncio.run(scene(cluster))
        told = {"security_protocol": "SSL", "ssl_ca_location": str(authority.file)}
        assert numbers(cluster, 10, **told) == list(range(10))


def test_the_wrong_name_in_a_certificate_is_refused(tmp_path):
    authority = Authority(tmp_path)

    async def scene(cluster):
        async with driver(cluster.bootstrap, tls={"ca": authority.file}, timeout_ms=200) as to:
            with pytest.raises(Undelivered):
                await to.deliver(entries(0, 1))
            await until(lambda: "verify" in to.status()["problem"], "the problem")

    with KafkaCluster(tls=authority.issue("kafka", ["kafka.example.org"])) as cluster:
        asyncio.run(scene(cluster))
        assert cluster.appended == 0


def test_the_password_gets_there_and_nowhere_else(caplog):
    caplog.set_level(logging.DEBUG)
    sasl = {"mechanism": "PLAIN", "username": "box-1", "password": PASSWORD}

    async def scene(cluster):
        async with driver(cluster.bootstrap, sasl={**sasl, "password": "guess-again"}, timeout_ms=300) as to:
            with pytest.raises(Undelivered) as told:
                await to.deliver(entries(0, 10))
            await until(lambda: to.status()["problem"], "the problem")
            said.append(told.value.reason + str(to.status()))
        async with driver(cluster.bootstrap, sasl=sasl) as to:
            await to.deliver(entries(0, 10))
            said.append(str(to.status()))

    said: list[str] = []
    with KafkaCluster(user=("box-1", PASSWORD)) as cluster:
        asyncio.run(scene(cluster))
        told = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "box-1"}
        assert numbers(cluster, 10, **told, sasl_password=PASSWORD) == list(range(10))
    assert "guess-again" not in caplog.text + str(said)
    assert PASSWORD not in caplog.text + str(said)


def blocks(language: str) -> list[str]:
    """What stands as code in the pages about fleets."""
    text = "".join(page.read_text() for page in sorted(DOCS.glob("fleet*.md")))
    return [part.partition("```")[0] for part in text.split(f"```{language}\n")[1:]]


def test_the_configuration_and_the_consumer_of_the_docs(tmp_path):
    (shown,) = [block for block in blocks("yaml") if "kafka" in block]
    node = parse(shown.replace("!secret ", ""), "fleet.md", {}).get("processing", "default_graph", "nodes")[0]
    told = KafkaSettings.model_validate(node["parameters"]["driver"]["config"])
    assert told.producer("x")["security.protocol"] == "SASL_SSL"

    async def scene(cluster):
        async with contextlib.AsyncExitStack() as stack:
            boxes = [await stack.enter_async_context(driver(cluster.bootstrap, f"box-{n // 2}")) for n in range(2, 6)]
            await asyncio.gather(*(offer(to, entries(0, 20)) for to in boxes))

    (program,) = [block for block in blocks("python") if "confluent_kafka" in block]
    names: dict[str, Any] = {}
    exec(program, names)
    with KafkaCluster() as cluster:
        asyncio.run(scene(cluster))
        assert len(cluster.read(80)) == 80
        turns = itertools.count()
        counted = "select count(*) from entries"
        names["keep"](
            cluster.bootstrap,
            tmp_path / "entries.db",
            lambda table: table.execute(counted).fetchone() == (40,) or next(turns) > 100,
        )
    with contextlib.closing(sqlite3.connect(tmp_path / "entries.db")) as table:
        rows = table.execute("select key, box, time_ms, value from entries order by rowid").fetchall()
    for box in ("box-1", "box-2"):
        mine = [(key, json.loads(value)["ppm"]) for key, whose, _, value in rows if whose == box]
        assert mine == [(f"{box}-{number}", number) for number in range(20)]
