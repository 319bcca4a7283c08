"""What every microphone does to its samples before anybody sees them."""

from __future__ import annotations

import numpy as np

from gateway.types import FULL_SCALE, NO_FLAGS, Flag, Flags, Samples


def condition(samples: Samples) -> tuple[Samples, Flags]:
    """`samples` made read-only, with zeros for NaN and infinities, and what is wrong with them.

    OVERLOAD: a sample is at full scale. NOT_FINITE: there were NaN or infinities. float32 [frames, channels].
    """
    flags = set()
    if samples.size and not (np.isfinite(samples.min()) and np.isfinite(samples.max())):
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        flags.add(Flag.NOT_FINITE)
    if samples.size and max(samples.max(), -samples.min()) >= FULL_SCALE:
        flags.add(Flag.OVERLOAD)
    samples.flags.writeable = False
    return samples, frozenset(flags) if flags else NO_FLAGS
