"""Sound between a device and the loop: which frames came, which were lost, which are only late.

Frames are numbered by counting, lost ones included, and the count is held against the clock. `behind` is how
many frames fewer there are than time has passed; its usual value (the least of the last five to ten seconds,
so that the device's own clock may drift) is the device's delay. Sound that comes late raises it for a moment
and then catches up; lost sound raises it for good. So when all that is there has been read and `behind` is
still too large, what was read since the last good moment is held back: either the rest comes within CONFIRM_S
and all is released, or the loss is certain, and what was held back is dropped with it, for nobody knows where
in it the hole is. Frames that come after they were given up are dropped; to tell, the first PROBATION_S of
what comes then is held back, too.

Devices that report an overrun are believed at once. Sound servers lose frames without a word, which is what
the clock is for. No more than LIMIT_S of sound are kept for a slow reader; what comes beyond is counted as
lost, until half of it is taken.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

import numpy as np

from gateway.types import Samples

TOLERANCE_S = 0.04
"""Lag that is put down to delay: most of a period, and 1000 ppm of clock drift over ten seconds, with
room."""
CONFIRM_S = 0.5
PROBATION_S = 0.2
LIMIT_S = 2.0
WINDOW_NS = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples [frames, channels] from absolute `frame` on, with `lost` frames missing before them."""

    frame: int
    lost: int
    samples: Samples


class Intake:
    """Counts frames in, hands pieces out. Times are monotonic nanoseconds. Begins when it is made."""

    def __init__(self, rate_hz: int, channels: int, start_ns: int) -> None:
        self.overruns = 0
        self.lost_frames_total = 0
        self._rate, self._start_ns = rate_hz, start_ns
        self._none: Samples = np.empty((0, channels), np.float32)
        self._items: deque[tuple[int, Samples]] = deque()
        self._sure = 0
        self._frames = self._out = self._queued = self._given_up = 0
        self._dropping = False
        self._suspect: tuple[int, int] | None = None
        self._wary = False
        self._wary_since_ns: int | None = None
        self._usual = _Usual()

    def took(self, samples: Samples) -> None:
        """Samples that were read."""
        frames = len(samples)
        limit = LIMIT_S * self._rate
        if self._dropping:
            self._dropping = self._queued > limit / 2
        elif self._queued + frames > limit:
            self._dropping = True
            self.overruns += 1
        if not self._dropping:
            self._items.append((self._frames, samples))
            self._queued += frames
        self._frames += frames

    def overran(self, now_ns: int) -> None:
        """The device said that it overran, and starts anew now."""
        if self._suspect or self._wary:
            self._drop_held()
        self._suspect, self._wary = None, False
        self._sure = len(self._items)
        self.overruns += 1
        self._lose(max(1, self._excess(now_ns)))

    def drained(self, now_ns: int) -> None:
        """All that the device had has been read."""
        if not self._usual.known and not self._items:
            return
        excess, tolerance = self._excess(now_ns), int(TOLERANCE_S * self._rate)
        if excess < -tolerance and self._given_up:
            self._drop_late(min(self._given_up, -excess))
            excess = self._excess(now_ns)
        if excess <= tolerance or not self._usual.known:
            self._suspect = None
            if not self._on_probation(now_ns):
                self._usual.saw(self._behind(now_ns), now_ns)
                self._sure = len(self._items)
            return
        since, least = self._suspect or (now_ns, excess)
        self._suspect = since, min(least, excess)
        if now_ns - since >= CONFIRM_S * 1e9:
            self._drop_held()
            self.overruns += 1
            self._lose(self._suspect[1])
            self._suspect = None
            self._wary, self._wary_since_ns = True, None

    def silent(self, now_ns: int) -> None:
        """Nothing has come for long: give up what should have, and let time move on."""
        self._drop_held()
        self._suspect = None
        self._lose(max(0, self._excess(now_ns)))
        self._wary, self._wary_since_ns = True, None
        self._items.append((self._frames, self._none))
        self._sure = len(self._items)

    def take(self, frames: int) -> Piece | None:
        """The next `frames` frames, fewer before a gap, none to tell of silence; None if there are not so
        many yet."""
        if not self.has(frames):
            return None
        first = self._items[0][0]
        lost = first - self._out
        samples = self._cut(self._contiguous(frames)[0])
        self._out = first + len(samples)
        self.lost_frames_total += lost
        return Piece(first, lost, samples)

    def has(self, frames: int) -> bool:
        """Whether `take` would give a piece."""
        have, ended = self._contiguous(frames)
        return ended or have == frames

    def monotonic_ns_of(self, frame: int) -> int:
        """When `frame` came, as far as the usual delay tells; free of the reads' jitter."""
        return self._start_ns + (frame + self._usual.value) * 1_000_000_000 // self._rate

    def _behind(self, now_ns: int) -> int:
        """Frames that the clock is ahead of the count."""
        return (now_ns - self._start_ns) * self._rate // 1_000_000_000 - self._frames

    def _excess(self, now_ns: int) -> int:
        """`behind` beyond the usual."""
        return self._behind(now_ns) - self._usual.value

    def _on_probation(self, now_ns: int) -> bool:
        """Whether frames were given up by the clock and those that come since may still be the ones given
        up."""
        if self._wary and len(self._items) > self._sure:
            self._wary_since_ns = self._wary_since_ns or now_ns
            if now_ns - self._wary_since_ns >= PROBATION_S * 1e9:
                self._wary, self._wary_since_ns = False, None
        return self._wary

    def _lose(self, frames: int) -> None:
        """Count frames that never came."""
        self._frames += frames
        self._given_up += frames

    def _drop_held(self) -> None:
        """Forget what was read since the last good moment; its frames stay counted."""
        while len(self._items) > self._sure:
            self._queued -= len(self._items.pop()[1])

    def _drop_late(self, frames: int) -> None:
        """Forget the first `frames` frames that were read since the last good moment, and count them no
        more."""
        held = [self._items.pop() for _ in range(len(self._items) - self._sure)][::-1]
        late = min(frames, sum(len(samples) for _, samples in held))
        rest = late
        for first, samples in held:
            keep = samples[rest:] if rest < len(samples) else self._none
            rest -= len(samples) - len(keep)
            if len(keep):
                self._items.append((first + len(samples) - len(keep) - late, keep))
        self._queued -= late
        self._frames -= late
        self._given_up -= late

    def _contiguous(self, frames: int) -> tuple[int, bool]:
        """How many sure frames follow each other from the first, at most `frames`; whether a gap ends
        them."""
        have = 0
        for start, samples in itertools.islice(self._items, self._sure):
            if have >= frames:
                break
            silence = not len(samples)
            if silence or start != self._items[0][0] + have:
                return have, silence or have > 0
            have += len(samples)
        return min(have, frames), False

    def _cut(self, frames: int) -> Samples:
        """Take `frames` frames off the front; with none, the mark of a silence."""
        if not frames:
            self._items.popleft()
            self._sure -= 1
            return self._none
        parts: list[Samples] = []
        need = frames
        while need:
            start, samples = self._items.popleft()
            parts.append(samples[:need])
            if len(samples) > need:
                self._items.appendleft((start + need, samples[need:]))
            else:
                self._sure -= 1
            need -= len(parts[-1])
        self._queued -= frames
        return np.concatenate(parts)


class _Usual:
    """The least value of the present and the last window of WINDOW_NS."""

    def __init__(self) -> None:
        self.value = 0
        self.known = False
        self._since_ns = self._now = self._before = 0

    def saw(self, value: int, now_ns: int) -> None:
        if not self.known:
            self.known, self._since_ns, self._now, self._before = True, now_ns, value, value
        elif now_ns - self._since_ns >= WINDOW_NS:
            self._since_ns, self._before, self._now = now_ns, self._now, value
        self._now = min(self._now, value)
        self.value = min(self._now, self._before)
