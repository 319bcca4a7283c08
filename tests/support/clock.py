"""Time in a test's own hand."""

from __future__ import annotations

import asyncio


class FakeClock:
    """A Clock that moves only when it is told to, or when somebody sleeps."""

    def __init__(self, monotonic_ns: int = 1_000_000_000, utc_ns: int = 1_790_000_000_000_000_000) -> None:
        self.now_ns = monotonic_ns
        self._utc_offset_ns = utc_ns - monotonic_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    def utc_ns(self) -> int:
        return self.now_ns + self._utc_offset_ns

    async def sleep_until(self, monotonic_ns: int) -> None:
        self.now_ns = max(self.now_ns, monotonic_ns)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
