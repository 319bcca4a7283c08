"""What a box no longer has leaves Home Assistant and a real broker: removed while it ran, while it was stopped, and
with its name.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from tests.real.mosquitto import Mosquitto, listening, until
from tests.real.mqtt_box import CONFIG, ROOT, box
from tests.unit.mqtt.samples import FACE

QUIET = f"{ROOT}/alarm_state/quiet"
LESS = replace(FACE, rules=FACE.rules[:1])
OTHER = "homeassistant/device/spectrophone_box2/config"


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path) as broker:
        yield broker


def announced(ear, topic=CONFIG):
    """Every message of that topic as it came, in order; None where it was emptied."""
    return [json.loads(m.payload) if m.payload else None for m in list(ear.messages) if m.topic == topic]


def steps(ear, key="alarm_quiet"):
    """What each announcement said of that component: whole, only its platform, or nothing."""
    said = [message["cmps"].get(key) for message in announced(ear) if message]
    return ["nothing" if c is None else "platform" if c.keys() == {"p"} else "whole" for c in said]


async def kept_at(port):
    """The topics at the broker that somebody would get who comes late."""
    with listening(port) as late:
        await until(lambda: late.payload(f"{ROOT}/status") or late.payload(OTHER), "what is retained")
        await asyncio.sleep(0.3)
        return {m.topic for m in late.messages if m.retain and m.payload}


def test_what_was_removed_while_the_box_was_stopped_is_taken_back(broker, tmp_path):
    known = tmp_path / "state" / "discovery.json"

    async def scene():
        async with box(broker.port, known=known):
            with listening(broker.port) as ear:
                await until(lambda: ear.payload(QUIET) == b"OFF", "the alarm's state")
        with listening(broker.port) as ear:
            await until(lambda: len(announced(ear)) == 1, "what was announced before")
            async with box(broker.port, LESS, known):
                await until(lambda: len(announced(ear)) == 4, "three announcements")
                assert steps(ear) == ["whole", "whole", "platform", "nothing"]
                await until(lambda: ear.payload(QUIET) == b"", "the emptied state")
            assert QUIET not in await kept_at(broker.port)

    asyncio.run(scene())


def test_what_is_removed_while_the_box_runs_is_taken_back_and_again_at_the_birth(broker, tmp_path):
    async def scene():
        with listening(broker.port) as ear:
            async with box(broker.port, known=tmp_path / "discovery.json") as b:
                await until(lambda: ear.payload(QUIET) == b"OFF", "the alarm's state")
                b.link.show(LESS)
                await until(lambda: steps(ear) == ["whole", "whole", "platform", "nothing"], "the removal")
                await until(lambda: ear.payload(QUIET) == b"", "the emptied state")
                ear.messages.clear()
                ear.publish("homeassistant/status", "online")
                await until(lambda: steps(ear) == ["whole", "platform", "nothing"], "the removal again")
                await until(lambda: ear.payload(f"{ROOT}/laser") == b"ON", "the states")

    asyncio.run(scene())


def test_a_renamed_box_leaves_nothing_of_its_old_name(broker, tmp_path):
    known = tmp_path / "discovery.json"

    async def scene():
        async with box(broker.port, known=known):
            with listening(broker.port) as ear:
                await until(lambda: ear.payload(QUIET) == b"OFF", "the alarm's state")
        assert CONFIG in await kept_at(broker.port)
        async with box(broker.port, replace(FACE, box="box2"), known):
            with listening(broker.port) as ear:
                await until(lambda: ear.payload("spectrophone/box2/laser") == b"ON", "the states under the new name")
            left = {topic for topic in await kept_at(broker.port) if topic.startswith((f"{ROOT}/", CONFIG))}
        assert {topic for topic in left if not topic.startswith((f"{ROOT}/measurement", f"{ROOT}/signal"))} == set()

    asyncio.run(scene())


def test_somebody_elses_message_on_our_topic_does_not_stay(broker, tmp_path):
    async def scene():
        with listening(broker.port) as ear:
            ear.publish(CONFIG, '{"old": 1}', retain=True)
            async with box(broker.port, known=tmp_path / "discovery.json"):
                await until(lambda: "cmps" in (announced(ear)[-1] or {}), "ours")

    asyncio.run(scene())


def test_a_broken_registry_is_renewed(broker, tmp_path, caplog):
    known = tmp_path / "discovery.json"
    known.write_text("not json")

    async def scene():
        with listening(broker.port) as ear:
            async with box(broker.port, known=known):
                await until(lambda: ear.payload(QUIET) == b"OFF", "the alarm's state")

    asyncio.run(scene())
    assert "it is not known what Home Assistant was told before" in caplog.text
    assert json.loads(known.read_text())["topic"] == CONFIG
