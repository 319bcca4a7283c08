"""The spine. A block of sound comes in, its meaning is computed, the outputs are set, everybody is told; once per
block.

Nothing else in the gateway moves data. What runs beside it (MQTT, the watch, the terminal) is told through `sinks`
and asks through `inbox`; nothing here waits for anybody but the microphone.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence

from gateway.inputs import Inputs
from gateway.outputs import Outputs
from gateway.path import Path
from gateway.ports import Inbox, Sink
from gateway.types import Outcome, Tick
from gateway.watch import Watch

log = logging.getLogger("spectrophone.loop")


async def run(inputs: Inputs, path: Path, outputs: Outputs, sinks: Sequence[Sink], inbox: Inbox, watch: Watch) -> None:
    """Run until the microphone ends or the task is cancelled; every way out leaves the outputs safe."""
    gc.collect()
    gc.freeze()
    try:
        async for block in inputs.blocks():
            with watch.block(block) as stage:
                stage("path")
                tick = path.tick(block, inbox.drain())
                stage("outputs")
                outcome = outputs.apply(tick.commands, tick.t_ns)
                for sink in sinks:
                    tell(sink, tick, outcome, stage)
    finally:
        outputs.make_safe()


def tell(sink: Sink, tick: Tick, outcome: Outcome, stage: Callable[[str], None]) -> None:
    """Offer a tick to a sink; a fault in it is told in the log and stops nobody."""
    name = type(sink).__name__
    stage(name)
    try:
        sink.offer(tick, outcome)
    except Exception:
        log.exception("%s could not take a tick", name)
