"""Toy kinds of nodes with the options of the real ones: the configuration is tested without the nodes."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import Field

from gateway.config.settings import Settings


class Nothing(Settings):
    """A node without options."""


class Filter(Settings):
    """A filter."""

    type: Literal["bandpass", "lowpass", "highpass"] = "bandpass"
    design: Literal["butterworth", "chebyshev", "elliptic"] = "butterworth"
    center_frequency: float | None = Field(None, gt=0)
    bandwidth: float | None = Field(None, gt=0, description="width of the band")
    cutoff_frequency: float | None = Field(None, gt=0)
    order: int = Field(4, ge=1, le=16, description="order of the low-pass prototype")
    ripple_db: float = Field(0.5, gt=0)
    attenuation_db: float = Field(60.0, gt=0)


class Gain(Settings):
    """A gain."""

    gain_db: float = Field(ge=-120, le=120, description="gain")


class Selector(Settings):
    """One channel."""

    channel: Literal["a", "b"] = "a"


class Mixer(Settings):
    """A weighted sum."""

    weights: tuple[float, ...] = Field((0.5, 0.5), min_length=1, max_length=8)


class LockIn(Settings):
    """A lock-in."""

    integration_s: float = Field(1.0, gt=0, le=600)
    phase_deg: float | None = None
    channel: int = Field(0, ge=0)


class PeakFinder(Settings):
    """A peak finder."""

    frequency_min: float = Field(gt=0)
    frequency_max: float = Field(gt=0)
    integration_s: float = Field(1.0, gt=0)
    false_alarm: float = Field(1e-3, gt=0, lt=1)


class Level(Settings):
    """A level."""

    window_s: float = Field(1.0, gt=0)


class Spectrum(Settings):
    """A spectrum."""

    fft_size: int = Field(4096, ge=64)
    averages: int = Field(1, ge=1)
    interval_s: float = Field(0.0, ge=0)
    window: Literal["hann", "flattop", "rectangular"] = "hann"


class Concentration(Settings):
    """A concentration."""

    sources: ClassVar[dict[str, tuple[str, ...]]] = {"source": ("lock_in", "peak_finder")}

    source: str = Field(description="the node whose amplitude is taken")
    polynomial_coefficients: tuple[float, ...] = Field((0.0, 1.0), min_length=1, max_length=8)
    min_ppm: float | None = None
    max_ppm: float | None = None
    sigma_calibration_ppm: float = Field(0.0, ge=0)


KINDS: dict[str, type[Settings]] = {
    "input": Nothing,
    "filter": Filter,
    "gain": Gain,
    "differential": Nothing,
    "channel_selector": Selector,
    "channel_mixer": Mixer,
    "lock_in": LockIn,
    "peak_finder": PeakFinder,
    "level": Level,
    "spectrum": Spectrum,
    "concentration": Concentration,
    "output": Nothing,
}


@pytest.fixture(scope="session")
def kinds() -> dict[str, type[Settings]]:
    """The toy kinds, by node type."""
    return KINDS
