"""The recorder: sound to WAV or FLAC, with what is needed to get the live numbers again.

A recording grows under the name NAME.part and gets its own name when it is closed, so that whatever bears a
recording's name is whole; after a crash NAME.part holds the sound up to the last write. Lost frames become
zeros, so that time goes on, and are listed in the metadata, so that a replay loses them again; so is what was
read beside the sound, whenever it changes. Metadata stand in front of the sound as the file's comment, with room
kept for these lists; the second stands behind the sound in a WAV file.

FLOAT keeps float32 samples bit for bit; PCM_24 keeps those of a 24-bit converter bit for bit. Whole numbers
are made here: libsndfile scales floats by 2**(n-1) - 1 when it writes and by 2**(n-1) when it reads.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from drivers.recording import INPUTS_CHUNK, READ_BESIDE, Change, Recording, inputs_text, riff_chunks, utc_text
from gateway.errors import RecordingError
from gateway.types import SampleBlock, Samples

SUBTYPES = {".wav": ("FLOAT", "PCM_16", "PCM_24", "PCM_32"), ".flac": ("PCM_24", "PCM_16")}
"""Sample formats by suffix, the default first."""
BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
ROOM_FOR_GAPS = 2048
"""Characters kept for the list of gaps: a hundred or so. Later gaps stay as zeros that nobody marks."""
ROOM_FOR_INPUTS = 1 << 16
"""Characters kept in a FLAC file for what was read beside the sound: hundreds of changes. Later ones are not
kept, and a replay goes on with the last."""
WAV_TEXT = 32_000
"""Longest comment that libsndfile writes into a WAV file (it drops longer ones somewhere above 32 kB)."""
WAV_BYTES = 0xFFFF_FFFF - (1 << 20)
"""Where a WAV file's 32-bit sizes end, less room for what stands around the sound."""
ZEROS = 1 << 16


class Recorder:
    """A recording being made. Raises RecordingError for an unknown suffix or format, and where it cannot
    write.

    `frames` counts what was written, zeros for lost frames included; `lost_frames` those. `metadata` are
    strings; "start" is added from the first block's clock. An existing file is refused unless `overwrite`.
    Use it as a context: leaving it closes the file and gives it its name.
    """

    def __init__(
        self,
        path: Path | str,
        rate_hz: int,
        channels: int,
        subtype: str | None = None,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(self.path.name + ".part")
        self.rate_hz, self.channels = rate_hz, channels
        self.frames = self.lost_frames = 0
        self._wav, self._subtype = self._chosen(subtype)
        self._metadata = dict(metadata or {})
        self._gaps: list[tuple[int, int]] = []
        self._changes: list[Change] = []
        self._next: int | None = None
        self._open = True
        self._file: soundfile.SoundFile | None = None
        self._data_at = 0
        self._room_at: dict[str, int] = {}
        if not overwrite:
            for taken in (self.path, self.part):
                if taken.exists():
                    raise RecordingError(f"{taken} exists already", "Give another name, or remove it")
        try:
            self._disk = _Disk(self.part)
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be written: {error.strerror}") from None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """Length of the recording so far."""
        return self.frames / self.rate_hz

    def write(self, block: SampleBlock) -> None:
        """Append a block, with zeros for what was lost before it.

        Raises RecordingError when the disk is full, saying how many seconds were saved; the recording is
        closed then.
        """
        if not self._open:
            raise RecordingError(f"{self.path} is closed")
        if self._file is None:
            self._begin(block.utc_ns)
        if self._next is not None and block.frame > self._next:
            self._fill(block.frame - self._next)
        self._note(block)
        self._append(block.samples)
        self._next = block.frame + len(block.samples)
        if self.frames and not self._room_at:
            self._locate()
        self._promise()

    def close(self) -> None:
        """Finish the file and give it its name; may be called twice. Without a block there is no file."""
        if not self._open:
            return
        self._open = False
        if self._file is None:
            self._disk.close()
            self.part.unlink()
            return
        self._finish()
        if self._disk.error:
            raise self._fault(self._disk.error)

    def _chosen(self, subtype: str | None) -> tuple[bool, str]:
        """Whether it is a WAV file, and the sample format."""
        suffix = self.path.suffix.lower()
        if suffix not in SUBTYPES:
            raise RecordingError(f"{self.path} is neither .wav nor .flac", "End the name with one of them")
        subtype = subtype or SUBTYPES[suffix][0]
        if subtype not in SUBTYPES[suffix]:
            known = ", ".join(SUBTYPES[suffix])
            raise RecordingError(f"{self.path}: a {suffix} file cannot hold {subtype}", f"Choose one of {known}")
        return suffix == ".wav", subtype

    def _begin(self, utc_ns: int | None) -> None:
        """Open the file with its metadata, now that the start is known."""
        if utc_ns is not None:
            self._metadata.setdefault("start", utc_text(utc_ns))
        room = {"lost": " " * ROOM_FOR_GAPS} | ({} if self._wav else {"inputs": " " * ROOM_FOR_INPUTS})
        comment = json.dumps({**self._metadata, **room})
        if self._wav and len(comment) > WAV_TEXT:
            raise RecordingError(
                f"{self.path}: {len(comment)} bytes of metadata are too much for a WAV file",
                "Record to .flac",
            )
        kind = "WAV" if self._wav else "FLAC"
        self._file = soundfile.SoundFile(self._disk, "w", self.rate_hz, self.channels, self._subtype, format=kind)
        self._file.comment = comment

    def _note(self, block: SampleBlock) -> None:
        """What was read beside the sound, if it is new."""
        now = Change(self.frames, block.flags & READ_BESIDE, block.light, block.climate)
        before = self._changes[-1] if self._changes else Change(0)
        if replace(before, frame=self.frames) != now:
            self._changes.append(now)

    def _fill(self, lost: int) -> None:
        """Zeros for lost frames."""
        self._gaps.append((self.frames, lost))
        self.lost_frames += lost
        while lost:
            self._append(np.zeros((min(lost, ZEROS), self.channels), np.float32))
            lost -= min(lost, ZEROS)

    def _append(self, samples: Samples) -> None:
        """Samples to the disk, or the end of the recording."""
        words = samples if self._subtype == "FLOAT" else _words(samples, BITS[self._subtype])
        if self._wav and self._disk.size + words.nbytes > WAV_BYTES:
            self._give_up("a WAV file ends at 4 GiB; record to .flac")
        assert self._file is not None
        try:
            self._file.write(words)
        except (AssertionError, soundfile.LibsndfileError) as error:
            if not self._disk.error:
                self._give_up(str(error) or "libsndfile wrote less than it was given")
        if self._disk.error:
            self._give_up(self._disk.error)
        self.frames += len(samples)

    def _locate(self) -> None:
        """Find what is to be filled in later; libsndfile writes the header with the first samples."""
        if self._wav:
            self._data_at = riff_chunks(self.part).data_at
        head = self._disk.head(self._data_at or 1 << 20)
        for name, size in (("lost", ROOM_FOR_GAPS), ("inputs", ROOM_FOR_INPUTS)):
            found = head.find(f'"{name}": "'.encode() + b" " * size)
            self._room_at[name] = found + len(name) + 5 if found >= 0 else 0

    def _promise(self) -> None:
        """Let a WAV header tell how much is there, for the case that nobody comes to close the file."""
        if self._wav and self._data_at:
            size = self._disk.size
            self._disk.patch(4, struct.pack("<I", size - 8))
            self._disk.patch(self._data_at - 4, struct.pack("<I", size - self._data_at))

    def _give_up(self, why: str) -> None:
        """Keep what is there and say so."""
        self._open = False
        self._finish()
        raise self._fault(why)

    def _fault(self, why: str) -> RecordingError:
        return RecordingError(
            f"{self.path}: {why}; {self.seconds:.1f} s of sound are saved", "Make room, or record elsewhere"
        )

    def _finish(self) -> None:
        """Close the file, write the gaps into their place, give it its name."""
        assert self._file is not None
        try:
            self._file.close()
        except soundfile.LibsndfileError as error:
            self._disk.error = self._disk.error or str(error)
        gaps = ""
        for first, frames in self._gaps:
            gaps += f"{first}+{frames} " if len(gaps) < ROOM_FOR_GAPS - 48 else ""
        if gaps and self._room_at.get("lost"):
            self._disk.patch(self._room_at["lost"], gaps.encode())
        if self._changes and not self._disk.error:
            self._tell_inputs()
        if self._disk.error:
            self.frames = _mended(self.part, self._disk)
        self._disk.close()
        if self.frames:
            self.part.replace(self.path)
        else:
            self.part.unlink()

    def _tell_inputs(self) -> None:
        """What was read beside the sound: a chunk behind it in a WAV file, in its room in a FLAC file."""
        if self._wav:
            text = inputs_text(self._changes).encode()
            at = self._disk.size + self._disk.size % 2
            self._disk.patch(at, INPUTS_CHUNK + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2))
            self._disk.patch(4, struct.pack("<I", self._disk.size - 8))
        elif self._room_at.get("inputs"):
            self._disk.patch(self._room_at["inputs"], _fitting(self._changes, ROOM_FOR_INPUTS))


def _fitting(changes: list[Change], room: int) -> bytes:
    """As many of the changes as fit, as they stand inside a JSON string."""
    while True:
        text = json.dumps(inputs_text(changes))[1:-1].encode()
        if len(text) <= room:
            return text
        changes = changes[: min(len(changes) - 1, len(changes) * room // len(text))]


class _Disk:
    """The file beneath libsndfile. It remembers the system's error, and keeps only writes that went in
    whole."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._at = 0
        self.size = 0
        self.error = ""

    def write(self, data: bytes) -> int:
        """All of `data` at the present place, or nothing; after an error only what lies inside the file."""
        if self.error and self._at + len(data) > self.size:
            return 0
        if not self.patch(self._at, data):
            return 0
        self._at += len(data)
        return len(data)

    def patch(self, at: int, data: bytes) -> bool:
        """Write at a place of its own; False, and the file as long as before, if it does not go in."""
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._fd, data[done:], at + done)
        except OSError as error:
            self.error = self.error or (error.strerror or str(error))
            os.ftruncate(self._fd, self.size)
            return False
        self.size = max(self.size, at + len(data))
        return True

    def head(self, count: int) -> bytes:
        """The first bytes of the file."""
        return os.pread(self._fd, count, 0)

    def readinto(self, buffer: Any) -> int:
        """For libsndfile."""
        data = os.pread(self._fd, len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """For libsndfile."""
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def tell(self) -> int:
        """For libsndfile."""
        return self._at

    def close(self) -> None:
        """To the medium, and close."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            self.error = self.error or (error.strerror or str(error))
        os.close(self._fd)


def _words(samples: Samples, bits: int) -> npt.NDArray[np.int32]:
    """`samples` rounded to `bits`, left in 32-bit words as libsndfile takes them: exact for those already on
    the grid."""
    top = 2.0 ** (bits - 1)
    whole = np.clip(np.rint(samples.astype(np.float64) * top), -top, top - 1.0)
    return (whole * 2.0 ** (32 - bits)).astype(np.int32)


def _mended(path: Path, disk: _Disk) -> int:
    """Frames in a file whose end the disk did not take; a FLAC header, which could not be finished, is told
    of them."""
    try:
        recording = Recording(path)
    except RecordingError:
        return 0
    if recording.promised is None:
        while len(recording.read(ZEROS)):
            pass
        total = recording.position
        rate_and_bits = disk.head(26)[18:22]
        disk.patch(18, bytes([*rate_and_bits[:3], (rate_and_bits[3] & 0xF0) | total >> 32]))
        disk.patch(22, struct.pack(">I", total & 0xFFFF_FFFF))
    frames = recording.position or recording.promised or 0
    recording.close()
    return frames
