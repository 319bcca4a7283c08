"""Time in a test's own hand."""

from __future__ import annotations

import asyncio


class FakeClock:
    """A Clock that moves only when it is told to, or when somebody sleeps."""

    def __init__(self, monotonic_ns: int = 1_000_000_000, utc_ns: int = 1_790_000_000_000_000_000) -> None:
        self.now_ns = monotonic_ns
        self._utc_offset_ns = utc_ns - monotonic_ns
        self.believed = True
        self.booted = "this boot"

    def monotonic_ns(self) -> int:
        return self.now_ns

    def utc_ns(self) -> int:
        return self.now_ns + self._utc_offset_ns

    def is_set(self) -> bool:
        return self.believed

    def boot(self) -> str:
        return self.booted

    def set(self, utc_ns: int) -> None:
        """A time server has answered: it is `utc_ns` now."""
        self._utc_offset_ns, self.believed = utc_ns - self.now_ns, True

    async def sleep_until(self, monotonic_ns: int) -> None:
        self.now_ns = max(self.now_ns, monotonic_ns)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
