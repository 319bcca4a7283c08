"""One input of an ADC that a driver of the kernel reads (ti-ads1015 and the like), through the iio class in sysfs:
`in_voltageN_raw` times `in_voltageN_scale` is millivolts (Documentation/ABI/testing/sysfs-bus-iio).

A read goes over I2C and waits. ti-ads1015 lets the chip convert all the time while it is read at least every 2 s; then
a read is two registers, 1 ms at 100 kHz. After a pause it is 17 ms (two conversions of an ADS1115 at its 128 a second),
longer while another driver has the bus, and a second and more when a slave holds it. A block of sound waits for none of
that: `Asked` reads in a thread, once whenever it is asked.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from pathlib import Path

from gateway.errors import DeviceError

DEVICES = Path("/sys/bus/iio/devices")
_TYPE = re.compile(r"[bl]e:([su])(\d+)/")


class KernelAdc:
    """Input `channel` of the ADC whose name or label in the iio class is `name`.

    `step_v` is the voltage of one step, `range_v` the highest voltage that it can tell. Raises DeviceError where there
    is no such ADC, more than one, or no such input.
    """

    def __init__(self, name: str, channel: int, devices: Path = DEVICES) -> None:
        found = [
            place
            for place in sorted(devices.glob("iio:device*"))
            if name in (_word(place, "name"), _word(place, "label"))
        ]
        if not found:
            raise DeviceError(
                f"there is no ADC '{name}' under {devices}",
                "Enable its overlay in config.txt, such as dtoverlay=ads1115",
            )
        if len(found) > 1:
            places = ", ".join(place.name for place in found)
            raise DeviceError(
                f"ADC '{name}' is there more than once: {places}", "Give the board file the `label` of one"
            )
        self._place, self._input = found[0], f"in_voltage{channel}"
        self._about = f"input {channel} of ADC '{name}'"
        self._raw = self._place / f"{self._input}_raw"
        scale_mv = _word(self._place, f"{self._input}_scale") or _word(self._place, "in_voltage_scale")
        kind = _TYPE.match(_word(self._place, f"scan_elements/{self._input}_type"))
        if not self._raw.exists() or not scale_mv or kind is None:
            raise DeviceError(f"{self._about} tells no voltage", f"Look which inputs {self._place} has")
        self._highest = (1 << (int(kind[2]) - (kind[1] == "s"))) - 1
        self.step_v = float(scale_mv) * 1e-3
        self.range_v = self._highest * self.step_v

    def read(self) -> float:
        """The voltage now; infinite where it is beyond the range. Waits for the bus. Raises DeviceError."""
        try:
            raw = int(self._raw.read_text())
        except (OSError, ValueError) as error:
            raise DeviceError(f"{self._about} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return math.inf if raw >= self._highest else raw * self.step_v


class Asked:
    """Reads in a thread of its own, once whenever it is asked."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._newest: tuple[int, float | DeviceError] = (0, DeviceError("nothing was read yet"))
        self._wanted, self._ended = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="adc", daemon=True)
        self._thread.start()

    def ask(self, t_ns: int) -> None:
        """Begin to read, unless it is still at it."""
        self._wanted.set()

    def newest(self) -> tuple[int, float | DeviceError]:
        """How many answers there were, and the last one."""
        return self._newest

    def close(self) -> None:
        """End the thread; one that hangs in a read is left behind. May be called twice."""
        self._ended = True
        self._wanted.set()
        self._thread.join(0.5)

    def _work(self) -> None:
        while self._wanted.wait() and not self._ended:
            self._wanted.clear()
            try:
                answer: float | DeviceError = self._read()
            except DeviceError as error:
                answer = error
            self._newest = (self._newest[0] + 1, answer)


def _word(place: Path, name: str) -> str:
    """What an attribute says; "" where there is none."""
    try:
        return (place / name).read_text().strip()
    except OSError:
        return ""
