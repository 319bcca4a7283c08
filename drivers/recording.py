"""Recordings to read: WAV and FLAC through libsndfile, and the faults that libsndfile passes over in silence.

libsndfile takes a WAV file that is shorter than its header says for a shorter one; here the header's promise
is read from the file itself and kept until the sound ends. It also drops WAV comments longer than 2 kB when
it reads them; here they are read from their chunk. The comment of our own recordings is a JSON object of
strings (configuration, calibrations, start, software, box); `lost` lists the gaps as "FRAME+FRAMES
FRAME+FRAMES", `inputs` what was read beside the sound, as JSON: [frame, flags, light, climate] for each change. In a
WAV file `inputs` stands in a chunk of its own behind the sound.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from gateway.errors import RecordingError
from gateway.types import NO_FLAGS, Climate, Flag, Flags, Light, Samples

FORMATS = ("WAV", "WAVEX", "RF64", "FLAC")
SECONDS = "%Y-%m-%dT%H:%M:%S"
INPUTS_CHUNK = b"sphn"
"""Our chunk in a WAV file."""
READ_BESIDE: Flags = frozenset({Flag.LASER_OFF, Flag.WARM_UP})
"""The flags that cannot be told from the sound itself."""
UNKNOWN = 1 << 62
"""libsndfile says more frames than this where a file does not say how many it has."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was read beside the sound from `frame` of the recording on."""

    frame: int
    flags: Flags = NO_FLAGS
    light: Light | None = None
    climate: Climate | None = None


class Recording:
    """An open recording. Raises RecordingError with the path and what is wrong with the file.

    `promised` is the number of frames that the header announces, None where it does not; `position` the next
    frame to be read; `start_utc_ns` the wall clock at frame 0, None where nobody wrote it down; `gaps` the
    lost frames as (first, frames), in order; `changes` what was read beside the sound, in order, none at frame 0 if
    nothing is known.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = _opened(self.path)
        self.rate_hz: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.position = 0
        self._broken = False
        try:
            chunks = riff_chunks(self.path) if self._file.format in ("WAV", "WAVEX") else None
            self.promised = self._promise(chunks)
            self.metadata = _metadata(chunks.comment if chunks else self._file.comment)
            if chunks and chunks.inputs:
                self.metadata["inputs"] = chunks.inputs
            self.start_utc_ns = _start(self.path, self.metadata)
            self.gaps = _gaps(self.path, self.metadata)
            self.changes = _changes(self.path, self.metadata.get("inputs", ""))
        except RecordingError:
            self.close()
            raise

    def read(self, frames: int) -> Samples:
        """The next samples, float32 [up to `frames`, channels], full scale +-1; none at the end.

        Raises RecordingError where the sound ends before what the header promised.
        """
        want = frames if self.promised is None else min(frames, self.promised - self.position)
        samples = np.empty((0, self.channels), np.float32)
        if want and not self._broken:
            samples = self._whole(want)
            self.position += len(samples)
            self._broken = len(samples) < want
        if want and not len(samples) and self.promised is not None:
            raise RecordingError(
                f"{self.path} is cut short: {self.position} of {self.promised} frames could be read",
                "Copy the file again from where it was recorded",
            )
        return samples

    def rewind(self) -> None:
        """Go back to frame 0."""
        self._file.seek(0)
        self.position = 0

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def _whole(self, want: int) -> Samples:
        """As many of the next `want` frames as can be decoded."""
        try:
            return self._file.read(want, dtype="float32", always_2d=True)  # type: ignore[no-any-return]
        except soundfile.LibsndfileError:
            return self._salvaged(want)

    def _salvaged(self, want: int) -> Samples:
        """Frames before the damage: libsndfile gives up a whole read for a fault at its end, so halve it."""
        parts: list[Samples] = [np.empty((0, self.channels), np.float32)]
        first = self.position
        while want:
            try:
                with soundfile.SoundFile(self.path) as file:
                    file.seek(first)
                    parts.append(file.read(want, dtype="float32", always_2d=True))
            except soundfile.LibsndfileError:
                want //= 2
                continue
            first += len(parts[-1])
            if not len(parts[-1]):
                break
        return np.concatenate(parts)

    def _promise(self, chunks: Chunks | None) -> int | None:
        """Frames that the header announces. Raises RecordingError for a file with none or too many
        channels."""
        if self.channels > 2:
            raise RecordingError(
                f"{self.path} has {self.channels} channels",
                "Only 1 or 2 can be measured: keep the microphones' own",
            )
        if chunks and chunks.data_bytes == 0 and chunks.bytes_after:
            raise RecordingError(f"{self.path} was never closed: its header promises no sound")
        frames: int = self._file.frames
        if chunks and chunks.data_bytes < 0xFFFFFFFF:
            frames = chunks.data_bytes // chunks.frame_bytes
        if frames == 0:
            raise RecordingError(f"{self.path} holds no sound: 0 frames", "Record again")
        return frames if frames < UNKNOWN else None


def read_metadata(path: Path | str) -> dict[str, str]:
    """What was written beside the sound; a comment that is not ours comes as {"comment": text}.

    Raises RecordingError if the file cannot be read as a recording.
    """
    recording = Recording(path)
    recording.close()
    return recording.metadata


@dataclass(frozen=True, slots=True)
class Chunks:
    """What a WAV file says of itself: bytes of sound announced, where they begin, what follows, the comment, and what
    was read beside the sound.
    """

    frame_bytes: int
    data_at: int
    data_bytes: int
    bytes_after: int
    comment: str
    inputs: str


def riff_chunks(path: Path) -> Chunks:
    """Walk over the chunks of a WAV file. Raises RecordingError if the sound's own are not there."""
    frame_bytes = data_at = data_bytes = 0
    comment = inputs = ""
    size = path.stat().st_size
    with path.open("rb") as file:
        for name, at, length in _chunks(file, 12, size):
            file.seek(at)
            if name == b"fmt ":
                frame_bytes = struct.unpack("<12xH", file.read(14).ljust(14, b"\0"))[0]
            elif name == b"data" and not data_at:
                data_at, data_bytes = at, length
            elif name == INPUTS_CHUNK:
                inputs = file.read(length).rstrip(b"\0").decode("utf-8", "replace")
            elif name == b"LIST" and file.read(4) == b"INFO":
                for tag, place, count in _chunks(file, at + 4, min(at + length, size)):
                    if tag == b"ICMT":
                        file.seek(place)
                        comment = file.read(count).rstrip(b"\0").decode("utf-8", "replace")
    if not (frame_bytes and data_at):
        raise RecordingError(f"{path} has a damaged header: its sound cannot be found", "Copy the file again")
    return Chunks(frame_bytes, data_at, data_bytes, size - data_at, comment, inputs)


def _chunks(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of each chunk between `at` and `end`, as announced."""
    while at + 8 <= end:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        yield name, at + 8, length
        at += 8 + length + length % 2


def _opened(path: Path) -> soundfile.SoundFile:
    """The file, open. Raises RecordingError saying why it cannot be."""
    try:
        if path.stat().st_size == 0:
            raise RecordingError(f"{path} is empty: 0 bytes", "Record again")
        with path.open("rb"):
            pass
        file = soundfile.SoundFile(path)
    except FileNotFoundError:
        raise RecordingError(f"{path} does not exist", "Check the name and the directory") from None
    except IsADirectoryError:
        raise RecordingError(f"{path} is a directory", "Name a WAV or FLAC file in it") from None
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}") from None
    except soundfile.LibsndfileError as error:
        raise RecordingError(
            f"{path} is not a sound file, or its header is damaged: {error.error_string.rstrip('. ')}",
            "Give a WAV or FLAC recording",
        ) from None
    if file.format not in FORMATS:
        file.close()
        raise RecordingError(f"{path} is a {file.format} file", "Give WAV or FLAC: they keep every sample")
    return file


def _metadata(comment: str) -> dict[str, str]:
    """The comment's JSON object."""
    try:
        found = json.loads(comment)
    except ValueError:
        found = comment.strip()
    if isinstance(found, dict):
        texts = {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
        texts |= {key: texts.get(key, "").strip() for key in ("lost", "inputs")}
        return {key: value for key, value in texts.items() if key not in ("lost", "inputs") or value}
    return {"comment": comment.strip()} if comment.strip() else {}


def _start(path: Path, metadata: dict[str, str]) -> int | None:
    """`start` as nanoseconds since 1970."""
    if "start" not in metadata:
        return None
    try:
        return utc_ns_of(metadata["start"])
    except ValueError:
        raise RecordingError(
            f"{path}: its start {metadata['start']!r} is not a time such as 2026-11-22T12:00:00.000000000Z"
        ) from None


def _gaps(path: Path, metadata: dict[str, str]) -> tuple[tuple[int, int], ...]:
    """`lost` as numbers."""
    try:
        pairs = [tuple(int(n) for n in gap.split("+")) for gap in metadata.get("lost", "").split()]
        return tuple(sorted((first, frames) for first, frames in pairs if first >= 0 and frames > 0))
    except ValueError:
        raise RecordingError(f"{path}: its list of lost frames {metadata['lost']!r} cannot be read") from None


def inputs_text(changes: Sequence[Change]) -> str:
    """Changes as the text that a recording holds, whole numbers of hertz as fractions."""
    told = []
    for change in changes:
        light, climate = change.light, change.climate
        lit = None if light is None else [str(light.frequency), light.duty, light.power_w]
        air = None if climate is None else [climate.temperature_c, climate.humidity_percent, climate.pressure_pa]
        told.append([change.frame, sorted(change.flags), lit, air])
    return json.dumps(told, separators=(",", ":"))


def _changes(path: Path, text: str) -> tuple[Change, ...]:
    """The reverse of `inputs_text`."""
    if not text:
        return ()
    try:
        found = []
        for frame, flags, lit, air in json.loads(text):
            light = None if lit is None else Light(Fraction(lit[0]), float(lit[1]), float(lit[2]))
            climate = None if air is None else Climate(*air)
            found.append(Change(int(frame), frozenset(Flag(flag) for flag in flags), light, climate))
    except (ValueError, TypeError, IndexError, ZeroDivisionError):
        message = f"{path}: what was read beside the sound cannot be understood: {text[:60]}"
        raise RecordingError(message, "Record again, or remove its metadata") from None
    return tuple(sorted(found, key=lambda change: change.frame))


def utc_text(utc_ns: int) -> str:
    """Nanoseconds since 1970 as ISO 8601 text that keeps them all: 2026-11-22T12:00:00.000000000Z."""
    seconds, ns = divmod(utc_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime(SECONDS) + f".{ns:09d}Z"


def utc_ns_of(text: str) -> int:
    """The reverse of `utc_text`; ValueError for anything else."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    if not text.endswith("Z") or not (fraction + "0").isdecimal() or len(fraction) > 9:
        raise ValueError(text)
    seconds = int(datetime.strptime(whole, SECONDS).replace(tzinfo=UTC).timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))
