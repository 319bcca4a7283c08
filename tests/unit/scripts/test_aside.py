"""Work in threads that may hang: bounded, given up, never waited for."""

from __future__ import annotations

import _thread
import asyncio
import threading

import pytest

from gateway.scripts.aside import Aside
from tests.support.until import until


def test_result_and_fault() -> None:
    async def main() -> None:
        aside = Aside(1)
        assert await aside.do(lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            await aside.do(lambda: 1 // 0)
        assert await aside.do(lambda: 6) == 6
        aside.close()

    asyncio.run(main())


def test_threads_are_used_again_and_end() -> None:
    async def main() -> None:
        before = _thread._count()
        aside, together = Aside(3), threading.Barrier(3)
        for _ in range(20):
            await asyncio.gather(*(aside.do(lambda: together.wait(30)) for _ in range(3)))
        assert len(set(await asyncio.gather(*(aside.do(threading.get_ident) for _ in range(20))))) <= 3
        assert _thread._count() <= before + 3
        aside.close()
        await until(lambda: _thread._count() <= before)

    asyncio.run(main())


def test_who_is_given_up_still_counts_and_leaves_its_result() -> None:
    async def main() -> None:
        aside, ended, left = Aside(1), threading.Event(), list[int]()
        begun = threading.Event()

        def work() -> int:
            begun.set()
            return 7 if ended.wait(30) else 0

        hangs = asyncio.create_task(aside.do(work, left.append))
        await until(begun.is_set)
        hangs.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hangs
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aside.do(lambda: 8), 0.05)
        assert left == []
        ended.set()
        assert await aside.do(lambda: 9) == 9
        assert left == [7]
        aside.close()

    asyncio.run(main())


def test_a_loop_that_ended_meanwhile() -> None:
    ended, left, taken = threading.Event(), list[int](), threading.Event()

    def work() -> int:
        ended.wait(30)
        return 7

    def keep(result: int) -> None:
        left.append(result)
        taken.set()

    async def main() -> None:
        hangs = asyncio.create_task(Aside(1).do(work, keep))
        await asyncio.sleep(0)
        hangs.cancel()

    asyncio.run(main())
    ended.set()
    assert taken.wait(30)
    assert left == [7]
