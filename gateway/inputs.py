"""What is read once per block: the sound, whether the laser is lit and how it is modulated, and the climate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from gateway.outputs import Outputs
from gateway.ports import ClimateSensor, Microphone
from gateway.types import Flag, Light, SampleBlock


class Inputs:
    """The microphone's blocks, with what is read beside them."""

    def __init__(
        self,
        microphone: Microphone,
        outputs: Outputs,
        climate: ClimateSensor | None = None,
        light: Light | None = None,
        heard: Callable[[SampleBlock], None] = lambda block: None,
    ) -> None:
        """`light`: how the laser is modulated where nothing tells it; `heard` is told of every block first."""
        self.microphone = microphone
        self._outputs, self._climate, self._light = outputs, climate, light
        self._heard = heard
        self._was_lit = False

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        """See gateway.ports.Microphone. Each block has light and climate where they are known, and is flagged laser_off
        if the laser was not lit all the time: not now, or not when the block before came.
        """
        async with aclosing(self.microphone.blocks()) as blocks:
            async for block in blocks:
                yield self._read(block)

    def _read(self, block: SampleBlock) -> SampleBlock:
        self._heard(block)
        lit = self._outputs.lit()
        dark = lit is not None and not (lit and self._was_lit)
        self._was_lit = bool(lit)
        light = self._outputs.light() or block.light or self._light
        climate = block.climate or (self._climate.newest() if self._climate else None)
        flags = block.flags | {Flag.LASER_OFF} if dark else block.flags
        return replace(block, flags=flags, light=light, climate=climate)
