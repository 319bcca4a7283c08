"""Which register holds what: the literal tables that the server answers from and docs/modbus.md is made of.

Registers and bits are numbered from 0, as they stand in the message. There is one space of registers, which functions 3
(holding) and 4 (input) read alike, and one of bits, which 1 (coils) and 2 (discrete inputs) read alike. A block has no
holes, so that one request reads it; the next gas, alarm or threshold is STRIDE further on.

Nothing here ever moves. What is new comes behind what a block has, and where something else changes, VERSION does.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.types import Flag

VERSION = 1
STRIDE = 100
WordOrder = Literal["big", "little"]
Value = float | int | str | None
"""A number that is not known is None: NaN in a float32."""
_LETTERS = 64


@dataclass(frozen=True, slots=True)
class Item:
    """Some registers in a row: what they hold, in which form and unit."""

    name: str
    kind: Literal["uint16", "uint32", "float32", "text"]
    unit: str
    meaning: str
    writable: bool = False

    @property
    def words(self) -> int:
        """How many registers it takes."""
        return {"uint16": 1, "uint32": 2, "float32": 2, "text": _LETTERS // 2}[self.kind]


@dataclass(frozen=True, slots=True)
class Block:
    """Items from register `base` on; `each` says what there is one for, "" if there is one."""

    title: str
    base: int
    each: str
    items: tuple[Item, ...]

    @property
    def words(self) -> int:
        """How many registers it has."""
        return sum(item.words for item in self.items)

    def address(self, name: str, index: int = 0) -> int:
        """The first register of an item."""
        before = [item.name for item in self.items].index(name)
        return self.base + index * STRIDE + sum(item.words for item in self.items[:before])


BOX = Block(
    "The box",
    0,
    "",
    (
        Item("map_version", "uint16", "", "version of this map: 1"),
        Item("heartbeat", "uint16", "", "counts over and over, at least once a second, while the gateway lives"),
        Item("status", "uint16", "", "the bits 0 to 3 of the table below"),
        Item("gases", "uint16", "", "how many gases there are"),
        Item("alarms", "uint16", "", "how many alarms"),
        Item("thresholds", "uint16", "", "how many thresholds"),
        Item("temperature", "float32", "°C", "of the gas; NaN where it is not known"),
        Item("humidity", "float32", "%", "relative, of the gas; NaN where it is not known"),
        Item("pressure", "float32", "Pa", "of the gas; NaN where it is not known"),
        Item("box", "text", "", "box.id of the configuration"),
        Item("software", "text", "", "version of the software"),
    ),
)
GAS = Block(
    "Gases",
    1000,
    "concentration node",
    (
        Item("valid", "uint16", "", "1: the value may be trusted; 0: it may not, and is NaN"),
        Item("count", "uint16", "", "counts measurements, over and over"),
        Item("flags", "uint32", "", "why the value is to be doubted: the table below"),
        Item("value", "float32", "ppm", "concentration; NaN while it is not valid"),
        Item("sigma", "float32", "ppm", "its standard uncertainty; NaN with it"),
        Item("u95", "float32", "ppm", "its expanded uncertainty, 95 %; NaN with it"),
        Item("lod", "float32", "ppm", "limit of detection; NaN with it"),
        Item("smoothed", "float32", "ppm", "concentration, smoothed; NaN with it"),
        Item("age", "float32", "s", "time since the newest measurement's record ended"),
        Item("frequency", "float32", "Hz", "of the tone; NaN without one"),
        Item("snr", "float32", "dB", "signal-to-noise ratio of the tone; NaN without one"),
        Item("amplitude", "float32", "full scale", "of the tone; NaN without one"),
        Item("node", "text", "", "name of the node"),
    ),
)
ALARM = Block(
    "Alarms",
    20_000,
    "rule",
    (
        Item("raised", "uint16", "", "1: raised; 0: not"),
        Item("severity", "uint16", "", "while raised 1 info, 2 warning, 3 critical; 0 otherwise"),
        Item("rule", "text", "", "name of the rule"),
    ),
)
THRESHOLD = Block(
    "Thresholds",
    40_000,
    "threshold",
    (
        Item("value", "float32", "ppm, full scale, Hz or s", "what is compared with now", writable=True),
        Item("least", "float32", "the same", "the smallest that may be written"),
        Item("most", "float32", "the same", "the largest"),
        Item("threshold", "text", "", "name of the threshold, as in docs/commands.md without `threshold/`"),
    ),
)
BLOCKS = (BOX, GAS, ALARM, THRESHOLD)

STATUS_BITS: tuple[str, ...] = (
    "every gas has a valid value",
    "the laser is lit",
    "the gateway is in safe mode",
    "an alarm is raised",
)
"""The bits 0 and on."""
VALID_BIT, ALARM_BIT = 1000, 20_000
"""The first bit of the gases: valid; and of the alarms: raised."""

FLAG_BITS: tuple[Flag, ...] = (
    Flag.OVERLOAD,
    Flag.LOW_SIGNAL,
    Flag.OFF_RESONANCE,
    Flag.UNLOCKED,
    Flag.LASER_OFF,
    Flag.WARM_UP,
    Flag.SWEEPING,
    Flag.LOST_SAMPLES,
    Flag.EXTRAPOLATED,
    Flag.CAL_EXPIRED,
    Flag.STALE,
    Flag.NOT_FINITE,
    Flag.IMPULSE,
    Flag.TONE,
    Flag.MICROPHONE,
    Flag.PHASE,
    Flag.ESTIMATED,
    Flag.UNDERDITHERED,
    Flag.CLIMATE_UNKNOWN,
)
"""Flag n is the bit of value 2^n."""
SEVERITIES = ("info", "warning", "critical")


def flags_word(flags: Iterable[Flag]) -> int:
    """Flags as a number."""
    return sum(1 << FLAG_BITS.index(flag) for flag in flags)


def words(block: Block, values: Mapping[str, Value], order: WordOrder) -> list[int]:
    """The registers of a block: one value per item."""
    return [word for item in block.items for word in _encoded(item, values[item.name], order)]


def _encoded(item: Item, value: Value, order: WordOrder) -> Sequence[int]:
    match item.kind:
        case "uint16":
            assert isinstance(value, int)
            return (value & 0xFFFF,)
        case "uint32":
            return _pair(struct.pack(">I", value), order)
        case "float32":
            return _pair(struct.pack(">f", math.nan if value is None else value), order)
        case "text":
            letters = str(value).encode("ascii", "replace")[:_LETTERS].ljust(_LETTERS, b"\0")
            return struct.unpack(f">{_LETTERS // 2}H", letters)


def _pair(packed: bytes, order: WordOrder) -> Sequence[int]:
    high, low = struct.unpack(">HH", packed)
    return (high, low) if order == "big" else (low, high)


def number(pair: Sequence[int], order: WordOrder) -> float:
    """The float32 that two registers hold."""
    high, low = pair if order == "big" else reversed(pair)
    (value,) = struct.unpack(">f", struct.pack(">HH", high, low))
    return float(value)
