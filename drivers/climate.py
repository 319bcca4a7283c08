"""Temperature, humidity and pressure of the gas."""

from __future__ import annotations

from drivers.cell import Cell
from gateway.types import Climate

SENSOR = 72
"""Stream of random numbers of the simulated sensor."""


class FixedClimate:
    """What the owner says it is."""

    def __init__(self, climate: Climate) -> None:
        self._climate = climate

    def newest(self) -> Climate:
        """See gateway.ports.ClimateSensor."""
        return self._climate


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

    def newest(self) -> Climate:
        """See gateway.ports.ClimateSensor."""
        air = self._cell.air
        truth = (air.temperature_c, air.humidity_percent, air.pressure_pa)
        if not any(self._rms):
            return Climate(*truth)
        errors = self._cell.seed.generator(SENSOR, self._cell.next_frame).standard_normal(3)
        return Climate(*(float(t + rms * e) for t, rms, e in zip(truth, self._rms, errors, strict=True)))
