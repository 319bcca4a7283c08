"""Where a node stands in the graph, and the fault it may find with its settings there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from gateway.nodes.front import FrontEnd
from gateway.types import Samples

Channel = Literal["A", "B"]


@dataclass(frozen=True, slots=True)
class LaserPhase:
    """How the laser's phase is known; for loopback, on which channel the modulation comes in; how the laser follows the
    cell's resonance.
    """

    kind: Literal["same_codec", "loopback", "free"] = "same_codec"
    channel: Channel = "B"
    track: Literal["off", "feed_forward", "pll", "dither"] = "off"


@dataclass(frozen=True, slots=True)
class Place:
    """What arrives at a node: the sound's rate and channels, and what the nodes before it do to a tone.

    `front` is where lock_ins listen; `laser` says what they hear there. `mix`, one row per arriving channel, says with
    which weights it is made of the microphones' channels. `response(f)` is the complex gain at f hertz of the filters
    before it; `settling_s` how long they ring after a break in the sound.
    """

    rate_hz: int
    channels: int
    front: FrontEnd
    laser: LaserPhase
    mix: tuple[tuple[float, ...], ...]
    response: Callable[[float], complex] = lambda _frequency_hz: 1.0 + 0.0j
    settling_s: float = 0.0

    @property
    def reference(self) -> Fraction:
        """The laser's modulation frequency, exact, in hertz, as long as it is not changed."""
        return self.front.laser

    def channel(self, name: Channel) -> int:
        """Index of channel A or B; NodeFault where the sound has no such channel."""
        index = "AB".index(name)
        if index >= self.channels:
            raise NodeFault("channel", "channel B does not exist here: the sound is mono", "Write A")
        return index


def start(rate_hz: int, channels: int, laser: Fraction, phase: LaserPhase = LaserPhase()) -> Place:
    """The place of the first node, at the microphones; `laser`: its modulation frequency in hertz."""
    unity = tuple(tuple(float(row == column) for column in range(channels)) for row in range(channels))
    return Place(rate_hz, channels, FrontEnd(rate_hz, channels, laser), phase, unity)


class NodeFault(Exception):
    """A setting that cannot work where the node stands: the option, what is wrong, and what would be right."""

    def __init__(self, option: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{option}: {message}. {remedy}")
        self.option = option
        self.message = message
        self.remedy = remedy


def one_channel(samples: Samples, channel: int) -> Samples:
    """Channel `channel` of float32 [frames, channels], as float32 [frames, 1]."""
    return samples if samples.shape[1] == 1 else samples[:, channel : channel + 1]
