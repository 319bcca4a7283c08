"""Many recordings at once: what the FILES of a command line stand for, and each of them computed anew where nothing
but the recording is at hand, in this process or on a machine with another disk.

What --config and --calibration name goes along as text (`Given`), in the form in which `record` packs it into a
recording, and comes back as packed JSON lines (`Recomputed`): a task of gateway/fleet.py, and in this process the very
same function.
"""

from __future__ import annotations

import asyncio
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import calibration, configured, detect, jsonlines, replay
from gateway.capture import recomputable
from gateway.errors import SpectrophoneError, UsageError

_SUFFIXES = (".wav", ".flac")
_CALIBRATION = "calibration.toml"


@dataclass(frozen=True, slots=True)
class Job:
    """One recording: `shown` as the user named it, `path` as any process of the machine finds it; `marked` if every
    object is to say `file`, what it came from.
    """

    shown: str
    path: str
    marked: bool


@dataclass(frozen=True, slots=True)
class Given:
    """What was given beside the recordings, without a file: the `board` of this machine, the packed configuration
    (empty: the recording's own) and the text of the calibration (empty: the configured one), which the user named
    `calibration_name`.
    """

    board: str
    configuration: Mapping[str, str] = field(default_factory=dict)
    calibration: str = ""
    calibration_name: str = ""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What became of a job: its JSON lines as UTF-8, packed by zlib, the `seconds` of sound that the recording
    promises, the `notes` that a user should read, and the `fault` that ended it too early, empty if there was none.
    """

    job: Job
    packed: bytes = zlib.compress(b"")
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    fault: str = ""

    @property
    def lines(self) -> str:
        """The JSON lines, each with its end."""
        return zlib.decompress(self.packed).decode()


def jobs(files: Iterable[Path]) -> list[Job]:
    """The recordings that `files` stand for, in their order: a directory for its .wav and .flac, by name.

    A single file is not marked; several, and those of a directory, are. Raises UsageError for a directory without any.
    """
    given = list(files)
    alone = len(given) == 1 and not given[0].is_dir()
    return [Job(str(file), str(file.absolute()), not alone) for path in given for file in _files(path)]


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    try:
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if not found:
        raise UsageError(f"{path} is a directory without recordings", "Name one with .wav or .flac files in it")
    yield from found


def given(config_file: Path | None, calibration_file: Path | None) -> Given:
    """What these files hold. Raises ConfigError for one with faults, UsageError where they do not fit each other."""
    configuration: dict[str, str] = {}
    if config_file is not None:
        checked = configured.prepare(config_file)
        config, _ = configured.accepted(checked)
        configuration = recomputable(checked)
        if calibration_file is not None:
            replay.calibrated(config, calibration_file, [])
    if calibration_file is None:
        return Given(detect.default(), configuration)
    calibration.load(calibration_file)
    return Given(detect.default(), configuration, calibration_file.read_text("utf-8"), str(calibration_file))


def recompute(job: Job, given: Given) -> Recomputed:
    """The recording through the very same path as live sound. What is wrong with it stands in the result's fault."""
    packer, packed = zlib.compressobj(level=1), []
    mark = {"file": job.shown} if job.marked else {}
    notes: tuple[str, ...] = ()
    seconds, fault = 0.0, ""

    def put(fields: dict[str, Any]) -> None:
        packed.append(packer.compress(f"{jsonlines.line(fields | mark)}\n".encode()))

    with tempfile.TemporaryDirectory() as name:
        try:
            recording = replay.prepare(Path(job.path), *_placed(given, Path(name)), given.board)
            notes, seconds = recording.notes, recording.seconds
            asyncio.run(_compute(recording, put))
        except SpectrophoneError as error:
            fault = "; ".join(str(error).splitlines())
    if fault and job.path not in fault:
        fault = f"{job.shown}: {fault}"
    names = {job.path: job.shown, str(Path(name, _CALIBRATION)): given.calibration_name}
    for here, shown in names.items():
        fault, notes = fault.replace(here, shown), tuple(note.replace(here, shown) for note in notes)
    return Recomputed(job, b"".join([*packed, packer.flush()]), seconds, notes, fault)


async def _compute(recording: replay.Replay, put: Callable[[dict[str, Any]], None]) -> None:
    async for tick in recording.ticks():
        for fields in jsonlines.objects(tick, live=tick.utc_ns is not None):
            put(fields)


def _placed(given: Given, directory: Path) -> tuple[Path | None, Path | None]:
    """Configuration and calibration as files in `directory`; None for what was not given."""
    configuration = replay.unpacked(given.configuration, directory) if given.configuration else None
    if not given.calibration:
        return configuration, None
    file = directory / _CALIBRATION
    file.write_text(given.calibration, "utf-8")
    return configuration, file
