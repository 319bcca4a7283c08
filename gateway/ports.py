"""What the loop knows of its parts: Protocols only. Parts know these and the types, not each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol, runtime_checkable

from gateway.types import Climate, Command, Light, Outcome, Result, SampleBlock, Tick


class Microphone(Protocol):
    """A source of sound."""

    rate_hz: int
    channels: int

    def blocks(self) -> AsyncGenerator[SampleBlock]:
        """Blocks in order, for ever or to the end of the recording.

        A device that stalls yields a block of zero frames about once a second, so that time moves on. Lost frames are
        counted in `frame` and named in `lost_frames`. Raises DeviceError when the device is gone.
        """
        ...

    def close(self) -> None:
        """Give the device back; may be called twice."""
        ...


class Output(Protocol):
    """A thing that changes the world. Its safe state is part of its declaration."""

    target: str
    """Its name as a command's target: "laser", "relay/fan", "led/status", "cell"."""
    verbs: tuple[str, ...]
    """What it can be told."""

    def apply(self, command: Command) -> str | None:
        """Do it now, or begin to, without waiting for it; what is still to come, in words, if people should know of it.
        Raises CommandRefused.
        """
        ...

    def step(self, t_ns: int) -> None:
        """Once a tick, at stream time `t_ns`: what goes on by itself (a ramp, a pattern) goes on, without waiting."""
        ...

    def read(self) -> str:
        """The state that the hardware is in, read back: "on", "off", "red", "400.0"."""
        ...

    def make_safe(self) -> None:
        """Go to the safe state, whatever the state was; never raises for a state."""
        ...

    def close(self) -> None:
        """Give the hardware back, in its safe state; may be called twice."""
        ...


@runtime_checkable
class Laser(Output, Protocol):
    """The output that tells how the light is modulated."""

    light: Light
    """As achieved, whether lit or not; the frequency counts from the next block on."""


@runtime_checkable
class Regulator(Output, Protocol):
    """The output that gives the laser its temperature. Asked once a tick, after its step."""

    @property
    def ready(self) -> bool:
        """Whether the laser may be lit, as far as this goes."""
        ...

    @property
    def fault(self) -> str:
        """What has gone wrong, in a sentence, until it is told to be on again; "" if nothing."""
        ...


class ClimateSensor(Protocol):
    """Temperature, humidity and pressure of the gas."""

    async def start(self) -> None:
        """Begin to ask, without waiting for an answer; may be called again after close()."""
        ...

    async def close(self) -> None:
        """End asking; may be called twice."""
        ...

    def newest(self) -> Climate | None:
        """What holds now, without waiting; None where nothing does, or it is too old."""
        ...

    def status(self) -> Mapping[str, Any]:
        """The same for people: for each quantity that is known {"value", "from", "age_s"}, and what else there is."""
        ...


class Switch(Protocol):
    """Something that forbids light: the interlock, a stop button, a part of the box with a fault."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when the switch has changed; -1 where there is none to wait for."""
        ...

    def opened(self) -> str:
        """Why it forbids light, nothing while it does not; clears what made the descriptor readable. Never raises: a
        switch that cannot be read forbids light.
        """
        ...

    def close(self) -> None:
        """Give the hardware back; may be called twice."""
        ...


class Guardian(Protocol):
    """Who makes the outputs safe when this process cannot."""

    def start(self) -> None:
        """Take up the post."""
        ...

    def beat(self) -> str:
        """This process lives. Says what is wrong with the guardian, nothing if all is well; never waits."""
        ...

    def stop(self) -> None:
        """The outputs are safe: the guardian may go."""
        ...


class Sink(Protocol):
    """Somebody who is told of every tick: MQTT, the recorder, the terminal."""

    async def start(self) -> None:
        """Begin. What can fail for good (an option, a password file) fails here."""
        ...

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """Take a tick without waiting, and without raising."""
        ...

    async def close(self) -> None:
        """Say goodbye, within a second or two."""
        ...


class Inbox(Protocol):
    """Where commands come back in, between two blocks."""

    def put(self, command: Command) -> None:
        """Hand in a command, from any thread. A full inbox refuses: CommandRefused."""
        ...

    def drain(self) -> tuple[Command, ...]:
        """All that came since the last call, in order."""
        ...


class SignalNode(Protocol):
    """Sound in, sound out."""

    def process(self, block: SampleBlock) -> SampleBlock:
        """The node's output for this block. Splitting a block in two gives the same samples."""
        ...


class ComputingNode(Protocol):
    """Sound (and earlier results) in, results out; the sound passes on unchanged."""

    due: int
    """Before the end of this frame it has no result to give, unless something changes in the sound."""

    def process(self, block: SampleBlock, results: list[Result]) -> list[Result]:
        """New results of this block; `results` are those of the nodes before it, this block's only."""
        ...
