"""The laser's temperature on the simulated plant: regulated as theory says, and off as soon as something is wrong."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scipy.linalg import expm
from scipy.optimize import fsolve

from drivers.peltier import Module, Mount, Temperatures, change
from drivers.pid import Gains
from drivers.tec import DRIVEN, TABLE, Event, State
from drivers.thermistor import ZERO_C
from gateway.errors import CommandRefused, DeviceError
from tests.support.tec import DIVIDER, DRIVE_MAX, GAINS, Bench

Array = npt.NDArray[np.complexfloating | np.floating]


def balance(setpoint_c: float, mount: Mount, load_w: float) -> tuple[float, float]:
    """Drive and hot side (kelvin) at which nothing changes: the root of the heat balances of both sides."""
    cold = setpoint_c + ZERO_C

    def unbalanced(x: tuple[float, float]) -> tuple[float, float]:
        return change((cold, x[1], cold), x[0], load_w, Module(), mount)[:2]

    drive, hot = fsolve(unbalanced, (0.0, mount.ambient_c + ZERO_C), xtol=1e-12)
    return float(drive), float(hot)


def open_loop(setpoint_c: float, mount: Mount, load_w: float, tick_s: float) -> tuple[Array, Array]:
    """Frequencies (rad/s) and the loop's gain there: the plant linearised where the heat balances
    and held over a tick, a tick until its reading is used, and the controller's difference equations.
    """
    drive, hot = balance(setpoint_c, mount, load_w)
    at = np.array([setpoint_c + ZERO_C, hot, setpoint_c + ZERO_C])

    def slope(x: Array, u: float) -> Array:
        here: Temperatures = (float(x[0]), float(x[1]), float(x[2]))
        return np.array(change(here, u, load_w, Module(), mount))

    moved = np.zeros((4, 4))
    moved[:3, :3] = np.array([(slope(at + e, drive) - slope(at - e, drive)) / 2e-3 for e in 1e-3 * np.eye(3)]).T
    moved[:3, 3] = (slope(at, drive + 1e-5) - slope(at, drive - 1e-5)) / 2e-5
    held = expm(moved * tick_s)
    w = np.geomspace(1e-3, 0.999 * np.pi / tick_s, 4000)
    z = np.exp(1j * w * tick_s)
    plant = np.array([np.linalg.solve(one * np.eye(3) - held[:3, :3], held[:3, 3])[2] for one in z])
    tf = GAINS.filter_s
    pid = GAINS.kp + GAINS.ki * tick_s * z / (z - 1) + GAINS.kd * (z - 1) / ((tf + tick_s) * z - tf)
    return w, pid * plant / z


@pytest.mark.parametrize(
    ("tick_s", "least_deg", "least_gain", "most_peak"), [(0.1, 70.0, 15.0, 1.2), (1.0, 40.0, 1.9, 2.5)]
)
@pytest.mark.parametrize(
    ("setpoint_c", "ambient_c", "load_w"), [(25, 25, 0.0), (25, 25, 2.0), (15, 25, 0.0), (20, 40, 2.0), (35, 10, 0.0)]
)
def test_the_default_gains_have_margins(
    setpoint_c: float,
    ambient_c: float,
    load_w: float,
    tick_s: float,
    least_deg: float,
    least_gain: float,
    most_peak: float,
) -> None:
    """Phase margin, gain margin and the peak of 1 / |1 + L|, as docs/tec.md states them."""
    w, loop = open_loop(setpoint_c, Mount(ambient_c=ambient_c), load_w, tick_s)
    phase = np.degrees(np.unwrap(np.angle(loop)))
    phase -= 360.0 * np.round((phase[0] + 180.0) / 360.0)  # at low frequencies two integrators, nearly: -180
    crossing = np.flatnonzero(np.diff(np.abs(loop) > 1.0))
    assert len(crossing) == 1
    assert 180.0 + phase[crossing[0]] > least_deg
    turning = np.flatnonzero((phase[:-1] > -180.0) & (phase[1:] <= -180.0) & (w[1:] > w[crossing[0]]))
    assert 1.0 / np.abs(loop[turning[0]]) > least_gain
    assert np.max(1.0 / np.abs(1.0 + loop)) < most_peak


def test_the_table_has_one_way_out_of_a_fault() -> None:
    assert {state for state, event in TABLE if event is Event.TRIP} == set(State) - {State.FAULT}
    assert {TABLE[state, Event.TRIP] for state in set(State) - {State.FAULT}} == {State.FAULT}
    assert [event for state, event in TABLE if state is State.FAULT] == [Event.ON]
    assert {TABLE[state, Event.OFF] for state in DRIVEN} == {State.OFF}
    assert {event for (state, event), after in TABLE.items() if state not in DRIVEN and after in DRIVEN} == {Event.ON}


@pytest.mark.parametrize(
    ("setpoint_c", "ambient_c", "load_w", "tick_s"),
    [
        (25, 25, 0.0, 0.1),
        (15, 25, 0.0, 0.1),
        (35, 25, 1.0, 0.1),
        (25, 10, 0.0, 0.1),
        (20, 40, 1.0, 0.1),
        (20, 30, 1.0, 1.0),
    ],
)
def test_it_settles_from_cold_and_warm_where_the_heat_balances(
    setpoint_c: float, ambient_c: float, load_w: float, tick_s: float
) -> None:
    mount = Mount(ambient_c=ambient_c)
    bench = Bench(setpoint_c, lambda: load_w, mount, noise_v=0.0)
    bench.say("on")
    way = 1 if setpoint_c >= ambient_c else -1
    beyond_k = 0.0
    while not bench.tec.ready:
        bench.tick(tick_s)
        beyond_k = max(beyond_k, way * (bench.celsius - setpoint_c))
        assert bench.t_ns < 150e9, "two and a half minutes"
    assert bench.tec.fault == ""
    assert beyond_k < 0.2, "it overshoots by less than the tolerance"
    bench.run(1500, tick_s)
    drive, hot = balance(setpoint_c, mount, load_w)
    # a step of the ADC, 125 uV, is 3.4 mK at 25 degrees: within one the integral stands still
    assert bench.celsius == pytest.approx(setpoint_c, abs=DIVIDER.kelvin_per_volt(setpoint_c) * 125e-6)
    assert bench.wires.told == pytest.approx(drive, abs=3e-3)
    assert bench.plant.temperatures[1] == pytest.approx(hot, abs=0.1)
    assert bench.tec.read() == "stable"


def test_the_lasers_heat_is_led_away() -> None:
    """2 W at once: the temperature stays within the tolerance, and the error's integral is the change of the drive over
    ki, which is all that the integral part has to work with. (An ADC of fine steps: 1 mK makes 1 K s in 940 s.)
    """
    heat = [0.0]
    bench = Bench(load_w=lambda: heat[0], noise_v=0.0, step_v=1e-9)
    bench.say("on")
    bench.run(60)
    before, errors = bench.wires.told, []
    heat[0] = 2.0
    while bench.t_ns < 1000e9:
        bench.tick()
        errors.append(bench.celsius - 25.0)
        assert bench.tec.ready
    assert 0.1 < max(errors) < 0.2
    assert sum(errors) * 0.1 == pytest.approx((before - bench.wires.told) / GAINS.ki, rel=0.02)
    assert bench.wires.told == pytest.approx(balance(25.0, Mount(), 2.0)[0], rel=0.03)


def test_a_new_set_point_begins_without_a_jump_and_settles_anew() -> None:
    bench = Bench(noise_v=0.0)
    bench.say("on")
    bench.run(30)
    assert bench.tec.ready
    before = bench.wires.told
    bench.say("set", value=20)
    assert bench.tec.setpoint_c == 20.0
    bench.tick()
    assert abs(bench.wires.told - before) <= GAINS.ki * 0.1 * 5.0 + 1e-3
    assert not bench.tec.ready
    bench.run(120)
    assert bench.tec.ready
    assert bench.celsius == pytest.approx(20.0, abs=0.02)


@pytest.mark.parametrize("value", [5.9, 44.1, float("nan"), float("inf"), True, "25", None])
def test_a_set_point_too_near_to_the_limits_is_refused(value: object) -> None:
    bench = Bench()
    with pytest.raises(CommandRefused, match=r"tec set: .* is not a set-point.*6.*44"):
        bench.say("set", value=value)
    assert bench.tec.setpoint_c == 25.0


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(CommandRefused, match="tec cannot tune"):
        Bench().say("tune")


def test_off_is_off_and_it_still_tells_the_temperature() -> None:
    bench = Bench(15.0)
    bench.run(1)
    assert bench.wires.told == 0.0
    assert bench.tec.read() == "off"
    assert bench.tec.temperature_c == pytest.approx(25.0, abs=0.05)
    bench.say("on")
    bench.run(5)
    assert bench.tec.read() == "settling"
    assert bench.wires.told < -0.1
    bench.say("off")
    assert (bench.wires.told, bench.tec.read(), bench.tec.ready) == (0.0, "off", False)
    bench.run(10)
    assert bench.wires.told == 0.0


def test_it_settles_within_half_the_tolerance_and_all_the_time() -> None:
    bench = Bench(noise_v=0.0)
    bench.say("on")
    for k in range(60):
        bench.wires.reading = DIVIDER.volts(25.15 if k % 9 == 8 else 25.0)
        bench.run(1)
        assert not bench.tec.ready
    bench.wires.reading = DIVIDER.volts(25.0)
    bench.run(11)
    assert bench.tec.ready
    bench.wires.reading = DIVIDER.volts(25.15)
    bench.run(30)
    assert bench.tec.ready, "it is within the tolerance still"
    bench.wires.reading = DIVIDER.volts(25.25)
    bench.tick()
    bench.tick()
    assert not bench.tec.ready


def test_switched_on_again_it_begins_at_nothing_and_settles_anew() -> None:
    bench = Bench(20.0)
    bench.say("on")
    bench.run(100)
    assert bench.tec.ready
    assert bench.wires.told < -0.03
    bench.say("off")
    bench.say("on")
    bench.tick()
    assert bench.wires.told == 0.0
    bench.run(8)
    assert not bench.tec.ready


def test_while_nothing_new_is_read_the_drive_stays() -> None:
    bench = Bench(20.0)
    bench.say("on")
    bench.run(5)
    bench.wires.frozen = True
    bench.tick()
    told = bench.wires.told
    for _ in range(24):
        bench.tick()
        assert bench.wires.told == told != 0.0


@pytest.mark.parametrize("told_again", [True, False])
def test_after_a_loop_that_hung_the_old_reading_counts_for_nothing(told_again: bool) -> None:
    """A cold laser has warmed to the room in ten minutes without a tick: that is no jump."""
    bench = Bench(10.0)
    bench.say("on")
    bench.run(60)
    assert bench.celsius < 12.0
    if told_again:
        bench.tec.make_safe()
        bench.say("on")
    else:
        bench.plant.off()
    bench.tick(600)
    assert bench.celsius > 20.0
    bench.run(100)
    assert bench.tec.fault == ""
    assert bench.tec.ready


def test_the_log_tells_how_far_it_is_while_it_settles(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(20.0)
    with caplog.at_level(logging.INFO, "spectrophone.tec"):
        bench.say("on")
        bench.run(17)
    assert [message.split(" at ")[0] for message in caplog.messages] == ["TEC settling"] * 5
    assert re.fullmatch(r"TEC settling at 2[234]\.\d\d C, driven with -0\.\d{3}", caplog.messages[2])


@pytest.mark.parametrize(("setpoint_c", "speed"), [(15.0, -0.29), (35.0, 0.51)])
def test_the_recipe_of_the_page_finds_the_plant(setpoint_c: float, speed: float) -> None:
    """docs/tec.md: at the limit the temperature moves that fast, and half the sum of both speeds over the drive is
    a Tc V / (R C), where a module at the room's temperature answers a small drive.
    """
    bench = Bench(setpoint_c, noise_v=0.0, gains=Gains(0.01, 1.0, 0.0))
    bench.say("on")
    bench.run(5)
    assert abs(bench.wires.told) == DRIVE_MAX
    early = bench.celsius
    bench.run(5)
    assert (bench.celsius - early) / 5 == pytest.approx(speed, abs=0.01)
    module, mount = Module(), Mount()
    answer = module.seebeck_v_per_k * 298.15 * mount.supply_v / (module.ohm * mount.cold_j_per_k)
    assert pytest.approx(answer, rel=0.05) == (0.55 + 0.29) / 2 / DRIVE_MAX


def broken(wires_reading: float | DeviceError) -> Callable[[Bench], None]:
    def act(bench: Bench) -> None:
        bench.wires.reading = wires_reading

    return act


def weak_sink(bench: Bench) -> None:
    bench.plant.mount = Mount(sink_k_per_w=1000.0, hot_j_per_k=30.0)
    bench.say("set", value=8)


def frozen(bench: Bench) -> None:
    bench.wires.frozen = True


def refused(bench: Bench) -> None:
    bench.wires.refused = True


def wires(way: int, setpoint_c: float) -> Callable[[Bench], None]:
    def act(bench: Bench) -> None:
        bench.wires.way = way
        bench.say("set", value=setpoint_c)

    return act


FAULTS = {
    "open": (broken(float("inf")), "the thermistor is open", 0.1),
    "short": (broken(0.0), "the thermistor is short: 0.000 V on a supply of 3.3 V", 0.1),
    "jump": (broken(DIVIDER.volts(28.0)), "the thermistor jumped from 25.0 to 28.0 C within 0.1 s", 0.1),
    "stale": (frozen, "the thermistor was not read for 2.6 s", 2.7),
    "bus": (broken(DeviceError("the bus is stuck")), "not read for 2.6 s: the bus is stuck", 2.6),
    "refused": (refused, "the TEC cannot be driven: the kernel says no", 0.1),
    "swapped to cool": (wires(-1, 15.0), "cooled at the limit, and went from .* swapped", 20.0),
    "swapped to heat": (wires(-1, 35.0), "heated at the limit, and went from .* swapped", 20.0),
    "cut": (wires(0, 15.0), "cooled at the limit for 60 s, and went from 25.0 to 25.0 C only", 70.0),
    "no sink": (weak_sink, "cooled at the limit for 60 s, and went from .* C only: look at heat sink, fan", 250.0),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_switches_it_off_in_the_same_step_until_it_is_switched_on_again(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    act, sentence, within_s = FAULTS[name]
    bench = Bench()
    bench.say("on")
    bench.run(30)
    assert bench.tec.ready
    act(bench)
    begin_ns, was = bench.t_ns, 0.0
    while not bench.tec.fault:
        was = bench.wires.told
        bench.tick()
        assert bench.t_ns - begin_ns <= within_s * 1e9 + 1
    assert was != 0.0
    assert (bench.wires.told, bench.tec.read(), bench.tec.ready) == (0.0, "fault", False)
    assert caplog.messages[-1] == f"TEC off: {bench.tec.fault}. Mend it, then send tec on"
    assert re.search(sentence, bench.tec.fault)
    told = bench.tec.fault
    bench.tec.make_safe()
    bench.say("off")
    bench.wires.reading, bench.wires.frozen, bench.wires.refused, bench.wires.way = None, False, False, 1
    bench.plant.mount = Mount()
    bench.run(5)
    assert (bench.wires.told, bench.tec.fault, bench.tec.read()) == (0.0, told, "fault")
    bench.say("set", value=25)
    bench.say("on")
    bench.run(5)
    assert bench.tec.fault == ""
    assert bench.wires.told != 0.0


@pytest.mark.parametrize(
    ("ambient_c", "told"), [(46.0, "46.0 C, outside 5 to 45 C"), (4.0, "4.0 C, outside 5 to 45 C")]
)
def test_beyond_the_limits_it_does_not_even_begin(ambient_c: float, told: str) -> None:
    bench = Bench(mount=Mount(ambient_c=ambient_c))
    bench.say("on")
    bench.run(0.3)
    assert told in bench.tec.fault
    assert bench.wires.told == 0.0


def test_swapped_wires_do_not_carry_it_far() -> None:
    """From the set-point on: to saturation 1.3 K at kp 0.3, then RUNAWAY_K, and what the sensor's delay adds."""
    bench = Bench()
    bench.wires.way = -1
    bench.say("on")
    bench.run(600)
    assert "swapped" in bench.tec.fault
    bench.say("on")
    worst_k = 0.0
    while not bench.tec.fault:
        bench.tick()
        worst_k = max(worst_k, abs(bench.celsius - 25.0))
    assert worst_k < 8.0


def test_a_bridge_that_cannot_be_switched_off_is_told_and_tried_again() -> None:
    bench = Bench(15.0)
    bench.say("on")
    bench.run(5)
    bench.wires.stuck, bench.wires.reading = True, 0.0
    bench.tick()
    assert "short" in bench.tec.fault
    with pytest.raises(DeviceError, match=r"the TEC is fault and is driven with -0\.\d\d"):
        bench.tec.read()
    bench.wires.stuck = False
    bench.tick()
    assert bench.wires.told == 0.0
    assert bench.tec.read() == "fault"


def test_a_tec_that_does_not_go_off_when_told_is_a_fault() -> None:
    bench = Bench(15.0)
    bench.say("on")
    bench.run(5)
    bench.wires.stuck = True
    with pytest.raises(OSError, match="Input/output error"):
        bench.tec.make_safe()
    bench.tick()
    assert bench.tec.state is State.FAULT
    assert "the TEC cannot be switched off: [Errno 5]" in bench.tec.fault
    bench.wires.stuck = False
    bench.tick()
    assert (bench.wires.told, bench.tec.read()) == (0.0, "fault")


def test_closing_switches_off_and_gives_back() -> None:
    bench = Bench(15.0)
    bench.say("on")
    bench.run(5)
    bench.tec.close()
    bench.tec.close()
    assert bench.wires.told == 0.0
    assert bench.wires.closed


class Hazards(RuleBasedStateMachine):
    """Anything in any order: there is drive only between an "on" and the first thing that went wrong, and never more
    than there may be."""

    def __init__(self) -> None:
        super().__init__()
        self.heat = 0.0
        self.bench = Bench(load_w=lambda: self.heat)
        self.wanted = False

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.1, 0.1, 1.0, 3.0, 60.0]), times=st.integers(1, 40))
    def tick(self, seconds: float, times: int) -> None:
        for _ in range(times):
            self.bench.tick(seconds)
            self.wanted = self.wanted and not self.bench.tec.fault
            self.look()

    @rule()
    def on(self) -> None:
        self.bench.say("on")
        self.wanted = True

    @rule()
    def off(self) -> None:
        self.bench.say("off")
        self.wanted = False

    @rule()
    def make_safe(self) -> None:
        self.bench.tec.make_safe()
        self.wanted = False

    @rule(value=st.floats(6, 44))
    def set(self, value: float) -> None:
        self.bench.say("set", value=value)

    @rule(
        reading=st.sampled_from(
            [float("inf"), 0.0, DIVIDER.volts(0.0), DIVIDER.volts(30.0), DeviceError("no bus"), None]
        )
    )
    def reads(self, reading: float | DeviceError | None) -> None:
        self.bench.wires.reading = reading

    @rule(
        frozen=st.booleans(), refused=st.booleans(), way=st.sampled_from([-1, 0, 1]), heat=st.sampled_from([0.0, 2.0])
    )
    def wire(self, frozen: bool, refused: bool, way: int, heat: float) -> None:
        self.bench.wires.frozen, self.bench.wires.refused, self.bench.wires.way = frozen, refused, way
        self.heat = heat

    @invariant()
    def look(self) -> None:
        tec, told = self.bench.tec, self.bench.wires.told
        assert abs(told) <= DRIVE_MAX
        assert self.wanted or told == 0.0
        assert (tec.state is State.FAULT) == bool(tec.fault)
        assert tec.state in DRIVEN or told == 0.0
        assert not (tec.ready and tec.fault)
        assert tec.read() == tec.state


Hazards.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestHazards = Hazards.TestCase


def test_every_state_is_reached_from_every_other_by_way_of_the_table() -> None:
    reached = {state: {state} for state in State}
    for _ in State:
        for (before, _event), after in TABLE.items():
            for places in reached.values():
                places |= {after} if before in places else set()
    assert all(a in reached[b] for a, b in itertools.product(State, State))
