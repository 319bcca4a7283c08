"""The WebSocket of a Home Assistant, as far as statistics go: it greets, wants a token, and takes what its schema lets
through. Which keys it takes is that of recorder/websocket_api.py of 2024.11 and of 2026.11.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

TOKEN = "a long-lived token"
_BOTH = {"has_mean", "has_sum", "name", "source", "statistic_id", "unit_of_measurement"}
METADATA = {"2024.11.0": _BOTH, "2026.11.0": _BOTH | {"mean_type", "unit_class"}}
"""The keys that each version takes; the older wants has_mean, the newer warns without mean_type and unit_class."""
WANTED = {"2024.11.0": _BOTH, "2026.11.0": METADATA["2026.11.0"] - {"has_mean"}}


class HomeAssistant:
    """What it knows and what it was given."""

    def __init__(
        self, version: str = "2026.11.0", *, admin: bool = True, unit: str = "ppm", recorder: bool = True
    ) -> None:
        self.version = version
        self.admin = admin
        self.unit = unit
        self.recorder = recorder
        self.url = ""
        self.entities = [
            {"entity_id": "light.kitchen", "unique_id": "spectrophone_box1_gas_co2", "platform": "hue"},
            {"entity_id": "sensor.renamed", "unique_id": "spectrophone_box1_gas_co2", "platform": "mqtt"},
        ]
        self.imported: list[dict[str, Any]] = []

    async def talk(self, request: web.Request) -> web.WebSocketResponse:
        """One connection."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "auth_required", "ha_version": self.version})
        if await socket.receive_json() != {"type": "auth", "access_token": TOKEN}:
            await socket.send_json({"type": "auth_invalid", "message": "Invalid access token or password"})
            await socket.close()
            return socket
        await socket.send_json({"type": "auth_ok", "ha_version": self.version})
        async for message in socket:
            asked = message.json()
            number, kind = asked.pop("id"), asked.pop("type")
            await socket.send_json({"id": number, "type": "result", **self.answer(kind, asked)})
        return socket

    def answer(self, kind: str, asked: dict[str, Any]) -> dict[str, Any]:
        """What it says to a command."""
        match kind:
            case "config/entity_registry/list":
                return {"success": True, "result": self.entities}
            case "recorder/list_statistic_ids" if self.recorder:
                known = {"statistic_id": "sensor.renamed", "name": None, "source": "recorder", "has_sum": False}
                known |= {"has_mean": True, "mean_type": 1, "unit_class": "unitless"}
                return {"success": True, "result": [known | {"statistics_unit_of_measurement": self.unit}]}
            case "recorder/import_statistics" if not self.admin:
                return {"success": False, "error": {"code": "unauthorized", "message": "Unauthorized"}}
            case "recorder/import_statistics":
                if why := self.faults(asked):
                    return {"success": False, "error": {"code": "invalid_format", "message": why}}
                self.imported.append(asked)
                return {"success": True, "result": None}
        return {"success": False, "error": {"code": "unknown_command", "message": "Unknown command."}}

    def faults(self, asked: dict[str, Any]) -> str:
        """What its schema has against this."""
        told = asked["metadata"].keys()
        if told - METADATA[self.version] or WANTED[self.version] - told:
            return f"extra or missing keys: {sorted(told ^ METADATA[self.version])}"
        for row in asked["stats"]:
            start = datetime.fromisoformat(row["start"])
            if row.keys() - {"start", "mean", "min", "max"} or start.utcoffset() != timedelta(0):
                return f"{row} is no statistics"
            if (start.minute, start.second, start.microsecond) != (0, 0, 0):
                return "Invalid timestamp: timestamps must be from the top of the hour"
        return ""


@asynccontextmanager
async def home_assistant(*arguments: Any, **options: Any) -> AsyncIterator[HomeAssistant]:
    """One that runs on a free port of loopback."""
    home = HomeAssistant(*arguments, **options)
    application = web.Application()
    application.router.add_get("/api/websocket", home.talk)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    home.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield home
    finally:
        await runner.cleanup()
