"""The whole path where laser and microphone have two clocks: configuration in, flags and values out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway import configured, design
from gateway.errors import SpectrophoneError
from gateway.types import Flag, LockInResult, Measurement, Result
from tests.support.sound import blocks, noise, stereo, tone

RATE, FREQUENCY_HZ = 48_000, 2012.5
CONFIG = """
board: sim
laser: {{frequency_hz: 2012.5, {laser}}}
processing:
  default_graph:
    id: default
    nodes:
      - {{id: lock, type: lock_in, parameters: {{integration_s: 1}}}}
      - {{id: ppm, type: concentration, parameters: {{source: lock, polynomial_coefficients: [0, 1.0e+6]}}}}
"""


def heard(directory: Path, laser: str, samples: np.ndarray) -> Iterator[Result]:
    """What the path makes of `samples` with this configuration of the laser."""
    file = directory / "box.yaml"
    file.write_text(CONFIG.format(laser=laser))
    config, board = configured.accepted(configured.prepare(file))
    path = design.path(config, board, design.sound(config, board))
    for block in blocks(samples, RATE):
        yield from path.tick(block, ()).results


def pair(ppm: float, seconds: float, sound: float, loopback: float) -> np.ndarray:
    """A microphone with a tone of amplitude 1e-3 in noise of density `sound`, and the modulation on channel B."""
    hertz = FREQUENCY_HZ * (1.0 + 1e-6 * ppm)
    quiet = noise(1e-6, seconds, RATE, 2)
    return stereo(
        tone(hertz, 1e-3, seconds, RATE) + noise(sound, seconds, RATE, 1), tone(hertz, loopback, seconds, RATE) + quiet
    )


@pytest.mark.parametrize("ppm", [0.0, 10.0, 50.0, 100.0, 200.0])
def test_with_a_loopback_the_clocks_do_not_matter(ppm: float, tmp_path: Path) -> None:
    found = list(heard(tmp_path, "reference: loopback", pair(ppm, 4.0, 1e-5, 0.3)))
    values = [result for result in found if isinstance(result, LockInResult)]
    read = [result.value for result in found if isinstance(result, Measurement)]
    assert len(values) == len(read) == 4
    assert all(Flag.UNLOCKED not in result.flags for result in values)
    assert all(abs(result.in_phase - 1e-3) < 5 * result.sigma for result in values)
    assert all(abs(result.quadrature) < 5 * result.sigma for result in values)
    offsets = [result.clock_offset_ppm for result in values]
    assert offsets == pytest.approx([ppm] * 4, abs=0.05)
    # 1 s of 1e-5 per root hertz on 1e-3 is 1 %
    assert read == pytest.approx([1000.0] * 4, rel=0.05)


def test_without_a_reference_the_tone_is_followed_by_itself(tmp_path: Path) -> None:
    samples = pair(100.0, 10.0, 3e-5, 0.3)
    found = [result for result in heard(tmp_path, "reference: free", samples) if isinstance(result, LockInResult)]
    assert Flag.UNLOCKED in found[0].flags
    assert Flag.UNLOCKED not in found[-1].flags
    assert all(abs(result.in_phase - 1e-3) < 5 * result.sigma for result in found)


def test_two_clocks_without_a_reference_void_the_value(tmp_path: Path) -> None:
    found = list(heard(tmp_path, "reference: same_codec", pair(100.0, 3.0, 1e-6, 0.3)))
    measured = [result for result in found if isinstance(result, Measurement)]
    assert len(measured) == 3
    assert all(Flag.UNLOCKED in result.flags for result in measured)


def test_a_loopback_on_the_channel_that_is_listened_to_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(SpectrophoneError, match="carries the laser's modulation"):
        list(heard(tmp_path, "reference: loopback, reference_channel: A", pair(0.0, 1.0, 1e-6, 0.3)))
