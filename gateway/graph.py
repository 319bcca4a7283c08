"""The processing graph: nodes in an order in which each stands behind the one that feeds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gateway.config.settings import Settings
from gateway.nodes import AT_THE_MICROPHONE, COMPUTING, KINDS, WITHOUT_SOUND
from gateway.nodes.place import NodeFault, Place
from gateway.types import Result, SampleBlock

_LINEAR = frozenset({"gain", "differential", "channel_mixer", "channel_selector"})
"""Nodes without memory whose output is a linear combination of the channels."""


HELD_S = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """One node as configured.

    `feeder` is the id of the node that feeds it, None for the microphone; `files` a digest of what stands in the files
    that its settings name.
    """

    id: str
    kind: str
    settings: Settings
    feeder: str | None
    files: str = ""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A node in its place."""

    step: Step
    place: Place
    node: Any
    computing: bool


class Graph:
    """Runs sound through every node.

    A call costs a node more than the few milliseconds of sound that it brings. So blocks wait, and go through the nodes
    as one, with the block in which the next record of any node is full: nothing comes later for it. They wait at most
    HELD_S, and go at once when something changes: a gap, a flag, the light, the climate.
    """

    STATE = ("_held",)

    def __init__(self, fitted: Sequence[Fitted]) -> None:
        self._fitted = tuple(fitted)
        self._heard = _heard(fitted)
        self._listening = [one.node for one in fitted if one.computing and one.step.kind not in WITHOUT_SOUND]
        self._held: tuple[SampleBlock, ...] = ()
        self.restored()

    def restored(self) -> None:
        """Make what follows from the nodes' state: the frame at which the first of them has a result."""
        self._due = min((node.due for node in self._listening), default=0)

    def process(self, block: SampleBlock) -> tuple[Result, ...]:
        """All results that this block brings, in the order of the nodes."""
        if self._held and not _continued(self._held[-1], block):
            earlier, self._held = _joined(self._held), ()
            return (*self._run(earlier), *self._run(block))
        first = self._held[0] if self._held else block
        end = block.frame + len(block.samples)
        if len(block.samples) and end < self._due and end - first.frame < HELD_S * block.rate_hz:
            self._held = (*self._held, block)
            return ()
        whole, self._held = _joined((*self._held, block)), ()
        return self._run(whole)

    def _run(self, block: SampleBlock) -> tuple[Result, ...]:
        results: list[Result] = []
        sound: dict[str | None, SampleBlock] = {None: block}
        for fitted in self._fitted:
            step = fitted.step
            if step.kind in AT_THE_MICROPHONE:
                results.extend(fitted.node.process(block, results))
            elif fitted.computing:
                results.extend(fitted.node.process(sound.get(step.feeder, block), results))
            elif step.id in self._heard:
                sound[step.id] = fitted.node.process(sound[step.feeder])
            if fitted.computing and step.id in self._heard:
                sound[step.id] = sound[step.feeder]
        self.restored()
        return tuple(results)

    def settings(self, node: str) -> Settings | None:
        """What a node goes by; None where there is no such node."""
        return next((fitted.step.settings for fitted in self._fitted if fitted.step.id == node), None)

    def plan(self) -> str:
        """The nodes as configured, in words."""
        return repr([fitted.step for fitted in self._fitted])

    def parts(self) -> dict[str, Any]:
        """Everything that has a state, by name."""
        fronts = {f"front {index}": front for index, front in enumerate({f.place.front for f in self._fitted})}
        nodes = {f"node {fitted.step.id}": fitted.node for fitted in self._fitted}
        return {**fronts, **nodes, "graph": self}

    def adopt(self, old: Graph) -> Graph:
        """This graph, with those nodes of `old` that stand in it unchanged from the microphone on, state and all."""
        before = {fitted.step.id: fitted for fitted in old._fitted}
        kept: set[str | None] = {None}
        nodes = []
        for fitted in self._fitted:
            same = before.get(fitted.step.id)
            if same is not None and same.step == fitted.step and fitted.step.feeder in kept:
                kept.add(fitted.step.id)
                fitted = same
            nodes.append(fitted)
        graph = Graph(nodes)
        graph._held = old._held
        return graph


def _continued(one: SampleBlock, other: SampleBlock) -> bool:
    """Whether a block goes on where the other ended, with nothing changed."""
    return (
        other.frame == one.frame + len(one.samples)
        and (one.flags, one.light, one.climate) == (other.flags, other.light, other.climate)
        and (one.utc_ns is None) == (other.utc_ns is None)
    )


def _joined(blocks: Sequence[SampleBlock]) -> SampleBlock:
    """Blocks that go on, as one."""
    if len(blocks) == 1:
        return blocks[0]
    return replace(blocks[0], samples=np.concatenate([block.samples for block in blocks]))


def _heard(fitted: Sequence[Fitted]) -> set[str | None]:
    """The nodes whose sound somebody listens to: a filter that feeds lock_ins and peak_finders only need not filter."""
    heard: set[str | None] = set()
    for one in reversed(fitted):
        listens = one.computing and one.step.kind not in (*AT_THE_MICROPHONE, *WITHOUT_SOUND)
        if listens or one.step.id in heard:
            heard.add(one.step.feeder)
    return heard


def commuted(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps with every filter moved behind the memoryless linear nodes that alone listen to it.

    A filter that treats all channels alike commutes with gains, sums and choices of channels; behind a differential it
    has one channel to filter instead of two. Nobody can tell the difference but the processor.
    """
    order = list(steps)
    moved = True
    while moved:
        moved = False
        for index, step in enumerate(order):
            listeners = [other for other in order if other.feeder == step.id]
            if step.kind != "filter" or len(listeners) != 1 or listeners[0].kind not in _LINEAR:
                continue
            (after,) = listeners
            heirs = {other.id for other in order if other.feeder == after.id}
            order.remove(after)
            order[index] = replace(after, feeder=step.feeder)
            order.insert(index + 1, replace(step, feeder=after.id))
            order = [replace(other, feeder=step.id) if other.id in heirs else other for other in order]
            moved = True
            break
    return tuple(order)


def fit(steps: Sequence[Step], start: Place) -> Iterator[Fitted | tuple[Step, NodeFault]]:
    """Put each node in its place. Yields the node or, where it cannot work there, the step and its fault."""
    places: dict[str | None, Place] = {None: start}
    for step in steps:
        place = places.get(step.feeder, start)
        try:
            node = KINDS[step.kind](step.id, step.settings, place)
        except NodeFault as fault:
            places[step.id] = place
            yield step, fault
            continue
        places[step.id] = node.after
        yield Fitted(step, place, node, step.kind in COMPUTING)


def kinds(steps: Sequence[Step]) -> Mapping[str, str]:
    """The kind of each node, by id."""
    return {step.id: step.kind for step in steps}
