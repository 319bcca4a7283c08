"""Temperature, humidity and pressure of the gas: from sensors, from the owner, or from the simulated cell.

Relative humidity is told for the gas's temperature. A sensor tells it for its own, and where the gas's temperature is
another's (a DS18B20 in the cell, an SHT4x beside it), it is the mole fraction of water that both have in common:
h_gas = h x_saturated(t_sensor) / x_saturated(t_gas), at most 100 %. At 25 C, 40 % are 17 % for a gas of 40 C.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from drivers.air import Air, water_fraction
from drivers.cell import Cell
from drivers.sensor import QUANTITIES, KernelSensor, Said
from gateway.clock import Clock
from gateway.ports import ClimateSensor
from gateway.types import Climate

log = logging.getLogger("spectrophone.climate")

SENSOR = 72
"""Stream of random numbers of the simulated sensor."""


@dataclass(slots=True)
class _Heard:
    """What one sensor said: `values` with the time of asking, in nanoseconds, by quantity; `troubles` that were told,
    with the time of the last failure; `problem`, what is wrong now; how often something failed.
    """

    values: dict[str, tuple[float, int]] = field(default_factory=dict)
    troubles: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    failures: int = 0


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A value that holds, which sensor said it, and how long ago in seconds."""

    value: float
    title: str
    age_s: float


class SensorClimate:
    """What sensors say. They take up to a second to answer, so a task asks them in another thread every `every_s`.

    Each quantity is that of the first sensor, in the order given, whose value is not older than `stale_s`; humidity
    needs its own sensor's temperature beside it. What a sensor does wrong is told once, and again only after it was
    right for `stale_s`.
    """

    def __init__(self, sensors: Sequence[KernelSensor], clock: Clock, every_s: float, stale_s: float) -> None:
        self._clock = clock
        self._every_ns, self._stale_ns = round(every_s * 1e9), round(stale_s * 1e9)
        self._heard = {sensor: _Heard() for sensor in sensors}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See gateway.ports.ClimateSensor."""
        self._task = asyncio.create_task(self._ask_for_ever(), name="climate")

    async def close(self) -> None:
        """See gateway.ports.ClimateSensor. A thread that still waits for a sensor is left to end by itself."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def newest(self) -> Climate | None:
        """See gateway.ports.ClimateSensor."""
        told = {quantity: fresh.value for quantity, fresh in self._told().items()}
        return Climate(**told) if told else None

    def status(self) -> Mapping[str, Any]:
        """See gateway.ports.ClimateSensor; with every sensor's problem, "" where there is none, and failures."""
        told: dict[str, Any] = {
            quantity: {"value": fresh.value, "from": fresh.title, "age_s": fresh.age_s}
            for quantity, fresh in self._told().items()
        }
        told["sensors"] = [
            {"sensor": sensor.title, "problem": heard.problem, "failures": heard.failures}
            for sensor, heard in self._heard.items()
        ]
        return told

    def _told(self) -> dict[str, _Fresh]:
        """What holds now, by quantity; the temperature comes first."""
        told: dict[str, _Fresh] = {}
        for quantity in QUANTITIES:
            for sensor, heard in self._heard.items():
                fresh = self._fresh(sensor, heard, quantity)
                own = self._fresh(sensor, heard, "temperature_c")
                if quantity == "humidity_percent" and fresh and own:
                    fresh = replace(fresh, value=_humidity(fresh.value, own.value, told["temperature_c"].value))
                if fresh and (own or quantity != "humidity_percent"):
                    told[quantity] = fresh
                    break
        return told

    def _fresh(self, sensor: KernelSensor, heard: _Heard, quantity: str) -> _Fresh | None:
        """What a sensor said, if it is not too old."""
        if quantity not in heard.values:
            return None
        value, asked_ns = heard.values[quantity]
        age_ns = self._clock.monotonic_ns() - asked_ns
        return _Fresh(value, sensor.title, age_ns / 1e9) if age_ns <= self._stale_ns else None

    async def _ask_for_ever(self) -> None:
        while True:
            begin_ns = self._clock.monotonic_ns()
            for sensor, heard in self._heard.items():
                asked_ns = self._clock.monotonic_ns()
                self._take(heard, await asyncio.to_thread(sensor.read), asked_ns, sensor.title)
            await self._clock.sleep_until(begin_ns + self._every_ns)

    def _take(self, heard: _Heard, said: Said, asked_ns: int, title: str) -> None:
        """Keep what a sensor said, and tell the owner what is wrong with it."""
        heard.values.update({quantity: (value, asked_ns) for quantity, value in said.values.items()})
        heard.problem = ". ".join(said.faults.values())
        heard.failures += len(said.faults)
        for what, words in said.faults.items():
            if what not in heard.troubles:
                log.warning("%s", words)
            heard.troubles[what] = asked_ns
        if heard.troubles and asked_ns - max(heard.troubles.values()) >= self._stale_ns:
            heard.troubles.clear()
            log.info("%s is well again, after %d failures", title, heard.failures)


class FixedClimate:
    """What the owner says it is and, where he says nothing, what `sensor` says."""

    def __init__(self, climate: Climate, sensor: ClimateSensor | None = None) -> None:
        self._climate, self._sensor = climate, sensor

    async def start(self) -> None:
        """See gateway.ports.ClimateSensor."""
        if self._sensor is not None:
            await self._sensor.start()

    async def close(self) -> None:
        """See gateway.ports.ClimateSensor."""
        if self._sensor is not None:
            await self._sensor.close()

    def newest(self) -> Climate:
        """See gateway.ports.ClimateSensor."""
        given, said = self._climate, (self._sensor.newest() if self._sensor else None) or Climate()
        humidity = said.humidity_percent
        if given.temperature_c is not None and said.temperature_c is not None and humidity is not None:
            humidity = _humidity(humidity, said.temperature_c, given.temperature_c)
        return Climate(
            _first(given.temperature_c, said.temperature_c),
            _first(given.humidity_percent, humidity),
            _first(given.pressure_pa, said.pressure_pa),
        )

    def status(self) -> Mapping[str, Any]:
        """See gateway.ports.ClimateSensor."""
        said: dict[str, Any] = dict(self._sensor.status()) if self._sensor else {}
        if "humidity_percent" in said:
            said["humidity_percent"] = {**said["humidity_percent"], "value": self.newest().humidity_percent}
        return said | _told(self._climate, "configuration")


class SimulatedClimate:
    """What a sensor in the simulated cell says: the air at the next frame, with independent normal errors of these
    standard deviations (0.02 K, 0.1 % and 1 Pa would be a good one). The same frame always has the same errors.
    """

    def __init__(
        self,
        cell: Cell,
        temperature_rms_k: float = 0.0,
        humidity_rms_percent: float = 0.0,
        pressure_rms_pa: float = 0.0,
    ) -> None:
        self._cell, self._rms = cell, (temperature_rms_k, humidity_rms_percent, pressure_rms_pa)

    async def start(self) -> None:
        """See gateway.ports.ClimateSensor; it has nothing to do."""

    async def close(self) -> None:
        """See gateway.ports.ClimateSensor; it has nothing to do."""

    def newest(self) -> Climate:
        """See gateway.ports.ClimateSensor."""
        air = self._cell.air
        truth = (air.temperature_c, air.humidity_percent, air.pressure_pa)
        if not any(self._rms):
            return Climate(*truth)
        errors = self._cell.seed.generator(SENSOR, self._cell.next_frame).standard_normal(3)
        return Climate(*(float(t + rms * e) for t, rms, e in zip(truth, self._rms, errors, strict=True)))

    def status(self) -> Mapping[str, Any]:
        """See gateway.ports.ClimateSensor."""
        return _told(self.newest(), "simulated cell")


def _humidity(humidity_percent: float, there_c: float, here_c: float) -> float:
    """Relative humidity at `here_c` of air that has `humidity_percent` at `there_c`."""
    if there_c == here_c:
        return humidity_percent
    there, here = water_fraction(Air(there_c, humidity_percent)), water_fraction(Air(here_c, 100.0))
    return min(100.0, round(100.0 * there / here, 3))


def _first(given: float | None, said: float | None) -> float | None:
    return said if given is None else given


def _told(climate: Climate, source: str) -> dict[str, Any]:
    """Values that do not age, as status tells them."""
    values = {quantity: getattr(climate, quantity) for quantity in QUANTITIES}
    return {name: {"value": value, "from": source, "age_s": 0.0} for name, value in values.items() if value is not None}
