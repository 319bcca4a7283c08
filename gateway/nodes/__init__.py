"""One file per kind of graph node. A new node is one new file and one line in SIGNAL or COMPUTING."""

from __future__ import annotations

from typing import Any

from gateway.config.settings import Settings
from gateway.nodes.concentration import Concentration
from gateway.nodes.filter import Filter
from gateway.nodes.level import Level
from gateway.nodes.lock_in import LockIn
from gateway.nodes.peak_finder import PeakFinder
from gateway.nodes.signal import ChannelMixer, ChannelSelector, Differential, Gain, Pass
from gateway.nodes.spectrum import SpectrumNode

SIGNAL: dict[str, Any] = {
    "input": Pass,
    "filter": Filter,
    "gain": Gain,
    "differential": Differential,
    "channel_mixer": ChannelMixer,
    "channel_selector": ChannelSelector,
    "output": Pass,
}
"""Sound in, sound out."""

COMPUTING: dict[str, Any] = {
    "lock_in": LockIn,
    "peak_finder": PeakFinder,
    "level": Level,
    "spectrum": SpectrumNode,
    "concentration": Concentration,
}
"""Sound in, results out."""

AT_THE_MICROPHONE = frozenset({"lock_in", "peak_finder"})
"""Computing nodes that get the microphones' own sound, and mix it themselves as the nodes before them would."""

WITHOUT_SOUND = frozenset({"concentration"})
"""Computing nodes that look at results only."""

KINDS = SIGNAL | COMPUTING

SETTINGS: dict[str, type[Settings]] = {kind: node.Settings for kind, node in KINDS.items()}
"""The settings of the nodes that sound goes through; action nodes have theirs in gateway/actions."""
