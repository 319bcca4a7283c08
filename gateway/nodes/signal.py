"""The signal nodes without memory: input, output, gain, differential, channel_mixer, channel_selector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

from gateway.config.settings import Settings
from gateway.nodes.place import Channel, NodeFault, Place, one_channel
from gateway.types import SampleBlock, Samples


def mixed(place: Place, weights: Sequence[float]) -> Place:
    """The place behind a weighted sum of the channels."""
    columns = zip(*place.mix, strict=True)
    row = tuple(sum(weight * part for weight, part in zip(weights, column, strict=True)) for column in columns)
    return replace(place, channels=1, mix=(row,))


class NoSettings(Settings):
    """A node without options."""


class Memoryless:
    """A node whose output at a frame depends on that frame alone."""

    STATE = ()

    def __init__(self, place: Place) -> None:
        self.after = place

    def process(self, block: SampleBlock) -> SampleBlock:
        """See SignalNode."""
        return block

    def transformed(self, block: SampleBlock, samples: Samples) -> SampleBlock:
        """`block` with other samples, read-only."""
        samples.flags.writeable = False
        return replace(block, samples=samples)


class Pass(Memoryless):
    """`input`, where the sound comes in, and `output`, a named end: both pass it on unchanged."""

    Settings = NoSettings

    def __init__(self, name: str, settings: NoSettings, place: Place) -> None:
        super().__init__(place)


class GainSettings(Settings):
    """Settings of a gain node."""

    gain_db: float = Field(ge=-120, le=120, description="gain in decibels: 20 log10 of the amplitude ratio")


class Gain(Memoryless):
    """Multiplies by 10^(gain_db/20)."""

    Settings = GainSettings

    def __init__(self, name: str, settings: GainSettings, place: Place) -> None:
        factor = 10.0 ** (settings.gain_db / 20.0)
        super().__init__(replace(place, mix=tuple(tuple(factor * weight for weight in row) for row in place.mix)))
        self._factor = np.float32(factor)

    def process(self, block: SampleBlock) -> SampleBlock:
        """See SignalNode."""
        return self.transformed(block, block.samples * self._factor)


class Differential(Memoryless):
    """A - B: sound common to both microphones cancels, sound in antiphase doubles. Stereo in, mono out."""

    Settings = NoSettings

    def __init__(self, name: str, settings: NoSettings, place: Place) -> None:
        if place.channels != 2:
            raise NodeFault("type", "differential needs two channels, and the sound is mono here", "Remove this node")
        super().__init__(mixed(place, (1.0, -1.0)))

    def process(self, block: SampleBlock) -> SampleBlock:
        """See SignalNode."""
        return self.transformed(block, block.samples[:, :1] - block.samples[:, 1:])


class MixerSettings(Settings):
    """Settings of a channel_mixer node."""

    weights: list[float] = Field(min_length=1, max_length=2, description="weight of channel A, and of B in stereo")


class ChannelMixer(Memoryless):
    """Weighted sum of the channels: mono out."""

    Settings = MixerSettings

    def __init__(self, name: str, settings: MixerSettings, place: Place) -> None:
        if len(settings.weights) != place.channels:
            message = f"{len(settings.weights)} weights for {place.channels} channels"
            raise NodeFault("weights", message, f"Write {place.channels}")
        super().__init__(mixed(place, settings.weights))
        self._weights = np.array(settings.weights, np.float32).reshape(-1, 1)

    def process(self, block: SampleBlock) -> SampleBlock:
        """See SignalNode."""
        weighted = block.samples * self._weights[:, 0]
        return self.transformed(block, weighted.sum(axis=1, keepdims=True, dtype=np.float32))


class SelectorSettings(Settings):
    """Settings of a channel_selector node."""

    channel: Channel = Field("A", description="the channel that is kept: A or B")


class ChannelSelector(Memoryless):
    """One channel of stereo: mono out."""

    Settings = SelectorSettings

    def __init__(self, name: str, settings: SelectorSettings, place: Place) -> None:
        self._channel = place.channel(settings.channel)
        super().__init__(replace(place, channels=1, mix=(place.mix[self._channel],)))

    def process(self, block: SampleBlock) -> SampleBlock:
        """See SignalNode."""
        return self.transformed(block, one_channel(block.samples, self._channel).copy())
