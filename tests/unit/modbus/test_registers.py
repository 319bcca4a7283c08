"""The map: whole, without holes or overlaps, and what its page says."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.modbus import reference
from gateway.modbus.registers import (
    ALARM_BIT,
    BLOCKS,
    BOX,
    FLAG_BITS,
    GAS,
    STATUS_BITS,
    STRIDE,
    THRESHOLD,
    VALID_BIT,
    flags_word,
    number,
    words,
)
from gateway.types import Flag


def test_blocks_have_room_and_one_request_reads_one() -> None:
    for before, after in itertools.pairwise(BLOCKS):
        assert before.base < after.base
    for block in BLOCKS:
        assert block.base % STRIDE == 0
        assert block.words <= STRIDE
        assert block.words <= 125  # the most that function 3 reads
        assert block.base + STRIDE <= 2**16
    assert len(STATUS_BITS) <= VALID_BIT < ALARM_BIT < 2**16


def test_version_1_of_the_map_stays_as_it_is() -> None:
    """Where PLCs look. A change here is a change of VERSION."""
    assert [(item.name, GAS.address(item.name)) for item in GAS.items] == [
        ("valid", 1000),
        ("count", 1001),
        ("flags", 1002),
        ("value", 1004),
        ("sigma", 1006),
        ("u95", 1008),
        ("lod", 1010),
        ("smoothed", 1012),
        ("age", 1014),
        ("frequency", 1016),
        ("snr", 1018),
        ("amplitude", 1020),
        ("node", 1022),
    ]
    assert (BOX.address("heartbeat"), BOX.address("temperature"), BOX.address("box")) == (1, 6, 12)
    assert THRESHOLD.address("value", 2) == 40_200
    assert flags_word({Flag.OVERLOAD, Flag.LASER_OFF, Flag.STALE}) == 1 + 16 + 1024


def test_every_flag_has_its_bit() -> None:
    assert sorted(FLAG_BITS) == sorted(Flag)
    assert flags_word(Flag) == 2 ** len(Flag) - 1 < 2**32


@given(st.floats(width=32, allow_nan=False))
@pytest.mark.parametrize("order", ["big", "little"])
def test_a_number_is_ieee_754_in_the_order_of_the_configuration(order: str, value: float) -> None:
    values = {item.name: 0 for item in THRESHOLD.items} | {"value": value}
    pair = words(THRESHOLD, values, order)[:2]  # type: ignore[arg-type]
    high, low = pair if order == "big" else reversed(pair)
    assert struct.pack(">HH", high, low) == np.array(value, ">f4").tobytes()
    assert number(pair, order) == value  # type: ignore[arg-type]


def test_texts_numbers_and_what_is_not_known_are_encoded() -> None:
    values = {item.name: 0 for item in GAS.items} | {"node": "co2", "count": 65_537, "flags": 0x10002, "value": None}
    block = words(GAS, values, "little")
    assert len(block) == GAS.words
    assert block[1:4] == [1, 2, 1]
    assert np.isnan(number(block[4:6], "little"))
    assert block[22:25] == [0x636F, 0x3200, 0]
    long = words(GAS, {**values, "node": "µ" + 70 * "n"}, "big")
    assert len(long) == GAS.words
    assert long[22] == 0x3F6E


def test_the_page_is_that_of_the_code() -> None:
    assert Path("docs/modbus.md").read_text("utf-8") == reference.reference()
