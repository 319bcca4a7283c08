"""What is read beside the sound reaches the blocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from drivers.cell import Cell
from drivers.climate import FixedClimate, SensorClimate
from drivers.laser import SimulatedLaser
from drivers.sensor import KernelSensor
from gateway.clock import RealClock
from gateway.inputs import Inputs
from gateway.outputs import Outputs
from gateway.types import NO_FLAGS, Climate, Command, Flag, Light, SampleBlock
from tests.support.sysfs import bme280
from tests.support.until import until

LIGHT = Light(Fraction(4025, 2), 0.5, 0.02)


class Script:
    """A microphone that gives three blocks of silence and does something before each."""

    rate_hz, channels = 48_000, 2

    def __init__(self, outputs: Outputs, verbs: list[tuple[str, dict[str, float]] | None]) -> None:
        self._outputs, self._verbs = outputs, verbs
        self.closed = False

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        try:
            for index, told in enumerate(self._verbs):
                if told:
                    self._outputs.apply([Command("laser", *told)], 0)
                yield SampleBlock(index, 480 * index, 48_000, np.zeros((480, 2), np.float32))
        finally:
            self.closed = True

    def close(self) -> None:
        pass


def heard(
    verbs: list[tuple[str, dict[str, float]] | None], ramp_s: float = 0.0, **more: FixedClimate | float
) -> list[SampleBlock]:
    outputs = Outputs([SimulatedLaser(Cell(), 2012.5, 0.5, 0.02, ramp_s)])

    async def take() -> list[SampleBlock]:
        inputs = Inputs(Script(outputs, verbs), outputs, **more)  # type: ignore[arg-type]
        return [block async for block in inputs.blocks()]

    return asyncio.run(take())


def test_a_block_is_dark_unless_the_laser_was_lit_all_the_time() -> None:
    dark = frozenset({Flag.LASER_OFF})
    found = heard([None, ("on", {}), None, ("off", {}), None])
    assert [block.flags for block in found] == [dark, dark, NO_FLAGS, dark, dark]


def test_for_a_while_after_lighting_the_light_is_not_trusted() -> None:
    off, warm = frozenset({Flag.LASER_OFF}), frozenset({Flag.WARM_UP})
    told = [None, ("on", {}), None, None, ("on", {}), None, None, ("off", {}), ("on", {}), None, None]
    found = heard(told, warm_s=0.025)  # two blocks and a half
    assert [block.flags for block in found] == [
        *(off, off | warm, warm, warm, warm, NO_FLAGS, NO_FLAGS),
        *(off, off | warm, warm, warm),
    ]


def test_light_and_climate_are_those_of_the_moment() -> None:
    found = heard([("on", {}), ("tune", {"frequency_hz": 2013.7})], climate=FixedClimate(Climate(21.5)))
    assert [block.light for block in found] == [LIGHT, Light(Fraction(20137, 10), 0.5, 0.02)]
    assert [block.climate for block in found] == [Climate(21.5)] * 2


def test_without_a_laser_nothing_is_said_of_it() -> None:
    async def take() -> tuple[list[SampleBlock], Script]:
        outputs = Outputs([])
        script = Script(outputs, [None])
        return [block async for block in Inputs(script, outputs).blocks()], script

    (block,), _ = asyncio.run(take())
    assert (block.flags, block.light, block.climate) == (NO_FLAGS, None, None)


@pytest.mark.parametrize("how", ["the end", "enough", "a fault", "cancelled"])
def test_sensors_are_asked_as_long_as_somebody_listens(how: str, tmp_path: Path) -> None:
    bme280(tmp_path)
    clock = RealClock()

    async def take() -> None:
        climate = SensorClimate([KernelSensor("iio", "bme280", tmp_path)], clock, 5.0, 60.0)
        outputs = Outputs([])
        inputs = Inputs(Script(outputs, [None] * 3), outputs, climate)
        async with aclosing(inputs.blocks()) as blocks:
            await anext(blocks)
            assert "climate" in {task.get_name() for task in asyncio.all_tasks()}
            await until(climate.newest)
            assert (await anext(blocks)).climate == Climate(23.45, 46.333, 96386.199)
            if how == "the end":
                assert [block.index async for block in blocks] == [2]
            if how == "a fault":
                with pytest.raises(ZeroDivisionError):
                    await blocks.athrow(ZeroDivisionError)
            if how == "cancelled":
                with pytest.raises(asyncio.CancelledError):
                    await blocks.athrow(asyncio.CancelledError)
        assert "climate" not in {task.get_name() for task in asyncio.all_tasks()}

    asyncio.run(take())


def test_who_stops_listening_stops_the_microphone() -> None:
    async def take() -> bool:
        outputs = Outputs([])
        script = Script(outputs, [None, None])
        blocks = Inputs(script, outputs).blocks()
        await anext(blocks)
        await blocks.aclose()
        return script.closed

    assert asyncio.run(take())
