"""Keeps an eye on the loop: how long each stage took, which was too slow, and whether there is sound at all.

A block that takes longer than it lasts is an overrun; the log names the slowest stage. A thread of its own looks at
the time of the last sound; when that is too long ago (the microphone is gone, the loop hangs) it makes the outputs
safe without waiting for the loop, and lifts that when sound is back.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.types import SampleBlock

log = logging.getLogger("spectrophone.watch")


@dataclass(slots=True)
class BlockStatistics:
    """How the loop fares: blocks, overruns, lost frames, the longest and the mean block, in seconds."""

    blocks: int = 0
    overruns: int = 0
    lost_frames: int = 0
    busy_s: float = 0.0
    longest_s: float = 0.0

    @property
    def mean_s(self) -> float:
        """Mean time that the stages of a block took."""
        return self.busy_s / self.blocks if self.blocks else 0.0


class Watch:
    """Times the stages of each block, and has a deadline of its own."""

    def __init__(
        self, clock: Clock, forbid: Callable[[str], None], allow: Callable[[], None], deadline_s: float = 2.0
    ) -> None:
        """`forbid(reason)` is called, from another thread, when no sound came for `deadline_s`; `allow()` when it is
        back.
        """
        self.statistics = BlockStatistics()
        self._clock = clock
        self._forbid = forbid
        self._allow = allow
        self._deadline_ns = round(deadline_s * 1e9)
        self._sound_ns = clock.monotonic_ns()
        self._stage = "the microphone"
        self._late = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look at the time."""
        self._sound_ns = self._clock.monotonic_ns()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def block(self, block: SampleBlock) -> Iterator[Callable[[str], None]]:
        """Times one block. Call what it gives with each stage's name as the stage begins."""
        begin_ns = self._clock.monotonic_ns()
        if len(block.samples):
            with self._lock:
                self._sound_ns = begin_ns
                if self._late:
                    self._late = False
                    self._allow()
        laps: list[tuple[str, int]] = []

        def stage(name: str) -> None:
            laps.append((name, self._clock.monotonic_ns()))
            self._stage = name

        try:
            yield stage
        finally:
            self._stage = "the microphone"
            self._count(block, begin_ns, [*laps, ("", self._clock.monotonic_ns())])

    def _count(self, block: SampleBlock, begin_ns: int, laps: list[tuple[str, int]]) -> None:
        statistics, took_s = self.statistics, (laps[-1][1] - begin_ns) * 1e-9
        statistics.blocks += 1
        statistics.lost_frames += block.lost_frames
        statistics.busy_s += took_s
        statistics.longest_s = max(statistics.longest_s, took_s)
        length_s = len(block.samples) / block.rate_hz
        if took_s > length_s > 0.0:
            statistics.overruns += 1
            spans = [(after[1] - lap[1], lap[0]) for lap, after in itertools.pairwise(laps)]
            slowest_ns, name = max(spans, default=(0, "?"))
            log.warning(
                "block %d took %.0f ms of its %.0f ms; slowest was %s with %.0f ms",
                block.index, took_s * 1e3, length_s * 1e3, name, slowest_ns * 1e-6,
            )  # fmt: skip

    def check(self) -> None:
        """Forbid the outputs if the last sound is too long ago. The thread calls this four times per deadline."""
        with self._lock:
            silent_ns = self._clock.monotonic_ns() - self._sound_ns
            if silent_ns > self._deadline_ns and not self._late:
                self._late = True
                self._forbid(f"no sound for {silent_ns * 1e-9:.1f} s; the loop is in {self._stage}")

    def _look(self) -> None:
        while not self._ended.wait(self._deadline_ns * 0.25e-9):
            self.check()
