"""Where sound comes from: an ALSA device, a recording, or the simulated cell.

All three give blocks of `block_frames` frames, numbered from 0 with lost frames counted; a block is shorter
only before a gap and at the end of a recording, and empty when a device is silent and only time moves on.
"""

from __future__ import annotations

import asyncio
import bisect
import math
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np

from drivers.alsa import Capture
from drivers.cell import Cell
from drivers.intake import Intake, Piece
from drivers.recording import Change, Recording
from drivers.sound import condition
from gateway.clock import Clock, utc_of
from gateway.errors import DeviceError
from gateway.types import SampleBlock

SILENCE_S = 1.0
"""After this time without a frame a device counts as silent."""
PERIOD_S = 0.025
"""Longest time between two reads: each costs the loop a tenth of a millisecond or more."""
READS = 64
"""Most reads at a time, so that a backlog does not keep the loop from its other work."""
LATE_S = 2.0
"""A simulated microphone that is later than this has lost frames, as a real one would."""


class AlsaMicrophone:
    """A capture device: S16_LE, S24_3LE, S32_LE or FLOAT_LE, 1 or 2 channels. Raises DeviceError if it cannot
    be had.

    `overruns` counts the occasions on which frames were lost, `lost_frames_total` the frames.
    """

    def __init__(
        self, device: str, rate_hz: int, sample_format: str, channels: int, block_frames: int, clock: Clock
    ) -> None:
        self.rate_hz, self.channels = rate_hz, channels
        self._block_frames, self._clock = block_frames, clock
        periods = math.ceil(block_frames / (rate_hz * PERIOD_S))
        self._capture = Capture(device, rate_hz, sample_format, channels, math.ceil(block_frames / periods))
        self._intake = Intake(rate_hz, channels, clock.monotonic_ns())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._fault: DeviceError | None = None
        self._heard_ns = 0

    @property
    def overruns(self) -> int:
        """Occasions on which frames were lost."""
        return self._intake.overruns

    @property
    def lost_frames_total(self) -> int:
        """Frames lost so far, as the blocks have told."""
        return self._intake.lost_frames_total

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        """See gateway.ports.Microphone. The device starts with the first block, and is closed with the
        last."""
        self._intake = Intake(self.rate_hz, self.channels, self._clock.monotonic_ns())
        self._listen()
        index = 0
        try:
            while True:
                piece = self._intake.take(self._block_frames)
                if piece:
                    yield self._block(index, piece)
                    index += 1
                elif self._fault:
                    raise self._fault
                else:
                    await self._more()
        finally:
            self.close()

    def close(self) -> None:
        """See gateway.ports.Microphone."""
        if self._loop:
            for descriptor in self._capture.descriptors:
                self._loop.remove_reader(descriptor)
            self._loop = None
        self._capture.close()

    def _listen(self) -> None:
        """Let the event loop call `_ready`. The first read starts the device."""
        loop = asyncio.get_running_loop()
        try:
            for descriptor in self._capture.descriptors:
                loop.add_reader(descriptor, self._ready)
        except PermissionError:
            self.close()
            raise DeviceError(
                f"microphone {self._capture.device} cannot be waited for: it is not a real device",
                "ALSA's null and file devices have no clock: choose another",
            ) from None
        self._loop = loop
        self._ready()

    async def _more(self) -> None:
        """Wait for sound, or for the moment to say that there is none."""
        self._arrived.clear()
        start_ns = self._clock.monotonic_ns()
        try:
            async with asyncio.timeout(SILENCE_S):
                await self._arrived.wait()
        except TimeoutError:
            self._ready()
            now_ns = self._clock.monotonic_ns()
            stopped_ourselves = now_ns - start_ns > 1.2e9 * SILENCE_S
            if now_ns - self._heard_ns > 0.95e9 * SILENCE_S and not stopped_ourselves:
                self._intake.silent(now_ns)

    def _ready(self) -> None:
        """Read what there is. After an overrun the next read starts the device again, so it comes at once."""
        if self._fault:
            return
        try:
            for _ in range(READS):
                frames, samples = self._capture.read()
                now_ns = self._clock.monotonic_ns()
                if frames == 0:
                    self._intake.drained(now_ns)
                    break
                self._heard_ns = now_ns
                if frames > 0:
                    self._intake.took(samples)
                else:
                    self._intake.overran(now_ns)
            if self._intake.has(self._block_frames):
                self._arrived.set()
        except DeviceError as fault:
            self._fault = fault
            self._arrived.set()
            for descriptor in self._capture.descriptors:
                if self._loop:
                    self._loop.remove_reader(descriptor)

    def _block(self, index: int, piece: Piece) -> SampleBlock:
        samples, flags = condition(piece.samples)
        utc_ns = utc_of(self._clock, self._intake.monotonic_ns_of(piece.frame))
        return SampleBlock(index, piece.frame, self.rate_hz, samples, piece.lost, utc_ns, flags)


class FileMicrophone:
    """A WAV or FLAC recording of any rate, 1 or 2 channels. Raises RecordingError naming what is wrong with
    the file.

    `realtime` plays it at its own pace, otherwise as fast as it is taken; `repeat` begins again at its end,
    with time going on. Frames that were lost in the recording are lost again, and what was read beside the sound is
    read again, at the same frame.
    """

    def __init__(self, path: Path | str, block_frames: int, realtime: bool, clock: Clock, repeat: bool = False) -> None:
        self._recording = Recording(path)
        self.rate_hz, self.channels = self._recording.rate_hz, self._recording.channels
        self._block_frames, self._repeat = block_frames, repeat
        self._pace = _Pace(clock, self.rate_hz) if realtime else None

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        """See gateway.ports.Microphone. Ends with the recording; RecordingError where the file is cut
        short."""
        index = played = lost = 0
        recording = self._recording
        while True:
            hole = self._hole(recording.position)
            beside, more = self._beside(recording.position)
            samples = recording.read(min(self._block_frames, abs(hole) or self._block_frames, more))
            if not len(samples):
                played += recording.position
                if not self._repeat or not recording.position:
                    return
                recording.rewind()
                continue
            frame = played + recording.position - len(samples)
            if hole < 0:
                lost += len(samples)
                continue
            if self._pace:
                await self._pace.until(frame + len(samples))
            else:
                await asyncio.sleep(0)
            yield self._block(index, frame, samples, lost, beside)
            index, lost = index + 1, 0

    def close(self) -> None:
        """See gateway.ports.Microphone."""
        self._recording.close()

    def _beside(self, position: int) -> tuple[Change, int]:
        """What was read beside the sound there, and for how many frames more."""
        changes = self._recording.changes
        index = bisect.bisect_right(changes, position, key=lambda change: change.frame)
        newest = changes[index - 1] if index else Change(0)
        return newest, changes[index].frame - position if index < len(changes) else self._block_frames

    def _hole(self, position: int) -> int:
        """Frames to the next gap; inside of one, minus the frames to its end; 0 if there is none to come."""
        for first, frames in self._recording.gaps:
            if position < first:
                return first - position
            if position < first + frames:
                return position - first - frames
        return 0

    def _block(self, index: int, frame: int, samples: np.ndarray, lost: int, beside: Change) -> SampleBlock:
        samples, flags = condition(samples)
        flags |= beside.flags
        start = self._recording.start_utc_ns
        utc_ns = None if start is None else start + frame * 1_000_000_000 // self.rate_hz
        return SampleBlock(index, frame, self.rate_hz, samples, lost, utc_ns, flags, beside.light, beside.climate)


class SimulatedMicrophone:
    """The simulated cell's microphones, at the pace of the clock (`realtime`) or as fast as blocks are taken.

    Up to 2 s late it catches up and loses nothing; later, it has lost what it is late by. It also loses what the cell
    says (`Cell.lost`). `overruns` and `lost_frames_total` count as for a device.
    """

    def __init__(self, cell: Cell, block_frames: int, realtime: bool, clock: Clock) -> None:
        self.rate_hz, self.channels = cell.rate_hz, cell.channels
        self.overruns = self.lost_frames_total = 0
        self._cell, self._block_frames, self._clock = cell, block_frames, clock
        self._realtime = realtime

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        """See gateway.ports.Microphone. For ever; begins anew, at frame 0 of the cell, only once."""
        pace = _Pace(self._clock, self.rate_hz)
        start_ns = self._clock.monotonic_ns()
        index = frame = 0
        while True:
            lost = self._cell.lost(frame, self._block_frames)
            if self._realtime:
                lost += pace.lost(frame + lost + self._block_frames)
                await pace.until(frame + lost + self._block_frames)
            else:
                await asyncio.sleep(0)
            frame += lost
            self.overruns += lost > 0
            self.lost_frames_total += lost
            samples, flags = condition(self._cell.sound(frame, self._block_frames))
            utc_ns = utc_of(self._clock, start_ns + frame * 1_000_000_000 // self.rate_hz)
            yield SampleBlock(index, frame, self.rate_hz, samples, lost, utc_ns, flags)
            index, frame = index + 1, frame + self._block_frames

    def close(self) -> None:
        """See gateway.ports.Microphone."""


class _Pace:
    """Deadlines by frame number, all from one start: they never drift."""

    def __init__(self, clock: Clock, rate_hz: int) -> None:
        self._clock, self._rate = clock, rate_hz
        self._start_ns: int | None = None

    async def until(self, frame: int) -> None:
        """Wait until `frame` frames have passed since the first call."""
        await self._clock.sleep_until(self._due(frame))

    def lost(self, frame: int) -> int:
        """Frames by which a reader that now wants `frame` frames is late, if that is more than LATE_S; else
        0."""
        late_ns = self._clock.monotonic_ns() - self._due(frame)
        return late_ns * self._rate // 1_000_000_000 if late_ns > LATE_S * 1e9 else 0

    def _due(self, frame: int) -> int:
        if self._start_ns is None:
            self._start_ns = self._clock.monotonic_ns()
        return self._start_ns + frame * 1_000_000_000 // self._rate
