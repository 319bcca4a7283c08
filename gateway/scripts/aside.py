"""Work that may hang (a name server, a disk), in a thread of its own that nobody waits for at the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Aside:
    """At most so many threads at once; who finds none waits.

    Whoever gives up waiting leaves the thread to its end, and until then it counts. `left` takes what came too late.
    """

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def do(self, work: Callable[[], T], left: Callable[[T], object] = lambda result: None) -> T:
        """What `work()` returns or raises, done in a thread. Raises OSError if the system has no thread left."""
        loop = asyncio.get_running_loop()
        await self._free.acquire()
        future: asyncio.Future[T] = loop.create_future()

        def done(result: Any, error: Exception | None) -> None:
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

        try:
            threading.Thread(target=run, daemon=True, name="aside").start()
        except RuntimeError as error:
            self._free.release()
            raise OSError(errno.EAGAIN, str(error)) from None
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:
                left(future.result())
            raise
