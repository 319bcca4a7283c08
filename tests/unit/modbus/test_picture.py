"""What registers and bits hold: nothing before there is something, and no number that is not valid."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

import pytest
from pymodbus.constants import ExcCodes

from gateway.modbus.picture import Picture
from gateway.modbus.registers import ALARM, ALARM_BIT, BOX, GAS, STRIDE, THRESHOLD, VALID_BIT, Block, number
from gateway.modbus.wire import Refused
from gateway.mqtt.face import GasFace
from gateway.types import Climate, Flag, Outcome, Snapshot, Tick
from tests.unit.mqtt.samples import EVERYTHING, S, alert, peak, ppm, tick

STATES = {"laser": "on", "gateway": "running", "threshold/co2_high": "1000", "relay/fan": "off"}
FACE = replace(EVERYTHING, gases=(*EVERYTHING.gases, GasFace("ch4", "tone")))
RULES = [rule.name for rule in FACE.rules]


def picture(*ticks: Tick, states: dict[str, str] = STATES, climate: Climate | None = None) -> Picture:
    made = Picture(FACE, "big", lambda: climate)
    for each in ticks:
        made.take(each, Outcome((), MappingProxyType(states)))
    return made


def integer(made: Picture, block: Block, name: str, index: int = 0) -> int:
    (word,) = made.words(block.address(name, index), 1)
    return word


def real(made: Picture, block: Block, name: str, index: int = 0) -> float:
    return number(made.words(block.address(name, index), 2), "big")


def text(made: Picture, block: Block, name: str, index: int = 0) -> str:
    letters = b"".join(word.to_bytes(2, "big") for word in made.words(block.address(name, index), 32))
    return letters.rstrip(b"\0").decode()


def code(made: Picture, address: int, count: int = 1, *, bits: bool = False) -> ExcCodes | None:
    try:
        made.bits(address, count) if bits else made.words(address, count)
    except Refused as refused:
        return refused.code
    return None


EMPTY = Tick(1, S, None, (), (), (), Snapshot())


@pytest.mark.parametrize("made", [picture(), picture(EMPTY), picture(tick(peak()))])
def test_before_the_first_measurement_there_is_no_zero(made: Picture) -> None:
    for block in (BOX, GAS, ALARM, THRESHOLD):
        assert code(made, block.base) == ExcCodes.DEVICE_BUSY
        assert code(made, block.base, block.words) == ExcCodes.DEVICE_BUSY
    for bit in (0, VALID_BIT, ALARM_BIT):
        assert code(made, bit, bits=True) == ExcCodes.DEVICE_BUSY


def test_a_gas_is_shown_from_its_own_first_measurement_on() -> None:
    made = picture(tick(ppm()))
    assert code(made, GAS.base) is None
    assert code(made, GAS.base + STRIDE) == ExcCodes.DEVICE_BUSY
    assert made.bits(VALID_BIT, 1) == [True]
    assert code(made, VALID_BIT + 1, bits=True) == ExcCodes.DEVICE_BUSY
    assert made.bits(0, 4) == [False, True, False, False]
    both = picture(tick(ppm(), replace(ppm(12.0), node="ch4")))
    assert real(both, GAS, "value", 1) == 12.0
    assert text(both, GAS, "node", 1) == "ch4"
    assert both.bits(0, 1) == [True]


def test_a_measurement_is_shown_with_its_uncertainties_and_its_tone() -> None:
    held = tick(replace(ppm(412.7, flags=frozenset({Flag.IMPULSE}), valid=True), smoothed=412.5))
    made = picture(replace(held, t_ns=held.t_ns + S // 2))
    told = {name: real(made, GAS, name) for name in ("value", "sigma", "u95", "lod", "smoothed", "age")}
    assert told == pytest.approx(
        {"value": 412.7, "sigma": 1.5, "u95": 3.1, "lod": 4.5, "smoothed": 412.5, "age": 0.5}, rel=1e-6
    )
    assert real(made, GAS, "frequency") == 2012.5
    assert real(made, GAS, "snr") == pytest.approx(60.0)
    assert real(made, GAS, "amplitude") == pytest.approx(0.01)
    assert integer(made, GAS, "valid") == 1
    assert made.words(GAS.address("flags"), 2) == [0, 4096]


NUMBERS = ("value", "sigma", "u95", "lod", "smoothed")


@pytest.mark.parametrize("flag", [Flag.LASER_OFF, Flag.OVERLOAD])
def test_what_is_not_valid_is_no_number(flag: Flag) -> None:
    made = picture(tick(ppm(), replace(ppm(5.0), node="ch4")), tick(ppm(flags=frozenset({flag})), t_ns=2 * S))
    assert all(math.isnan(real(made, GAS, name)) for name in NUMBERS)
    assert integer(made, GAS, "valid") == 0
    assert made.words(GAS.address("flags"), 2)[1] == (16 if flag is Flag.LASER_OFF else 1)
    assert real(made, GAS, "frequency") == 2012.5
    assert made.bits(0, 1) == made.bits(VALID_BIT, 1) == [False]


def test_what_is_stale_is_no_number_and_its_age_goes_on() -> None:
    made = picture(replace(tick(ppm(412.7, S)), t_ns=4 * S))
    assert all(math.isnan(real(made, GAS, name)) for name in (*NUMBERS, "frequency", "snr", "amplitude"))
    assert integer(made, GAS, "valid") == 0
    assert made.words(GAS.address("flags"), 2) == [0, 1024]
    assert real(made, GAS, "age") == 3.0


def test_it_counts_blocks_and_measurements() -> None:
    later = [Tick(n, n * S, None, (), (), (), tick(ppm()).state) for n in range(2, 5)]
    made = picture(tick(ppm()), *later, tick(ppm(t_ns=5 * S), t_ns=5 * S))
    assert integer(made, BOX, "heartbeat") == 5
    assert integer(made, GAS, "count") == 2


def test_the_box_tells_what_it_is_and_its_climate() -> None:
    made = picture(tick(ppm()), climate=Climate(21.5, None, 95_000.0))
    assert [integer(made, BOX, name) for name in ("map_version", "gases", "alarms", "thresholds")] == [1, 2, 2, 1]
    assert real(made, BOX, "temperature") == 21.5
    assert math.isnan(real(made, BOX, "humidity"))
    assert real(made, BOX, "pressure") == 95_000.0
    assert (text(made, BOX, "box"), text(made, BOX, "software")) == ("box1", "0.1.0")
    assert math.isnan(real(picture(tick(ppm())), BOX, "temperature"))


def test_alarms_are_bits_and_registers() -> None:
    quiet, loud = picture(tick(ppm())), picture(tick(ppm(), alerts=(alert(),)))
    at = RULES.index("co2_high")
    assert quiet.bits(ALARM_BIT, 2) == [False, False]
    assert loud.bits(ALARM_BIT, 2) == [rule == "co2_high" for rule in RULES]
    assert (integer(loud, ALARM, "raised", at), integer(loud, ALARM, "severity", at)) == (1, 2)
    assert (integer(quiet, ALARM, "raised", at), integer(quiet, ALARM, "severity", at)) == (0, 0)
    assert text(quiet, ALARM, "rule", at) == "co2_high"
    assert (integer(quiet, BOX, "status"), integer(loud, BOX, "status")) == (2, 10)


def test_status_bits_follow_laser_and_safe_mode() -> None:
    made = picture(tick(ppm()), states={**STATES, "laser": "off", "gateway": "safe mode"})
    assert made.bits(0, 4) == [False, False, True, False]


def test_thresholds_are_read_back_with_their_bounds() -> None:
    made = picture(tick(ppm()))
    told = [real(made, THRESHOLD, name) for name in ("value", "least", "most")]
    assert told == [1000.0, 0.0, 1_000_000.0]
    assert text(made, THRESHOLD, "threshold") == "co2_high"
    gone = picture(tick(ppm()), states={**STATES, "threshold/co2_high": "unknown"})
    assert math.isnan(real(gone, THRESHOLD, "value"))


def test_only_all_of_a_thresholds_value_can_be_written() -> None:
    made = picture(tick(ppm()))
    output, value = made.threshold(40_000, [0x447A, 0x0000])
    assert (output.target, value) == ("threshold/co2_high", 1000.0)
    for address, values in ((40_000, [1]), (40_001, [1, 2]), (40_002, [1, 2]), (40_100, [1, 2]), (1004, [1, 2])):
        with pytest.raises(Refused) as refused:
            made.threshold(address, values)
        assert refused.value.code == ExcCodes.ILLEGAL_ADDRESS


def test_there_is_nothing_between_the_blocks() -> None:
    made = picture(tick(ppm(), alerts=(alert(),)))
    for block in (BOX, GAS, ALARM, THRESHOLD):
        assert code(made, block.base, block.words) is None
        assert code(made, block.base, block.words + 1) == ExcCodes.ILLEGAL_ADDRESS
        assert code(made, block.base + block.words) == ExcCodes.ILLEGAL_ADDRESS
    for address in (500, 1200, 20_200, 40_100, 65_535):
        assert code(made, address) == ExcCodes.ILLEGAL_ADDRESS
    for bit in (4, 999, VALID_BIT + 2, ALARM_BIT + 2, 65_535):
        assert code(made, bit, bits=True) == ExcCodes.ILLEGAL_ADDRESS
    assert code(made, 0, 5, bits=True) == ExcCodes.ILLEGAL_ADDRESS
