"""Keeps an eye on the loop: how long each stage took, which was too slow, and whether all is well for light.

A block that takes longer than it lasts is an overrun; the log names the slowest stage.

A thread of its own waits for the switches that forbid light (interlock, stop buttons), looks ten times a second at the
time of the last sound and of the last block, and tells what it finds: it needs neither the loop nor a block for that.
While the loop is alive it says so to those who are next in line: systemd, and the guardian, which acts when this thread
does not run either.
"""

from __future__ import annotations

import itertools
import logging
import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway.clock import Clock
from gateway.interlock import Condition
from gateway.ports import Guardian, Switch
from gateway.timing import Histogram, Lateness
from gateway.types import SampleBlock

log = logging.getLogger("spectrophone.watch")

_BEAT_MS = 100


@dataclass(slots=True)
class BlockStatistics:
    """How the loop fares: blocks, overruns, lost frames, the longest and the mean block, in seconds; how the times
    that blocks took are spread, and how late they were taken up.
    """

    blocks: int = 0
    overruns: int = 0
    lost_frames: int = 0
    busy_s: float = 0.0
    longest_s: float = 0.0
    took: Histogram = field(default_factory=Histogram)
    late: Histogram = field(default_factory=Histogram)

    @property
    def mean_s(self) -> float:
        """Mean time that the stages of a block took."""
        return self.busy_s / self.blocks if self.blocks else 0.0


class Watch:
    """Times the stages of each block, and has deadlines of its own."""

    def __init__(
        self,
        clock: Clock,
        lose: Callable[[Condition, str], None],
        restore: Callable[[Condition], None],
        deadline_s: float = 2.0,
        *,
        switches: Sequence[tuple[Condition, Switch]] = (),
        guardian: Guardian | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """`lose` and `restore` are told of conditions, from another thread as well. No block, or no sound, for
        `deadline_s` is too long. `alive` is called ten times a second while the loop is alive.
        """
        self.statistics = BlockStatistics()
        self._lateness = Lateness()
        self._clock = clock
        self._lose, self._restore = lose, restore
        self._deadline_ns = round(deadline_s * 1e9)
        self._switches, self._guardian, self._alive = switches, guardian, alive
        self._sound_ns = self._block_ns = clock.monotonic_ns()
        self._stage = "the microphone"
        self._lost: set[Condition] = set()
        self._lock = threading.RLock()
        self._wake = -1
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look: there is no sound yet."""
        self._sound_ns = self._block_ns = self._clock.monotonic_ns()
        self._find(Condition.SOUND, "no sound has come yet")
        if self._guardian is not None:
            self._guardian.start()
        self.check()
        self._wake = os.eventfd(0)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. The outputs are safe before: nobody is next in line after it."""
        if self._thread.is_alive():
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            os.close(self._wake)
        for _, switch in self._switches:
            switch.close()
        if self._guardian is not None:
            self._guardian.stop()

    def heard(self, block: SampleBlock) -> None:
        """A block has come; one of zero frames says that the loop lives and the microphone does not."""
        with self._lock:
            self._block_ns = self._clock.monotonic_ns()
            self._find(Condition.LOOP, "")
            if len(block.samples):
                self._sound_ns = self._block_ns
                self._find(Condition.SOUND, "")

    @contextmanager
    def block(self, block: SampleBlock) -> Iterator[Callable[[str], None]]:
        """Times one block. Call what it gives with each stage's name as the stage begins."""
        begin_ns = self._clock.monotonic_ns()
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
        statistics.took.add(took_s)
        if len(block.samples):
            statistics.late.add(self._lateness.of(begin_ns, block.end_ns))
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
        """Look once at everything that light depends on and that nobody else tells. The thread calls this."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            hangs_ns, silent_ns = now_ns - self._block_ns, now_ns - self._sound_ns
            if hangs_ns > self._deadline_ns:
                self._find(Condition.LOOP, f"no block for {hangs_ns * 1e-9:.1f} s; the loop is in {self._stage}")
            if silent_ns > self._deadline_ns and Condition.SOUND not in self._lost:
                self._find(Condition.SOUND, f"no sound for {silent_ns * 1e-9:.1f} s; the loop is in {self._stage}")
        open_ = dict.fromkeys((condition for condition, _ in self._switches), "")
        for condition, switch in self._switches:
            open_[condition] = open_[condition] or switch.opened()
        for condition, reason in open_.items():
            self._find(condition, reason)
        if self._guardian is not None:
            self._find(Condition.GUARDIAN, self._guardian.beat())
        if Condition.LOOP not in self._lost:
            self._alive()

    def _find(self, condition: Condition, reason: str) -> None:
        """A condition is missing for that reason, or holds; only what changes is told."""
        with self._lock:
            if reason and condition not in self._lost:
                self._lost.add(condition)
                self._lose(condition, reason)
            elif not reason and condition in self._lost:
                self._lost.discard(condition)
                self._restore(condition)

    def _look(self) -> None:
        waiting = select.poll()
        waiting.register(self._wake, select.POLLIN)
        for _, switch in self._switches:
            if switch.fileno() >= 0:
                waiting.register(switch.fileno(), select.POLLIN)
        while True:
            for descriptor, events in waiting.poll(_BEAT_MS):
                if descriptor == self._wake:
                    return
                if events & ~select.POLLIN:
                    waiting.unregister(descriptor)  # its chip is gone, which every look sees
            self.check()
