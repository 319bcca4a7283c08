"""What the gateway has learnt, kept in a file, so that a restart does not begin from nothing: the covariance of the
microphones' noise, the resonance, the smoothed value.

Only what outlasts a stream is kept (gateway/state.py): a new one begins at frame 0 with another phase of the laser, so
that half a record, a filter's memory or a counter of frames would be wrong in it. The file is of use for an hour, to
the same configuration, and only whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from pathlib import Path

from gateway.clock import Clock
from gateway.path import Path as Computation
from gateway.state import StateError
from gateway.types import LockInResult, Outcome, Tick

log = logging.getLogger("spectrophone.warm")

_EVERY_NS = 60_000_000_000
OLDEST_S = 3600.0
"""What is older than this is not taken up."""


class WarmFile:
    """A sink that takes up at the start what was learnt before, and keeps it once a minute and at the end."""

    def __init__(self, file: Path, clock: Clock, path: Computation, about: str) -> None:
        """`about` says in words what else, beside the nodes and rules of `path`, must be as it was."""
        self._file = file
        self._clock = clock
        self._path = path
        self._about = about
        self._next_ns = clock.monotonic_ns() + _EVERY_NS
        self._fresh = False  # something was learnt since the file was read or written
        self._writing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See Sink. Whatever is wrong with the file, the gateway begins without it."""
        try:
            kept = json.loads(await asyncio.to_thread(self._file.read_text, "utf-8"))
            age_s = (self._clock.utc_ns() - kept["utc_ns"]) / 1e9
            if kept["sha256"] != _digest(kept["utc_ns"], kept["about"], kept["state"]):
                raise StateError("it is damaged")
            if kept["about"] != self._about:
                raise StateError("it is that of another configuration or version")
            if not 0.0 <= age_s <= OLDEST_S:
                raise StateError(f"it is {age_s:.0f} s old")
            self._path.renew(kept["state"], age_s)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, StateError) as error:
            log.warning("%s: what was learnt before is not taken up: %s", self._file, error)
            return
        log.info("%s: taken up what was learnt until %.0f s ago", self._file, age_s)

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        self._fresh |= any(isinstance(result, LockInResult) and result.valid for result in tick.results)
        now_ns = self._clock.monotonic_ns()
        if not self._fresh or now_ns < self._next_ns or (self._writing is not None and not self._writing.done()):
            return
        self._next_ns = now_ns + _EVERY_NS
        self._writing = asyncio.get_running_loop().create_task(self._write(self._text()))

    async def close(self) -> None:
        """See Sink."""
        if self._writing is not None:
            await self._writing
        if self._fresh:
            await self._write(self._text())

    def _text(self) -> str:
        self._fresh = False
        utc_ns, state = self._clock.utc_ns(), self._path.keep()
        digest = _digest(utc_ns, self._about, state)
        return json.dumps({"utc_ns": utc_ns, "about": self._about, "state": state, "sha256": digest})

    async def _write(self, text: str) -> None:
        try:
            await asyncio.to_thread(_replace, self._file, text)
        except OSError as error:
            log.warning("%s: what was learnt cannot be kept: %s", self._file, error.strerror or error)


def _digest(utc_ns: int, about: str, state: str) -> str:
    return hashlib.sha256(repr((utc_ns, about, state)).encode()).hexdigest()


def _replace(file: Path, text: str) -> None:
    """Whole or not at all."""
    file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.write_text(text, "utf-8")
    new.replace(file)
