"""What takes long, as a command of the command line in a process of its own: it takes the processor only when nobody
else wants it, not Python's lock from a block, and gives all its memory back.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence

from aiohttp import web

from gateway.web.problem import Problem

LONGEST_S = 60.0
UNREAD_S = 30.0
"""A client that takes nothing for so long is gone."""
_PIECE = 64 * 1024


async def run(*arguments: str, good: tuple[int, ...] = (0,)) -> list[str]:
    """The lines that `spectrophone ARGUMENTS` prints; it ends with who waits for it. Raises Problem with what it says
    where it ends with another status than a `good` one.
    """
    command, environ = _command(arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environ)
    try:
        async with asyncio.timeout(LONGEST_S):
            out, said = await process.communicate()
    except TimeoutError:
        raise Problem(503, f"That took longer than {LONGEST_S:g} s. Ask for less, a shorter time") from None
    finally:
        await _ended(process)
    status = process.returncode
    if status not in good:
        raise _failed(status or 0, said.decode("utf-8", "replace"))
    return out.decode("utf-8", "replace").splitlines()


async def pour(request: web.Request, response: web.StreamResponse, *arguments: str) -> None:
    """Let a client have what `spectrophone ARGUMENTS` prints, as fast as it reads. Raises Problem as run() does where
    nothing has been printed; one that fails later is cut off, so that half a file is not taken for a whole one.
    """
    command, environ = _command(arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environ)
    try:
        await _poured(process, request, response)
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
    finally:
        await _ended(process)


async def _ended(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _poured(process: Process, request: web.Request, response: web.StreamResponse) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    piece = await process.stdout.read(_PIECE)
    if not piece and (status := await process.wait()):
        raise _failed(status, (await process.stderr.read()).decode("utf-8", "replace"))
    await response.prepare(request)
    while piece:
        async with asyncio.timeout(UNREAD_S):
            await response.write(piece)
        piece = await process.stdout.read(_PIECE)
    if await process.wait():
        raise ConnectionAbortedError
    await response.write_eof()


def _command(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    environ = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    return ["nice", "-n", "15", sys.executable, "-m", "gateway", *arguments], environ


def _failed(status: int, said: str) -> Problem:
    lines = [line for line in said.strip().splitlines() if line]
    return Problem(409, lines[-1].removeprefix("spectrophone: ") if lines else f"it ended with {status}")
