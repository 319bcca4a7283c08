"""Filter design: unity gain and no phase in the middle, edges where they were asked for."""

from __future__ import annotations

import cmath

import numpy as np
import pytest
import scipy.signal

from gateway.dsp.filters import Band, Design, band_edges, design, response, settling_s


@pytest.mark.parametrize("kind", ["butterworth", "chebyshev", "elliptic"])
@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_the_middle_of_a_bandpass_is_untouched(kind: Design, rate_hz: int, order: int) -> None:
    sections = design("bandpass", band_edges(2012.5, 200.0, rate_hz), 2012.5, rate_hz, kind=kind, order=order)
    gain = response(sections, 2012.5, rate_hz)
    assert abs(gain) == pytest.approx(1.0, abs=1e-9)
    assert abs(cmath.phase(gain)) < 1e-6


def test_the_edges_are_the_half_power_points() -> None:
    edges = band_edges(2012.5, 200.0, 48_000)
    sections = design("bandpass", edges, 2012.5, 48_000)
    assert edges[1] - edges[0] == pytest.approx(200.0)
    for edge in edges:
        assert abs(response(sections, edge, 48_000)) ** 2 == pytest.approx(0.5, abs=1e-6)


def test_low_and_high_pass_have_gain_one_at_their_ends() -> None:
    assert abs(response(design("lowpass", (1000.0,), 0.0, 48_000), 0.0, 48_000)) == pytest.approx(1.0)
    assert abs(response(design("highpass", (1000.0,), 24_000.0, 48_000), 24_000.0, 48_000)) == pytest.approx(1.0)


def test_a_band_that_does_not_fit_is_refused() -> None:
    for centre, bandwidth in ((2012.5, 30_000.0), (2012.5, 24_000.0)):
        with pytest.raises(ValueError, match="does not fit"):
            band_edges(centre, bandwidth, 48_000)


def test_a_narrower_filter_rings_longer() -> None:
    wide, narrow = (design("bandpass", band_edges(2012.5, width, 48_000), 2012.5, 48_000) for width in (200.0, 20.0))
    assert 5 * settling_s(wide, 48_000) < settling_s(narrow, 48_000) < 20 * settling_s(wide, 48_000)


@pytest.mark.parametrize("order", range(1, 13))
@pytest.mark.parametrize(
    ("band", "edges", "middle"),
    [
        ("lowpass", (300.0,), 0.0),
        ("highpass", (5000.0,), 24_000.0),
        ("bandpass", (1914.0, 2114.0), 2000.0),
        ("bandpass", (20.0, 9000.0), 2000.0),
    ],
)
def test_a_butterworth_filter_is_scipys(band: Band, edges: tuple[float, ...], middle: float, order: int) -> None:
    """Another design of the same filter: its gain agrees to what doubles of this order can tell."""
    ours = design(band, edges, middle, 48_000, order=order)
    theirs = scipy.signal.butter(order, edges if len(edges) > 1 else edges[0], band, output="sos", fs=48_000)
    f = np.geomspace(10.0, 23_000.0, 60)
    got = np.array([abs(response(ours, hertz, 48_000)) for hertz in f])
    expected = np.array([abs(response(theirs, hertz, 48_000)) for hertz in f])
    assert got == pytest.approx(expected / abs(response(theirs, middle, 48_000)), rel=1e-6, abs=1e-12)
    assert max(abs(pole) for section in ours for pole in np.roots(section[3:])) < 1.0
