"""Statistics of a gap, over a real WebSocket: handed over as each version wants them, or told in a sentence why not."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web

from gateway.config.sections import HomeAssistantSection
from gateway.errors import LinkError
from gateway.mqtt.backfill import Backfill, fill
from gateway.mqtt.gap import HOUR_NS, Gap, Hour
from tests.real.mosquitto import HOST, free_port, until
from tests.servers.home_assistant import TOKEN, home_assistant
from tests.support.clock import FakeClock
from tests.unit.mqtt.samples import FACE
from tests.unit.mqtt.test_gap import entry

START_NS = 495_000 * HOUR_NS  # 2026-06-21T00:00:00Z


def hours(count=3, node="co2"):
    return {node: [Hour(START_NS + n * HOUR_NS, 2, 800.0 + n, 390.0, 410.0) for n in range(count)]}


def section(url, token=TOKEN):
    return HomeAssistantSection.model_validate({"url": url, "token": token})


@pytest.mark.parametrize("version", ["2024.11.0", "2026.11.0"])
def test_the_hours_arrive_at_the_entity_whatever_it_is_called_now(version):
    async def scene():
        async with home_assistant(version) as home:
            await fill(section(home.url), FACE, hours())
            return home.imported

    (given,) = asyncio.run(scene())
    assert given["metadata"]["statistic_id"] == "sensor.renamed"
    assert given["metadata"]["unit_of_measurement"] == "ppm"
    assert given["stats"][0] == {"start": "2026-06-21T00:00:00.000Z", "mean": 400.0, "min": 390.0, "max": 410.0}
    assert [row["start"][11:13] for row in given["stats"]] == ["00", "01", "02"]


@pytest.mark.parametrize(
    ("options", "token", "node", "sentence"),
    [
        ({}, "another", "co2", "does not take our token. Make a long-lived one in an administrator's profile"),
        ({"admin": False}, TOKEN, "co2", "does not let the owner of our token do recorder/import_statistics. Make the"),
        ({"recorder": False}, TOKEN, "co2", "does not know recorder/list_statistic_ids. Let it run its recorder"),
        ({"unit": "ppb"}, TOKEN, "co2", "keeps sensor.renamed in ppb. Let it keep ppm"),
        ({}, TOKEN, "ch4", "has no statistics of ch4. See that it knows the box, and records it"),
    ],
)
def test_what_does_not_go_is_a_sentence(options, token, node, sentence):
    async def scene():
        async with home_assistant(**options) as home:
            with pytest.raises(LinkError) as raised:
                await fill(section(home.url, token), FACE, hours(node=node))
            assert not home.imported
            return str(raised.value)

    said = asyncio.run(scene())
    assert sentence in said
    assert said.startswith("Home Assistant at http://127.0.0.1:")
    assert token not in said


def test_nobody_there_and_somebody_else_are_sentences():
    async def scene():
        with pytest.raises(LinkError, match=r"cannot be spoken to: .*\. Check homeassistant\.url, and that it runs"):
            await fill(section(f"http://{HOST}:{free_port()}"), FACE, hours())
        runner = web.AppRunner(web.Application())
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        with pytest.raises(LinkError, match=r"answers 404\. Check homeassistant\.url"):
            await fill(section(f"http://{HOST}:{runner.addresses[0][1]}"), FACE, hours())
        await runner.cleanup()

    asyncio.run(scene())


class ShortWaits(FakeClock):
    """A clock whose waits are short, but long enough for something to happen meanwhile."""

    async def sleep_until(self, monotonic_ns: int) -> None:
        """See Clock."""
        self.now_ns = max(self.now_ns, monotonic_ns)
        await asyncio.sleep(0.3)


def test_a_gap_is_filled_in_the_background_even_if_home_assistant_comes_later(caplog):
    async def scene():
        async with home_assistant() as home:
            home.admin = False
            backfill = Backfill(section(home.url), FACE, ShortWaits())
            gap = Gap(START_NS, START_NS + 2 * HOUR_NS)
            gap.add(entry(START_NS + minute * HOUR_NS // 60) for minute in range(120))
            backfill.begin(gap)
            await until(lambda: backfill.problem, "a problem")
            home.admin = True
            await until(lambda: home.imported, "the import")
            await until(lambda: not backfill.problem, "the end of the problem")
            await backfill.close()
            return home.imported

    with caplog.at_level(logging.INFO, "spectrophone.mqtt"):
        (given,) = asyncio.run(scene())
    assert [row["mean"] for row in given["stats"]] == [400.0, 400.0]
    assert "is not filled" in caplog.text
    assert "a gap of 2 hours in Home Assistant's statistics is filled" in caplog.text
