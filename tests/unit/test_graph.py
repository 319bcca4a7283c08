"""The graph: what may be reordered, and that nobody can tell."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gateway.graph import Fitted, Graph, Step, commuted, fit
from gateway.nodes import SETTINGS
from gateway.nodes.place import start
from gateway.types import LevelResult
from tests.support.sound import blocks, noise, stereo

FILTER = {"type": "bandpass", "center_frequency": 2012.5, "bandwidth": 200}


def chain(*nodes: tuple[str, str, dict[str, Any], str | None]) -> tuple[Step, ...]:
    return tuple(Step(id_, kind, SETTINGS[kind].model_validate(p), feeder) for id_, kind, p, feeder in nodes)


def order(steps: tuple[Step, ...]) -> list[tuple[str, str | None]]:
    return [(step.id, step.feeder) for step in steps]


def test_a_filter_moves_behind_gain_and_differential() -> None:
    steps = chain(
        ("in", "input", {}, None),
        ("band", "filter", FILTER, "in"),
        ("amp", "gain", {"gain_db": 12}, "band"),
        ("diff", "differential", {}, "amp"),
        ("level", "level", {}, "diff"),
        ("lock", "lock_in", {}, "diff"),
    )
    assert order(commuted(steps)) == [
        ("in", None),
        ("amp", "in"),
        ("diff", "amp"),
        ("band", "diff"),
        ("level", "band"),
        ("lock", "band"),
    ]


@pytest.mark.parametrize("tap", ["level", "gain"])
def test_a_filter_that_somebody_else_listens_to_stays(tap: str) -> None:
    steps = chain(
        ("band", "filter", FILTER, None),
        ("diff", "differential", {}, "band"),
        ("tap", tap, {"gain_db": 1} if tap == "gain" else {}, "band"),
    )
    assert commuted(steps) == steps


def test_the_results_are_the_same() -> None:
    steps = chain(
        ("band", "filter", FILTER, None),
        ("mix", "channel_mixer", {"weights": [0.7, -0.4]}, "band"),
        ("level", "level", {"window_s": 0.1}, "mix"),
    )
    assert order(commuted(steps))[0] == ("mix", None)
    samples = stereo(noise(1e-3, 2.0, 48_000, 1), noise(1e-3, 2.0, 48_000, 2))
    found = []
    for plan in (steps, commuted(steps)):
        fitted = [item for item in fit(plan, start(48_000, 2, Fraction(2000))) if isinstance(item, Fitted)]
        graph = Graph(fitted)
        results = [r for block in blocks(samples, 48_000) for r in graph.process(block)]
        found.append([r.rms for r in results if isinstance(r, LevelResult)])
    assert len(found[0]) == len(found[1]) > 15
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
