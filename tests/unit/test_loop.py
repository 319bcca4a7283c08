"""The loop and its watch: safe on every way out, deaf to faulty sinks, awake when the microphone sleeps."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Sequence

import numpy as np
import pytest

from gateway import loop
from gateway.alarms import Alarm
from gateway.graph import Graph
from gateway.inbox import CommandInbox
from gateway.inputs import Inputs
from gateway.outputs import Outputs
from gateway.path import Path
from gateway.rules import ParsedRule
from gateway.types import Command, Outcome, SampleBlock, Tick
from gateway.watch import Watch
from tests.support.clock import FakeClock
from tests.unit.test_outputs import Switch


class Script:
    """A microphone that plays what a test wrote."""

    rate_hz, channels = 48_000, 1

    def __init__(self, steps: Sequence[int | Callable[[], None]]) -> None:
        """Numbers are frames of a block, functions are called in between."""
        self._steps = steps

    async def blocks(self) -> AsyncGenerator[SampleBlock]:
        frame = index = 0
        for step in self._steps:
            if callable(step):
                step()
                continue
            yield SampleBlock(index, frame, self.rate_hz, np.zeros((step, 1), np.float32))
            index, frame = index + 1, frame + max(step, 4800)
            await asyncio.sleep(0)

    def close(self) -> None:
        pass


class Sink:
    def __init__(self, fault: Exception | None = None) -> None:
        self.ticks: list[tuple[Tick, Outcome]] = []
        self._fault = fault

    async def start(self) -> None:
        pass

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        self.ticks.append((tick, outcome))
        if self._fault:
            raise self._fault

    async def close(self) -> None:
        pass


class Box:
    """Everything that loop.run takes."""

    def __init__(self, steps: Sequence[int | Callable[[], None]], rules: Sequence[ParsedRule] = ()) -> None:
        self.log: list[str] = []
        self.clock = FakeClock()
        self.outputs = Outputs([Switch("laser", self.log), Switch("relay/fan", self.log)])
        self.inbox = CommandInbox()
        self.watch = Watch(self.clock, self.outputs.lose, self.outputs.restore)
        self.sink = Sink()
        self.microphone = Script(steps)
        self.path = Path(Graph([]), rules)

    def run(self, *sinks: Sink) -> None:
        inputs = Inputs(self.microphone, self.outputs, heard=self.watch.heard)
        asyncio.run(loop.run(inputs, self.path, self.outputs, [*sinks, self.sink], self.inbox, self.watch))


def test_every_block_is_a_tick_and_the_end_is_safe() -> None:
    box = Box([4800, 4800, 4800])
    box.inbox.put(Command("laser", "on"))
    box.run()
    assert [tick.index for tick, _ in box.sink.ticks] == [0, 1, 2]
    assert [outcome.states["laser"] for _, outcome in box.sink.ticks] == ["on"] * 3
    assert box.log == ["laser on", "laser safe", "relay/fan safe"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError(), KeyboardInterrupt()])
def test_every_way_out_is_safe(error: BaseException) -> None:
    def fail() -> None:
        raise error

    box = Box([4800, fail])
    box.inbox.put(Command("laser", "on"))
    with pytest.raises(type(error)):
        box.run()
    assert box.log[-2:] == ["laser safe", "relay/fan safe"]


def test_a_faulty_sink_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    box = Box([4800, 4800])
    box.run(Sink(ValueError("a bug in a sink")))
    assert len(box.sink.ticks) == 2
    assert "Sink could not take a tick" in caplog.text


def test_a_silence_rule_acts_when_the_microphone_stalls() -> None:
    alarm = Alarm("gone", "co2", "data_timeout", "above", 0.2, duration_ns=200_000_000, silence=True)
    rule = ParsedRule(alarm, (Command("relay/fan", "on", origin="rule:gone"),), ())
    box = Box([4800, 0, 0, 0], [rule])
    box.run()
    assert [len(tick.alerts) for tick, _ in box.sink.ticks] == [0, 0, 1, 0]
    assert box.sink.ticks[-1][1].states["relay/fan"] == "on"


def test_without_sound_the_watch_makes_safe_and_with_sound_allows_again() -> None:
    box: Box

    def silence() -> None:
        box.clock.advance(2.5)
        box.watch.check()

    box = Box([4800, silence, 0, 4800])
    box.inbox.put(Command("laser", "on"))
    box.run()
    assert [outcome.states["laser"] for _, outcome in box.sink.ticks] == ["on", "off", "on"]


def test_a_hanging_loop_is_made_safe_by_the_thread() -> None:
    """A stage that never returns: the real thread, the real clock, and a sink that waits until the laser is dark."""
    from gateway.clock import RealClock

    box = Box([4800])
    box.watch = Watch(RealClock(), box.outputs.lose, box.outputs.restore, deadline_s=0.05)
    dark = threading.Event()

    class Hanging(Sink):
        def offer(self, tick: Tick, outcome: Outcome) -> None:
            while box.outputs.apply((), 0).states["laser"] == "on":
                dark.wait(0.01)

    box.inbox.put(Command("laser", "on"))
    box.watch.start()
    box.run(Hanging())
    box.watch.stop()
    assert "laser safe" in box.log


def test_a_late_block_is_counted_and_the_slow_stage_named(caplog: pytest.LogCaptureFixture) -> None:
    box = Box([4800, 4800])

    class Slow(Sink):
        def offer(self, tick: Tick, outcome: Outcome) -> None:
            box.clock.advance(0.15 if tick.index else 0.01)

    with caplog.at_level(logging.WARNING):
        box.run(Slow())
    statistics = box.watch.statistics
    assert (statistics.blocks, statistics.overruns) == (2, 1)
    assert statistics.longest_s == pytest.approx(0.15)
    assert statistics.took.as_object()["sum_s"] == pytest.approx(0.16)
    assert sum(statistics.late.as_object()["counts"]) == 2
    assert "block 1 took 150 ms of its 100 ms; slowest was Slow with 150 ms" in caplog.text
