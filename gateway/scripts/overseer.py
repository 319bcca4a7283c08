"""What a worker uses, looked at from outside: memory, which the kernel's limits do not all count, and the processor
while nobody has called it.
"""

from __future__ import annotations

import logging

from gateway.scripts.process import Process
from gateway.scripts.work import Work

log = logging.getLogger("spectrophone.scripts")

LOOK_NS = 250_000_000
"""How often a script that is called is looked at."""
IDLE_LOOKS = 8
"""Looks from one to the next at a worker that is idle."""
_EMPTY = ("sealing", "sealed", "ended")
"""States of a worker that has no script in it. How much memory it has at first is not known before it is verified."""
BUSY, BUSY_LOOKS = 0.2, 3
"""Part of a processor that an idle worker may use, and how many looks at one that uses more make a warning."""


class Overseer:
    """Looks at the workers of one script."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._before = (0, 0, 0.0)
        self._busy = 0

    def look(self, process: Process, looks: int, calls: int) -> None:
        """Look number `looks` at a worker that has been called so often: it is killed if it has more than its share."""
        idle = process.state == "idle"
        if process.state in _EMPTY or (idle and looks % IDLE_LOOKS):
            return
        used = process.memory_bytes()
        if used > self._work.memory_bytes:
            allowed = self._work.memory_bytes / 2**20
            process.kill(f"was stopped: memory limit {allowed:.0f} MB exceeded ({used / 2**20:.0f} MB)")
        elif idle:
            self._look_at_idleness(process, calls)

    def _look_at_idleness(self, process: Process, calls: int) -> None:
        """A worker that works although nobody called it: warn, then kill."""
        seconds = process.cpu_s()
        before, self._before = self._before, (process.pid, calls, seconds)
        period_s = IDLE_LOOKS * LOOK_NS / 1e9
        if before[:2] != (process.pid, calls) or seconds - before[2] < BUSY * period_s:
            self._busy = 0
            return
        self._busy += 1
        if self._busy == BUSY_LOOKS:
            percent = 100 * (seconds - before[2]) / period_s
            log.warning("%s: %s uses %.0f %% of a processor between calls", self._work.node, self._work.name, percent)
        elif self._busy >= 2 * BUSY_LOOKS:
            self._busy = 0
            process.kill("was stopped: it went on working between calls")
