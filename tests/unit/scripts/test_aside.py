"""Work in threads that may hang: bounded, given up, never waited for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.scripts.aside import Aside


def test_result_and_fault() -> None:
    async def main() -> None:
        aside = Aside(1)
        assert await aside.do(lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            await aside.do(lambda: 1 // 0)
        assert await aside.do(lambda: 6) == 6

    asyncio.run(main())


def test_who_is_given_up_still_counts_and_leaves_its_result() -> None:
    async def main() -> None:
        aside, ended, left = Aside(1), threading.Event(), list[int]()
        hangs = asyncio.create_task(aside.do(lambda: ended.wait(30) and 7 or 0, left.append))
        while not (hanging := [thread for thread in threading.enumerate() if thread.name == "aside"]):
            await asyncio.sleep(0.001)
        hangs.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hangs
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aside.do(lambda: 8), 0.05)
        assert len(hanging) == 1
        assert left == []
        ended.set()
        assert await aside.do(lambda: 9) == 9
        assert left == [7]

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
