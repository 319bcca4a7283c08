"""The limits of a worker, against a kernel that notes what it is told."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from gateway.scripts.confine import limits
from gateway.scripts.confine.limits import Baseline

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[int, int]]:
    """The limits that are set, by their number."""
    given: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "setrlimit", given.__setitem__)
    monkeypatch.setattr(resource, "getrlimit", lambda limit: given.get(limit, UNLIMITED))
    return given


def test_the_baseline_is_what_the_kernel_says_of_this_process() -> None:
    base = limits.measure_baseline()
    lines = Path("/proc/self/status").read_text().splitlines()
    size = next(int(line.split()[1]) for line in lines if line.startswith("VmSize:")) << 10
    assert base.parent == os.getpid()
    assert abs(base.size_bytes - size) < 8 << 20
    assert 0 < base.data_bytes < base.size_bytes


def test_a_process_that_has_ended_has_no_size() -> None:
    assert limits.resident_bytes(os.getpid()) > 1 << 20
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ProcessLookupError):
        limits.resident_bytes(child)
    os.waitpid(child, 0)
    with pytest.raises(FileNotFoundError):
        limits.resident_bytes(child)


@pytest.mark.parametrize("page", [4096, 16384])
def test_memory_comes_on_top_of_what_was_inherited(
    monkeypatch: pytest.MonkeyPatch, told: dict[int, tuple[int, int]], page: int
) -> None:
    monkeypatch.setattr(resource, "getpagesize", lambda: page)
    limits.limit_use(Baseline(1, 82_000_001, 133_000_001), 64 << 20, 1 << 20)
    data, size = told[resource.RLIMIT_DATA][1], told[resource.RLIMIT_AS][1]
    assert 0 <= data - (82_000_001 + (64 << 20)) < page
    assert 0 <= size - (133_000_001 + (80 << 20)) < page
    assert data % page == size % page == 0
    assert told[resource.RLIMIT_FSIZE] == (1 << 20, 1 << 20)


def test_no_limit_is_raised(monkeypatch: pytest.MonkeyPatch, told: dict[int, tuple[int, int]]) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (16, 32))
    limits.limit_use(Baseline(1, 1 << 20, 1 << 20), 64 << 20, 1 << 20)
    limits.limit_threads()
    assert all(soft == hard <= 32 for soft, hard in told.values())
    assert told[resource.RLIMIT_NPROC] == (limits.THREADS, limits.THREADS)


def test_nothing_is_left_of_what_a_worker_has_no_use_for(told: dict[int, tuple[int, int]]) -> None:
    limits.limit_use(Baseline(1, 0, 0), 1 << 20, 1 << 20)
    none = ("CORE", "MEMLOCK", "MSGQUEUE", "RTPRIO", "NICE")
    assert [told[getattr(resource, f"RLIMIT_{name}")] for name in none] == [(0, 0)] * 5
    assert told[resource.RLIMIT_NOFILE] == (64, 64)


@pytest.mark.parametrize(
    ("keep", "closed"),
    [
        ([], [(0, 2**31 - 1)]),
        ([5, 3, 5], [(0, 3), (4, 5), (6, 2**31 - 1)]),
        ([0, 1, 2], [(3, 2**31 - 1)]),  # (0, 0) would close everything
    ],
)
def test_all_other_descriptors_are_closed(
    monkeypatch: pytest.MonkeyPatch, keep: list[int], closed: list[tuple[int, int]]
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "closerange", lambda low, high: given.append((low, high)))
    limits.only_descriptors(keep)
    assert given == closed


def test_of_the_environment_language_time_zone_and_one_thread_for_numpy_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = {"TZ": "UTC", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
    monkeypatch.setattr(os, "environ", {**kept, "SECRET": "s3cret", "PATH": "/bin", "HOME": "/root"})
    limits.clean_environment()
    assert os.environ == {**kept, "HOME": "/tmp", "PATH": ""}
