"""What is read once per block: the sound, whether the laser is lit and how it is modulated, and the climate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from gateway.errors import DeviceError
from gateway.interlock import Condition
from gateway.outputs import Outputs
from gateway.ports import ClimateSensor, Microphone
from gateway.types import NO_FLAGS, Flag, Flags, Light, SampleBlock

LONGEST_NS = 600_000_000_000
"""How long the laser may take to reach its temperature where somebody waits for it."""


class Inputs:
    """The microphone's blocks, with what is read beside them."""

    def __init__(
        self,
        microphone: Microphone,
        outputs: Outputs,
        climate: ClimateSensor | None = None,
        light: Light | None = None,
        heard: Callable[[SampleBlock], None] = lambda block: None,
        warm_s: float = 0.0,
        listening: Callable[[SampleBlock], Flags] = lambda block: NO_FLAGS,
    ) -> None:
        """`light`: how the laser is modulated where nothing tells it; `heard` is told of every block first; `warm_s`:
        how long the laser's light is not trusted after it was lit; `listening` is told of every block last, as it goes
        on, and says what else of it is to be doubted.
        """
        self.microphone = microphone
        self.climate = climate
        self._outputs, self._light, self._heard, self._listening = outputs, light, heard, listening
        self._warm_ns, self._cold_until_ns = round(warm_s * 1e9), 0
        self._was_lit = False

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        """See gateway.ports.Microphone. Each block has light and climate where they are known, and is flagged laser_off
        if the laser was not lit all the time: not now, or not when the block before came; and warm_up from then on
        until `warm_s` after the first block in which it was seen lit. The climate's sensors are asked for as long as
        somebody listens.
        """
        if self.climate is not None:
            await self.climate.start()
        try:
            async with aclosing(self.microphone.blocks()) as blocks:
                async for block in blocks:
                    yield self._read(block)
        finally:
            if self.climate is not None:
                await self.climate.close()

    async def settled(self) -> AsyncGenerator[SampleBlock]:
        """The blocks from when the laser has its temperature on, for who listens only for a while; the outputs take
        their step with each. Raises DeviceError where it does not come to that.
        """
        begin_ns: int | None = None
        async with aclosing(self.blocks()) as blocks:
            async for block in blocks:
                self._outputs.apply((), block.end_ns)
                begin_ns = block.t_ns if begin_ns is None else begin_ns
                if fault := self._outputs.missing(Condition.FAULT):
                    raise DeviceError(fault, "Mend it and begin again")
                if not self._outputs.missing(Condition.TEMPERATURE):
                    yield block
                elif block.end_ns - begin_ns > LONGEST_NS:
                    message = f"the laser does not have its temperature after {LONGEST_NS // 60_000_000_000} minutes"
                    raise DeviceError(message, "docs/tec.md tells how the gains are found")

    def _read(self, block: SampleBlock) -> SampleBlock:
        self._heard(block)
        lit = self._outputs.lit()
        dark = lit is not None and not (lit and self._was_lit)
        if lit and not self._was_lit:
            self._cold_until_ns = block.end_ns + self._warm_ns
        self._was_lit = bool(lit)
        light = self._outputs.light() or block.light or self._light
        climate = block.climate or (self.climate.newest() if self.climate else None)
        said = {Flag.LASER_OFF: dark, Flag.WARM_UP: bool(lit and self._warm_ns) and block.t_ns < self._cold_until_ns}
        flags = block.flags | {flag for flag, true in said.items() if true}
        block = replace(block, flags=flags, light=light, climate=climate)
        doubts = self._listening(block)
        return replace(block, flags=flags | doubts) if doubts else block
