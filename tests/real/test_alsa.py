"""AlsaMicrophone on a real, paced ALSA device: every frame in order, and time that moves on when frames are
lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.real.paced_alsa import DEVICE, NO_CLOCK, WHOLE_NUMBERS, Paced, feed, paced_device, python
from tests.recordings import tone, words

SUBTYPE = {"S16_LE": "PCM_16", "S24_3LE": "PCM_24", "S32_LE": "PCM_32", "FLOAT_LE": "FLOAT"}
FED = {"S16_LE": "S16_LE", "S24_3LE": "S32_LE", "S32_LE": "S32_LE", "FLOAT_LE": "FLOAT_LE"}
"""What the device is fed with, by what is captured."""
PATIENCE_S = 120.0

LISTEN = """
import asyncio, sys, time
import numpy as np
from drivers.microphone import AlsaMicrophone
from gateway.clock import RealClock
from gateway.errors import DeviceError

device, rate, word, channels, block_frames, count, stall_at, stall_s, how, out = sys.argv[1:]
rate, stall_at = int(rate), int(stall_at)

async def main():
    microphone = AlsaMicrophone(device, rate, word, int(channels), int(block_frames), RealClock())
    blocks, started = [], time.time_ns()
    try:
        async for block in microphone.blocks():
            blocks.append(block)
            if len(blocks) == 1:
                print("listening", flush=True)
            if len(blocks) == stall_at:
                time.sleep(float(stall_s)) if how == "blocked" else await asyncio.sleep(float(stall_s))
            if len(blocks) == int(count):
                break
    except DeviceError as error:
        print(error, flush=True)
        if not blocks:
            return
    ended = time.time_ns()
    microphone.close()
    np.savez(
        out,
        frame=[b.frame for b in blocks],
        lost=[b.lost_frames for b in blocks],
        frames=[len(b.samples) for b in blocks],
        utc_ns=[b.utc_ns for b in blocks],
        samples=np.concatenate([np.empty((0, int(channels))), *(b.samples for b in blocks)]),
        overruns=microphone.overruns,
        lost_total=microphone.lost_frames_total,
        started=started,
        ended=ended,
    )

try:
    asyncio.run(main())
except DeviceError as error:
    print(error, flush=True)
"""


class Heard:
    """What a listening process brought home."""

    def __init__(self, path: Path, said: str) -> None:
        found = np.load(path)
        self.frame, self.lost, self.frames = found["frame"], found["lost"], found["frames"]
        self.utc_ns, self.samples = found["utc_ns"], found["samples"]
        self.overruns, self.lost_total = int(found["overruns"]), int(found["lost_total"])
        self.started, self.ended = int(found["started"]), int(found["ended"])
        self.said = said
        self._check_order()

    def _check_order(self) -> None:
        """Frames follow each other, lost ones counted."""
        ends = self.frame + self.frames
        assert self.frame[0] == self.lost[0]
        assert np.array_equal(self.frame[1:], ends[:-1] + self.lost[1:])
        assert (self.lost >= 0).all()
        assert self.lost.sum() == self.lost_total

    def lag_s(self, rate_hz: int) -> float:
        """How much longer by the wall clock it took than by the frames, from the tenth block to the end."""
        frames = int(self.frame[-1] + self.frames[-1] - self.frame[10])
        return (self.ended - int(self.utc_ns[10])) / 1e9 - frames / rate_hz

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Frame number and samples of each block that has some."""
        ends = np.cumsum(self.frames)
        for frame, count, end in zip(self.frame, self.frames, ends, strict=True):
            if count:
                yield int(frame), self.samples[end - count : end]


def arguments(
    paced: Paced,
    out: Path,
    word: str = "S16_LE",
    channels: int = 2,
    count: int = 15,
    stall_at: int = -1,
    stall_s: float = 0.0,
    how: str = "",
    device: str = DEVICE,
    rate_hz: int = 0,
) -> list[str]:
    rate = rate_hz or paced.rate_hz
    return [device, *map(str, (rate, word, channels, rate // 10, count, stall_at, stall_s, how, out))]


def listen(paced: Paced, directory: Path, **options: object) -> Heard:
    """Listen in a process of its own until it ends."""
    out = directory / "heard.npz"
    with python(paced, LISTEN, *arguments(paced, out, **options)) as process:  # type: ignore[arg-type]
        said, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    return Heard(out, said)


def refusal(paced: Paced, directory: Path, **options: object) -> str:
    """What a process says that cannot listen."""
    out = directory / "heard.npz"
    with python(paced, LISTEN, *arguments(paced, out, **options)) as process:  # type: ignore[arg-type]
        said, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert not out.exists()
    return said.strip()


def ramp(word: str, channels: int, frames: int) -> bytes:
    """A sound whose samples tell their place: a saw tooth, and in the second channel its number."""
    bits = 16 if word == "S16_LE" else 24
    n = np.arange(frames)
    columns = [n % 2**bits - 2 ** (bits - 1), n // 2**bits]
    return words(np.stack(columns[:channels], axis=1) / 2.0 ** (bits - 1), SUBTYPE[FED[word]])


def places(samples: np.ndarray, word: str) -> np.ndarray:
    """The places that samples of `ramp` tell, int64 [frames]."""
    bits = 16 if word == "S16_LE" else 24
    whole = np.rint(samples.astype(np.float64) * 2 ** (bits - 1)).astype(np.int64)
    assert np.array_equal(whole / 2.0 ** (bits - 1), samples), "samples changed on the way"
    return whole[:, 0] + 2 ** (bits - 1) + (whole[:, 1] * 2**bits if samples.shape[1] == 2 else 0)


@pytest.mark.parametrize("word", SUBTYPE)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_frame_arrives_in_order(tmp_path: Path, word: str, channels: int) -> None:
    sound = ramp(word, channels, 48_000 * 60)
    with paced_device(tmp_path, 48_000, FED[word], channels) as paced, feed(paced, sound):
        heard = listen(paced, tmp_path, word=word, channels=channels, count=20)
    assert heard.samples.shape == (20 * 4800, channels)
    assert set(heard.frames) == {4800}
    assert (heard.lost_total, heard.overruns) == (0, 0)
    steps = np.diff(places(heard.samples, word))
    period = 2**16 if word == "S16_LE" and channels == 1 else 1 << 60
    assert set(steps % period) == {1}


@pytest.mark.parametrize("word", ["S16_LE", "S24_3LE", "S32_LE"])
def test_a_known_tone_is_heard_as_it_is(tmp_path: Path, word: str) -> None:
    sound = tone(2013.7, 0.1, seconds=10.0)
    fed = FED[word]
    sound = np.rint(sound * 2**23) / 2**23
    with paced_device(tmp_path, 48_000, fed) as paced, feed(paced, words(sound, SUBTYPE[fed])):
        heard = listen(paced, tmp_path, word=word, count=20)
    t = np.arange(len(heard.samples)) / 48_000
    basis = np.stack([np.cos(2 * np.pi * 2013.7 * t), np.sin(2 * np.pi * 2013.7 * t)], axis=1)
    lsb = 2.0**-15 if word == "S16_LE" else 2.0**-23
    fits = []
    for channel in heard.samples.astype(np.float64).T:
        fit, *_ = np.linalg.lstsq(basis, channel, rcond=None)
        fits.append(fit)
        assert np.abs(channel - basis @ fit).max() < lsb
        assert np.hypot(*fit) == pytest.approx(0.1, abs=lsb)
    assert np.abs(fits[0] + fits[1]).max() < lsb / 10


def test_a_stalled_reader_counts_what_a_sound_server_dropped(tmp_path: Path) -> None:
    """The server keeps 4 MB, 1.4 s at this rate, and then drops without a word."""
    rate = 384_000
    with paced_device(tmp_path, rate, "S32_LE") as paced, feed(paced, ramp("S32_LE", 2, rate * 20)):
        heard = listen(paced, tmp_path, word="S32_LE", count=45, stall_at=15, stall_s=5.0, how="blocked")
    assert heard.overruns >= 1
    assert heard.lost_total > rate
    offsets = []
    for frame, samples in heard.blocks():
        told = places(samples, "S32_LE")
        assert set(np.diff(told)) <= {1}, "a hole inside a block"
        offsets.append(int(told[0]) - frame)
    assert np.ptp(offsets) < 0.1 * rate, "frame numbers do not keep the time"
    assert heard.lag_s(rate) == pytest.approx(0.0, abs=1.0)


def test_a_slow_consumer_loses_exactly_what_it_left(tmp_path: Path) -> None:
    with paced_device(tmp_path) as paced, feed(paced, ramp("S16_LE", 2, 48_000 * 60)):
        heard = listen(paced, tmp_path, count=60, stall_at=10, stall_s=4.0, how="waiting")
    assert heard.overruns == 1
    assert heard.lost_total > 48_000
    offsets = {int(places(samples, "S16_LE")[0]) - frame for frame, samples in heard.blocks()}
    assert len(offsets) == 1
    assert sorted(heard.lost)[:-1] == [0] * 59


def test_a_stopped_process_keeps_its_time(tmp_path: Path) -> None:
    out = tmp_path / "heard.npz"
    with paced_device(tmp_path) as paced, feed(paced, ramp("S16_LE", 2, 48_000 * 60)):
        with python(paced, LISTEN, *arguments(paced, out, count=50)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            time.sleep(1.0)
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(1.5)
            os.kill(process.pid, signal.SIGCONT)
            said, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
    heard = Heard(out, said)
    offsets = [int(places(samples, "S16_LE")[0]) - frame for frame, samples in heard.blocks()]
    assert np.ptp(offsets) < 0.1 * 48_000


def test_a_silent_device_moves_time_on(tmp_path: Path) -> None:
    out, sound = tmp_path / "heard.npz", ramp("S16_LE", 2, 48_000 * 60)
    with paced_device(tmp_path) as paced:
        with python(paced, LISTEN, *arguments(paced, out, count=45)) as process:
            with feed(paced, sound):
                assert process.stdout is not None
                assert process.stdout.readline() == "listening\n"
                time.sleep(2.0)
            time.sleep(3.5)
            with feed(paced, sound):
                said, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
    heard = Heard(out, said)
    silent = np.flatnonzero(heard.frames == 0)
    assert len(silent) >= 2
    assert np.all(heard.lost[silent] > 0.5 * 48_000)
    assert heard.lag_s(48_000) == pytest.approx(0.0, abs=1.0)


def test_a_device_that_goes_away_is_named(tmp_path: Path) -> None:
    out = tmp_path / "heard.npz"
    with paced_device(tmp_path) as paced, feed(paced, ramp("S16_LE", 2, 48_000 * 60)):
        with python(paced, LISTEN, *arguments(paced, out, count=10_000)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            time.sleep(1.0)
            paced.server.kill()
            said, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
    assert f"microphone {DEVICE} is gone: " in said


def test_the_wall_clock_is_that_of_the_sound(tmp_path: Path) -> None:
    with paced_device(tmp_path) as paced, feed(paced, ramp("S16_LE", 2, 48_000 * 60)):
        heard = listen(paced, tmp_path, count=30)
    assert heard.lag_s(48_000) == pytest.approx(0.0, abs=1.0)
    played_ns = heard.frame * 1_000_000_000 // 48_000
    assert np.ptp(heard.utc_ns[10:] - played_ns[10:]) < 1e9


def test_devices_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    with paced_device(tmp_path) as paced, feed(paced, ramp("S16_LE", 2, 48_000)):
        missing = refusal(paced, tmp_path, device="hw:7,0")
        rate = refusal(paced, tmp_path, rate_hz=500_000)
        word = refusal(paced, tmp_path, device=WHOLE_NUMBERS, word="FLOAT_LE")
        clock = refusal(paced, tmp_path, device=NO_CLOCK)
    assert missing.startswith("microphone hw:7,0 cannot be opened: ")
    assert DEVICE in missing
    assert rate.startswith(f"microphone {DEVICE} does not give 500000 Hz S16_LE in 2 channels: it offers ")
    assert "1 to 384000 Hz" in rate
    assert word.startswith(f"microphone {WHOLE_NUMBERS} does not give 48000 Hz FLOAT_LE")
    assert "it offers S16_LE, S24_3LE, S32_LE;" in word
    assert clock.startswith(f"microphone {NO_CLOCK} cannot be waited for: ")
