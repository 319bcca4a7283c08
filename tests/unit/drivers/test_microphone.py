from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.cell import Cell
from drivers.laser import SimulatedLaser
from drivers.microphone import AlsaMicrophone, FileMicrophone, SimulatedMicrophone
from drivers.pickup import Gaps
from gateway.clock import RealClock
from gateway.errors import DeviceError, RecordingError
from gateway.types import Command, Flag, SampleBlock
from tests.recordings import tone, wav, write_wav
from tests.support.clock import FakeClock

Source = FileMicrophone | SimulatedMicrophone


def heard(microphone: Source, count: int | None = None) -> list[SampleBlock]:
    """The first `count` blocks, or all."""

    async def listen() -> list[SampleBlock]:
        blocks: list[SampleBlock] = []
        stream = microphone.blocks()
        async for block in stream:
            blocks.append(block)
            if len(blocks) == count:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        return blocks

    return asyncio.run(listen())


def played(path: Path, block_frames: int = 4800, **options: bool) -> list[SampleBlock]:
    microphone = FileMicrophone(path, block_frames, realtime=False, clock=FakeClock(), **options)
    blocks = heard(microphone)
    microphone.close()
    microphone.close()
    return blocks


def joined(blocks: list[SampleBlock]) -> np.ndarray:
    return np.concatenate([block.samples for block in blocks])


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_every_kind_of_recording(tmp_path: Path, rate_hz: int, channels: int, subtype: str, kind: str) -> None:
    sound = tone(2013.7, 0.1, rate_hz, 0.25, channels, noise_rms=1e-3)
    path = write_wav(tmp_path / "sound.wav", sound, rate_hz, subtype)
    bits = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 24}[subtype]
    if kind == "flac":
        bits = min(bits, 24)
        whole = np.rint(sound * 2 ** (bits - 1)).astype(np.int32) << (32 - bits)
        path = tmp_path / "sound.flac"
        soundfile.write(path, whole, rate_hz, subtype=f"PCM_{bits}")
    blocks = played(path, rate_hz // 10)
    assert [block.frame for block in blocks] == [0, rate_hz // 10, rate_hz // 5]
    assert [len(block.samples) for block in blocks] == [rate_hz // 10, rate_hz // 10, rate_hz // 20]
    assert {block.rate_hz for block in blocks} == {rate_hz}
    assert [block.index for block in blocks] == [0, 1, 2]
    assert {(block.lost_frames, block.utc_ns, block.flags) for block in blocks} == {(0, None, frozenset())}
    expected = sound.astype(np.float32)
    if subtype != "FLOAT" or kind == "flac":
        expected = (np.rint(sound * 2 ** (bits - 1)) / 2 ** (bits - 1)).astype(np.float32)
    assert np.array_equal(joined(blocks), expected)


@settings(max_examples=20)
@given(block_frames=st.integers(1, 5000), frames=st.integers(1, 5000))
def test_any_block_length_gives_the_same_samples(
    tmp_path_factory: pytest.TempPathFactory, block_frames: int, frames: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.wav"
    sound = tone(997.0, 0.5, 48_000, frames / 48_000)
    blocks = played(write_wav(path, sound, subtype="FLOAT"), block_frames)
    assert [block.frame for block in blocks] == list(range(0, frames, block_frames))
    assert np.array_equal(joined(blocks), sound.astype(np.float32))


def test_a_repeated_recording_goes_on_in_time(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1000.0, 0.1, seconds=0.25), subtype="FLOAT")
    microphone = FileMicrophone(path, 4800, realtime=False, clock=FakeClock(), repeat=True)
    blocks = heard(microphone, 7)
    assert [block.frame for block in blocks] == [0, 4800, 9600, 12_000, 16_800, 21_600, 24_000]
    assert np.array_equal(blocks[0].samples, blocks[3].samples)
    assert {block.lost_frames for block in blocks} == {0}


def test_a_recording_can_be_played_at_its_own_pace(tmp_path: Path) -> None:
    clock = FakeClock()
    path = write_wav(tmp_path / "a.wav", tone(1000.0, 0.1, 44_100, 10.0, 1), 44_100)
    start = clock.now_ns
    blocks = heard(FileMicrophone(path, 4410, realtime=True, clock=clock))
    assert len(blocks) == 100
    assert clock.now_ns - start == 10_000_000_000


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_truncated_wav_plays_to_its_end_and_then_says_so(tmp_path: Path, keep: float, subtype: str) -> None:
    sound = tone(1000.0, 0.1, seconds=1.0)
    data = wav(sound, 48_000, subtype)
    path = tmp_path / "cut.wav"
    frame = (len(data) - 44) // 48_000
    path.write_bytes(data[: 44 + round(keep * 48_000) * frame + 1])
    check_cut(path, round(keep * 48_000), round(keep * 48_000), 48_000)


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.999])
def test_a_truncated_flac_plays_to_its_end_and_then_says_so(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, tone(1000.0, 0.1, seconds=1.0, noise_rms=0.01), 48_000, subtype="PCM_24")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    whole_packets = keep * 48_000 - 2 * 4096
    check_cut(path, int(whole_packets), int(keep * 48_000) + 4096, 48_000)


def check_cut(path: Path, least: int, most: int, promised: int) -> None:
    microphone = FileMicrophone(path, 4800, realtime=False, clock=FakeClock())
    blocks: list[SampleBlock] = []

    async def listen() -> None:
        stream = microphone.blocks()
        while True:
            blocks.append(await anext(stream))

    with pytest.raises(RecordingError, match=rf"is cut short: \d+ of {promised} frames could be read") as caught:
        asyncio.run(listen())
    frames = sum(len(block.samples) for block in blocks)
    assert least <= frames <= most
    assert f"{frames} of" in caught.value.message
    assert str(path) in caught.value.message
    microphone.close()


def bad_files(directory: Path) -> dict[str, tuple[Path, str]]:
    good = wav(tone(1000.0, 0.1, seconds=0.1), 48_000, "PCM_16")
    files: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "is empty: 0 bytes"),
        "no frames": (wav(np.zeros((0, 2)), 48_000, "PCM_16"), "holds no sound: 0 frames"),
        "text": (b"hello " * 100, "is not a sound file"),
        "header only": (good[:30], "is not a sound file, or its header is damaged"),
        "three channels": (wav(np.zeros((100, 3)), 48_000, "PCM_16"), "has 3 channels"),
        "never closed": (good[:40] + b"\0\0\0\0" + good[44:], "was never closed"),
    }
    found = {}
    for name, (data, text) in files.items():
        path = directory / f"{name}.wav"
        path.write_bytes(data)
        found[name] = path, text
    soundfile.write(directory / "lossy.ogg", np.zeros(1000), 48_000)
    found["lossy"] = directory / "lossy.ogg", "is a OGG file"
    found["directory"] = directory, "is a directory"
    found["missing"] = directory / "missing.wav", "does not exist"
    return found


@pytest.mark.parametrize(
    "which",
    [
        "empty",
        "no frames",
        "text",
        "header only",
        "three channels",
        "never closed",
        "lossy",
        "directory",
        "missing",
    ],
)
def test_a_bad_recording_is_named_with_its_fault(tmp_path: Path, which: str) -> None:
    path, text = bad_files(tmp_path)[which]
    with pytest.raises(RecordingError, match=text) as caught:
        FileMicrophone(path, 4800, realtime=False, clock=FakeClock())
    assert str(path) in caught.value.message
    assert caught.value.exit_status == 2


def test_samples_that_are_no_numbers_are_silenced_and_flagged(tmp_path: Path) -> None:
    sound = tone(1000.0, 0.1, seconds=0.3)
    sound[5000, 1] = np.nan
    sound[5001, 0] = np.inf
    blocks = played(write_wav(tmp_path / "nan.wav", sound, subtype="FLOAT"))
    assert [block.flags for block in blocks] == [frozenset(), {Flag.NOT_FINITE}, frozenset()]
    assert np.isfinite(joined(blocks)).all()
    assert joined(blocks)[5000, 1] == 0.0


def test_full_scale_is_flagged(tmp_path: Path) -> None:
    sound = tone(1000.0, 0.1, seconds=0.2)
    sound[100, 0] = 1.0
    blocks = played(write_wav(tmp_path / "loud.wav", sound, subtype="PCM_16"))
    assert [block.flags for block in blocks] == [{Flag.OVERLOAD}, frozenset()]


def simulated(**options: object) -> Cell:
    cell = Cell(**options)  # type: ignore[arg-type]
    SimulatedLaser(cell, 2012.5, 0.5, 0.02).apply(Command("laser", "on"))
    return cell


def test_the_simulated_microphone_keeps_the_clocks_pace() -> None:
    clock = FakeClock()
    start, utc = clock.now_ns, clock.utc_ns()
    blocks = heard(SimulatedMicrophone(simulated(), 4801, True, clock), 1000)
    assert clock.now_ns - start == 1000 * 4801 * 1_000_000_000 // 48_000
    assert [block.frame for block in blocks] == [4801 * k for k in range(1000)]
    assert blocks[500].utc_ns == utc + 500 * 4801 * 1_000_000_000 // 48_000
    assert {block.samples.shape for block in blocks} == {(4801, 2)}
    assert np.array_equal(joined(blocks[:20]), simulated().sound(0, 4801 * 20))


def test_while_the_clock_is_not_set_nobody_knows_the_time() -> None:
    clock = FakeClock()
    clock.believed = False
    assert {block.utc_ns for block in heard(SimulatedMicrophone(simulated(), 4800, True, clock), 5)} == {None}


def test_the_simulated_microphone_runs_free_when_told() -> None:
    clock = FakeClock()
    start = clock.now_ns
    microphone = SimulatedMicrophone(simulated(channels=1, rate_hz=44_100), 441, False, clock)
    blocks = heard(microphone, 10)
    assert clock.now_ns == start
    assert {block.samples.shape for block in blocks} == {(441, 1)}
    assert (microphone.rate_hz, microphone.channels) == (44_100, 1)


@pytest.mark.parametrize(("late_s", "lost"), [(0.5, 0), (1.9, 0), (3.0, 48_000 * 3 - 4800)])
def test_a_late_reader_catches_up_or_loses(late_s: float, lost: int) -> None:
    clock = FakeClock()
    microphone = SimulatedMicrophone(simulated(), 4800, True, clock)

    async def listen() -> list[SampleBlock]:
        blocks = []
        async for block in microphone.blocks():
            blocks.append(block)
            if len(blocks) == 5:
                clock.advance(late_s)
            if len(blocks) == 50:
                return blocks
        raise AssertionError

    blocks = asyncio.run(listen())
    assert [block.lost_frames for block in blocks] == [0] * 5 + [lost] + [0] * 44
    assert blocks[-1].frame == 49 * 4800 + lost
    assert (microphone.overruns, microphone.lost_frames_total) == (int(lost > 0), lost)
    reference = simulated().sound(blocks[-1].frame, 4800)
    assert np.array_equal(blocks[-1].samples, reference)
    microphone.close()
    microphone.close()


@pytest.mark.parametrize("realtime", [False, True])
def test_the_simulated_microphone_loses_what_the_cell_says(realtime: bool) -> None:
    clock = FakeClock()
    start = clock.now_ns
    microphone = SimulatedMicrophone(simulated(gaps=Gaps(2.0, 0.03), seed=6), 4800, realtime, clock)
    blocks = heard(microphone, 100)
    lost = [block.lost_frames for block in blocks]
    assert set(lost) == {0, 1440}
    assert (microphone.overruns, microphone.lost_frames_total) == (np.count_nonzero(lost), sum(lost))
    assert [block.frame for block in blocks] == list(np.arange(100) * 4800 + np.cumsum(lost))
    assert clock.now_ns - start == (blocks[-1].end_ns if realtime else 0)
    assert np.array_equal(blocks[-1].samples, simulated(seed=6).sound(blocks[-1].frame, 4800))


def test_a_missing_device_is_told_with_those_there_are() -> None:
    with pytest.raises(DeviceError, match="microphone hw:77,0 cannot be opened: ") as caught:
        AlsaMicrophone("hw:77,0", 48_000, "S16_LE", 2, 4800, RealClock())
    assert caught.value.remedy
