"""A child process: how it ends, what it says, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.actions.child import Child, Ended


def run(act: Callable[[Child], Awaitable[Any]], script: str, most: int = 1000) -> Any:
    """What `act` gives of a shell that runs `script`."""

    async def main() -> Any:
        return await act(Child(["/bin/sh", "-c", script], {}, most, most))

    return asyncio.run(main())


def test_it_ends_by_itself() -> None:
    ended = run(lambda child: child.ended(30.0), "echo said; echo told >&2; exit 7")
    assert ended == Ended(7, b"said\n", b"told\n", "")


@pytest.mark.parametrize("most", [0, 8, 70_000])
def test_what_it_says_is_bounded_to_the_byte(most: int) -> None:
    script = f"head -c {most} /dev/zero; {{ head -c {most} /dev/zero; echo; }} >&2; exec sleep 1000"
    ended = run(lambda child: child.ended(30.0), script, most)
    assert ended.stopped == f"was stopped because it wrote more than {most} bytes"
    assert len(ended.out) == most
    assert run(lambda child: child.ended(30.0), f"head -c {most} /dev/zero", most) == Ended(0, bytes(most), b"", "")


def test_it_is_stopped_for_the_first_reason() -> None:
    async def act(child: Child) -> Ended:
        child.stop("was stopped: the disk is full")
        child.stop("was stopped: it is late")
        return await child.ended(30.0)

    assert run(act, "exec sleep 1000") == Ended(-9, b"", b"", "was stopped: the disk is full")


def test_it_gets_the_descriptors_that_it_is_to_have_and_no_other() -> None:
    async def main() -> Ended:
        hear, tell = os.pipe()
        os.set_inheritable(hear, True)
        child = Child(
            ["/bin/sh", "-c", f"echo said > /proc/self/fd/{tell}; cat /proc/self/fd/{hear}"], {}, 1000, 1000, [tell]
        )
        ended = await child.ended(30.0)
        os.close(tell)
        assert os.read(hear, 100) == b"said\n"
        os.close(hear)
        return ended

    ended = asyncio.run(main())
    assert ended.status != 0
    assert b"No such file" in ended.err


def test_a_descendant_that_keeps_the_pipes_does_not_keep_us() -> None:
    ended = run(lambda child: child.ended(30.0), "sleep 1000 & echo left")
    assert ended == Ended(0, b"left\n", b"", "")


def test_it_is_reaped_and_its_number_never_killed_again() -> None:
    async def act(child: Child) -> None:
        child.kill()
        assert await child.gone() == -9
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)
        child.kill()
        assert (await child.ended(30.0)).status == -9

    run(act, "exec sleep 1000")


def test_no_descriptor_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    run(lambda child: child.ended(0.01), "exec sleep 1000")
    assert os.listdir("/proc/self/fd") == before


def test_what_cannot_be_started_says_so() -> None:
    async def main() -> None:
        with pytest.raises(OSError, match="No such file"):
            Child(["/nowhere/python"], {}, 1, 1)

    asyncio.run(main())
