"""Waiting for what other tasks bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

STEP_S, DEADLINE_S = 0.001, 60.0


async def until(done: Callable[[], object]) -> None:
    """Return when `done()`; AssertionError when it stays undone."""
    for _ in range(round(DEADLINE_S / STEP_S)):
        if done():
            return
        await asyncio.sleep(STEP_S)
    raise AssertionError("it did not come about")
