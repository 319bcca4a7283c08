"""The breaker: full jitter, its bounds, and the transitions of its table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actions.breaker import FIRST_S, LEAST_OPEN_S, LONGEST_S, OPENS_AFTER, Breaker


def breaker(seed: int = 1) -> Breaker:
    return Breaker(np.random.default_rng(seed))


def test_opens_probes_and_closes() -> None:
    one = breaker()
    assert one.state == "closed"
    for _ in range(OPENS_AFTER):
        assert one.state == "closed"
        one.failed(None)
        one.paused()
    assert one.state == "half_open"
    one.failed(None)
    assert one.state == "open"
    one.paused()
    assert one.state == "half_open"
    one.succeeded()
    assert (one.state, one.failures) == ("closed", 0)


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_pauses_keep_their_bounds(seed: int, failures: int) -> None:
    one = breaker(seed)
    pauses = [one.failed(None) for _ in range(failures)]
    for number, pause_s in enumerate(pauses):
        assert 0.0 <= pause_s <= min(LONGEST_S, FIRST_S * 2.0**number) or number + 1 >= OPENS_AFTER
        assert pause_s <= LONGEST_S
        assert pause_s >= LEAST_OPEN_S or number + 1 < OPENS_AFTER


def test_full_jitter_is_uniform_from_nothing() -> None:
    """The mean of n pauses, each uniform in [0, m], is m/2 within 4 m / sqrt(12 n)."""
    firsts = [breaker(seed).failed(None) for seed in range(400)]
    assert np.mean(firsts) == pytest.approx(FIRST_S / 2, abs=4 * FIRST_S / np.sqrt(12 * 400))
    assert min(firsts) < 0.02 * FIRST_S


def test_what_the_target_asks_for_is_waited() -> None:
    assert breaker().failed(120.0) == 120.0
