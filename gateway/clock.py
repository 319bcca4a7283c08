"""The only reader of time. Everybody else is handed a Clock, or gets times with the data."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from: the machine (RealClock), or a test's own hand."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never jump or run backwards; the origin means nothing."""
        ...

    def utc_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z, as far as the machine knows."""
        ...

    async def sleep_until(self, monotonic_ns: int) -> None:
        """Return when `monotonic_ns` has come; at once, but not before the loop has run, if it has passed."""
        ...


class RealClock:
    """The machine's clocks."""

    def monotonic_ns(self) -> int:
        """See Clock."""
        return time.monotonic_ns()

    def utc_ns(self) -> int:
        """See Clock."""
        return time.time_ns()

    async def sleep_until(self, monotonic_ns: int) -> None:
        """See Clock."""
        await asyncio.sleep(max(0.0, (monotonic_ns - time.monotonic_ns()) * 1e-9))


def cpu_ns() -> int:
    """Nanoseconds of CPU that this process has used (user and system)."""
    return time.process_time_ns()
