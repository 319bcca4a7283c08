"""An archive of recordings on Dask: every file is one task of the one function that this machine would call itself.

The workers read the files themselves and write nothing; configuration and calibration go along with each task, packed
lines come back. Results are taken in the order of the files. A bounded number of tasks is with the scheduler, counted
from the first one that is not taken yet, so that neither ten thousand files nor one that takes an hour fill a memory.
What a lost worker had is computed again by another; Dask gives a file up after it has seen it on several workers that
died. Ending early, for whatever reason, takes all tasks back from the scheduler.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import logging
import os
import re
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gateway.archive import Given, Job, Recomputed, recompute
from gateway.design import VERSION
from gateway.errors import LinkError, UsageError

LOCAL = "local"
AHEAD = 8
"""Tasks per worker thread that the scheduler has, the finished ones that wait for an earlier file included."""
_LOOPBACK = "127.0.0.1"
_DEAF_TO_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""The terminal sends it to our own workers as well, which we end."""
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(32 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
"""Dask tells workers to give every 64 kB back to the system: each block of sound faults its pages in anew then, which
takes as long as computing it."""
_PATIENCE_S = 5.0
"""How long a scheduler may take to answer, and its first worker to come."""
_LOOK_S = 2.0
_LIBRARIES = ("numpy", "scipy")
_ADDRESS = re.compile(r"((tcp|tls)://)?[^/\s]+:\d+")
_NO_WORKER = "Start some on the machines that see the archive: dask worker {address} --nworkers -1 --nthreads 1"


def replay(
    address: str,
    jobs: Sequence[Job],
    given: Given,
    take: Callable[[Recomputed], None],
    tell: Callable[[str], None],
) -> None:
    """Have `jobs` recomputed by the Dask scheduler at `address`, or for "local" by one worker a core on this machine.
    `take` is called with each result, in order; `tell` with what a user should know meanwhile.

    Raises UsageError where `distributed` is not installed or the address is none, LinkError where the scheduler is
    lost or its workers are not fit.
    """
    dask = _dask()
    if address != LOCAL and not _ADDRESS.fullmatch(address):
        raise UsageError(f"--scheduler {address} is no address", "Write tcp://HOST:8786, tls://HOST:8786 or local")
    if address.startswith("tls:") and not dask.Security().tls_ca_file:
        remedy = "Name the files: DASK_DISTRIBUTED__COMM__TLS__CA_FILE, and CERT and KEY of __TLS__CLIENT"
        raise UsageError(f"--scheduler {address}: TLS needs certificates, and Dask is told of none", remedy)
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # of a lost scheduler we tell ourselves
    asyncio.run(_replay(dask, address, jobs, given, take, tell))


def _dask() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        message = "--scheduler needs Dask's package distributed, which is not installed"
        raise UsageError(message, "Install it: pip install 'spectrophone[fleet]'") from None


async def _replay(
    dask: Any,
    address: str,
    jobs: Sequence[Job],
    given: Given,
    take: Callable[[Recomputed], None],
    tell: Callable[[str], None],
) -> None:
    taken = 0
    try:
        async with _connected(dask, address) as client:
            await _check(client, address, tell)
            async for result in _results(client, jobs, given, tell):
                take(result)
                taken += 1
    except (OSError, dask.CancelledError):
        message = f"the scheduler {address} was lost with {taken} of {len(jobs)} recordings done"
        raise LinkError(message, f"Start it again, and go on with {jobs[taken].shown}") from None


@contextlib.asynccontextmanager
async def _connected(dask: Any, address: str) -> AsyncIterator[Any]:
    """A client of the scheduler, or of one of our own."""
    async with contextlib.AsyncExitStack() as stack:
        where: Any = address
        if address == LOCAL:
            os.environ.update(_MALLOC | os.environ)
            pages = {"dashboard": False, "dashboard_address": f"{_LOOPBACK}:0"}
            cluster = dask.LocalCluster(
                threads_per_worker=1,
                scheduler_kwargs=pages,
                preload=[_DEAF_TO_CTRL_C],
                silence_logs=logging.ERROR,
                asynchronous=True,
            )
            where = await stack.enter_async_context(cluster)
        try:
            client = await stack.enter_async_context(
                dask.Client(where, asynchronous=True, set_as_default=False, timeout=_PATIENCE_S)
            )
        except (OSError, TimeoutError):
            message = f"no Dask scheduler answers at {address}"
            raise LinkError(message, "Start one with: dask scheduler, or give the address that it prints") from None
        yield client


async def _check(client: Any, address: str, tell: Callable[[str], None]) -> None:
    """Whether there are workers, and with the software of this machine. Other numerical libraries are told only."""
    try:
        await asyncio.wait_for(client.wait_for_workers(1), _PATIENCE_S)
    except TimeoutError:
        raise LinkError(f"the scheduler {address} has no workers", _NO_WORKER.format(address=address)) from None
    unfit = [
        f"{worker} has {'none' if isinstance(found, PackageNotFoundError) else found}"
        for worker, found in (await _versions(client, "spectrophone")).items()
        if found != VERSION
    ]
    if unfit:
        message = f"the workers need spectrophone {VERSION}, as this machine has: {', '.join(unfit)}"
        raise LinkError(message, f"There: pip install 'spectrophone[fleet]=={VERSION}', and start them again")
    for library in _LIBRARIES:
        here = version(library)
        for worker, found in (await _versions(client, library)).items():
            if found != here:
                tell(f"{worker} has {library} {found}, and this machine {here}: the last digits of numbers may differ")


async def _versions(client: Any, package: str) -> dict[str, str | PackageNotFoundError]:
    """What each worker has; workers that are lost meanwhile are left out."""
    found = await client.run(version, package, on_error="return")
    return {worker: value for worker, value in found.items() if isinstance(value, str | PackageNotFoundError)}


async def _results(
    client: Any, jobs: Sequence[Job], given: Given, tell: Callable[[str], None]
) -> AsyncIterator[Recomputed]:
    """The result of each job, in order."""
    waiting = iter(jobs)
    ahead: deque[asyncio.Task[Recomputed]] = deque()
    try:
        while True:
            room = AHEAD * max(1, sum((await client.nthreads()).values())) - len(ahead)
            ahead.extend(asyncio.create_task(_result(client, job, given)) for job in itertools.islice(waiting, room))
            if not ahead:
                return
            await _first(ahead[0], client, tell)
            yield ahead.popleft().result()
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


async def _first(task: asyncio.Task[Recomputed], client: Any, tell: Callable[[str], None]) -> None:
    """Wait for the task; where no worker is left to do it, say so."""
    told = False
    while not (await asyncio.wait({task}, timeout=_LOOK_S))[0]:
        idle = not await client.nthreads()
        if idle and not told:
            tell("no worker is left; this goes on when one comes")
        told = idle


async def _result(client: Any, job: Job, given: Given) -> Recomputed:
    """What a worker makes of the job. Its errors become the result's fault; those of the connection are raised."""
    future = client.submit(_on_worker, job, given, VERSION, pure=False)
    try:
        result: Recomputed = await future
    except Exception as error:
        if future.status != "error":
            raise
        result = Recomputed(job, fault=f"{job.shown}: the workers cannot do it: {type(error).__name__}: {error}")
    finally:
        future.release()
    return result


def _on_worker(job: Job, given: Given, wanted: str) -> Recomputed:
    """The task: `recompute`, where the worker is of the `wanted` version and sees the file."""
    here = f"the worker on {socket.gethostname()}"
    if wanted != VERSION:
        return Recomputed(job, fault=f"{job.shown}: {here} came later, with spectrophone {VERSION} and not {wanted}")
    if not os.access(job.path, os.R_OK):
        remedy = "Workers read recordings themselves: mount the archive there at the same path"
        return Recomputed(job, fault=f"{job.shown}: {here} cannot read {job.path}. {remedy}")
    return recompute(job, given)
