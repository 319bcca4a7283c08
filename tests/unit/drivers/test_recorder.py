from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from drivers.microphone import FileMicrophone
from drivers.recorder import Recorder
from drivers.recording import Recording, read_metadata, utc_ns_of, utc_text
from gateway.errors import RecordingError
from gateway.types import SampleBlock
from tests.recordings import tone, write_wav
from tests.support.clock import FakeClock

UTC = 1_790_000_000_123_456_789
FORMATS = [
    ("wav", "FLOAT"),
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "PCM_32"),
    ("flac", "PCM_16"),
    ("flac", "PCM_24"),
]
METADATA = {
    "configuration": "box: {name: Küche}\n" + "# comment\n" * 500,
    "calibration": json.dumps({"polynomial": [0, 41000]}),
    "software": "spectrophone 0.1.0",
    "box": "lab-42",
}


def grid(bits: int, frames: int = 20_000, channels: int = 2) -> np.ndarray:
    """Noise on the grid of a converter of `bits`."""
    noise = np.random.default_rng(1).standard_normal((frames, channels)) * 0.1
    return (np.rint(noise * 2 ** (bits - 1)) / 2 ** (bits - 1)).astype(np.float32)


def block(samples: np.ndarray, frame: int = 0, lost: int = 0) -> SampleBlock:
    return SampleBlock(0, frame, 48_000, samples.astype(np.float32), lost, UTC + frame * 1_000_000_000 // 48_000)


def played(path: Path, block_frames: int = 4800) -> list[SampleBlock]:
    async def listen() -> list[SampleBlock]:
        return [b async for b in FileMicrophone(path, block_frames, realtime=False, clock=FakeClock()).blocks()]

    return asyncio.run(listen())


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_was_recorded_is_played(tmp_path: Path, suffix: str, subtype: str, channels: int) -> None:
    path = tmp_path / f"sound.{suffix}"
    sound = grid({"PCM_16": 16}.get(subtype, 24), channels=channels)
    with Recorder(path, 48_000, channels, subtype, METADATA) as recorder:
        for first in range(0, 20_000, 4800):
            recorder.write(block(sound[first : first + 4800], first))
        assert not path.exists()
        assert recorder.part.exists()
    assert recorder.seconds == pytest.approx(20_000 / 48_000)
    assert not recorder.part.exists()
    blocks = played(path)
    assert np.array_equal(np.concatenate([b.samples for b in blocks]), sound)
    assert [b.utc_ns for b in blocks] == [UTC + k * 100_000_000 for k in range(5)]
    metadata = read_metadata(path)
    assert metadata == {**METADATA, "start": utc_text(UTC)}
    assert np.array_equal(soundfile.read(path, dtype="float32", always_2d=True)[0], sound)


def test_the_default_formats_keep_what_a_converter_gives(tmp_path: Path) -> None:
    sound = grid(24)
    for name in ("a.wav", "a.flac"):
        with Recorder(tmp_path / name, 48_000, 2) as recorder:
            recorder.write(block(sound))
        assert np.array_equal(played(tmp_path / name, 20_000)[0].samples, sound)
    assert soundfile.info(tmp_path / "a.wav").subtype == "FLOAT"
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_24"


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_lost_frames_are_zeros_in_the_file_and_lost_in_a_replay(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"gaps.{suffix}"
    sound = grid(24)
    live = [
        block(sound[:4800], 0),
        block(sound[4800:6000], 4800),
        block(np.empty((0, 2)), 8000, 2000),
        block(sound[9000:13_800], 9000, 1000),
        block(sound[13_800:18_600], 13_800),
    ]
    with Recorder(path, 48_000, 2) as recorder:
        for part in live:
            recorder.write(part)
    assert recorder.lost_frames == 3000
    whole = soundfile.read(path, dtype="float32")[0]
    assert len(whole) == 18_600
    assert not whole[6000:9000].any()
    replayed = played(path)
    assert [(b.frame, len(b.samples), b.lost_frames) for b in replayed] == [
        (0, 4800, 0),
        (4800, 1200, 0),
        (9000, 4800, 3000),
        (13_800, 4800, 0),
    ]
    assert np.array_equal(replayed[2].samples, live[3].samples)


def test_hours_of_lost_frames_need_no_memory(tmp_path: Path) -> None:
    with Recorder(tmp_path / "gap.flac", 48_000, 2) as recorder:
        recorder.write(block(grid(24, 100)))
        recorder.write(block(grid(24, 100), 600 * 48_000))
    assert recorder.frames == 600 * 48_000 + 100
    assert (tmp_path / "gap.flac").stat().st_size < 1_000_000


def test_more_gaps_than_there_is_room_for(tmp_path: Path) -> None:
    path = tmp_path / "many.wav"
    with Recorder(path, 48_000, 1) as recorder:
        for k in range(1000):
            recorder.write(block(grid(24, 48, 1), k * 96))
    recording = Recording(path)
    assert recording.promised == 999 * 96 + 48
    assert 100 < len(recording.gaps) < 999
    assert recording.gaps[:2] == ((48, 48), (144, 48))
    recording.close()


def test_a_recording_without_sound_leaves_no_file(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.wav", 48_000, 2):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1000.0, 0.1))
    before = path.read_bytes()
    with pytest.raises(RecordingError, match=r"a\.wav exists already"):
        Recorder(path, 48_000, 2)
    with Recorder(path, 48_000, 2, overwrite=True) as recorder:
        recorder.write(block(grid(24)))
        assert path.read_bytes() == before
    assert soundfile.info(path).frames == 20_000
    (tmp_path / "b.wav.part").write_bytes(b"somebody else's")
    with pytest.raises(RecordingError, match=r"b\.wav\.part exists already"):
        Recorder(tmp_path / "b.wav", 48_000, 2)


@pytest.mark.parametrize(
    ("name", "subtype", "text"),
    [
        ("a.mp3", None, "is neither .wav nor .flac"),
        ("a", None, "is neither .wav nor .flac"),
        ("a.flac", "FLOAT", "a .flac file cannot hold FLOAT"),
        ("a.wav", "ULAW", "a .wav file cannot hold ULAW"),
        ("nowhere/a.wav", None, "cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_recorded_is_refused(tmp_path: Path, name: str, subtype: str | None, text: str) -> None:
    with pytest.raises(RecordingError, match=text):
        Recorder(tmp_path / name, 48_000, 2, subtype)
    assert list(tmp_path.iterdir()) == []


def test_too_much_metadata_for_a_wav_file(tmp_path: Path) -> None:
    metadata = {"configuration": "x" * 100_000}
    with (
        Recorder(tmp_path / "a.wav", 48_000, 2, metadata=metadata) as recorder,
        pytest.raises(RecordingError, match="too much for a WAV file"),
    ):
        recorder.write(block(grid(24)))
    assert list(tmp_path.iterdir()) == []
    with Recorder(tmp_path / "a.flac", 48_000, 2, metadata=metadata) as recorder:
        recorder.write(block(grid(24)))
    assert read_metadata(tmp_path / "a.flac")["configuration"] == "x" * 100_000


def test_a_closed_recorder_takes_no_more(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.wav", 48_000, 2)
    recorder.write(block(grid(24)))
    recorder.close()
    recorder.close()
    with pytest.raises(RecordingError, match="is closed"):
        recorder.write(block(grid(24)))


RECORD = """
import sys, resource, os
import numpy as np
from drivers.recorder import Recorder
from gateway.errors import RecordingError
from gateway.types import SampleBlock
path, subtype, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sound = (np.rint(np.random.default_rng(1).standard_normal((480_000, 2)) * 2**20) / 2**23).astype(np.float32)
with Recorder(path, 48_000, 2, subtype, {"box": "b"}) as recorder:
    for first in range(0, 480_000, 4800):
        try:
            recorder.write(SampleBlock(0, first, 48_000, sound[first : first + 4800]))
        except RecordingError as error:
            print(error)
            break
        if limit == -1 and first >= 96_000:
            os.kill(os.getpid(), 9)
"""


def record(path: Path, subtype: str, limit: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", RECORD, str(path), subtype, str(limit)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def sound_as_recorded() -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal((480_000, 2))
    return (np.rint(noise * 2**20) / 2**23).astype(np.float32)


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "FLOAT"), ("wav", "PCM_24"), ("flac", "PCM_24")])
@pytest.mark.parametrize("limit", [1_000_001, 500_000])
def test_a_full_disk_keeps_what_was_recorded(tmp_path: Path, suffix: str, subtype: str, limit: int) -> None:
    """The system refuses to let the file grow, in the middle of a write."""
    path = tmp_path / f"full.{suffix}"
    run = record(path, subtype, limit)
    assert run.stderr == ""
    assert run.returncode == 0
    sound = np.concatenate([b.samples for b in played(path)])
    assert len(sound) > 0.8 * limit / (8 if subtype == "FLOAT" else 6)
    assert run.stdout.startswith(f"{path}: File too large; {len(sound) / 48_000:.1f} s of sound are saved. ")
    assert np.array_equal(sound, sound_as_recorded()[: len(sound)])
    assert np.array_equal(soundfile.read(path, dtype="float32")[0], sound)
    assert read_metadata(path)["box"] == "b"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_24"), ("flac", "PCM_24")])
def test_a_killed_recorder_leaves_a_part_that_can_be_played(tmp_path: Path, suffix: str, subtype: str) -> None:
    path = tmp_path / f"killed.{suffix}"
    run = record(path, subtype, resource.RLIM_INFINITY)
    assert run.returncode == -signal.SIGKILL
    part = tmp_path / f"killed.{suffix}.part"
    assert list(tmp_path.iterdir()) == [part]
    sound = np.concatenate([b.samples for b in played(part)])
    assert len(sound) > 90_000
    assert np.array_equal(sound, sound_as_recorded()[: len(sound)])


@pytest.mark.parametrize("utc", [0, 1, UTC, 1_700_000_000_000_000_000])
def test_times_keep_their_nanoseconds(utc: int) -> None:
    assert utc_ns_of(utc_text(utc)) == utc


def test_times_are_read_as_people_write_them() -> None:
    assert utc_text(UTC) == "2026-09-21T14:13:20.123456789Z"
    assert utc_ns_of("2026-09-21T14:13:20.5Z") == 1_790_000_000_500_000_000
    assert utc_ns_of("2026-09-21T14:13:20Z") == 1_790_000_000_000_000_000
    for bad in ("2026-09-21", "2026-09-21T14:13:20", "2026-09-21T14:13:20.1234567891Z", "2026-09-21T14:13:20.xZ"):
        with pytest.raises(ValueError, match="2026"):
            utc_ns_of(bad)


def commented(path: Path, comment: str) -> Path:
    with soundfile.SoundFile(path, "w", 48_000, 1, "PCM_16") as file:
        file.comment = comment
        file.write(np.zeros(100))
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_comments_of_others_are_kept_as_text(tmp_path: Path, suffix: str) -> None:
    assert read_metadata(commented(tmp_path / f"a.{suffix}", "made by hand")) == {"comment": "made by hand"}
    assert read_metadata(commented(tmp_path / f"b.{suffix}", '{"ppm": 400}')) == {"ppm": "400"}
    assert read_metadata(write_wav(tmp_path / "c.wav", tone(1.0, 0.1))) == {}


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        ('{"start": "yesterday"}', "its start 'yesterday' is not a time"),
        ('{"lost": "a+b"}', "its list of lost frames 'a[+]b' cannot be read"),
        ('{"lost": "12"}', "its list of lost frames '12' cannot be read"),
    ],
)
def test_broken_metadata_are_named(tmp_path: Path, comment: str, text: str) -> None:
    with pytest.raises(RecordingError, match=text):
        Recording(commented(tmp_path / "a.wav", comment))
