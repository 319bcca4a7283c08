"""filter: causal IIR filtering in second-order sections, state carried from block to block.

Gain 1 and no phase at the middle of the band (dsp/filters.py). It is for nodes that listen to sound, such as level and
spectrum; lock_in and peak_finder listen at the microphones, and where nobody else does it does not run. Lost frames
leave a break in the sound: the state is dropped there, and the records behind wait until the filter has settled again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from gateway.config.settings import Settings
from gateway.dsp import filters
from gateway.nodes.place import NodeFault, Place
from gateway.types import SampleBlock


class FilterSettings(Settings):
    """Settings of a filter node."""

    type: Literal["bandpass", "lowpass", "highpass"] = Field(description="what it lets pass")
    design: Literal["butterworth", "chebyshev", "elliptic"] = Field("butterworth", description="the prototype")
    order: int = Field(
        4, ge=1, le=12, description="order of the low-pass prototype (a band-pass has twice as many poles)"
    )
    center_frequency: float | None = Field(None, gt=0, description="bandpass: the middle, in Hz")
    bandwidth: float | None = Field(None, gt=0, description="bandpass: distance of the edges, in Hz")
    cutoff_frequency: float | None = Field(None, gt=0, description="lowpass, highpass: the edge, in Hz")
    ripple_db: float = Field(0.5, gt=0, le=6, description="chebyshev, elliptic: ripple in the band")
    attenuation_db: float = Field(60.0, ge=10, le=160, description="elliptic: attenuation outside the band")


class Filter:
    """A band-pass, low-pass or high-pass."""

    STATE = ("_next", "_state")

    Settings = FilterSettings

    def __init__(self, name: str, settings: FilterSettings, place: Place) -> None:
        self._sections = _sections(settings, place.rate_hz)
        self._next: int | None = None
        self._state = np.zeros((len(self._sections), 2, place.channels))
        self.after = replace(
            place,
            response=lambda f: place.response(f) * filters.response(self._sections, f, place.rate_hz),
            settling_s=place.settling_s + filters.settling_s(self._sections, place.rate_hz),
        )

    def process(self, block: SampleBlock) -> SampleBlock:
        """See SignalNode."""
        import scipy.signal  # only where somebody hears the filter: gateway/dsp/filters.py says why

        if block.frame != self._next:
            self._state[:] = 0.0
        self._next = block.frame + len(block.samples)
        filtered, self._state = scipy.signal.sosfilt(self._sections, block.samples, axis=0, zi=self._state)
        samples = filtered.astype(np.float32)
        samples.flags.writeable = False
        return replace(block, samples=samples)


def _sections(settings: FilterSettings, rate_hz: int) -> filters.Sections:
    """The filter's sections; NodeFault where the edges do not fit the rate or are missing."""
    shape = {
        "kind": settings.design,
        "order": settings.order,
        "ripple_db": settings.ripple_db,
        "attenuation_db": settings.attenuation_db,
    }
    if settings.type == "bandpass":
        centre, bandwidth = settings.center_frequency, settings.bandwidth
        if centre is None or bandwidth is None:
            missing = "center_frequency" if centre is None else "bandwidth"
            raise NodeFault(missing, "a bandpass needs center_frequency and bandwidth, in Hz", f"Add {missing}")
        _unused(settings, "cutoff_frequency")
        try:
            edges: tuple[float, ...] = filters.band_edges(centre, bandwidth, rate_hz)
        except ValueError as error:
            raise NodeFault("bandwidth", str(error), "Make it narrower, or sample faster") from None
        middle = centre
    else:
        cutoff = settings.cutoff_frequency
        if cutoff is None:
            message = f"a {settings.type} needs cutoff_frequency, in Hz"
            raise NodeFault("cutoff_frequency", message, "Add cutoff_frequency")
        _unused(settings, "center_frequency")
        _unused(settings, "bandwidth")
        if cutoff >= rate_hz / 2:
            message = f"{cutoff:g} Hz is not below half the sample rate, {rate_hz / 2:g} Hz"
            raise NodeFault("cutoff_frequency", message, "Lower it, or sample faster")
        edges, middle = (cutoff,), 0.0 if settings.type == "lowpass" else rate_hz / 2
    return filters.design(settings.type, edges, middle, rate_hz, **shape)  # type: ignore[arg-type]


def _unused(settings: FilterSettings, option: str) -> None:
    """Refuse an option that the filter's type would ignore."""
    if option in settings.model_fields_set:
        raise NodeFault(option, f"a {settings.type} has no {option}", "Remove it")
