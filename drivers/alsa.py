"""Thin access to ALSA capture. alsaaudio is imported on open, so that a box without ALSA can replay
recordings.

pyalsaaudio negotiates in silence, so what was granted is compared with what was asked for. Its reads do not
wait: zero frames mean that there is nothing yet, a negative count that the device overran; it has been
prepared again then, but runs only from the next read on.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from typing import Any

import numpy as np

from gateway.errors import DeviceError
from gateway.types import Samples

BITS = {"S16_LE": 16, "S24_3LE": 24, "S32_LE": 32, "FLOAT_LE": 32}
"""Word length of each format that `decode` knows."""
NO_DEVICES = frozenset(
    {"null", "lavrate", "samplerate", "speexrate", "speex", "upmix", "vdownmix", "oss", "jack", "usbstream"}
)
"""Names that alsa-lib and its plugins list everywhere: converters, and ways to servers that are seldom
there."""
BUFFER_S = 0.5
"""What a device should keep while nobody reads."""

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
        self._pcm = _opened(device, rate_hz, sample_format, channels, period_frames)
        info = self._pcm.info()
        granted = (info["rate"], info["format_name"], info["channels"])
        if granted != (rate_hz, sample_format, channels):
            offer = _offer(self._pcm)
            self._pcm.close()
            raise _not_given(device, rate_hz, sample_format, channels, offer)
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
    alsaaudio = _alsaaudio()
    cards = [f"hw:{name}" for name in alsaaudio.cards()]
    return [name for name in alsaaudio.pcms(alsaaudio.PCM_CAPTURE) if name not in NO_DEVICES] + cards


def _opened(device: str, rate_hz: int, sample_format: str, channels: int, period_frames: int) -> Any:
    alsaaudio = _alsaaudio()
    try:
        return alsaaudio.PCM(
            alsaaudio.PCM_CAPTURE,
            alsaaudio.PCM_NONBLOCK,
            device=device,
            rate=rate_hz,
            channels=channels,
            format=getattr(alsaaudio, f"PCM_FORMAT_{sample_format}"),
            periodsize=period_frames,
            periods=max(4, round(rate_hz * BUFFER_S / period_frames)),
        )
    except alsaaudio.ALSAAudioError as error:
        try:
            pcm = alsaaudio.PCM(alsaaudio.PCM_CAPTURE, alsaaudio.PCM_NONBLOCK, device=device)
        except alsaaudio.ALSAAudioError:
            raise _missing(device, str(error)) from None
        offer = _offer(pcm)
        pcm.close()
        raise _not_given(device, rate_hz, sample_format, channels, offer) from None


def _missing(device: str, why: str) -> DeviceError:
    known = ", ".join(capture_devices())
    remedy = f"Capture devices here: {known}" if known else "This machine has no capture device: plug one in"
    return DeviceError(f"microphone {device} cannot be opened: {why}", remedy)


def _not_given(device: str, rate_hz: int, sample_format: str, channels: int, offer: str) -> DeviceError:
    wanted = f"{rate_hz} Hz {sample_format} in {_count(channels)}"
    return DeviceError(
        f"microphone {device} does not give {wanted}: it offers {offer}",
        "Set acquisition to one of these, or put plughw: or a plug device in front",
    )


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
