"""A process under a real filter: run as `python -I -B sealed.py ROOT LEVEL NETWORK`, it prints as JSON what worked.

"" is success; else the name of the errno, or the exception. What is asked of it is harmless even where it should work.
"""

from __future__ import annotations

import asyncio
import ctypes
import datetime
import errno
import hashlib
import json
import logging
import os
import re
import resource
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zoneinfo
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, sys.argv[1])
from gateway.scripts.confine import bpf, numbers, seccomp

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
NUMBERS = numbers.native().numbers  # type: ignore[union-attr]
PARENT = os.getppid()
LIMITS = resource.prlimit(PARENT, resource.RLIMIT_NOFILE)


def raw(call: str, *arguments: int) -> None:
    """The system call itself; raises OSError."""
    if LIBC.syscall(ctypes.c_long(NUMBERS[call]), *(ctypes.c_ulong(each) for each in arguments)) < 0:
        raise OSError(ctypes.get_errno(), call)


def outcome(work: Callable[[], object]) -> str:
    """What became of it."""
    try:
        work()
    except OSError as error:
        return errno.errorcode[error.errno] if error.errno else type(error).__name__
    except Exception as error:
        return type(error).__name__
    return ""


def data() -> None:
    """Reading and writing data in memory."""
    assert json.loads(json.dumps({"a": [1.5]})) == {"a": [1.5]}
    assert re.search(r"(\d+) ppm", "at 12 ppm")
    assert len(hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10) + os.urandom(8)) == 40
    logging.getLogger("script").error("%s", "told")
    memory = sqlite3.connect(":memory:")
    assert memory.execute("select 1 + 1").fetchone() == (2,)


def dates() -> None:
    """Time of day, here and elsewhere."""
    now = datetime.datetime.now().astimezone()
    assert now.strftime("%Y %Z")
    assert (now.astimezone(BERLIN) - now).total_seconds() == 0


def threads() -> None:
    """Threads, and locks between them."""
    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(len, ["a", "bc", "def"])) == 6
    done = threading.Event()
    assert not done.wait(0.001)
    threading.Timer(0.001, done.set).start()
    assert done.wait(10)


def loop() -> None:
    """An event loop with sleep, a thread and a stream."""

    async def main() -> bytes:
        await asyncio.sleep(0.001)
        await asyncio.to_thread(sum, [1, 2])
        ours, theirs = socket.socketpair()
        reader, ending = await asyncio.open_connection(sock=ours)
        _, writer = await asyncio.open_connection(sock=theirs)
        writer.write(b"line\n")
        line = await asyncio.wait_for(reader.readline(), 10)
        for each in (ending, writer):
            each.close()
            await each.wait_closed()
        return line

    assert asyncio.run(main()) == b"line\n"


def pipes() -> None:
    """Pipes, pairs and polling."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        stream.write("text")
    with os.fdopen(reading) as stream:
        assert stream.read() == "text"
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"x")
        assert select.select([other], [], [], 10)[0]
        assert other.recv(1) == b"x"
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def signals() -> None:
    """Signals to itself."""
    caught: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _: caught.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.01)
    while not caught:
        signal.pause()
    signal.setitimer(signal.ITIMER_REAL, 0)
    caught.clear()
    os.kill(os.getpid(), signal.SIGALRM)
    signal.raise_signal(signal.SIGALRM)
    assert len(caught) == 2


def arrays() -> None:
    """numpy."""
    matrix = np.eye(80) * 2
    assert np.linalg.solve(matrix @ matrix, np.ones(80))[0] == 0.25
    assert np.abs(np.fft.rfft(np.ones(64)))[0] == 64


def files() -> None:
    """Files by name."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").write_text("text")
        shutil.copyfile(f"{folder}/a", f"{folder}/b")
        assert sorted(os.listdir(folder)) == ["a", "b"]
        os.replace(f"{folder}/b", f"{folder}/a")
        with sqlite3.connect(f"{folder}/log.sqlite") as log:
            log.execute("create table t (x)")
        log.close()


def permissions() -> None:
    """Permissions and times of a file of its own."""
    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0o600)
        os.utime(file.name)


def native_package() -> None:
    """A library mapped after the seal."""
    ctypes.CDLL("libanl.so.1")


def by_name(pair: socket.socket, name: object) -> None:
    """Sends on a connected socket to somebody else by name; raises AssertionError if that reached `WAITING`."""
    try:
        pair.sendmsg([b"x"], [], 0, name)  # type: ignore[arg-type]
    finally:
        assert not select.select([STRANGER, WAITING], [], [], 0.02)[0]


def fast_open() -> None:
    """Connects by sending."""
    CLIENT.sendmsg([b"x"], [], socket.MSG_FASTOPEN, WAITING.getsockname())


ALLOWED = (data, dates, threads, loop, pipes, signals, arrays, files, permissions, native_package)
FORBIDDEN: dict[str, Callable[[], object]] = {
    "fork": os.fork,
    "subprocess": lambda: subprocess.run(["/bin/true"], check=False),
    "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "execv": lambda: os.execv("/bin/true", ["true"]),
    "socket inet": socket.socket,
    "socket unix": lambda: socket.socket(socket.AF_UNIX),
    "socketpair datagram": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
    "connect": lambda: CLIENT.connect(WAITING.getsockname()),
    "bind": lambda: CLIENT.bind(("127.0.0.1", 0)),
    "listen": lambda: CLIENT.listen(),
    "accept": lambda: WAITING.accept(),
    "setsockopt": lambda: CLIENT.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    "sendto by name": lambda: CLIENT.sendto(b"x", WAITING.getsockname()),
    "sendmsg by name to unix": lambda: by_name(PAIR[0], STRANGER.getsockname()),
    "sendmsg by name to tcp": lambda: by_name(CLIENT, WAITING.getsockname()),
    "sendmsg fast open": fast_open,
    "send out of band": lambda: PAIR[0].send(b"x", socket.MSG_OOB),
    "kill 1": lambda: os.kill(1, 0),
    "kill parent": lambda: os.kill(PARENT, 0),
    "kill group": lambda: os.kill(0, 0),
    "kill all": lambda: os.killpg(os.getpgrp(), 0),
    "tgkill parent": lambda: raw("tgkill", PARENT, PARENT, 0),
    "pidfd_open": lambda: os.pidfd_open(PARENT),
    "prlimit parent": lambda: resource.prlimit(PARENT, resource.RLIMIT_NOFILE, LIMITS),
    "read the parent's limits": lambda: resource.prlimit(PARENT, resource.RLIMIT_NOFILE),
    "setrlimit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)),
    "nice": lambda: os.nice(1),
    "affinity": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "memfd_create": lambda: os.memfd_create("x"),
    "setuid": lambda: os.setuid(os.getuid()),
    "setsid": os.setsid,
    "chroot": lambda: os.chroot("/"),
    "symlink": lambda: os.symlink("a", "/nonexistent/b"),
    "mkfifo": lambda: os.mkfifo("/nonexistent/b"),
    "syncfs": lambda: raw("syncfs", 0),
    "unshare": lambda: raw("unshare", 0),
    "ptrace": lambda: raw("ptrace", 0, 0, 0, 0),
    "clone3": lambda: raw("clone3", 0, 0),
    "openat2": lambda: raw("openat2", 0, 0, 0, 0),
    "io_uring_setup": lambda: raw("io_uring_setup", 0, 0),
    "process_vm_readv": lambda: raw("process_vm_readv", PARENT, 0, 0, 0, 0, 0),
    "userfaultfd": lambda: raw("userfaultfd", 0),
    "bpf": lambda: raw("bpf", 0, 0, 0),
    "shmget": lambda: raw("shmget", 0, 4096, 0o600),
    "inotify_init1": lambda: raw("inotify_init1", 0),
    "seccomp": lambda: raw("seccomp", 2, 0, 0),
    "PR_SET_DUMPABLE": lambda: raw("prctl", 4, 1),
    "PR_SET_PDEATHSIG": lambda: raw("prctl", 1, 0),
    "write and execute": lambda: raw("mmap", 0, 4096, 7, 0x22, 2**64 - 1, 0),
    "no such call": lambda: raw("syscalls"),
    "open": lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)),
    "stat": lambda: os.stat("/"),
    "getcwd": os.getcwd,
    "listdir": lambda: os.listdir("/"),
}
NUMBERS = NUMBERS | {"syscalls": 1000}
BERLIN = (
    zoneinfo.ZoneInfo("Europe/Berlin") if zoneinfo.TZPATH and Path("/usr/share/zoneinfo").exists() else datetime.UTC
)


def seal(level: seccomp.Level, network: bool) -> None:
    """Loads the filter, as a worker does at last."""
    machine = numbers.native()
    assert machine is not None
    seccomp.load(seccomp.program(machine, level, network=network, pid=os.getpid()))


def refusing(*calls: str) -> bytes:
    """A filter like a strict unit's, to which these calls are not permitted."""
    codes = sorted(NUMBERS[call] for call in calls)
    refused = bpf.verdict(bpf.ERROR | errno.EPERM)
    return bpf.assemble(bpf.load(bpf.NUMBER, bpf.ask(bpf.EQUAL, codes, refused, bpf.verdict(bpf.ALLOW))))


def main(level: seccomp.Level, network: bool) -> dict[str, str]:
    """Everything at one level, and a thread that was there before the filter."""
    sealed = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(lambda: sealed.wait() and outcome(socket.socket))
        seal(level, network)
        sealed.set()
        found = {"a thread before": str(before.result())}
    found |= {work.__name__: outcome(work) for work in ALLOWED}
    return found | {name: outcome(work) for name, work in FORBIDDEN.items()}


def under_a_unit() -> dict[str, str]:
    """Without seccomp(2), and then without prctl(2) as well."""
    seccomp.load(refusing("seccomp"))
    seal("B", False)
    found = {"sealed by prctl": outcome(socket.socket)}
    return found | {"neither": outcome(lambda: seal("B", False))}


if __name__ == "__main__":
    LIBC.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    SERVER, WAITING = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    CLIENT = socket.create_connection(SERVER.getsockname())
    STRANGER = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    STRANGER.bind("")  # an abstract name, from the kernel
    PAIR = socket.socketpair()
    arrays()
    dates()
    if sys.argv[2] == "unit":
        print(json.dumps(under_a_unit()))
    else:
        print(json.dumps(main(sys.argv[2], sys.argv[3] == "True")))  # type: ignore[arg-type]
