"""The PID controller: what its equations say, and that no sequence of steps breaks it."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pid import LONGEST_S, Gains, Pid

S = 1_000_000_000
GAINS = Gains(0.3, 0.02, 0.4)
LIMIT = 0.5

gains = st.builds(Gains, st.floats(0.01, 10), st.floats(0, 1), st.floats(0, 10))
seconds = st.floats(0.001, LONGEST_S)
kelvins = st.floats(-100, 100)


def run(pid: Pid, setpoint: float, measured: float, seconds: float, h_ns: int, begin_ns: int = 0) -> float:
    """The output after that time, in steps of `h_ns` from `begin_ns` on."""
    for t_ns in range(begin_ns, begin_ns + round(seconds * S) + 1, h_ns):
        pid.step(setpoint, measured, t_ns)
    return pid.output


def test_it_begins_without_a_jump_and_integrates_the_error() -> None:
    pid = Pid(GAINS, LIMIT)
    assert pid.step(26.0, 25.0, 0) == 0.0
    assert pid.step(26.0, 25.0, 0) == 0.0, "no time has passed"
    assert run(pid, 26.0, 25.0, 10.0, S // 10, S // 10) == pytest.approx(0.02 * 1.0 * 10.1, rel=1e-9)


@pytest.mark.parametrize("kd", [0.0, 0.4])
def test_where_no_time_has_passed_nothing_happens(kd: float) -> None:
    one, other = Pid(Gains(0.3, 0.02, kd), LIMIT), Pid(Gains(0.3, 0.02, kd), LIMIT)
    for pid in (one, other):
        run(pid, 26.0, 25.0, 3.0, S)
    assert one.step(30.0, 26.0, 3 * S) == other.output
    assert one.step(30.0, 26.0, 2 * S) == other.output
    assert one.step(26.0, 25.2, 4 * S) == other.step(26.0, 25.2, 4 * S)


def test_late_and_irregular_steps_integrate_the_same() -> None:
    even, odd = Pid(GAINS, LIMIT), Pid(GAINS, LIMIT)
    run(even, 25.5, 25.0, 12.0, S // 10)
    for t_ns in (0, S // 7, S // 3, 2 * S, 3 * S + 1, 5 * S, 6 * S, 7 * S + S // 2, 9 * S, 11 * S, 12 * S):
        odd.step(25.5, 25.0, t_ns)
    assert odd.output == pytest.approx(even.output, rel=1e-9)


def test_the_proportional_part_sees_the_measured_value() -> None:
    pid = Pid(Gains(0.3, 0.0, 0.0), LIMIT)
    pid.step(25.0, 25.0, 0)
    assert pid.step(25.0, 26.0, S) == pytest.approx(-0.3)
    assert pid.step(25.0, 24.0, 2 * S) == pytest.approx(0.3)


def test_the_derivative_is_that_of_a_filtered_ramp() -> None:
    """On a ramp of 1 K/s, from rest: -kd (1 - exp(-t / Tf)); backward steps follow it to a share of h / (2 Tf)."""
    pid, h, tf = Pid(Gains(0.1, 0.0, 0.4), 100.0), 1e-3, 0.4 / 0.1 / 5.0
    for k in range(3001):
        pid.step(0.0, k * h, round(k * h * S))
        expected = -0.1 * k * h - 0.4 * (1.0 - math.exp(-k * h / tf))
        assert pid.output == pytest.approx(expected, abs=0.4 * h / tf)


@given(gains, st.lists(st.tuples(seconds, kelvins, kelvins), min_size=1, max_size=50), st.floats(0.01, 1))
def test_the_output_stays_within_its_limits_and_is_symmetric(
    some: Gains, steps: list[tuple[float, float, float]], limit: float
) -> None:
    one, other, t_ns = Pid(some, limit), Pid(some, limit), 0
    for h, setpoint, measured in steps:
        t_ns += round(h * S)
        output = one.step(setpoint, measured, t_ns)
        assert abs(output) <= limit
        assert other.step(-setpoint, -measured, t_ns) == -output


@given(gains, st.lists(st.tuples(seconds, kelvins), min_size=2, max_size=20), kelvins, kelvins)
def test_a_new_set_point_moves_the_output_by_the_integral_alone(
    some: Gains, steps: list[tuple[float, float]], before: float, after: float
) -> None:
    """No kick of P or D: a step of r later by h changes u by ki h (r' - r) at most (less where it is limited)."""
    one, other, t_ns, h = Pid(some, LIMIT), Pid(some, LIMIT), 0, 0.0
    for h, measured in steps[:-1]:
        t_ns += round(h * S)
        assert one.step(before, measured, t_ns) == other.step(before, measured, t_ns)
    h, measured = steps[-1]
    t_ns += round(h * S)
    kick = abs(one.step(before, measured, t_ns) - other.step(after, measured, t_ns))
    assert kick <= some.ki * round(h * S) / S * abs(after - before) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("gains", [GAINS, Gains(0.3, 0.02, 0.0), Gains(0.1, 0.5, 0.4)])
@pytest.mark.parametrize("h_ns", [S // 10, S, 2 * S])
def test_a_longer_saturation_winds_nothing_up(gains: Gains, h_ns: int) -> None:
    """After a minute and after an hour at the limit the same steps lead out of it, within the bound that the integral
    has: it is ki e (Tt + h) beyond the limit, and comes back with it."""
    outputs = []
    for minutes in (10, 60):
        pid, end_ns = Pid(gains, LIMIT), minutes * 60 * S
        assert run(pid, 30.0, 25.0, minutes * 60, h_ns) == LIMIT
        back = [pid.step(25.0, 25.0 + 0.1 * k, end_ns + k * h_ns) for k in range(1, 40)]
        outputs.append(back)
    assert outputs[0] == pytest.approx(outputs[1], abs=1e-9)
    assert outputs[0][-1] < LIMIT


def test_without_tracking_it_would_wind_up() -> None:
    """The same with a plain integral stays at the limit for the whole time that it was wound up."""
    pid = Pid(GAINS, LIMIT)
    run(pid, 30.0, 25.0, 600.0, S)
    back = list(itertools.takewhile(lambda k: pid.step(24.5, 25.0, (600 + k) * S) == LIMIT, range(1, 10_000)))
    free = GAINS.ki * 5.0 * (GAINS.tracking_s + 1.0)
    assert len(back) <= math.ceil(free / (GAINS.ki * 0.5))
    assert len(back) < 0.2 * 600 * 5.0 / 0.5


def test_after_a_long_pause_it_goes_on_where_it_was() -> None:
    pid = Pid(GAINS, LIMIT)
    output = run(pid, 26.0, 25.0, 10.0, S)
    assert pid.step(26.0, 20.0, 100 * S) == output
    assert pid.step(26.0, 20.0, 101 * S) == pytest.approx(output + 0.02 * 6.0)


def test_what_is_forgotten_begins_at_nothing() -> None:
    pid = Pid(GAINS, LIMIT)
    run(pid, 26.0, 25.0, 10.0, S)
    pid.forget()
    assert pid.output == 0.0
    assert pid.step(26.0, 25.0, 11 * S) == 0.0


@pytest.mark.parametrize(
    ("gains", "tracking_s"),
    [(Gains(0.3, 0.02, 0.4), math.sqrt(20.0)), (Gains(0.3, 0.02, 0.0), 15.0), (Gains(0.3, 0.0, 0.4), math.inf)],
)
def test_the_tracking_time_lies_between_those_of_integral_and_derivative(gains: Gains, tracking_s: float) -> None:
    assert gains.tracking_s == pytest.approx(tracking_s)
