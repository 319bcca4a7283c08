"""How much quieter the laser's temperature is when it is regulated, on the simulated plant: the room swings by 5 K in
20 minutes, and the laser (1 W of heat) is lit for one minute of two. `bench/tec.py FILE.png` draws the picture of
docs/tec.md.
"""

from __future__ import annotations

import math
import statistics
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from drivers.peltier import SimulatedPlant
from drivers.tec import Tec
from drivers.thermistor import ZERO_C
from gateway import chart
from gateway.config.sections import TecSection
from gateway.thermal import SIMULATED, SIMULATED_DUTY_MAX, regulation
from gateway.types import Command

HOURS, TICK_S = 2, 0.1
S = 1_000_000_000


def made(heat_w: list[float], setpoint_c: float) -> tuple[SimulatedPlant, Tec]:
    """Plant and regulation with the default settings."""
    plant = SimulatedPlant(SIMULATED, lambda: heat_w[0])
    return plant, Tec(plant, plant, SIMULATED, regulation(TecSection(setpoint_c=setpoint_c)), SIMULATED_DUTY_MAX)


def spread_k(regulated: bool) -> float:
    """Standard deviation of the laser's temperature over the last hour, 20 C where it is regulated."""
    heat_w, seen = [0.0], []
    plant, tec = made(heat_w, 20.0)
    still = plant.mount
    if regulated:
        tec.apply(Command("tec", "on"))
    for k in range(round(HOURS * 3600 / TICK_S)):
        t_s = k * TICK_S
        plant.mount = replace(still, ambient_c=25.0 + 5.0 * math.sin(2.0 * math.pi * t_s / 1200.0))
        heat_w[0] = float(t_s % 120.0 < 60.0)
        tec.step(round(t_s * S))
        if t_s > 3600.0:
            seen.append(plant.temperatures[0])
    return statistics.pstdev(seen)


def step() -> chart.Chart:
    """From the room's 25 C to 20 C, and 2 W of heat a minute and a half later."""
    heat_w, times, cold, sink, drive = [0.0], [], [], [], []
    plant, tec = made(heat_w, 20.0)
    tec.apply(Command("tec", "on"))
    for k in range(1800):
        t_s = k * TICK_S
        heat_w[0] = 2.0 if t_s >= 90.0 else 0.0
        tec.step(round(t_s * S))
        times.append(t_s)
        cold.append(plant.temperatures[0] - ZERO_C)
        sink.append(plant.temperatures[1] - ZERO_C)
        drive.append(20.0 + 20.0 * plant.level())
    return chart.Chart(
        "The laser's temperature after switching on",
        "Simulated TEC1-3105T with the default gains: set-point 20 °C, room 25 °C, 2 W from the laser after 90 s.",
        chart.Axis("time (s)", 0.0, 180.0),
        chart.Axis("temperature (°C)", 13.0, 29.0),
        (
            chart.Series("laser", times, cold, line=True),
            chart.Series("heat sink", times, sink, line=True),
            chart.Series("drive (20: none; a degree: 5 % of the supply)", times, drive, line=True),
        ),
    )


def main() -> None:
    """Print the spreads, or draw the step."""
    if sys.argv[1:]:
        chart.write(step(), Path(sys.argv[1]))
        return
    free_k, held_k = spread_k(False), spread_k(True)
    print(f"laser's temperature, one hour: {free_k * 1e3:.0f} mK rms left alone, {held_k * 1e3:.1f} mK regulated")
    print(f"ratio: {free_k / held_k:.0f}")


main()
