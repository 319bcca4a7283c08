"""A child process in a group of its own: watched without a thread, bounded in time and output, always reaped.

The event loop watches the child's pidfd and the pipes of what it says. When the pidfd speaks the child is dead and not
yet reaped, so that its number is still its own: then, and only then, the rest of its group can be killed without ever
hitting a stranger's process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit `status` (-N: killed by signal N), what it said, and why it was stopped; empty where
    it ended by itself.
    """

    status: int
    out: bytes
    err: bytes
    stopped: str


class Child:
    """A running child. Whoever makes one awaits `ended`, or calls `kill` and awaits `gone`."""

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        most_out: int,
        most_err: int,
        descriptors: Collection[int] = (),
    ) -> None:
        """Start it, in the directory /, with nothing open but its pipes and `descriptors`; stopped when it writes more
        than `most_out` or `most_err` bytes. Raises OSError where it cannot be started.
        """
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            cwd="/",
            start_new_session=True,
            pass_fds=descriptors,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            self._process.kill()
            self._process.communicate()
            raise
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[int] = self._loop.create_future()
        self._pipes = {self._process.stdout.fileno(): most_out, self._process.stderr.fileno(): most_err}
        self._said = {pipe: bytearray() for pipe in self._pipes}
        self._stopped = ""
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            self._loop.add_reader(pipe, self._read, pipe)
        self._loop.add_reader(self._pidfd, self._end)

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    async def ended(self, timeout_s: float) -> Ended:
        """Wait for its end, at most `timeout_s`; then, or when cancelled, kill it. Returns when it is reaped."""
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._gone)
        except TimeoutError:
            self.stop(f"was stopped after {timeout_s * 1e3:g} ms")
        finally:
            self.kill()
            status = await self.gone()
        out, err = self._said.values()
        return Ended(status, bytes(out), bytes(err), self._stopped)

    def stop(self, why: str) -> None:
        """Kill it, and let `Ended` say why: what goes on behind its name."""
        if not self._gone.done():
            self._stopped = self._stopped or why
        self.kill()

    def kill(self) -> None:
        """Kill it and its group now; once it is reaped, nothing."""
        if not self._gone.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def gone(self) -> int:
        """Its exit status, when it is reaped."""
        return await asyncio.shield(self._gone)

    def _read(self, pipe: int) -> bool:
        """Take what the pipe holds; whether there may be more."""
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return False
        said, most = self._said[pipe], self._pipes[pipe]
        said += data[: most - len(said) + 1]
        if not data:
            self._loop.remove_reader(pipe)
        if len(said) > most:
            self._loop.remove_reader(pipe)
            self.stop(f"was stopped because it wrote more than {most} bytes")
            return False
        return bool(data)

    def _end(self) -> None:
        self.kill()
        for pipe in self._pipes:
            while self._read(pipe):
                pass
            self._loop.remove_reader(pipe)
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._gone.set_result(self._process.wait())
