"""The only reader of time. Everybody else is handed a Clock, or gets times with the data.

A Raspberry Pi has no clock that goes on without power: it begins with 1970, or with the time at which it was switched
off, and knows better when a time server has answered. Until then its wall clock is not believed; the kernel says when
that is, or systemd's timesyncd (gateway/machine.py). A clock chip with a battery that set the clock is believed, too.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Protocol

from gateway import machine

_OURS_S = 1_767_225_600
"""2026-01-01: a clock chip that says less has lost its time."""


class Clock(Protocol):
    """Where time comes from: the machine (RealClock), or a test's own hand."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never jump or run backwards; the origin means nothing."""
        ...

    def utc_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z, as far as the machine knows."""
        ...

    def is_set(self) -> bool:
        """Whether utc_ns can be believed; once it can, it stays so."""
        ...

    def boot(self) -> str:
        """What tells this boot of the machine from others: monotonic_ns begins anew with each."""
        ...

    async def sleep_until(self, monotonic_ns: int) -> None:
        """Return when `monotonic_ns` has come; at once, but not before the loop has run, if it has passed."""
        ...


class RealClock:
    """The machine's clocks."""

    def __init__(self, root: Path = Path("/")) -> None:
        """`root` is where /proc, /run and /sys are."""
        self._root = root
        self._is_set = False

    def monotonic_ns(self) -> int:
        """See Clock."""
        return time.monotonic_ns()

    def utc_ns(self) -> int:
        """See Clock."""
        return time.time_ns()

    def is_set(self) -> bool:
        """See Clock."""
        self._is_set = self._is_set or _is_set(self._root)
        return self._is_set

    def boot(self) -> str:
        """See Clock."""
        return (self._root / "proc/sys/kernel/random/boot_id").read_text("ascii").strip()

    async def sleep_until(self, monotonic_ns: int) -> None:
        """See Clock."""
        await asyncio.sleep(max(0.0, (monotonic_ns - time.monotonic_ns()) * 1e-9))


def utc_of(clock: Clock, monotonic_ns: int) -> int | None:
    """The wall clock, nanoseconds since 1970, of a moment; None while it cannot be believed."""
    return monotonic_ns + clock.utc_ns() - clock.monotonic_ns() if clock.is_set() else None


def _is_set(root: Path) -> bool:
    if not machine.text(root, "proc/device-tree/model").startswith("Raspberry Pi"):
        return True
    chips = (chip.name for chip in root.glob("sys/class/rtc/rtc*"))
    return machine.clock_synchronised(root) is True or any(_kept_time(root, f"sys/class/rtc/{chip}") for chip in chips)


def _kept_time(root: Path, chip: str) -> bool:
    """Whether this clock chip set the clock when the machine began, and had not lost the time."""
    since = machine.text(root, f"{chip}/since_epoch")
    return machine.text(root, f"{chip}/hctosys") == "1" and since.isdecimal() and int(since) > _OURS_S


def cpu_ns() -> int:
    """Nanoseconds of CPU that this process has used (user and system)."""
    return time.process_time_ns()
