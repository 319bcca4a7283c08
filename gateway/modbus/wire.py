"""Modbus TCP as a value machine: bytes in, requests out; a request and what answers it in, bytes out. No socket.

A message is a header of seven bytes (transaction, protocol 0, length of what follows, unit) and the request proper, of
253 bytes at most (MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3; MODBUS Application Protocol
Specification V1.1b3, 4.1). pymodbus reads and writes both; what it would wait for for ever, or answer although this box
has no such thing, ends here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.device import ModbusControlBlock, ModbusDeviceIdentification

HEADER = 7
LARGEST = 253
"""Bytes of the request proper."""
_ANY = -1
FUNCTIONS = {1: 5, 2: 5, 3: 5, 4: 5, 16: _ANY, 43: 4}
"""What this box can be asked, and how long such a request is: read bits and registers, write registers, read the
identification."""
UNITS = (0, 255)
"""Beside its own the unit numbers of a device that has no others behind it (Implementation Guide, 4.4.1.2)."""
_DECODER = DecodePDU(True)
_FRAMER = FramerSocket(_DECODER)
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what a client sends is no news for our log


class Broken(Exception):
    """What came is no Modbus TCP, and nobody can tell where the next message begins."""


@dataclass(frozen=True, slots=True)
class Request:
    """One whole message: what the client called it, for which unit, and the request proper, at least one byte."""

    transaction: int
    unit: int
    body: bytes


class Refused(Exception):
    """A request that is answered with an exception of the protocol."""

    def __init__(self, code: ExcCodes) -> None:
        super().__init__(code.name)
        self.code = code


class Store(Protocol):
    """What requests are about. Both raise Refused."""

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """So many registers, or of functions 1 and 2 bits."""
        ...

    async def write(self, address: int, values: Sequence[int]) -> None:
        """Write registers; returns when that is done."""
        ...


class Frames:
    """Cuts what a client sends into messages."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> list[Request]:
        """The messages that are whole now. Raises Broken, after which the connection is of no use."""
        self._waiting += data
        whole = []
        while (request := self._next()) is not None:
            whole.append(request)
        return whole

    def _next(self) -> Request | None:
        waiting = self._waiting
        if len(waiting) < HEADER:
            return None
        protocol, length = int.from_bytes(waiting[2:4], "big"), int.from_bytes(waiting[4:6], "big")
        if protocol != 0 or not 2 <= length <= LARGEST + 1:
            raise Broken
        if len(waiting) < HEADER - 1 + length:
            return None
        self._waiting = waiting[HEADER - 1 + length :]
        return Request(int.from_bytes(waiting[:2], "big"), waiting[6], waiting[HEADER : HEADER - 1 + length])


async def answer(request: Request, unit: int, store: Store) -> bytes:
    """The answer to a message, for the box of that unit number: an exception of the protocol where it is refused."""
    function = request.body[0]
    response = await _response(request, unit, store)
    pdu = ExceptionResponse(function & 0x7F, response) if isinstance(response, ExcCodes) else response
    pdu.dev_id, pdu.transaction_id = request.unit, request.transaction
    return _FRAMER.buildFrame(pdu)


def is_refusal(response: bytes) -> bool:
    """Whether an answer is an exception of the protocol."""
    return response[HEADER] >= 0x80


async def _response(request: Request, unit: int, store: Store) -> ModbusPDU | ExcCodes:
    length = FUNCTIONS.get(request.body[0])
    if length is None:
        return ExcCodes.ILLEGAL_FUNCTION
    if request.unit not in (unit, *UNITS):
        return ExcCodes.GATEWAY_NO_RESPONSE
    asked = _DECODER.decode(request.body) if length in (_ANY, len(request.body)) else None
    if asked is None:
        return ExcCodes.ILLEGAL_VALUE
    return await asked.datastore_update(cast(Any, _Datastore(store)), request.unit)


class _Datastore:
    """A store as the library asks it: by its names, and without exceptions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def async_getValues(self, unit: int, function: int, address: int, count: int) -> Any:  # noqa: N802
        try:
            return list(self._store.read(function, address, count))
        except Refused as refused:
            return refused.code

    async def async_setValues(self, unit: int, function: int, address: int, values: Sequence[int]) -> Any:  # noqa: N802
        try:
            await self._store.write(address, values)
        except Refused as refused:
            return refused.code


def identify(box: str, version: str) -> None:
    """What function 43 tells; the library keeps one for the process."""
    told = {"VendorName": "Spectrophone", "ProductCode": "spectrophone", "MajorMinorRevision": version}
    told |= {"ProductName": "Photoacoustic gas sensor", "UserApplicationName": box}
    identity = ModbusDeviceIdentification(info_name=told)  # type: ignore[no-untyped-call]
    ModbusControlBlock().Identity.update(identity)  # type: ignore[no-untyped-call]
