"""Graphs for tests: a chain of nodes in one line, sound through it, and what it means that two results are the same."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from gateway.graph import Fitted, Graph, Step, fit
from gateway.nodes import SETTINGS
from gateway.nodes.place import LaserPhase, start
from gateway.types import LockInResult, Result, Spectrum
from tests.support.sound import blocks

RATE = 48_000
REFERENCE = Fraction(4025, 2)
SAME_CODEC = LaserPhase()


def graph(
    *nodes: tuple[str, dict[str, Any]], rate_hz: int = RATE, channels: int = 2, phase: LaserPhase = SAME_CODEC
) -> Graph:
    """A chain of (kind, parameters); each node's id is its kind and place: lock_in0."""
    steps, feeder = [], None
    for index, (kind, parameters) in enumerate(nodes):
        steps.append(Step(f"{kind}{index}", kind, SETTINGS[kind].model_validate(parameters), feeder))
        feeder = steps[-1].id
    fitted = []
    for found in fit(steps, start(rate_hz, channels, REFERENCE, phase)):
        if not isinstance(found, Fitted):
            raise found[1]
        fitted.append(found)
    return Graph(fitted)


def results(
    chain: Graph, samples: np.ndarray, sizes: int | list[int] = 4800, rate_hz: int = RATE, **more: Any
) -> list[Result]:
    """All that `chain` says of `samples`, cut into blocks of `sizes`."""
    return [result for block in blocks(samples, rate_hz, sizes, **more) for result in chain.process(block)]


_APART = ("source", "pair", "clock_offset_ppm")


def same(one: Result, other: Result) -> bool:
    """Whether two results differ by no more than the order in which float32 numbers are added."""
    if isinstance(one, Spectrum):
        assert isinstance(other, Spectrum)
        return one.t_ns == other.t_ns and bool(np.array_equal(one.power, other.power, equal_nan=True))
    if isinstance(one, LockInResult):
        assert isinstance(other, LockInResult)
        pairs = [(*pair.phasors, *np.ravel(pair.covariance)) for r in (one, other) if (pair := r.pair)]
        assert not pairs or np.allclose(*pairs, rtol=1e-5, atol=1e-9)
        clocks = [r.clock_offset_ppm or 0.0 for r in (one, other)]  # a small difference of large numbers
        assert math.isclose(*clocks, rel_tol=0.0, abs_tol=1e-4 * (one.sigma_clock_offset_ppm or 0.0))
    left, right = ({k: getattr(r, k) for k in r.__slots__ if k not in _APART} for r in (one, other))
    return all(_alike(value, right[key]) for key, value in left.items())


def _alike(one: object, other: object) -> bool:
    if not isinstance(one, float) or not isinstance(other, float):
        return one == other
    return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
