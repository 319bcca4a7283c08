"""The simulated cell as configured: the section `cell` of the configuration in the words of drivers/cell.py."""

from __future__ import annotations

import math

from drivers.air import Air
from drivers.cell import Cell
from drivers.course import Courses, Ramp, Swing
from drivers.gas import Line, Relaxation
from drivers.noise import Disturbances
from drivers.pickup import Gaps, Loopback, Pickup
from gateway.config.config import Config


def simulated_cell(config: Config, rate_hz: int, channels: int) -> Cell:
    """The simulated cell of a configuration, as that many channels hear it."""
    c = config.cell
    return Cell(
        rate_hz,
        channels,
        ppm=c.ppm,
        seed=c.seed,
        air=Air(c.temperature_c, c.humidity_percent, c.pressure_pa),
        clock_offset_ppm=c.clock_offset_ppm,
        clock_wander_ppm=c.clock_wander_ppm,
        noise_density=c.noise_density,
        bits=None if c.bits == "float" else c.bits,
        quality=c.quality,
        background=complex(c.background_re, c.background_im),
        saturation_ppm=c.saturation_ppm or math.inf,
        exchange_s=c.exchange_s or 0.0,
        co2_detunes=c.co2_detunes,
        losses=c.losses,
        line=None if c.line_energy_cm is None else Line(c.line_energy_cm),
        relaxation=Relaxation() if c.relaxation else None,
        shape=c.light,
        courses=Courses(
            temperature_k=(Swing(c.temperature_swing_k, c.swing_period_s),) if c.temperature_swing_k else (),
            ppm=(Ramp(0.0, 3600.0, c.ppm_per_hour),) if c.ppm_per_hour else (),
            power=(Ramp(0.0, 3600.0, c.power_drift_percent / 100.0),) if c.power_drift_percent else (),
        ),
        disturbances=Disturbances(
            hum=c.hum,
            mains_hz=c.mains_hz,
            speech_rms=c.speech_rms,
            knock_amplitude=c.knock_amplitude,
            knocks_per_s=c.knock_rate_hz,
            common_density=c.common_density,
            tones=((c.tone_hz, c.tone_amplitude),) if c.tone_amplitude else (),
        ),
        pickup=Pickup(
            gain_b=c.gain_b,
            phase_b_deg=c.phase_b_deg,
            flicker_hz=c.flicker_hz,
            coupling_hz=c.coupling_hz,
            delay_frames=c.delay_frames,
            offset=c.offset,
            dead=c.dead_microphone,
            stuck_at=c.stuck_at,
            dither=c.dither,
        ),
        loopback=Loopback(c.loopback_amplitude, c.loopback_shape, c.loopback_channel) if c.loopback_amplitude else None,
        gaps=Gaps(c.gap_rate_hz, c.gap_s),
    )
