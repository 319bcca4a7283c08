"""How the box fares, once a minute: what its machine says (gateway.machine) and what the gateway counts.

Home Assistant shows it as diagnostics, `spectrophone status` in a line. What nobody tells is None. It goes on whether
there is sound or not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from gateway import calibration, machine
from gateway.clock import Clock
from gateway.errors import SpectrophoneError
from gateway.types import iso_utc

log = logging.getLogger("spectrophone.health")

EVERY_S = 60
LIVES_S = 150
"""After this time without a new one it is out of date."""
_S = 1_000_000_000


class Health:
    """Looks every EVERY_S seconds, in a thread, because files of a kernel or a network disk may take their time."""

    def __init__(
        self,
        clock: Clock,
        state: Path,
        counted: Callable[[], Mapping[str, Any]],
        tell: Callable[[Mapping[str, Any]], None],
        root: Path = Path("/"),
    ) -> None:
        """`state` is the directory whose disk counts, `counted` gives what the gateway counts, `tell` is told all."""
        self.newest: Mapping[str, Any] = {}
        """What was found last; nothing before the first look."""
        self._clock = clock
        self._state = state
        self._counted = counted
        self._tell = tell
        self._root = root

    async def watch(self) -> None:
        """Look for ever. A fault in one look is told in the log."""
        while True:
            next_ns = self._clock.monotonic_ns() + EVERY_S * _S
            try:
                found = await asyncio.to_thread(look, self._root, self._state, self._clock.utc_ns())
                self.newest = {**found, **self._counted()}
                self._tell(self.newest)
            except Exception:
                log.exception("could not tell how the box fares")
            await self._clock.sleep_until(next_ns)


def look(root: Path, state: Path, utc_ns: int) -> dict[str, Any]:
    """What the machine whose files are below `root` says. Times are None while its clock is not synchronised."""
    memory, synchronised = machine.memory(root), machine.clock_synchronised(root)
    throttled, booted_s, up_s = machine.throttled(root), machine.booted_s(root), machine.uptime_s(root)
    known = synchronised is not False
    return {
        "time": iso_utc(utc_ns) if known else None,
        "memory_percent": memory and round(100.0 * (1.0 - memory.free_bytes / memory.all_bytes), 1),
        "cpu_temperature_c": _rounded(machine.cpu_temperature_c(root), 1),
        "throttled": None if throttled is None else list(throttled),
        **_disk(state),
        "wifi_dbm": machine.wifi_dbm(root),
        "clock_synchronised": synchronised,
        "load": machine.load(root),
        "uptime_s": None if up_s is None else round(up_s),
        "boot_time": None if booted_s is None or not known else iso_utc(booted_s * _S),
        "boot_reason": machine.boot_reason(root),
    }


class LastCalibration:
    """When the newest of some calibration files was made; a file is read again only where it has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, str | None]] = {}

    def of(self, files: Collection[Path]) -> str | None:
        """In UTC; None where there is none, or none that can be read."""
        return max((made for file in files if (made := self._made(file)) is not None), default=None)

    def _made(self, file: Path) -> str | None:
        try:
            changed_ns = file.stat().st_mtime_ns
            if file not in self._known or self._known[file][0] != changed_ns:
                made = calibration.load(file).created
                self._known[file] = changed_ns, iso_utc(round(made.timestamp()) * _S)
            return self._known[file][1]
        except (OSError, SpectrophoneError):
            return None


def described(health: Mapping[str, Any]) -> str:
    """The same as people read it, in a line; "" before the first look."""
    shapes = {
        "cpu_temperature_c": "processor {:.1f} °C",
        "memory_percent": "{:.0f} % of memory used",
        "disk_free_mb": "{:.0f} MB of disk free",
        "wifi_dbm": "Wi-Fi {:.0f} dBm",
        "load": "load {:.2f}",
    }
    words = [shape.format(health[name]) for name, shape in shapes.items() if health.get(name) is not None]
    words += ["the disk is READ-ONLY"] if health.get("disk_read_only") else []
    words += ["clock NOT synchronised"] if health.get("clock_synchronised") is False else []
    return ", ".join([*words, *(health.get("throttled") or ())])


def _disk(state: Path) -> dict[str, Any]:
    try:
        found = machine.disk(state)
    except OSError:
        return {"disk_free_mb": None, "disk_read_only": None}
    return {"disk_free_mb": found.free_bytes // 1_000_000, "disk_read_only": found.read_only}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
