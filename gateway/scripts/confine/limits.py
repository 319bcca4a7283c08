"""What a worker may use up: memory, files, threads, turns of the processor.

RLIMIT_DATA and RLIMIT_AS count all that a process has, also what it inherited, so both go on top of what the zygote
had when it was measured. RLIMIT_AS also counts what RLIMIT_DATA does not, shared mappings, and has 16 MiB more for code
that is loaded later. Pages of memfd, pipes and tmpfs are counted by neither: the filter, RLIMIT_NOFILE and the size of
the tmpfs bound them.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

THREADS = 8
"""How many a worker may have, its first one included."""

_KEPT = ("LANG", "LC_ALL", "TZ", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CODE_BYTES = 16 << 20
_DESCRIPTORS, _SIGNALS = 64, 64
_OUT_OF_MEMORY_SCORE = 800


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a worker has from the start: its parent, and the parent's VmData and VmSize, in bytes."""

    parent: int
    data_bytes: int
    size_bytes: int


def measure_baseline() -> Baseline:
    """This process as the parent of workers. Raises OSError where there is no /proc."""
    return Baseline(os.getpid(), *_sizes("self", "VmData", "VmSize"))


def resident_bytes(pid: int) -> int:
    """How much memory a process has that is of no file. Raises OSError."""
    return _sizes(str(pid), "RssAnon")[0]


def _sizes(process: str, *names: str) -> list[int]:
    """What the kernel says of a process, in bytes. Raises ProcessLookupError for one that has ended."""
    sizes = dict(line.split(":", 1) for line in Path("/proc", process, "status").read_text().splitlines())
    if not sizes.keys() >= set(names):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return [int(sizes[name].split()[0]) << 10 for name in names]


def limit_use(base: Baseline, memory_bytes: int, file_bytes: int) -> str:
    """Set the limits of memory, of a file's size, of descriptors and of all that a worker has no use for.

    What is lower already stays. Raises OSError or ValueError where the kernel refuses.
    """
    page = resource.getpagesize()
    most = {
        resource.RLIMIT_DATA: -(-(base.data_bytes + memory_bytes) // page) * page,
        resource.RLIMIT_AS: -(-(base.size_bytes + memory_bytes + _CODE_BYTES) // page) * page,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: _DESCRIPTORS,
        resource.RLIMIT_SIGPENDING: _SIGNALS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_NICE: 0,
    }
    for limit, value in most.items():
        _limit(limit, value)
    return f"{memory_bytes / 2**20:.0f} MiB of memory, {file_bytes / 2**20:.0f} MiB a file"


def limit_threads() -> str:
    """At most THREADS. The kernel counts by user and user namespace: this process must be alone in its own."""
    _limit(resource.RLIMIT_NPROC, THREADS)
    return f"{THREADS}"


def _limit(limit: int, value: int) -> None:
    highest = resource.getrlimit(limit)[1]
    if highest != resource.RLIM_INFINITY:
        value = min(value, highest)
    resource.setrlimit(limit, (value, value))


def step_back(nice: int) -> str:
    """Let the measurement go first: lower priority, no pre-emption of others on waking."""
    os.nice(nice)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    return f"nice +{nice}, batch"


def use_processors(cpus: Sequence[int]) -> str:
    """Run on these processors only."""
    os.sched_setaffinity(0, cpus)
    return ", ".join(map(str, cpus))


def die_first() -> None:
    """When the machine is out of memory, the kernel ends this process before others."""
    Path("/proc/self/oom_score_adj").write_text(f"{_OUT_OF_MEMORY_SCORE}")


def only_descriptors(keep: Sequence[int]) -> None:
    """Close every descriptor but these."""
    first = 0
    for descriptor in sorted(set(keep)):
        if first < descriptor:  # os.closerange(0, 0) closes everything: it calls close_range(2) up to -1
            os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, 2**31 - 1)


def clean_environment() -> None:
    """Nothing from outside but language, time zone, and that numeric libraries start no threads."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME="/tmp", PATH="")
