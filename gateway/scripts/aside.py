"""Work that may hang (a name server, a disk), in threads that nobody waits for at the end."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import errno
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Aside:
    """At most so many threads, made when they are needed, until `close`; who finds none free waits.

    Whoever gives up waiting leaves the thread to its end, and until then it is not free. `left` takes what comes too
    late. Starting a thread does not wait until it runs, as threading's does: on a busy machine that takes milliseconds.
    """

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = self._idle = 0

    def close(self) -> None:
        """Let the threads end, each when it has done what it does."""
        for _ in range(self._threads):
            self._work.put(None)
        self._threads = self._idle = 0

    async def do(self, work: Callable[[], T], left: Callable[[T], object] = lambda result: None) -> T:
        """What `work()` returns or raises, done in a thread. Raises OSError if the system has no thread left."""
        loop = asyncio.get_running_loop()
        await self._free.acquire()
        future: asyncio.Future[T] = loop.create_future()

        def done(result: Any, error: Exception | None) -> None:
            self._idle += 1
            self._free.release()
            if future.cancelled():
                if error is None:
                    left(result)
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        def run() -> None:
            result, fault = None, None
            try:
                result = work()
            except Exception as error:
                fault = error
            try:
                loop.call_soon_threadsafe(done, result, fault)
            except RuntimeError:  # the loop is closed
                if fault is None:
                    with contextlib.suppress(OSError):
                        left(result)  # type: ignore[arg-type]

        self._start(run)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:
                left(future.result())
            raise

    def _start(self, run: Callable[[], None]) -> None:
        if self._idle:
            self._idle -= 1
        else:
            try:
                _thread.start_new_thread(_labour, (self._work,))
            except RuntimeError as error:
                self._free.release()
                raise OSError(errno.EAGAIN, str(error)) from None
            self._threads += 1
        self._work.put(run)


def _labour(work: SimpleQueue[Callable[[], None] | None]) -> None:
    while (run := work.get()) is not None:
        run()
