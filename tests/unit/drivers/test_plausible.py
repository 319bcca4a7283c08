"""What is believed of readings, and of a drive at its limit."""

from __future__ import annotations

import math

import pytest

from drivers.plausible import FOLLOW_K, FOLLOW_S, RUNAWAY_K, Follow, Sense
from gateway.errors import DeviceError
from tests.support.tec import DIVIDER, S


def volts(celsius: float) -> float:
    return DIVIDER.volts(celsius)


def test_a_reading_counts_once() -> None:
    sense = Sense(DIVIDER)
    assert sense.look(0, DeviceError("nothing was read yet"), 0) == (False, "")
    assert sense.temperature_c is None
    assert sense.look(1, volts(21.0), S) == (True, "")
    assert sense.temperature_c == pytest.approx(21.0)
    assert sense.look(1, volts(21.0), 2 * S) == (False, "")
    assert sense.temperature_c == pytest.approx(21.0)


def test_the_last_reason_is_told_when_nothing_can_be_read() -> None:
    sense = Sense(DIVIDER)
    sense.look(1, volts(21.0), 0)
    for k in range(1, 26):
        assert sense.look(1 + k, DeviceError("the bus is stuck"), k * S // 10) == (False, "")
    assert sense.look(27, DeviceError("no answer"), 26 * S // 10) == (
        False,
        "the thermistor was not read for 2.6 s: no answer",
    )
    assert sense.temperature_c is None
    assert sense.look(28, volts(30.0), 27 * S // 10) == (True, "")


@pytest.mark.parametrize("waited_s", [0.1, 1.0, 2.0])
def test_a_jump_is_more_than_any_heat_capacity_lets_it(waited_s: float) -> None:
    for beyond, fresh in ((-0.01, True), (0.01, False)):
        for sign in (-1.0, 1.0):
            sense = Sense(DIVIDER)
            sense.look(1, volts(20.0), 0)
            found = sense.look(2, volts(20.0 + sign * (1.0 + 5.0 * waited_s + beyond)), round(waited_s * S))
            assert found[0] is fresh
            assert bool(found[1]) is not fresh


@pytest.mark.parametrize(
    ("reading", "told"), [(math.inf, "open: beyond the ADC's range on"), (0.01, "short: 0.010 V on")]
)
def test_what_is_no_thermistor_is_told(reading: float, told: str) -> None:
    sense = Sense(DIVIDER)
    assert told in sense.look(1, reading, 0)[1]
    assert sense.temperature_c is None


@pytest.mark.parametrize("way", [-1, 1])
def test_at_the_limit_it_must_go_the_way_it_is_driven(way: int) -> None:
    wrong = Follow(0.4)
    for k in range(5):
        moved_k = -way * RUNAWAY_K * k / 4
        assert wrong.look(way * 0.4, 25.0 + moved_k, False, k * S) == ""
    assert "swapped" in wrong.look(way * 0.4, 25.0 - way * (RUNAWAY_K + 0.01), False, 5 * S)
    slow = Follow(0.4)
    for minute in range(3):
        assert slow.look(way * 0.4, 25.0 + way * minute * (FOLLOW_K + 0.01), False, round(minute * FOLLOW_S * S)) == ""
    still = 25.0 + way * 2 * (FOLLOW_K + 0.01)
    assert "for 60 s" in slow.look(way * 0.4, still, False, round(3 * FOLLOW_S * S))


@pytest.mark.parametrize(("drive", "near"), [(0.37, False), (0.4, True), (-0.4, True), (0.0, False)])
def test_below_the_limit_or_at_the_set_point_it_need_not_move(drive: float, near: bool) -> None:
    follow = Follow(0.4)
    assert {follow.look(drive, 25.0, near, k * S) for k in range(200)} == {""}


def test_another_direction_begins_anew() -> None:
    follow = Follow(0.4)
    for k in range(300):
        assert follow.look(0.4 if k % 100 < 50 else -0.4, 25.0, False, k * S) == ""
