"""What Home Assistant missed goes into its long-term statistics, by its WebSocket and with the user's own token.

MQTT cannot say when a value was measured, and Home Assistant dates what comes with its own clock; but it takes hourly
statistics of the past (recorder/import_statistics), from an administrator's long-lived token. They show in statistics
cards and in graphs of more than ten days; the graph of the last days stays empty there. Home Assistant names its
version when it is greeted, and from 2025.11 on wants to be told more about the statistics (https://developers.
home-assistant.io/blog/2025/10/16/recorder-statistics-api-changes); what it is told is what it says of them itself.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway import tls
from gateway.clock import Clock
from gateway.config.sections import HomeAssistantSection, Tls
from gateway.errors import LinkError
from gateway.mqtt.classes import Version
from gateway.mqtt.classes import version as version_of
from gateway.mqtt.face import Face
from gateway.mqtt.gap import Gap, Hour
from gateway.types import iso_utc

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger("spectrophone.mqtt")

WAITS_S = (60, 300, 900, 3600)
"""When it is tried: Home Assistant may begin later than the broker, after the same power cut."""
ANSWER_S = 30.0
LARGEST = 64 << 20
"""Bytes of an answer: the list of all entities of a large home is long."""
_NEWS = (2025, 11)
_UNIT = "ppm"


class Backfill:
    """Fills gaps, one after the other, in the background."""

    def __init__(self, settings: HomeAssistantSection, face: Face, clock: Clock) -> None:
        """Raises LinkError for a certificate file that is missing."""
        self.problem = ""
        """Why the newest gap could not be filled, in a sentence."""
        self._settings = settings
        self._face = face
        self._clock = clock
        self._context = context(settings)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, gap: Gap) -> None:
        """Fill this gap, soon, if it has whole hours."""
        if hours := gap.hours():
            task = asyncio.get_running_loop().create_task(self._fill(hours), name="backfill")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is not done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fill(self, hours: Mapping[str, Sequence[Hour]]) -> None:
        for wait_s in WAITS_S:
            await self._clock.sleep_until(self._clock.monotonic_ns() + wait_s * 1_000_000_000)
            try:
                await fill(self._settings, self._face, hours, self._context)
            except LinkError as error:
                self.problem = str(error)
                log.warning("a gap in Home Assistant's statistics is not filled: %s", error)
            else:
                self.problem = ""
                log.info("a gap of %d hours in Home Assistant's statistics is filled", max(map(len, hours.values())))
                return


def context(settings: HomeAssistantSection) -> ssl.SSLContext | None:
    """The encryption to Home Assistant; None for http://. Raises LinkError for a file that is missing."""
    from yarl import URL

    url = URL(settings.url or "")
    return tls.context(settings.tls or Tls(), url.host or "", "homeassistant.tls") if url.scheme == "https" else None


async def fill(
    settings: HomeAssistantSection,
    face: Face,
    hours: Mapping[str, Sequence[Hour]],
    context: ssl.SSLContext | None = None,
) -> None:
    """Put these `hours`, by node, into the statistics of the nodes' entities. Raises LinkError."""
    import aiohttp

    where = f"Home Assistant at {settings.url}"
    try:
        async with asyncio.timeout(10 * ANSWER_S), aiohttp.ClientSession() as session:
            place = f"{(settings.url or '').rstrip('/')}/api/websocket"
            async with session.ws_connect(place, ssl=context or True, max_msg_size=LARGEST) as socket:
                talk = Talk(socket, where)
                await talk.enter(settings.token.get_secret_value() if settings.token else "")
                await _import(talk, face, hours)
    except aiohttp.WSServerHandshakeError as error:
        raise LinkError(f"{where} answers {error.status}", "Check homeassistant.url") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise LinkError(tls.fault(error.certificate_error, where, "homeassistant.tls")) from None  # type: ignore[arg-type]
    except (aiohttp.ClientError, OSError, TypeError, ValueError, KeyError) as error:
        why = str(error) or type(error).__name__
        raise LinkError(f"{where} cannot be spoken to: {why}", "Check homeassistant.url, and that it runs") from None


class Talk:
    """Questions and answers over an open WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, where: str) -> None:
        self.version: Version = (0, 0)
        """Home Assistant's year and month."""
        self.where = where
        self._socket = socket
        self._ids = itertools.count(1)

    async def enter(self, token: str) -> None:
        """Show the token. Raises LinkError where it is not taken."""
        greeting = await self._receive()
        if greeting.get("type") != "auth_required":
            raise LinkError(f"{self.where} does not greet as one", "Check homeassistant.url")
        self.version = version_of(greeting["ha_version"])
        await self._socket.send_json({"type": "auth", "access_token": token})
        if (await self._receive()).get("type") != "auth_ok":
            remedy = "Make a long-lived one in an administrator's profile, and give it as homeassistant.token"
            raise LinkError(f"{self.where} does not take our token", remedy)

    async def ask(self, kind: str, **what: Any) -> Any:
        """The answer to a command. Raises LinkError where it is refused."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "type": kind, **what})
        while (answer := await self._receive()).get("id") != number:
            pass
        if answer.get("success"):
            return answer.get("result")
        why = answer.get("error", {})
        if why.get("code") == "unauthorized":
            remedy = "Make the token in an administrator's profile"
            raise LinkError(f"{self.where} does not let the owner of our token do {kind}", remedy)
        if why.get("code") == "unknown_command":
            raise LinkError(f"{self.where} does not know {kind}", "Let it run its recorder")
        raise LinkError(f"{self.where} refuses {kind}: {why.get('message', 'no reason given')}")

    async def _receive(self) -> dict[str, Any]:
        try:
            said = await self._socket.receive_json(timeout=ANSWER_S)
        except TypeError:  # it closed the connection
            raise LinkError(f"{self.where} broke the connection off", "Its log may tell why") from None
        return said if isinstance(said, dict) else {}


async def _import(talk: Talk, face: Face, hours: Mapping[str, Sequence[Hour]]) -> None:
    """Find each node's entity, and hand over its hours."""
    entities = await talk.ask("config/entity_registry/list")
    ours = {each["unique_id"]: each["entity_id"] for each in entities if each["platform"] == "mqtt"}
    known = {
        each["statistic_id"]: each for each in await talk.ask("recorder/list_statistic_ids", statistic_type="mean")
    }
    for node, found in hours.items():
        entity = ours.get(unique_id(face, node))
        if entity is None or entity not in known:
            raise LinkError(f"{talk.where} has no statistics of {node}", "See that it knows the box, and records it")
        if (unit := known[entity]["statistics_unit_of_measurement"]) != _UNIT:
            raise LinkError(f"{talk.where} keeps {entity} in {unit}", f"Let it keep {_UNIT}")
        await talk.ask("recorder/import_statistics", metadata=about(known[entity], talk.version), stats=rows(found))


def unique_id(face: Face, node: str) -> str:
    """Of the entity that shows the concentrations of `node` (gateway/mqtt/entities.py)."""
    return f"spectrophone_{face.box}_gas_{node}"


def about(known: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """What is said of statistics that are handed over, from what Home Assistant of that version says of them."""
    told = {"has_sum": False, "name": known.get("name"), "source": "recorder", "statistic_id": known["statistic_id"]}
    told["unit_of_measurement"] = known["statistics_unit_of_measurement"]
    if version >= _NEWS:
        return told | {"mean_type": 1, "unit_class": known["unit_class"]}
    return told | {"has_mean": True}


def rows(hours: Sequence[Hour]) -> list[dict[str, Any]]:
    """The hours as Home Assistant takes them."""
    return [{"start": iso_utc(h.start_ns), "mean": h.mean, "min": h.least, "max": h.most} for h in hours]
