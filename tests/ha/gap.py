"""A gap of some hours goes into the long-term statistics of a real Home Assistant."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import aiohttp

from gateway.config.sections import HomeAssistantSection
from gateway.errors import LinkError
from gateway.mqtt.backfill import Talk, fill
from gateway.mqtt.face import Face
from gateway.mqtt.gap import HOUR_NS, Hour
from tests.ha.home import Failure, wait
from tests.ha.stage import Stage

HOURS = 5


def fills_a_gap(stage: Stage) -> None:
    """Five hours that Home Assistant was not told of at the time; and a token that is none."""
    key = stage.key_of("carbon_dioxide")
    entity, (box, node) = (
        stage.entity(key),
        stage.components[key]["uniq_id"].removeprefix("spectrophone_").split("_gas_"),
    )
    first_ns = (time.time_ns() // HOUR_NS - HOURS - 1) * HOUR_NS
    hours = [Hour(first_ns + n * HOUR_NS, 2, 800.0 + n, 390.0, 410.0 + n) for n in range(HOURS)]
    face = Face(box, "Gas box", "1", "co2")
    home = HomeAssistantSection.model_validate({"url": "http://127.0.0.1:8123", "token": stage.home.token})
    try:
        asyncio.run(fill(home.model_copy(update={"token": None}), face, {node: hours}))
        raise Failure("it takes no token for one")
    except LinkError as error:
        print(f"ok    {error}")
    asyncio.run(fill(home, face, {node: hours}))
    wanted = [(400.0 + n / 2, 390.0, 410.0 + n) for n in range(HOURS)]
    wait("the hours are in the statistics", lambda: told(stage, entity, first_ns) == wanted)


def told(stage: Stage, entity: str, first_ns: int) -> list[tuple[float, float, float]]:
    """Mean, least and most that Home Assistant has of each hour of the gap; it makes later ones itself."""
    since, until = (
        datetime.fromtimestamp(ns // 1_000_000_000, UTC).isoformat() for ns in (first_ns, first_ns + HOURS * HOUR_NS)
    )

    async def asked() -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect("http://127.0.0.1:8123/api/websocket") as socket,
        ):
            talk = Talk(socket, "it")
            await talk.enter(stage.home.token)
            when = {"start_time": since, "end_time": until, "period": "hour"}
            what = {**when, "statistic_ids": [entity], "types": ["mean", "min", "max"]}
            return await talk.ask("recorder/statistics_during_period", **what)

    return [(row["mean"], row["min"], row["max"]) for row in asyncio.run(asked()).get(entity, ())]
