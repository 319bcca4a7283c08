"""What can be believed of a regulated temperature, and what says that it is not regulated at all.

- The thermistor: open, short, nothing new for STALE_S, or a jump that no heat capacity could make.
- The heat sink, whose temperature nobody reads, and the wires: a drive at its limit that sends the temperature the
  wrong way by RUNAWAY_K (swapped wires, a sink that runs away), or not by FOLLOW_K the right way within FOLLOW_S (no
  sink, no fan, no supply, a set-point out of reach).
"""

from __future__ import annotations

import math

from drivers.thermistor import Thermistor
from gateway.errors import DeviceError

STALE_S = 2.5
"""Ticks come once a second at the slowest, and each asks for a reading."""
JUMP_K, JUMP_K_PER_S = 1.0, 5.0
"""A reading may be so far from the one before, and so much further for every second between them."""
RUNAWAY_K = 2.0
FOLLOW_K, FOLLOW_S = 0.2, 60.0
AT_LIMIT = 0.95
"""From this part of the limit on the drive counts as being there."""


class Sense:
    """The temperature from readings, and whether they can be believed."""

    def __init__(self, thermistor: Thermistor) -> None:
        self._thermistor = thermistor
        self._number, self._why = 0, ""
        self._fresh_ns: int | None = None
        self._looked_ns: int | None = None
        self.temperature_c: float | None = None

    def forget(self) -> None:
        """Begin to wait anew."""
        self._fresh_ns = self.temperature_c = None

    def look(self, number: int, reading: float | DeviceError, t_ns: int) -> tuple[bool, str]:
        """Whether there is a new temperature, and what is wrong with the thermistor. Each look is followed by the next
        reading, so that what is there after a long time without one is old, and says nothing.
        """
        if self._looked_ns is not None and t_ns - self._looked_ns > STALE_S * 1e9:
            self.forget()
            self._number = number
        self._looked_ns = t_ns
        new, self._number = number != self._number, number
        since_ns = t_ns if self._fresh_ns is None else self._fresh_ns
        if self._fresh_ns is None:
            self._fresh_ns = t_ns
        if isinstance(reading, DeviceError):
            self._why = f": {reading.message}"
        elif new:
            return self._take(reading, (t_ns - since_ns) * 1e-9, t_ns)
        if t_ns - since_ns > STALE_S * 1e9:
            self.temperature_c = None
            return False, f"the thermistor was not read for {(t_ns - since_ns) * 1e-9:.1f} s{self._why}"
        return False, ""

    def _take(self, volts: float, waited_s: float, t_ns: int) -> tuple[bool, str]:
        before, self._why, self._fresh_ns = self.temperature_c, "", t_ns
        if fault := self._thermistor.fault(volts):
            self.temperature_c = None
            found = "beyond the ADC's range" if math.isinf(volts) else f"{volts:.3f} V"
            return False, f"the thermistor is {fault}: {found} on a supply of {self._thermistor.supply_v:g} V"
        self.temperature_c = celsius = self._thermistor.celsius(volts)
        if before is not None and abs(celsius - before) > JUMP_K + JUMP_K_PER_S * waited_s:
            return False, f"the thermistor jumped from {before:.1f} to {celsius:.1f} C within {waited_s:.1f} s"
        return True, ""


class Follow:
    """Whether the temperature goes where a drive at its limit sends it."""

    def __init__(self, drive_max: float) -> None:
        self._least = AT_LIMIT * drive_max
        self._way, self._since_ns, self._from_c = 0, 0, 0.0

    def look(self, drive: float, celsius: float, near: bool, t_ns: int) -> str:
        """What is wrong at `celsius`, after `drive` has acted until `t_ns`; nothing is while it is `near`."""
        way = 0 if near or abs(drive) < self._least else 1 if drive > 0.0 else -1
        if way != self._way:
            self._way, self._since_ns, self._from_c = way, t_ns, celsius
        gone_k = way * (celsius - self._from_c)
        doing = "heated" if way > 0 else "cooled"
        if gone_k < -RUNAWAY_K:
            return (
                f"the laser is {doing} at the limit, and went from {self._from_c:.1f} to {celsius:.1f} C: "
                "the TEC's wires are swapped, or its heat sink runs away"
            )
        if way and t_ns - self._since_ns >= FOLLOW_S * 1e9:
            if gone_k < FOLLOW_K:
                return (
                    f"the laser is {doing} at the limit for {FOLLOW_S:g} s, and went from {self._from_c:.1f} to "
                    f"{celsius:.1f} C only: look at heat sink, fan, supply and set-point"
                )
            self._since_ns, self._from_c = t_ns, celsius
        return ""
