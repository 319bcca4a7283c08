"""A sweep while the gateway measures: the laser leaves its frequency for some seconds, and comes back.

`Sweeper` is an output with "sweep" and "cancel", and hears every block before the path does. The procedure is that of
`spectrophone sweep` (gateway/scan.py), a coroutine that waits for nothing but blocks; so no event loop runs it, it is
handed each block and has tuned the laser, where it wants to, before the next one begins. Meanwhile the blocks are
flagged: no value is valid, and nothing else tunes the laser. The laser is never lit by a sweep, and dark it ends one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from pathlib import Path
from typing import Any

from gateway.dsp.resonance import NoResonance, load
from gateway.errors import CommandRefused, SpectrophoneError
from gateway.outputs import LASER, Outputs
from gateway.ports import Laser
from gateway.scan import Plan, Sweep, plus_minus, search, write
from gateway.stepper import ORIGIN, Stepper
from gateway.types import NO_FLAGS, Command, Flag, Flags, SampleBlock

log = logging.getLogger("spectrophone.sweeping")

SWEEP = "sweep"
ASKED = ("sweep", "cancel")
IDLE = "idle"
_SWEEPING: Flags = frozenset({Flag.SWEEPING})


class _Next:
    """Awaited, it is the next block that the procedure is handed."""

    def __await__(self) -> Generator[None, SampleBlock, SampleBlock]:
        return (yield)


class _Blocks(AsyncIterator[SampleBlock]):
    """The blocks as the procedure asks for them."""

    async def __anext__(self) -> SampleBlock:
        return await _Next()


class Sweeper:
    """Sweeps when it is told to; an output."""

    target = SWEEP
    verbs: tuple[str, ...] = ASKED

    def __init__(
        self,
        laser: Laser,
        rate_hz: int,
        loopback: int | None,
        hindrance: str,
        file: Path,
        about: Callable[[], Mapping[str, Any]],
    ) -> None:
        """`loopback` as for Stepper; `hindrance`: why this box cannot sweep, "" where it can. The result goes into
        `file`, with what `about` tells of box and time.
        """
        self._state = IDLE
        self._laser, self._rate_hz, self._loopback, self._hindrance = laser, rate_hz, loopback, hindrance
        self._file, self._about = file, about
        self._wanted, self._open = False, True
        self._procedure: Coroutine[None, SampleBlock, Sweep] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    def take(self, outputs: Outputs, block: SampleBlock) -> Flags:
        """Hear a block, on the loop's thread; what is to be doubted of it."""
        if not self._wanted or self._loading is None or not self._loading.done():
            return NO_FLAGS
        try:
            if self._procedure is None:
                self._procedure = self._scan(outputs)
                self._procedure.send(None)  # type: ignore[arg-type]  # to where it waits for its first block
            self._procedure.send(block)
        except StopIteration as end:
            self._writing = asyncio.get_running_loop().create_task(self._keep(end.value), name=SWEEP)
        except SpectrophoneError as error:
            self._over(f"failed: {error}")
        except Exception:
            log.exception("the sweep failed")
            self._over("failed: a fault of the software. Report what the log says of it")
        if self._writing is not None:
            self._wanted, self._procedure = False, None
        return _SWEEPING

    def apply(self, command: Command) -> None:
        """See Output."""
        if command.verb == "cancel":
            if not self._wanted:
                raise CommandRefused("there is no sweep to cancel")
            self._over(IDLE)
            return
        if self._wanted or self._writing is not None:
            raise CommandRefused(f"a sweep is going on already: {self._state}", "Wait for its end, or cancel it")
        if self._hindrance:
            raise CommandRefused(self._hindrance)
        if self._laser.read() != "on":
            raise CommandRefused("the laser is off, and a sweep does not light it", "Tell it to be on first")
        self._wanted, self._state = True, "sweeping 0 %"
        self._loading = asyncio.get_running_loop().create_task(asyncio.to_thread(load), name="load the fit")

    def read(self) -> str:
        """See Output: idle; sweeping 40 %; done: and what was found; failed: and why."""
        return self._state

    def step(self, t_ns: int) -> None:
        """See gateway.ports.Output."""

    def make_safe(self) -> None:
        """See Output: in the dark it ends with the next block."""

    def close(self) -> None:
        """See Output."""
        self._open = False
        self._over(IDLE)

    def _over(self, state: str) -> None:
        """End what goes on; the laser goes back to its frequency."""
        procedure, self._procedure, self._wanted, self._state = self._procedure, None, False, state
        if procedure is not None:
            procedure.close()
        if state != IDLE:
            log.warning("sweep %s", state)

    def _seen(self, part: float) -> None:
        self._state = f"sweeping {int(100.0 * part)} %"

    async def _scan(self, outputs: Outputs) -> Sweep:
        plan, home_hz = Plan(), float(self._laser.light.frequency)
        stepper = Stepper(_Blocks(), self._rate_hz, outputs, plan.seconds, self._loopback, lights=False)
        try:
            await stepper.begin()
            return await search(stepper, home_hz, plan, log.info, self._seen)
        except NoResonance as reason:
            remedy = (
                stepper.two_clocks() or "Let in gas that the laser is absorbed by, or set laser.frequency_hz nearer"
            )
            raise SpectrophoneError(f"no resonance: {reason}", remedy) from None
        finally:
            if self._open:
                outputs.apply([Command(LASER, "tune", {"frequency_hz": home_hz}, ORIGIN)], stepper.t_ns)

    async def _keep(self, made: Sweep) -> None:
        """Write the result, and say what was found."""
        found = made.resonance
        f0, q = plus_minus(found.f0_hz, found.sigma_f0_hz), plus_minus(found.q, found.sigma_q)
        doubt = "" if found.good else ", but the fit is not good"
        state = f"done: f0 {f0[0]} ± {f0[1]} Hz, Q {q[0]} ± {q[1]}{doubt}"
        try:
            await asyncio.to_thread(self._write, made)
        except (OSError, SpectrophoneError) as error:
            state = f"{state}; {error}"
        log.info("sweep %s", state)
        self._state, self._writing = state, None

    def _write(self, made: Sweep) -> None:
        self._file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        write(self._file, made, dict(self._about()))
