"""Procedures' words as jobs."""

from __future__ import annotations

import pytest

from gateway.web.jobs import Job, job


@pytest.mark.parametrize(
    ("said", "state", "progress"),
    [
        ("idle", "idle", 0.0),
        ("sweeping 0 %", "running", 0.0),
        ("sweeping 40 %", "running", 0.4),
        ("zero 99 %", "running", 0.99),
        ("span 1000 ppm 100 %", "running", 1.0),
        ("done: f0 2012.51 ± 0.01 Hz, Q 50.0 ± 0.1", "done", 1.0),
        ("failed: the laser went dark", "failed", 0.0),
        ("unknown", "idle", 0.0),
    ],
)
def test_the_words_of_docs_commands(said: str, state: str, progress: float) -> None:
    assert job("sweep", said) == Job("sweep", state, progress, said)  # type: ignore[arg-type]
