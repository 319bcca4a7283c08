"""Thin access to ALSA capture and playback. alsaaudio is imported on open, so that a box without ALSA can replay
recordings.

pyalsaaudio negotiates in silence, so what was granted is compared with what was asked for. Its reads do not
wait: zero frames mean that there is nothing yet, a negative count that the device overran; it has been
prepared again then, but runs only from the next read on. Its writes do not wait either, and hide an underrun: they
prepare the device again and go on, so its state is looked at before each.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.errors import DeviceError
from gateway.types import Samples

Sound = npt.NDArray[np.float32] | npt.NDArray[np.float64]
"""What is played: [frames, channels], full scale +-1."""
BITS = {"S16_LE": 16, "S24_3LE": 24, "S32_LE": 32, "FLOAT_LE": 32}
"""Word length of each format that `decode` knows."""
NO_DEVICES = frozenset(
    {"null", "lavrate", "samplerate", "speexrate", "speex", "upmix", "vdownmix", "oss", "jack", "usbstream"}
)
"""Names that alsa-lib and its plugins list everywhere: converters, and ways to servers that are seldom
there."""
BUFFER_S = 0.5
"""What a device should keep while nobody reads."""


@dataclass(frozen=True, slots=True)
class _Stream:
    """A direction: alsaaudio's name of it, what the device is to us, and how such devices are called."""

    name: str
    role: str
    kind: str


_CAPTURE = _Stream("PCM_CAPTURE", "microphone", "Capture")
_PLAYBACK = _Stream("PCM_PLAYBACK", "laser's output", "Playback")
_SAY_NOTHING = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)(
    lambda *_: None
)
"""Takes what alsa-lib would print to standard error."""


class Capture:
    """A device open for capture, not waiting and not running yet; the first read starts it.

    It is asked to wake its reader every `period_frames`. Raises DeviceError for a device that is missing,
    busy, or gives something else than was asked for.
    """

    def __init__(self, device: str, rate_hz: int, sample_format: str, channels: int, period_frames: int) -> None:
        self.device = device
        self._format, self._channels = sample_format, channels
        periods = max(4, round(rate_hz * BUFFER_S / period_frames))
        self._pcm = _opened(_CAPTURE, device, rate_hz, sample_format, channels, period_frames, periods)
        self.descriptors: list[int] = [fd for fd, _ in self._pcm.polldescriptors()]

    def read(self) -> tuple[int, Samples]:
        """Frames read and the samples, float32 [frames, channels]; (0, none) if there are none yet, (-1,
        none) after an overrun. Raises DeviceError when the device is gone.
        """
        try:
            frames, data = self._pcm.read()
        except _alsaaudio().ALSAAudioError as error:
            raise DeviceError(
                f"microphone {self.device} is gone: {error}", "Plug it in again, or look at its sound server"
            ) from None
        if frames <= 0:
            return max(frames, -1), np.empty((0, self._channels), np.float32)
        return frames, decode(data, self._format, self._channels)

    def close(self) -> None:
        """Give the device back; may be called twice."""
        self._pcm.close()


class Playback:
    """A device open for playback, not waiting; it runs from the first write on, and stops when it has played all.

    It is asked to wake its writer every `period_frames`, and never keeps more than `buffer_frames`. Raises DeviceError
    as Capture does. Everything may be called from any thread, one at a time.
    """

    def __init__(
        self, device: str, rate_hz: int, sample_format: str, channels: int, period_frames: int, buffer_frames: int
    ) -> None:
        self.device = device
        self._format, self._channels = sample_format, channels
        periods = buffer_frames // period_frames
        self._pcm = _opened(_PLAYBACK, device, rate_hz, sample_format, channels, period_frames, periods)
        self._beyond: int = max(0, self._pcm.info()["buffer_size"] - buffer_frames)
        self.descriptors: list[tuple[int, int]] = self._pcm.polldescriptors()

    @property
    def running(self) -> bool:
        """Whether it plays: False before the first write, after an underrun, drop() or close(), and when it is gone."""
        return self._is("RUNNING")

    def free(self) -> int:
        """Frames that it takes now, 0 after an underrun. Raises DeviceError when the device is gone."""
        try:
            return max(0, int(self._pcm.avail()) - self._beyond)
        except _alsaaudio().ALSAAudioError as error:
            return self._ran_dry(error)

    def write(self, samples: Sound) -> int:
        """Hand [frames, channels] over; frames taken, 0 after an underrun. Raises DeviceError when it is gone."""
        try:
            return int(self._pcm.write(encode(samples, self._format)))
        except _alsaaudio().ALSAAudioError as error:
            return self._ran_dry(error)

    def drop(self) -> None:
        """Stop at once and forget what was not played yet; the next write starts it again. Nothing where it is gone."""
        with contextlib.suppress(_alsaaudio().ALSAAudioError):
            self._pcm.drop()

    def close(self) -> None:
        """Stop and give the device back; may be called twice."""
        self.drop()
        self._pcm.close()

    def _is(self, state: str) -> bool:
        try:
            return bool(self._pcm.state() == getattr(_alsaaudio(), f"PCM_STATE_{state}"))
        except _alsaaudio().ALSAAudioError:
            return False

    def _ran_dry(self, error: Exception) -> int:
        """0 if an underrun is all that is wrong."""
        if self._is("XRUN"):
            return 0
        why = f"{_PLAYBACK.role} {self.device} is gone: {error}"
        raise DeviceError(why, "Plug it in again, or look at its sound server") from None


def encode(samples: Sound, sample_format: str) -> bytes:
    """[frames, channels] of full scale +-1 as interleaved little-endian words; what is louder is clipped."""
    if sample_format == "FLOAT_LE":
        return samples.astype("<f4").tobytes()
    bits = BITS[sample_format]
    top = 2.0 ** (bits - 1)
    words = np.rint(np.minimum(np.maximum(samples * np.float64(top), -top), top - 1.0))
    words = words.astype("<i2" if bits == 16 else "<i4")
    if bits == 24:
        return bytes(words.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    return bytes(words.tobytes())


def decode(data: bytes, sample_format: str, channels: int) -> Samples:
    """Interleaved little-endian words as float32 [frames, channels], full scale +-1."""
    if sample_format == "FLOAT_LE":
        return np.frombuffer(data, "<f4").reshape(-1, channels).astype(np.float32)
    if sample_format == "S24_3LE":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        words = wide.view("<i4")
    else:
        words = np.frombuffer(data, "<i2" if sample_format == "S16_LE" else "<i4")
    scale = np.float32(2.0 ** -(15 if sample_format == "S16_LE" else 31))
    return words.reshape(-1, channels).astype(np.float32) * scale


def capture_devices() -> list[str]:
    """Names of the capture devices that ALSA knows: those of its configuration, then the cards. DeviceError
    without ALSA."""
    return _devices(_CAPTURE)


def _devices(stream: _Stream) -> list[str]:
    alsaaudio = _alsaaudio()
    cards = [f"hw:{name}" for name in alsaaudio.cards()]
    return [name for name in alsaaudio.pcms(getattr(alsaaudio, stream.name)) if name not in NO_DEVICES] + cards


def _opened(
    stream: _Stream, device: str, rate_hz: int, sample_format: str, channels: int, period_frames: int, periods: int
) -> Any:
    alsaaudio = _alsaaudio()
    direction = getattr(alsaaudio, stream.name)
    try:
        pcm = alsaaudio.PCM(
            direction,
            alsaaudio.PCM_NONBLOCK,
            device=device,
            rate=rate_hz,
            channels=channels,
            format=getattr(alsaaudio, f"PCM_FORMAT_{sample_format}"),
            periodsize=period_frames,
            periods=periods,
        )
        info = pcm.info()
        if (info["rate"], info["format_name"], info["channels"]) == (rate_hz, sample_format, channels):
            return pcm
    except alsaaudio.ALSAAudioError as error:
        try:
            pcm = alsaaudio.PCM(direction, alsaaudio.PCM_NONBLOCK, device=device)
        except alsaaudio.ALSAAudioError:
            raise _missing(stream, device, str(error)) from None
    offer = _offer(pcm)
    pcm.close()
    wanted = f"{rate_hz} Hz {sample_format} in {_count(channels)}"
    raise DeviceError(
        f"{stream.role} {device} does not give {wanted}: it offers {offer}",
        "Set acquisition to one of these, or put plughw: or a plug device in front",
    )


def _missing(stream: _Stream, device: str, why: str) -> DeviceError:
    known = ", ".join(_devices(stream))
    kind = stream.kind
    remedy = f"{kind} devices here: {known}" if known else f"This machine has no {kind.lower()} device: plug one in"
    return DeviceError(f"{stream.role} {device} cannot be opened: {why}", remedy)


def _offer(pcm: Any) -> str:
    """What the device could give, in words. Its channels are those it gave: asking alsaaudio for all it could
    give makes a list of billions for devices without a bound.
    """
    formats = [name for name in BITS if name in pcm.getformats()]
    rates = pcm.getrates()
    if isinstance(rates, tuple):
        rate_text = f"{rates[0]} to {rates[1]} Hz"
    else:
        rate_text = ", ".join(str(rate) for rate in (rates if isinstance(rates, list) else [rates])) + " Hz"
    return f"{', '.join(formats) or 'no format known here'}; {rate_text}; {_count(pcm.info()['channels'])}"


def _count(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


@functools.cache
def _alsaaudio() -> Any:
    """The library, told to keep its own complaints to itself: ours name device and remedy. Raises DeviceError
    where it is not installed."""
    try:
        import alsaaudio
    except ImportError as error:
        raise DeviceError(f"ALSA cannot be used: {error}", "pip install pyalsaaudio") from None
    with contextlib.suppress(OSError):
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_SAY_NOTHING)
    return alsaaudio
