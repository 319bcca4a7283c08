"""Temperature, humidity and pressure of the gas."""

from __future__ import annotations

from drivers.cell import Cell
from gateway.types import Climate


class FixedClimate:
    """What the owner says it is."""

    def __init__(self, climate: Climate) -> None:
        self._climate = climate

    def newest(self) -> Climate:
        """See gateway.ports.ClimateSensor."""
        return self._climate


class SimulatedClimate:
    """What a sensor in the simulated cell says."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def newest(self) -> Climate:
        """See gateway.ports.ClimateSensor."""
        air = self._cell.air
        return Climate(air.temperature_c, air.humidity_percent, air.pressure_pa)
