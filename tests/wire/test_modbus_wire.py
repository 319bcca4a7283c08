"""Modbus TCP by hand: every message whole, byte by byte, and with the next one's bytes behind it. No socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.constants import ExcCodes

from gateway.modbus.wire import Broken, Frames, Refused, Request, answer, identify

UNIT = 1


class Desk:
    """Registers 100 to 107 hold their own number, bits 0 to 9 are set where even; 100 and 101 may be written."""

    def __init__(self) -> None:
        self.written: list[tuple[int, list[int]]] = []

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        first, last = (0, 9) if function in (1, 2) else (100, 107)
        if not first <= address <= address + count - 1 <= last:
            raise Refused(ExcCodes.ILLEGAL_ADDRESS)
        return [each % 2 == 0 if last == 9 else each for each in range(address, address + count)]

    async def write(self, address: int, values: Sequence[int]) -> None:
        if address != 100 or len(values) != 2:
            raise Refused(ExcCodes.ILLEGAL_ADDRESS)
        await asyncio.sleep(0)
        self.written.append((address, list(values)))


def answered(request: Request, desk: Desk | None = None) -> bytes:
    return asyncio.run(answer(request, UNIT, desk or Desk()))


EXCHANGES = {
    # what is asked, what comes back: transaction, protocol, length, unit, function, ...
    "coils": ("0001 0000 0006 01 01 0000 000a", "0001 0000 0005 01 01 02 5501"),
    "discrete inputs": ("0002 0000 0006 01 02 0001 0003", "0002 0000 0004 01 02 01 02"),
    "holding registers": ("0003 0000 0006 01 03 0064 0002", "0003 0000 0007 01 03 04 0064 0065"),
    "input registers": ("0004 0000 0006 01 04 006b 0001", "0004 0000 0005 01 04 02 006b"),
    "write": ("0005 0000 000b 01 10 0064 0002 04 447a 0000", "0005 0000 0006 01 10 0064 0002"),
    "unit 255": ("0006 0000 0006 ff 03 0064 0001", "0006 0000 0005 ff 03 02 0064"),
    "unit 0": ("ffff 0000 0006 00 03 0064 0001", "ffff 0000 0005 00 03 02 0064"),
    "no such register": ("0007 0000 0006 01 03 006b 0002", "0007 0000 0003 01 83 02"),
    "no such bit": ("0008 0000 0006 01 01 000a 0001", "0008 0000 0003 01 81 02"),
    "not the whole number": ("0009 0000 0009 01 10 0064 0001 02 447a", "0009 0000 0003 01 90 02"),
    "no registers": ("000a 0000 0006 01 03 0064 0000", "000a 0000 0003 01 83 03"),
    "too many": ("000b 0000 0006 01 03 0064 007e", "000b 0000 0003 01 83 03"),
    "too short": ("000c 0000 0004 01 03 0064", "000c 0000 0003 01 83 03"),
    "too long": ("000d 0000 0008 01 03 0064 0001 0000", "000d 0000 0003 01 83 03"),
    "fewer bytes than told": ("000e 0000 0009 01 10 0064 0002 04 447a", "000e 0000 0003 01 90 03"),
    "another unit": ("000f 0000 0006 02 03 0064 0001", "000f 0000 0003 02 83 0b"),
    "write one register": ("0010 0000 0006 01 06 0064 0001", "0010 0000 0003 01 86 01"),
    "diagnostics": ("0011 0000 0006 01 08 0004 0000", "0011 0000 0003 01 88 01"),
    "an answer": ("0012 0000 0003 01 83 02", "0012 0000 0003 01 83 01"),
    "function 0": ("0013 0000 0002 01 00", "0013 0000 0003 01 80 01"),
}


def ways(data: bytes) -> list[list[bytes]]:
    """The same bytes whole, one by one, and with what is not whole yet behind them."""
    return [[data], [data[i : i + 1] for i in range(len(data))], [data + b"\x00\x01\x00", b"\x00"]]


@pytest.mark.parametrize("name", EXCHANGES)
def test_each_message_is_answered_however_it_comes(name: str) -> None:
    asked, expected = (bytes.fromhex(text) for text in EXCHANGES[name])
    for pieces in ways(asked):
        frames = Frames()
        requests = [request for piece in pieces for request in frames.feed(piece)]
        assert [answered(request) for request in requests] == [expected]


def test_what_was_written_has_come_whole() -> None:
    desk = Desk()
    (request,) = Frames().feed(bytes.fromhex(EXCHANGES["write"][0]))
    answered(request, desk)
    assert desk.written == [(100, [0x447A, 0x0000])]


def test_messages_that_come_together_are_told_apart() -> None:
    together = b"".join(bytes.fromhex(asked) for asked, _ in EXCHANGES.values())
    whole = Frames().feed(together)
    frames = Frames()
    assert whole == [request for i in range(len(together)) for request in frames.feed(together[i : i + 1])]
    assert [request.transaction for request in whole][:3] == [1, 2, 3]
    assert len(whole) == len(EXCHANGES)


@pytest.mark.parametrize(
    "header",
    [
        "0001 0001 0006 01",  # another protocol
        "0001 0000 0001 01",  # nothing behind the unit
        "0001 0000 0000 01",
        "0001 0000 00ff 01",  # longer than any message
        "0001 0000 ffff 01",
        "4745 5420 2f20 48",  # GET / HTTP
    ],
)
def test_what_is_no_modbus_ends_the_conversation(header: str) -> None:
    with pytest.raises(Broken):
        Frames().feed(bytes.fromhex(header))


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_no_bytes_can_pile_up(pieces: list[bytes]) -> None:
    frames = Frames()
    for piece in pieces:
        try:
            frames.feed(piece)
        except Broken:
            return
        assert len(frames._waiting) < 260


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=253))
def test_whatever_is_asked_gets_one_answer_in_order(transaction: int, unit: int, body: bytes) -> None:
    response = answered(Request(transaction, unit, body))
    (told,) = Frames().feed(response)
    assert (told.transaction, told.unit) == (transaction, unit)
    assert told.body[0] & 0x7F == body[0] & 0x7F


def test_the_box_says_which_it_is() -> None:
    identify("lab-7", "1.2.3")
    (request,) = Frames().feed(bytes.fromhex("0001 0000 0005 01 2b 0e 02 00"))
    told = answered(request)
    for word in (b"Spectrophone", b"1.2.3", b"Photoacoustic gas sensor", b"lab-7"):
        assert word in told
    (other,) = Frames().feed(bytes.fromhex("0002 0000 0005 01 2b 0d 02 00"))
    assert answered(other) == bytes.fromhex("0002 0000 0003 01 ab 01")
