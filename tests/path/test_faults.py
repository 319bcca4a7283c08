"""Each fault in the sound of two microphones raises its flag and no other; the value stays right within its sigma."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from gateway.design import SETTINGS
from gateway.graph import Fitted, Graph, Step, fit
from gateway.nodes.place import start
from gateway.types import FULL_SCALE, NO_FLAGS, Flag, Flags, LockInResult
from tests.support.sound import blocks, noise, stereo, tone

RATE = 48_000
SECONDS = 4
SIGNAL = 0.01

Sound = npt.NDArray[np.float64]
Fault = Callable[[Sound, Sound], tuple[Sound, Sound]]


def sound() -> tuple[Sound, Sound]:
    """The gas in antiphase, noise of each microphone's own, and ten times as much from outside."""
    gas = tone(2012.5, SIGNAL, SECONDS, RATE)
    outside = noise(1e-4, SECONDS, RATE, 1)
    return gas + noise(1e-5, SECONDS, RATE, 2) + outside, -gas + noise(1e-5, SECONDS, RATE, 3) + 1.1 * outside


def knocked(a: Sound, b: Sound) -> tuple[Sound, Sound]:
    time = np.arange(len(a)) % RATE / RATE - 0.2
    knocks = np.where(time > 0.0, 0.5 * np.exp(-np.abs(time) / 0.002) * np.sin(2.0 * np.pi * 1500.0 * time), 0.0)
    return a + knocks, b + 1.1 * knocks


def humming(a: Sound, b: Sound) -> tuple[Sound, Sound]:
    hum = sum(tone(50.03 * k, 15.0 * SIGNAL / k, SECONDS, RATE, 0.7 * k) for k in range(1, 61))
    return a + hum, b + 1.1 * hum


def dead(a: Sound, b: Sound) -> tuple[Sound, Sound]:
    return np.zeros(len(a)), b


def stuck(a: Sound, b: Sound) -> tuple[Sound, Sound]:
    return a, np.full(len(b), 0.3)


def one_clipped(a: Sound, b: Sound) -> tuple[Sound, Sound]:
    return np.clip(a + tone(213.0, 1.1, SECONDS, RATE), -1.0, 1.0), b


def both_clipped(a: Sound, b: Sound) -> tuple[Sound, Sound]:
    """What clipping makes of the rumble is heard too: its 9th harmonic."""
    rumble = tone(213.0, 1.1, SECONDS, RATE)
    return np.clip(a + rumble, -1.0, 1.0), np.clip(b + rumble, -1.0, 1.0)


def heard(a: Sound, b: Sound) -> list[LockInResult]:
    """What lock_in says of A - B, a record a second."""
    steps = [
        Step("difference", "differential", SETTINGS["differential"].model_validate({}), None),
        Step("lock_in", "lock_in", SETTINGS["lock_in"].model_validate({}), "difference"),
    ]
    fitted = [found for found in fit(steps, start(RATE, 2, Fraction(4025, 2))) if isinstance(found, Fitted)]
    chain, found = Graph(fitted), []
    for block in blocks(stereo(a, b), RATE):
        flags = {Flag.OVERLOAD} if np.abs(block.samples).max() >= FULL_SCALE else NO_FLAGS
        found += chain.process(replace(block, flags=frozenset(flags)))
    return [result for result in found if isinstance(result, LockInResult)]


@pytest.mark.parametrize(
    ("fault", "flags"),
    [
        (lambda a, b: (a, b), NO_FLAGS),
        (knocked, {Flag.IMPULSE}),
        (humming, {Flag.TONE}),
        (dead, {Flag.MICROPHONE}),
        (stuck, {Flag.MICROPHONE}),
        (one_clipped, {Flag.MICROPHONE}),
        (both_clipped, {Flag.OVERLOAD, Flag.ESTIMATED, Flag.TONE}),
    ],
    ids=["none", "knocks", "hum", "dead", "stuck", "one clipped", "both clipped"],
)
def test_a_fault_raises_its_flag_and_no_other(fault: Fault, flags: Flags) -> None:
    found = heard(*fault(*sound()))
    assert len(found) == SECONDS
    for result in found:
        off = abs(complex(result.in_phase - 2.0 * SIGNAL, result.quadrature)) / result.sigma
        print(f"{result.in_phase / 2.0 / SIGNAL:.4f} of the signal, off by {off:.1f} sigma (limit 6), {result.flags}")
        assert off < 6.0
        assert result.flags == flags
        assert result.valid == (Flag.OVERLOAD not in flags)
        assert result.sigma < SIGNAL / 20.0
        assert (result.pair is None) == (Flag.MICROPHONE in flags)


def test_two_microphones_hear_little_of_what_is_outside() -> None:
    """The bound is the microphones' own noise, 1e-5 times the root of 2 in A - B, with a mismatch of 10 percent."""
    for result in heard(*sound())[1:]:
        assert result.sigma < 1.6 * 1e-5 * math.sqrt(2.0)
