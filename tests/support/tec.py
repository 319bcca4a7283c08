"""A TEC on the simulated plant, with wires between them that can fail."""

from __future__ import annotations

from collections.abc import Callable

from drivers.peltier import Mount, SimulatedPlant
from drivers.pid import Gains
from drivers.tec import Regulation, Tec
from drivers.thermistor import ZERO_C, Thermistor
from gateway.errors import DeviceError
from gateway.types import Command

S = 1_000_000_000
DIVIDER = Thermistor(3.3, 10_000.0, 10_000.0, 3950.0)
GAINS = Gains(0.3, 0.02, 0.4)
DRIVE_MAX = 0.4


class Wires:
    """Bridge and thermometer. `reading` takes the place of what is read, `frozen` gives the same reading for ever;
    `way` is what becomes of the drive (-1: swapped, 0: cut); `refused` drives, `stuck` cannot be switched off.
    """

    def __init__(self, plant: SimulatedPlant) -> None:
        self.plant = plant
        self.reading: float | DeviceError | None = None
        self.frozen = self.refused = self.stuck = self.closed = False
        self.way = 1
        self.told = 0.0

    def drive(self, level: float) -> None:
        """See drivers.tec.Bridge."""
        if self.refused:
            raise DeviceError("the kernel says no")
        self.told = level
        self.plant.drive(self.way * level)

    def off(self) -> None:
        """See drivers.tec.Bridge."""
        if self.stuck:
            raise OSError(5, "Input/output error")
        self.told = 0.0
        self.plant.off()

    def level(self) -> float:
        """See drivers.tec.Bridge."""
        return self.told

    def ask(self, t_ns: int) -> None:
        """See drivers.tec.Thermometer."""
        if not self.frozen:
            self.plant.ask(t_ns)

    def newest(self) -> tuple[int, float | DeviceError]:
        """See drivers.tec.Thermometer."""
        number, reading = self.plant.newest()
        return number, reading if self.reading is None else self.reading

    def close(self) -> None:
        """See drivers.tec.Bridge."""
        self.closed = True


class Bench:
    """The regulation on its plant, the time, and what was seen of it."""

    def __init__(
        self,
        setpoint_c: float = 25.0,
        load_w: Callable[[], float] = lambda: 0.0,
        mount: Mount | None = None,
        noise_v: float = 100e-6,
        step_v: float = 125e-6,
        gains: Gains = GAINS,
    ) -> None:
        self.plant = SimulatedPlant(DIVIDER, load_w, mount=mount, noise_v=noise_v, step_v=step_v)
        self.wires = Wires(self.plant)
        wanted = Regulation(setpoint_c, 0.2, 10.0, 5.0, 45.0, gains)
        self.tec = Tec(self.wires, self.wires, DIVIDER, wanted, DRIVE_MAX)
        self.t_ns = 0

    @property
    def celsius(self) -> float:
        """The laser's temperature as it is."""
        return self.plant.temperatures[0] - ZERO_C

    def say(self, verb: str, **args: object) -> None:
        """Command the TEC."""
        self.tec.apply(Command("tec", verb, args))

    def tick(self, seconds: float = 0.1) -> None:
        """Let time pass, and step."""
        self.t_ns += round(seconds * S)
        self.tec.step(self.t_ns)

    def run(self, seconds: float, tick_s: float = 0.1) -> None:
        """Step that long."""
        for _ in range(round(seconds / tick_s)):
            self.tick(tick_s)
