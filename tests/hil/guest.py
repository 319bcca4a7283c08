"""A box that is not there: user-mode Linux with a simulated Pi's devices, as an ordinary process of this machine.

`Guest.boot()` gives a Debian with systemd, fresh every time, and an agent in it that does what is asked for within some
milliseconds. What the gateway's lines do is seen from outside, from the far side of the kernel's gpio-sim.

    with Guest.boot() as guest:
        guest.install(wheel(PROJECT, directory))
        guest.run("systemctl", "start", "spectrophone")
        with guest.trace(LASER) as trace:
            guest.run("systemctl", "kill", "--signal=KILL", "spectrophone")
            ...
        assert trace.last(LASER, 1) < ...
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
BOX = HERE / "box.dts"
PINS = "/sys/devices/platform/pins/gpiochip0"
CARD = "/sys/bus/platform/drivers/snd_aloop"
VENV = "/opt/spectrophone/venv"
BOOT_S = 120.0
KEPT_CONSOLES = 100


class BenchFailure(Exception):
    """The guest did not do what it was asked to; the message says what, and where its console's log is."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended: exit code (minus the signal's number if one ended it), output, `t_ns` of its end."""

    code: int
    out: str
    err: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class Trace:
    """What some lines did: `changes` as (the guest's monotonic ns, levels as `lines` has them), start and end too."""

    lines: tuple[int, ...]
    changes: list[tuple[int, tuple[int, ...]]]

    def last(self, line: int, level: int) -> int | None:
        """Until when `line` had `level`: the time of the change away from it, or the end; None if it never had it."""
        place = self.lines.index(line)
        times = [
            self.changes[min(n + 1, len(self.changes) - 1)][0]
            for n, (_, levels) in enumerate(self.changes)
            if levels[place] == level
        ]
        return times[-1] if times else None


def built() -> tuple[Path, Path]:
    """The directories of kernel and root file system, built first if need be (eight minutes, once)."""
    done = subprocess.run([HERE / "build"], check=True, stdout=subprocess.PIPE, text=True)
    kernel, root = done.stdout.splitlines()
    return Path(kernel), Path(root)


def wheel(project: Path, directory: Path) -> Path:
    """The wheel of the checked-out `project`, built into `directory`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    return next(directory.glob("*.whl"))


class Guest:
    """A guest that has booted. Every wait is bounded; a guest that does not answer raises BenchFailure."""

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket, exchange: Path, console: Path) -> None:
        self._process = process
        self._line = line
        self._exchange = exchange
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any] | None]] = {0: queue.SimpleQueue()}
        self._ids = itertools.count(1)
        self._sending = threading.Lock()
        self.console = console
        self.boot_s = 0.0
        threading.Thread(target=self._listen, daemon=True).start()

    @classmethod
    @contextlib.contextmanager
    def boot(cls, *, tree: Path = BOX, arguments: tuple[str, ...] = (), memory: str = "1G") -> Iterator[Guest]:
        """A running guest with the device tree `tree` (.dts) and further kernel `arguments`; gone after the block."""
        kernel, root = built()
        logs = root.parent / "log"
        console = logs / f"boot-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{time.monotonic_ns() % 1000000:06d}.log"
        for old in sorted(logs.glob("boot-*"))[:-KEPT_CONSOLES]:
            old.unlink(missing_ok=True)
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="hil-") as directory, contextlib.ExitStack() as stack:
            exchange = Path(directory) / "host"
            exchange.mkdir(0o700)
            shutil.copy(HERE / "agent.py", exchange)
            shutil.copy(kernel / "i2c-stub.ko", exchange)
            blob = Path(directory) / "box.dtb"
            subprocess.run(["dtc", "-q", "-O", "dtb", "-o", blob, tree], check=True)
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            command = ["setpriv", "--pdeathsig", "KILL", str(kernel / "linux"), f"mem={memory}", f"dtb={blob}"]
            command += [f"ubd0={directory}/disk,{root}/root.img", "root=/dev/ubda", "rw", "panic=-1"]
            command += ["con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{theirs.fileno()}", f"bench={exchange}"]
            command += ["snd_aloop.id=Zero", "systemd.show_status=1", *arguments]
            # glibc's restartable sequences are unknown to this kernel; its memory is a file, best one in memory itself.
            environment = {"PATH": os.environ["PATH"], "HOME": directory, "GLIBC_TUNABLES": "glibc.pthread.rseq=0"}
            environment["TMPDIR"] = _executable("/dev/shm") or directory
            with theirs, console.open("wb") as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            guest = cls(process, ours, exchange, console)
            try:
                guest._answer(0, "boot", BOOT_S)
                state = guest.run("systemctl", "is-system-running", "--wait", check=False, timeout_s=BOOT_S).out.strip()
                if state != "running":
                    failed = guest.run("systemctl", "--failed", "--no-legend", "--plain").out
                    raise BenchFailure(f"the guest is {state}, not running: {failed}; its console: {console}")
                guest.run("insmod", "/host/i2c-stub.ko", "chip_addr=0x76,0x48")
                guest.boot_s = time.monotonic() - start
                yield guest
            finally:
                guest._end()

    # Commands

    def run(
        self,
        *argv: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout_s: float = 30.0,
    ) -> Ran:
        """Run a command as root to its end; BenchFailure if it takes longer, and with `check` if it fails."""
        ran = self.start(*argv, stdin=stdin, env=env).wait(timeout_s)
        if check and ran.code != 0:
            raise BenchFailure(f"{' '.join(argv)!r} ended with {ran.code}: {ran.err or ran.out}")
        return ran

    def shell(self, script: str, *, check: bool = True, timeout_s: float = 30.0) -> Ran:
        """Run a script of the shell."""
        return self.run("sh", "-c", script, check=check, timeout_s=timeout_s)

    def start(self, *argv: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Running:
        """Start a command as root, in a session of its own."""
        number = self._ask("start", argv=argv, input=base64.b64encode(stdin).decode(), env=dict(env or {}))
        started = self._answer(number, f"start of {argv[0]}", 10.0, last=False)
        return Running(self, number, started["pid"], argv)

    # Files

    def read(self, path: str) -> str:
        """What a file says, without white space around it: for /sys, /proc and small files."""
        return base64.b64decode(self._call("read", path=path)["data"]).decode(errors="replace").strip()

    def write(self, path: str, text: str) -> int:
        """Write to a file in one go, as root; the guest's monotonic ns at its end. OSError as it was there."""
        return int(self._call("write", path=path, data=base64.b64encode(text.encode()).decode())["t_ns"])

    def glob(self, pattern: str) -> list[str]:
        """The paths that match."""
        return list(self._call("glob", pattern=pattern)["paths"])

    def put(self, data: bytes, path: str, *, owner: str = "root", mode: int = 0o644) -> None:
        """Make a file there, its directories too."""
        passed = self._exchange / "put"
        passed.write_bytes(data)
        self.run("install", "-D", "-o", owner, "-m", f"{mode:o}", "/host/put", path)

    def get(self, path: str) -> bytes:
        """A file's content, of any size."""
        self.run("cp", path, "/host/got")
        return (self._exchange / "got").read_bytes()

    def install(self, built: Path) -> None:
        """Install a wheel into the gateway's virtual environment, as on a box, without its dependencies."""
        shutil.copy(built, self._exchange)
        options = ["--quiet", "--no-index", "--no-deps", "--force-reinstall", "--disable-pip-version-check"]
        self.run(f"{VENV}/bin/pip", "install", *options, f"/host/{built.name}", timeout_s=120)

    # The far side of the devices

    def level(self, line: int) -> int:
        """The level of a line of the header: what is driven, or else its pull."""
        return int(self.read(f"{PINS}/sim_gpio{line}/value"))

    def pull(self, line: int, level: int) -> int:
        """Hold an input at a level, as a button or an interlock does; the guest's monotonic ns."""
        return self.write(f"{PINS}/sim_gpio{line}/pull", "pull-up" if level else "pull-down")

    def unplug(self) -> Running:
        """Pull the sound card out; what is given back ends once nobody holds the card open any more."""
        return self.start("sh", "-c", f"echo snd_aloop.0 >{CARD}/unbind")

    def plug(self) -> None:
        """Put the sound card back."""
        self.run("sh", "-c", f"echo snd_aloop.0 >{CARD}/bind")

    @contextlib.contextmanager
    def trace(self, *lines: int, every_s: float = 0.001) -> Iterator[Trace]:
        """Write down what these lines do in the block; the trace is filled when it ends."""
        number = self._ask("trace", lines=lines, every_s=every_s)
        self._answer(number, "trace", 10.0)
        trace = Trace(lines, [])
        yield trace
        for t_ns, levels in self._call("traced", trace=number)["changes"]:
            trace.changes.append((t_ns, tuple(levels)))

    def now_ns(self) -> int:
        """The guest's monotonic clock."""
        return int(self._call("glob", pattern="/")["t_ns"])

    def journal(self, unit: str) -> str:
        """What a unit said since the boot."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).out

    # The line to the agent

    def _call(self, verb: str, **fields: object) -> dict[str, Any]:
        return self._answer(self._ask(verb, **fields), verb, 10.0)

    def _ask(self, verb: str, **fields: object) -> int:
        number = next(self._ids)
        self._waiting[number] = queue.SimpleQueue()
        with self._sending:
            self._line.sendall(json.dumps({"id": number, "do": verb, **fields}).encode() + b"\n")
        return number

    def _answer(self, number: int, what: str, timeout_s: float, *, last: bool = True) -> dict[str, Any]:
        try:
            answer = self._waiting[number].get(timeout=timeout_s)
        except queue.Empty:
            raise BenchFailure(f"{what}: no answer within {timeout_s:g} s; the console: {self.console}") from None
        if answer is None:
            raise BenchFailure(f"{what}: the guest has ended; its console: {self.console}")
        if last:
            del self._waiting[number]
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"])
        return answer

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self._line.makefile("rb") as stream:
            for text in stream:
                answer = json.loads(text)
                if answer["id"] in self._waiting:
                    self._waiting[answer["id"]].put(answer)
        for waiting in list(self._waiting.values()):
            waiting.put(None)

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Running:
    """A command in the guest that may still run."""

    def __init__(self, guest: Guest, number: int, pid: int, argv: tuple[str, ...]) -> None:
        self._guest = guest
        self._number = number
        self._argv = argv
        self.pid = pid

    def signal(self, number: int) -> int:
        """Send it a signal; the guest's monotonic ns."""
        return int(self._guest._call("signal", pid=self.pid, signal=number)["t_ns"])

    def wait(self, timeout_s: float = 30.0) -> Ran:
        """Its end."""
        answer = self._guest._answer(self._number, " ".join(self._argv), timeout_s)
        out, err = (base64.b64decode(answer[name]).decode(errors="replace") for name in ("out", "err"))
        return Ran(answer["code"], out, err, answer["t_ns"])


def _executable(directory: str) -> str | None:
    """The directory, if it is there and what is in it may be run."""
    there = os.path.isdir(directory) and not os.statvfs(directory).f_flag & os.ST_NOEXEC
    return directory if there else None
