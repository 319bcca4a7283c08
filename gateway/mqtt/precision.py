"""How many decimals of a gas are worth showing: as many as its noise leaves.

decimals = max(0, ceil(-log10(sigma))), with one standard deviation of a single value, so that the first digit that
noise moves is the last one shown. What was settled once stays: a sigma must leave its decade by a factor of two before
the decimals follow it, and not more than once between two starts of the gateway.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from gateway.types import Measurement

VALUES = 10
"""Valid values of a gas whose median sigma settles it."""
MOST = 6
_SLACK = 2.0


def decimals_of(sigma: float) -> int:
    """Decimals of values with that standard deviation, at most MOST."""
    if not math.isfinite(sigma) or sigma <= 0.0:
        return MOST
    return max(0, min(MOST, math.ceil(-math.log10(sigma))))


class Precision:
    """The decimals of each gas, by node."""

    def __init__(self, known: Mapping[str, int]) -> None:
        """`known`: those to begin with."""
        self.decimals = dict(known)
        self._sigmas: dict[str, list[float]] = {}
        self._settled: set[str] = set()

    def take(self, value: Measurement) -> bool:
        """Whether this value settles decimals that are not those known."""
        if value.node in self._settled or not value.valid or value.sigma is None:
            return False
        sigmas = self._sigmas.setdefault(value.node, [])
        sigmas.append(value.sigma)
        if len(sigmas) < VALUES:
            return False
        self._settled.add(value.node)
        sigma, known = median(self._sigmas.pop(value.node)), self.decimals[value.node]
        if decimals_of(_SLACK * sigma) <= known <= decimals_of(sigma / _SLACK):
            return False
        self.decimals[value.node] = decimals_of(sigma)
        return True
