"""What a new calibration says beside its curve: the tables that its points and conditions give, and those that it takes
over from the calibration before, brought to the new conditions.

Two microphones: the background of each is the weighted mean of the zero points. The gas gives A and B = s A, so that s
is the least-squares slope of the spans' B over their A, both without background, weighted by 1 / (u_A^2 + u_B^2). Its
uncertainty is that of the weighted sum, for one span u_s^2 = (u_B^2 + |s|^2 u_A^2) / |A|^2, and of the backgrounds,
which all spans share.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateway.calibration import Calibration
from gateway.dsp.air import sound_in, water_fraction
from gateway.errors import CalibrationError, UsageError
from gateway.tables import Conditions, GasLaw, Light, Phasor, Reading, Resonance, Steering, Water
from gateway.types import Climate

_SWEPT = ("f0_hz", "sigma_f0_hz", "q", "sigma_q")


def swept(file: Path) -> dict[str, float]:
    """The resonance in a file of `spectrophone sweep --out`. Raises UsageError for any other file, and for a sweep
    whose fit is not good.
    """
    try:
        data = json.loads(file.read_text("utf-8"))
        found = {name: float(data[name]) for name in _SWEPT}
        whole = data["kind"] == "sweep" and all(0.0 < value < math.inf for value in found.values())
        good = data["good"]
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        remedy = "Name what `spectrophone sweep --out FILE` has written"
        raise UsageError(f"--resonance {file}: this is no sweep", remedy)
    if good is not True:
        remedy = "Sweep again: it says what is wrong. With more gas, longer --seconds or --points 21 it may be better"
        raise UsageError(f"--resonance {file}: the fit of this sweep is not good", remedy)
    return found


def in_one_light(points: Sequence[tuple[Reading, Conditions]]) -> tuple[Reading, ...]:
    """The readings as they would have been in the light of the last one: signal and background grow with the light.
    Those whose light, or the last one's, nobody knows stay as they are.
    """
    if not points:
        return ()
    last = _light(points[-1][1])
    found = []
    for reading, conditions in points:
        light = _light(conditions)
        ratio = last.reference.ratio(light.power_w, light.duty) if light and last else 1.0
        phasors = {name: getattr(reading, name) for name in ("a", "b")}
        scaled: dict[str, Any] = {name: getattr(reading, name) / ratio for name in ("re", "im", "sigma")}
        scaled |= {name: tuple(part / ratio for part in phasor) for name, phasor in phasors.items() if phasor}
        found.append(reading if ratio == 1.0 else reading.model_copy(update=scaled))
    return tuple(found)


def alone(readings: Sequence[Reading]) -> tuple[tuple[complex, complex] | None, Steering | None]:
    """The background at either microphone and the gas's steering; None where a point does not have both."""
    pairs = [(reading.ppm, reading.a, reading.b) for reading in readings if reading.a and reading.b]
    if len(pairs) < len(readings):
        return None, None
    back_a, of_a = _mean([a for ppm, a, _ in pairs if ppm == 0.0])
    back_b, of_b = _mean([b for ppm, _, b in pairs if ppm == 0.0])
    spans = [(a, b) for ppm, a, b in pairs if ppm > 0.0]
    gas = np.array([(complex(*a[:2]) - back_a, complex(*b[:2]) - back_b) for a, b in spans])
    variance = np.array([(a[2] ** 2, b[2] ** 2) for a, b in spans])
    factors = gas[:, 0].conj() / variance.sum(axis=1)
    factors /= factors @ gas[:, 0]
    s = complex(factors @ gas[:, 1])
    both = np.array([abs(s) ** 2, 1.0])
    square = np.abs(factors) ** 2 @ (variance @ both) + abs(factors.sum()) ** 2 * (both @ (of_a, of_b))
    return (back_a, back_b), Steering(re=s.real, im=s.imag, sigma=math.sqrt(square))


def tables(before: Calibration | None, conditions: Conditions, found: Mapping[str, float] | None) -> dict[str, Any]:
    """The tables light, resonance, water, gas_law and drift of a calibration made under `conditions`; `found` is the
    resonance of a sweep in the same air.

    Raises CalibrationError for a sweep in air of unknown temperature.
    """
    made: dict[str, Any] = {"drift": before.drift if before else None}
    if light := _light(conditions):
        sigma = before.light.sigma_power_percent if before and before.light else 0.0
        made["light"] = light.model_copy(update={"sigma_power_percent": sigma})
    resonance = before.resonance if before else None
    if found is not None:
        if conditions.temperature_c is None:
            message = "a resonance is of use only with the temperature at which it was found"
            raise CalibrationError(message, "Take the points with --temperature, or set climate.temperature_c")
        air = conditions.model_dump(include={"temperature_c", "humidity_percent", "pressure_pa"})
        sigma_k = {} if resonance is None else {"sigma_temperature_k": resonance.sigma_temperature_k}
        resonance = Resonance(**found, **air, **sigma_k)
    made["resonance"] = None if resonance is None else _detuned(resonance, conditions)
    if before is not None:
        made["water"] = None if before.water is None else _moist(before.water, conditions)
        made["gas_law"] = None if before.gas_law is None else _placed(before.gas_law, conditions)
    return made


def _light(conditions: Conditions) -> Light | None:
    """The light that the conditions tell of."""
    if not conditions.power_w or conditions.duty is None:
        return None
    return Light(power_w=conditions.power_w, duty=conditions.duty)


def _detuned(resonance: Resonance, conditions: Conditions) -> Resonance:
    """The resonance with the detuning at which the gases were read."""
    f = conditions.frequency_hz
    if f is None:
        return resonance
    then = sound_in(resonance.climate)
    now = sound_in(Climate(conditions.temperature_c, conditions.humidity_percent, conditions.pressure_pa))
    f0 = resonance.f0_hz * (now.speed_m_s / then.speed_m_s if now and then else 1.0)
    return resonance.model_copy(update={"detuning": 2.0 * resonance.q * (f - f0) / f0})


def _moist(water: Water, conditions: Conditions) -> Water:
    """With the mole fraction of the new gases, if it is known."""
    t, h, p = conditions.temperature_c, conditions.humidity_percent, conditions.pressure_pa
    if t is None or h is None or p is None:
        return water
    return water.model_copy(update={"fraction": water_fraction(t, h, p)})


def _placed(law: GasLaw, conditions: Conditions) -> GasLaw:
    """With temperature and pressure of the new gases, as far as they are known."""
    return law.model_copy(update=conditions.model_dump(include={"temperature_c", "pressure_pa"}, exclude_none=True))


def _mean(phasors: Sequence[Phasor]) -> tuple[complex, float]:
    """The weighted mean, and the variance of either part."""
    weights = [sigma**-2 for _, _, sigma in phasors]
    return complex(np.average([complex(re, im) for re, im, _ in phasors], weights=weights)), 1.0 / sum(weights)
