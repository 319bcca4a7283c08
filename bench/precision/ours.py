"""The gateway itself: its configuration, its path, one block after another, as it runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path as File

import numpy as np

from bench.precision import scenarios
from bench.precision import world as physics
from bench.precision.readings import Reading, Trial, Truth
from bench.precision.scenarios import Scenario
from bench.precision.twin import Block, Twin
from gateway import configured, design
from gateway.errors import ConfigError
from gateway.path import Path
from gateway.types import INVALIDATING, Climate, Command, Light, Measurement, SampleBlock

WARM_UP = 10
"""Records that are left out, while the noise is learnt."""


class NotYet(Exception):
    """The gateway cannot be told this: the reason."""


def trials(scenario: Scenario, records: int, seed: np.random.SeedSequence, *, deviating: bool = False) -> list[Trial]:
    """`records` readings of the gateway. Raises NotYet.

    What it is told of temperature and power is right, or, if `deviating`, wrong by as much as the scenario says, by
    other amounts in every second.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = _configured(scenario, File(directory))
        if scenario.cold:
            return [next(_stream(scenario, file, one, deviating)) for one in seed.spawn(records)]
        stream = _stream(scenario, file, seed, deviating)
        for _ in range(WARM_UP):
            next(stream)
        return [next(stream) for _ in range(records)]


def _configured(scenario: Scenario, directory: File) -> File:
    """The configuration's file. Raises NotYet where the gateway finds faults in it."""
    file, calibration = directory / "box.yaml", directory / "co2.toml"
    calibration.write_text(scenarios.calibration(scenario), "utf-8")
    file.write_text(scenarios.configuration(scenario, calibration), "utf-8")
    try:
        _path(file)
    except ConfigError as error:
        told = "; ".join(f"{fault.option}: {fault.message}" for fault in error.faults)
        raise NotYet(told.replace(f"{directory}/", "").split(". Known:")[0]) from None
    return file


def _path(file: File) -> Path:
    config, board = configured.accepted(configured.prepare(file, {}))
    return design.path(config, board, design.sound(config, board))


def _stream(scenario: Scenario, file: File, seed: np.random.SeedSequence, deviating: bool) -> Iterator[Trial]:
    """Readings for ever."""
    twin, path, truth, index = Twin(scenario.world, seed), _path(file), Truth(), 0
    rng = np.random.default_rng([*seed.generate_state(4), 1])
    while True:
        if deviating and index % 10 == 0:
            twin.deviate(scenario.sigma_k * rng.standard_normal(), scenario.sigma_power * rng.standard_normal())
        block = twin.block()
        truth.add(block)
        tick = path.tick(_heard(block, index, scenario), ())
        index += 1
        for result in tick.results:
            if isinstance(result, Measurement):
                yield truth.of(_reading(result, scenario))
        for command in tick.commands:
            _obey(twin, command)


def _heard(block: Block, index: int, scenario: Scenario) -> SampleBlock:
    """The block as the gateway gets it."""
    samples = block.samples.astype(np.float32)
    samples.flags.writeable = False
    light = Light(Fraction(str(block.drive_hz)), physics.DUTY, block.power * physics.POWER_W)
    climate = Climate(block.temperature_c, 40.0, 101_325.0)
    return SampleBlock(
        index,
        block.frame,
        physics.RATE_HZ,
        samples,
        lost_frames=block.lost_frames,
        light=light if "light" in scenario.told else None,
        climate=climate if "climate" in scenario.told else None,
    )


def _reading(m: Measurement, scenario: Scenario) -> Reading:
    end = round(m.t_ns * physics.RATE_HZ / 1e9)
    first = end - round(m.source.integration_s * physics.RATE_HZ)
    against = {str(flag) for flag in m.flags & INVALIDATING} - scenario.may
    ppm = None if against else m.value
    return Reading(first, end, ppm, np.nan if m.u95 is None else m.u95, frozenset(str(flag) for flag in m.flags))


def _obey(twin: Twin, command: Command) -> None:
    if (command.target, command.verb) == ("laser", "tune"):
        twin.tune(float(command.args["frequency_hz"]))
