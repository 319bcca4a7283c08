"""The scenarios: what the sound is made of, what the gateway is told, and which flags it owes.

The configuration and the calibration file are written out here in full, in numbers that follow from the twin's own
constants by the equations of docs/calibration.md: with A - B (or the two microphones weighted to the same scale) the
lock_in hears (1 + m) times microphone A.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, field
from pathlib import Path

from bench.precision import world as physics
from bench.precision.world import Course, World

NONE: frozenset[str] = frozenset()
MISMATCH = cmath.rect(1.05, math.radians(2.0))
SPAN_SIGMA = 0.003
"""Relative standard deviation of the span gas, and so of the file's slope."""
ZERO_SIGMA_PPM = 0.06
"""Standard deviation of the file's background: a minute of zero gas."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One trial and what is expected of it.

    `laser`, `lock_in`: options added to those parts of the configuration; `tables`: text added to the calibration file.
    `told`: optional fields of the SampleBlock that carry the truth ("light", "climate"). `sigma_k`, `sigma_power`:
    standard deviations of the temperature and (relative) power that the gateway is told; they count for the coverage.
    `must`: flags that every reading owes, except that "impulse" and "lost_samples" are owed where one happened; `may`:
    flags that are no fault. `share` is how many records there are for one of the others; `cold` begins anew with every
    record. `clean` scenarios have the higher target.
    """

    name: str
    world: World = field(default_factory=World)
    laser: str = ""
    lock_in: str = ""
    tables: str = ""
    told: frozenset[str] = NONE
    sigma_k: float = 0.0
    sigma_power: float = 0.0
    must: frozenset[str] = NONE
    may: frozenset[str] = NONE
    share: float = 1.0
    cold: bool = False
    clean: bool = False

    @property
    def differential(self) -> bool:
        """Whether the gateway hears both microphones."""
        return self.world.channels == 2 and not self.world.loopback


def configuration(scenario: Scenario, calibration: Path) -> str:
    """The gateway's configuration, YAML."""
    world = scenario.world
    nodes = ["{id: input, type: input}"]
    if scenario.differential:
        nodes.append("{id: differential, type: differential}")
    nodes.append(f"{{id: lock_in, type: lock_in, parameters: {{integration_s: 1.0{_more(scenario.lock_in)}}}}}")
    nodes.append(f'{{id: co2, type: concentration, parameters: {{source: lock_in, calibration: "{calibration}"}}}}')
    lines = [
        f"acquisition: {{rate_hz: {physics.RATE_HZ}, channels: {world.channels}, block_ms: 100}}",
        f"laser: {{frequency_hz: {world.drive_hz}, duty: {physics.DUTY}, power_w: {physics.POWER_W}"
        f"{_more(scenario.laser)}}}",
        "processing:",
        "  default_graph:",
        "    nodes:",
        *(f"      - {node}" for node in nodes),
        "rules: []",
    ]
    return "\n".join(lines) + "\n"


def calibration(scenario: Scenario) -> str:
    """The calibration file, TOML, as right as it can be."""
    world, bend = scenario.world, bend_per_ppm(scenario.world)
    heard = (1.0 + world.b_gain) * cmath.exp(1j * physics.GAS_PHASE_RAD) if scenario.differential else None
    scale = physics.PER_PPM * (cmath.exp(1j * physics.GAS_PHASE_RAD) if heard is None else heard)
    background, slope = scale * world.background, abs(scale)
    variances = [(slope * ZERO_SIGMA_PPM) ** 2, (slope * SPAN_SIGMA) ** 2, *([0.0] if bend else [])]
    rows = [[variance if i == j else 0.0 for j in range(len(variances))] for i, variance in enumerate(variances)]
    return f"""\
schema = 1
created = 2026-01-01
node = "co2"
phase_deg = {math.degrees(cmath.phase(scale))}

[conditions]
temperature_c = 20.0
pressure_pa = 101325.0
humidity_percent = 40.0
frequency_hz = {world.drive_hz}
duty = {physics.DUTY}
power_w = {physics.POWER_W}

[background]
re = {background.real}
im = {background.imag}

[curve]
type = "{"saturating" if bend else "line"}"
slope = {slope}
bend = {bend}
covariance = {rows}
min_ppm = 0.0
max_ppm = 5000.0
{scenario.tables}"""


def bend_per_ppm(world: World) -> float:
    """The calibration curve's bend, 1/ppm."""
    return 1.0 / world.saturation_ppm


def records(scenario: Scenario, trials: int) -> int:
    """How many readings are wanted."""
    return max(1, round(trials * scenario.share))


def _more(options: str) -> str:
    return f", {options}" if options else ""


SIGMA_K, SIGMA_POWER = 0.05, 0.001
"""Of the temperature and (relative) power that the gateway is told, one standard deviation."""
RESONANCE = f"""
[resonance]
f0_hz = {physics.RESONANCE_HZ}
q = {physics.QUALITY}
temperature_c = 20.0
humidity_percent = 40.0
pressure_pa = 101325.0
sigma_temperature_k = {SIGMA_K}
"""
LIGHT = f"""
[light]
power_w = {physics.POWER_W}
duty = {physics.DUTY}
sigma_power_percent = {100 * SIGMA_POWER}
"""
STEERING = f"""
[steering]
re = {-MISMATCH.real}
im = {-MISMATCH.imag}
"""
POWER_AND_CLIMATE = frozenset({"light", "climate"})
LOOPBACK = "reference: loopback, reference_channel: B"
SATURATION_PPM = 30_000.0


def _flags(*names: str) -> frozenset[str]:
    return frozenset(names)


def _clocks() -> tuple[Scenario, ...]:
    """20: the laser's clock against the ADC's, with its drive recorded and without."""
    found = []
    for ppm in (0, 10, 50, 100, 200):
        recorded = World(clock_ppm=float(ppm), loopback=True)
        found.append(Scenario(f"20 clock {ppm} ppm, loopback", recorded, laser=LOOPBACK, share=0.25))
    for ppm in (0, 10, 50, 100, 200):
        free = World(clock_ppm=float(ppm))
        may = _flags("unlocked")
        found.append(Scenario(f"20 clock {ppm} ppm, free", free, laser="reference: free", may=may, share=0.25))
    return tuple(found)


SCENARIOS = (
    Scenario("01 clean", clean=True),
    Scenario("01 clean, cold start", cold=True, clean=True, share=0.5),
    Scenario("02 zero gas", World(ppm=Course(0.0)), may=_flags("low_signal"), clean=True),
    Scenario("03 2 ppm", World(ppm=Course(2.0)), may=_flags("low_signal"), clean=True),
    Scenario("04 common noise +20 dB", World(b_gain=MISMATCH, common=10.0), tables=STEERING),
    Scenario("05 common noise +30 dB", World(b_gain=MISMATCH, common=10.0**1.5), tables=STEERING),
    Scenario("06 hum 50.03 Hz, 20x", World(b_gain=MISMATCH, hum=20.0), tables=STEERING, must=_flags("tone")),
    Scenario("07 tone +33 Hz, 30x", World(b_gain=MISMATCH, tone=30.0), tables=STEERING, must=_flags("tone")),
    Scenario("08 impulses 4/s", World(b_gain=MISMATCH, knocks_per_s=4.0), tables=STEERING, must=_flags("impulse")),
    Scenario(
        "09 3 K off resonance",
        World(temperature_c=Course(23.0)),
        told=POWER_AND_CLIMATE,
        tables=RESONANCE,
        sigma_k=SIGMA_K,
        must=_flags("off_resonance"),
    ),
    Scenario("10 laser -10 %", World(power=Course(0.9)), told=_flags("light"), tables=LIGHT, sigma_power=SIGMA_POWER),
    Scenario("11 clock 100 ppm, loopback", World(clock_ppm=100.0, loopback=True), laser=LOOPBACK),
    Scenario("12 16 bit", World(bits=16), clean=True),
    Scenario(
        "13 everything together",
        World(
            temperature_c=Course(23.0),
            power=Course(0.9),
            b_gain=MISMATCH,
            saturation_ppm=SATURATION_PPM,
            common=10.0,
            hum=20.0,
            tone=30.0,
            knocks_per_s=4.0,
            bits=16,
        ),
        tables=RESONANCE + STEERING + LIGHT,
        told=POWER_AND_CLIMATE,
        sigma_k=SIGMA_K,
        sigma_power=SIGMA_POWER,
        must=_flags("tone", "impulse", "off_resonance"),
    ),
    Scenario("14 WMS-2f", World(harmonic=2, drive_hz=physics.RESONANCE_HZ / 2.0), lock_in="harmonic: 2"),
    Scenario("15 one microphone", World(channels=1), clean=True),
    Scenario("16 lost samples", World(lost_every_s=7.37), must=_flags("lost_samples")),
    Scenario(
        "17 drift 5 K in 20 min",
        World(temperature_c=Course(20.0, slope_per_s=5.0 / 1200.0)),
        laser="track: pll",
        tables=RESONANCE,
        told=POWER_AND_CLIMATE,
        share=3.0,
    ),
    Scenario("18 microphone B dead", World(b_dead=True), must=_flags("microphone")),
    Scenario(
        "19 ramp 1 ppm/s",
        World(ppm=Course(100.0, slope_per_s=1.0), saturation_ppm=SATURATION_PPM),
    ),
    *_clocks(),
    Scenario(
        "21 swing +-5 K in 20 min",
        World(temperature_c=Course(20.0, swing=5.0)),
        laser="track: pll",
        tables=RESONANCE,
        told=POWER_AND_CLIMATE,
        share=3.0,
    ),
)
