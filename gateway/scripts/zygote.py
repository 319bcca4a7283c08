"""The parent of all workers: a small process with Python warmed up in it, which forks when the gateway asks.

    gateway --Spawn, three descriptors--> zygote --fork--> child: confine, serve

The gateway itself cannot fork: it has threads, secrets and open devices. So it starts this one anew (exec), with a
clean environment and one socket, and nothing of the gateway comes along. It has one thread, imports nothing that a
customer wrote, and dies when the gateway does. Modules come here before the walls of a worker are up: those of the
standard library when they are first asked for, those of the gateway's own environment (numpy) when it starts.

Unused pages are shared with all workers; so the collector's lists are frozen before the first fork.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time  # noqa: TID251  -- tzset
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import msgspec

from gateway.scripts import policy, wire, worker
from gateway.scripts.confine import kernel
from gateway.scripts.confine.cgroup import Group
from gateway.scripts.confine.confine import Plan, Report, Unconfined, confine
from gateway.scripts.confine.limits import Baseline, clean_environment, measure_baseline, only_descriptors
from gateway.scripts.control import LONGEST, Born, Ended, FromZygote, Spawn, Stillborn
from gateway.scripts.messages import Sealed

COMMON = (
    *("__future__", "_strptime", "abc", "argparse", "array", "ast", "asyncio", "base64", "bisect", "calendar"),
    *("collections.abc", "concurrent.futures.thread", "contextlib", "copy", "csv", "dataclasses", "datetime"),
    *("decimal", "email.header", "email.message", "email.mime.application", "email.mime.base", "email.mime.image"),
    *("email.mime.multipart", "email.mime.text", "email.policy", "email.utils", "encodings.idna"),
    *("encodings.latin_1", "enum", "fractions", "functools", "hashlib", "heapq", "hmac", "html", "http.client"),
    *("importlib.metadata", "io", "ipaddress", "itertools", "json", "logging", "math", "operator", "pathlib"),
    *("queue", "random", "re", "secrets", "shutil", "smtplib", "sqlite3", "ssl", "statistics", "string", "struct"),
    *("tempfile", "textwrap", "threading", "time", "traceback", "typing", "unicodedata", "urllib.parse"),
    *("urllib.request", "uuid", "warnings", "xml.etree.ElementTree", "zlib", "zoneinfo", "gateway.scripts.api"),
)
"""What scripts often import; loaded once, for all."""
_NEVER = frozenset({"__main__", "antigravity", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo"})
"""Modules of the standard library that do something when they are imported, or are no libraries."""
_RPC, _BROKER, _HIGH = 3, 4, 32
_NOT_SEALED, _FAULTY = 70, 71

_callback = ctypes.CFUNCTYPE(None)(lambda: None)
"""One that lives makes libffi ask for its memory here: at level C it could not."""


class Zygote:
    """Serves one gateway on `control`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._decoder = msgspec.msgpack.Decoder(Spawn)
        self._encoder = msgspec.msgpack.Encoder()
        self._children: dict[int, tuple[int, int]] = {}
        """By pidfd: the worker's id and its process."""
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._base = measure_baseline()

    def serve(self) -> None:
        """Fork and reap until the gateway hangs up."""
        with suppress(BrokenPipeError, ConnectionResetError):
            while True:
                for descriptor, _ in self._poll.poll():
                    if descriptor != self._control.fileno():
                        self._reap(descriptor)
                    elif not self._take():
                        return

    def _take(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, LONGEST, 3)
        if not data:
            return False
        try:
            request = self._decoder.decode(data)
            if self._load(request.modules):
                gc.collect()
                gc.freeze()
                self._base = measure_baseline()
            self._fork(request, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _load(self, modules: list[str]) -> bool:
        """Import what is of the standard library and not here yet; whether there was anything."""
        top = {name: name.partition(".")[0] for name in modules if name not in sys.modules}
        wanted = [name for name, first in top.items() if first in sys.stdlib_module_names and first not in _NEVER]
        return bool([name for name in wanted if _imported(name)])

    def _fork(self, request: Spawn, descriptors: list[int]) -> None:
        try:
            one_thread()
            child = os.fork()
        except OSError as error:
            self._tell(Stillborn(request.id, error.strerror or str(error)))
            return
        if child == 0:
            become(request.plan, request.paths, descriptors, self._base)
        if request.group and (fault := admitted(request, child)):
            self._tell(Stillborn(request.id, fault))
            return
        pidfd = os.pidfd_open(child)
        self._children[pidfd] = request.id, child
        self._poll.register(pidfd, select.POLLIN)
        socket.send_fds(self._control, [self._encoder.encode(Born(request.id, child))], [pidfd])

    def _reap(self, pidfd: int) -> None:
        number, child = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self._tell(Ended(number, status))

    def _tell(self, message: FromZygote) -> None:
        self._control.send(self._encoder.encode(message))


def admitted(request: Spawn, child: int) -> str:
    """Put a worker into its control group, while it walls itself in; if that fails it is ended, and this says why.

    One that has ended by itself has more to say than that.
    """
    try:
        with suppress(ProcessLookupError):
            Group(Path(request.group)).admit(child, request.plan.memory_bytes + request.plan.scratch_bytes)
    except OSError as error:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return f"its control group does not take it in: {error.strerror}"
    return ""


def become(plan: Plan, paths: list[str], descriptors: list[int], base: Baseline) -> None:
    """The forked child: be a worker to its end. It never returns."""
    code = _FAULTY
    try:
        _arrange(descriptors)
        clean_environment()
        sys.path[:0] = paths
        try:
            report = confine(plan, base)
        except Unconfined as lacking:
            _tell_unconfined(lacking.report)
            code = _NOT_SEALED
        else:
            worker.serve(_RPC, _BROKER, report, plan)
            code = 0
    except MemoryError:
        code = worker.NO_MEMORY
    except BaseException:
        with suppress(BaseException):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _arrange(descriptors: list[int]) -> None:
    """Nothing on 0, the output on 1 and 2, the channels behind them, and nothing else."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _HIGH) for descriptor in descriptors]
    rpc, broker, output = high
    nothing = os.open(os.devnull, os.O_RDONLY)
    for place, descriptor in enumerate((nothing, output, output, rpc, broker)):
        os.dup2(descriptor, place)
    only_descriptors(range(_BROKER + 1))


def _tell_unconfined(report: Report) -> None:
    with suppress(OSError):
        os.write(_RPC, wire.frame(Sealed(asdict(report))))


def one_thread() -> None:
    """Raise OSError if there is a second thread: it would not be there after a fork, and its locks would."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise OSError(f"a module that was loaded for scripts has started {threads - 1} threads")


def _imported(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:
        return False
    return True


def warm_numpy() -> None:
    """Let OpenBLAS take its memory now: within a worker's limit it could not, and would end the process."""
    import numpy as np

    square = np.eye(8) + 1.0
    np.linalg.solve(square, square @ square)
    np.fft.irfft(np.fft.rfft(np.arange(16.0)))


def main() -> None:
    """`zygote.main()` with the control socket's descriptor and the modules to preload as arguments."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal and systemd send them to all; the gateway ends workers
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    extras = sys.argv[2:]
    time.tzset()
    for name in (*COMMON, *extras):
        _imported(name)
    if "numpy" in sys.modules:
        warm_numpy()
    policy.check(b"def on_measurement(measurement):\n    return measurement\n", "warm.py", (), "module")
    gc.collect()
    gc.freeze()
    gc.disable()
    with suppress(ConnectionError):  # the gateway has hung up in the middle of a word
        Zygote(control).serve()
