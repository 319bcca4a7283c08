"""The Peltier plant against its equations: data sheet, energy, steady states, a better integrator."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from drivers.peltier import Module, Mount, SimulatedPlant, change
from drivers.thermistor import ZERO_C, Thermistor
from gateway.errors import DeviceError

S = 1_000_000_000
DIVIDER = Thermistor(3.3, 10_000.0, 10_000.0, 3950.0)
MODULE = Module()


def plant(load_w: Callable[[], float] = lambda: 0.0, mount: Mount | None = None, **adc: float) -> SimulatedPlant:
    return SimulatedPlant(DIVIDER, load_w, MODULE, mount, **{"noise_v": 0.0, **adc})  # type: ignore[arg-type]


def test_the_data_sheet_comes_out_again() -> None:
    """At Imax and Th the module pumps nothing over dTmax, with Vmax across it, and dTmax is the most over all currents;
    Qmax, which went into nothing, is 10.4 W in the data sheet of the TEC1-3105T.
    """
    a, ohm, k, hot = MODULE.seebeck_v_per_k, MODULE.ohm, MODULE.w_per_k, MODULE.hot_k

    def pumped(amperes: float, over_k: float) -> float:
        return a * amperes * (hot - over_k) - amperes**2 * ohm / 2.0 - k * over_k

    def farthest(amperes: float) -> float:
        return brentq(lambda over: pumped(amperes, over), 0.0, 200.0)

    assert pumped(MODULE.imax_a, MODULE.dtmax_k) == pytest.approx(0.0, abs=1e-9)
    assert MODULE.imax_a * ohm + a * MODULE.dtmax_k == pytest.approx(MODULE.vmax_v, rel=1e-12)
    currents = np.linspace(0.5, 8.0, 751)
    assert currents[np.argmax([farthest(i) for i in currents])] == pytest.approx(MODULE.imax_a, abs=0.011)
    assert pumped(MODULE.imax_a, 0.0) == pytest.approx(10.4, rel=0.12)


@pytest.mark.parametrize("drive", [None, -0.4, -0.1, 0.0, 0.2, 0.4])
def test_energy_is_conserved(drive: float | None) -> None:
    """What the sides take up is what bridge, laser and room give."""
    mount, cold, hot, load = Mount(), 285.0, 310.0, 1.7
    at = change((cold, hot, cold), drive, load, MODULE, mount)
    volts = 0.0 if drive is None else -drive * mount.supply_v
    amperes = 0.0 if drive is None else (volts - MODULE.seebeck_v_per_k * (hot - cold)) / MODULE.ohm
    ambient = mount.ambient_c + ZERO_C
    given = load + volts * amperes + (ambient - cold) / mount.insulation_k_per_w - (hot - ambient) / mount.sink_k_per_w
    assert at[0] * mount.cold_j_per_k + at[1] * mount.hot_j_per_k == pytest.approx(given, rel=1e-12)


@pytest.mark.parametrize("drive", [-0.3, 0.0, 0.3])
def test_every_course_is_that_of_a_better_integrator(drive: float) -> None:
    simulated = plant(lambda: 1.0)
    simulated.drive(drive)
    simulated.ask(0)
    start = simulated.temperatures
    for t_ns in (S // 10, S // 2, 3 * S, 3 * S, 10 * S, 60 * S):
        simulated.ask(t_ns)
    exact = solve_ivp(
        lambda _, y: change(tuple(y), drive, 1.0, MODULE, simulated.mount), (0, 60), start, rtol=1e-12, atol=1e-12
    )
    assert np.array(simulated.temperatures) == pytest.approx(exact.y[:, -1], abs=1e-5)


def test_it_goes_by_the_time_alone() -> None:
    """However the time is cut, to what the substep leaves over."""
    one, other = plant(lambda: 1.0), plant(lambda: 1.0)
    for each in (one, other):
        each.drive(-0.2)
        each.ask(0)
    one.ask(30 * S)
    for k in range(1, 301):
        other.ask(k * S // 10)
    assert np.array(one.temperatures) == pytest.approx(other.temperatures, abs=1e-5)


def test_an_open_bridge_lets_it_go_back_to_the_room() -> None:
    simulated = plant()
    simulated.drive(0.4)
    assert simulated.level() == 0.4
    simulated.ask(0)
    simulated.ask(30 * S)
    assert simulated.temperatures[0] - ZERO_C > 35.0
    simulated.off()
    assert simulated.level() == 0.0
    simulated.ask(7200 * S)
    assert simulated.temperatures == pytest.approx((25.0 + ZERO_C,) * 3, abs=1e-6)


def test_it_is_read_in_steps_with_noise_that_repeats() -> None:
    def readings(**adc: float) -> list[float]:
        simulated, found = plant(step_v=1e-3, **adc), []
        for k in range(2000):
            simulated.ask(k * S)
            number, volts = simulated.newest()
            assert number == k + 1
            assert isinstance(volts, float)
            found.append(volts)
        return found

    noisy = readings(noise_v=5e-3)
    assert noisy == readings(noise_v=5e-3)
    assert noisy != readings(noise_v=5e-3, seed=2)
    assert all(math.isclose(volts * 1e3, round(volts * 1e3), abs_tol=1e-9) for volts in noisy)
    # the spread of n values has a relative standard deviation of 1 / sqrt(2 n) = 0.016; the step adds (1/5)^2 / 24
    assert np.std(noisy) == pytest.approx(5e-3, rel=0.06)
    assert np.mean(noisy) == pytest.approx(1.65, abs=4 * 5e-3 / math.sqrt(2000))
    assert set(readings(range_v=1.5)) == {math.inf}


def test_before_it_is_asked_there_is_no_reading() -> None:
    number, reading = plant().newest()
    assert number == 0
    assert isinstance(reading, DeviceError)
