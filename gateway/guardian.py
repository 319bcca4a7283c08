"""The guardian: a small process, the next in line when the gateway dies or hangs.

    gateway --- stdin: a Plan, then a byte ten times a second, "q" at the end ---> guardian
    gateway <-- stdout: a byte for each of them ---------------------------------- guardian

The end of that pipe without a "q" means that the gateway is gone, whatever killed it: then the PWMs are stopped and the
lines driven to their safe levels. No byte for `DEADLINE_S` means that not even the gateway's watch runs (SIGSTOP, a
call that never gives the interpreter back): then the PWMs are stopped first, which needs nobody's leave, and the
gateway is killed, since only its death gives the lines free. The guardian ignores the signals that end the gateway, for
it ends with it; what kills both at once is systemd's to mend (`spectrophone safe`), and the hardware watchdog's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from gateway import safety
from gateway.safety import Plan

if TYPE_CHECKING:
    from gateway.clock import Clock

DEADLINE_S = 2.0
_AGAIN_NS = 20_000_000_000
"""How long one is given to take up its post; and no more than two are started in that time."""
_SILENT = "the guardian does not answer"
_BEAT, _QUIT = b".", b"q"


class Process:
    """The gateway's side: see gateway.ports.Guardian."""

    def __init__(self, plan: Plan, clock: Clock, deadline_s: float = DEADLINE_S) -> None:
        self._plan, self._clock, self._deadline_s = plan, clock, deadline_s
        self._process: subprocess.Popen[bytes] | None = None
        self._answer_ns = 0
        self._started_ns = self._before_ns = -_AGAIN_NS
        self._trouble = ""

    def start(self) -> None:
        """See gateway.ports.Guardian; the first answer is waited for in beat()."""
        arguments = [sys.executable, "-I", "-B", "-m", "gateway.guardian", str(os.getpid()), str(self._deadline_s)]
        now_ns = self._clock.monotonic_ns()
        self._before_ns, self._started_ns = self._started_ns, now_ns
        self._trouble = "the guardian has not taken up its post yet"
        try:
            process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            self._trouble = f"the guardian cannot be started: {error.strerror}"
            return
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        os.set_blocking(process.stdout.fileno(), False)
        self._process = process
        self._write(self._plan.text().encode() + b"\n")

    def beat(self) -> str:
        """See gateway.ports.Guardian. One that died, or does not answer, is followed by another."""
        now_ns, since_ns = self._clock.monotonic_ns(), self._started_ns
        if self._process is not None:
            self._write(_BEAT)
            if self._answered():
                self._answer_ns, self._trouble = now_ns, ""
            elif not self._trouble and now_ns - self._answer_ns > round(self._deadline_s * 1e9):
                self._trouble = _SILENT
            if self._process.poll() is not None:
                self._trouble = f"the guardian has ended ({self._process.returncode})"
                since_ns = self._before_ns
        if self._trouble and now_ns >= since_ns + _AGAIN_NS:
            why = _SILENT if since_ns == self._started_ns else self._trouble
            self._end(kill=True)
            self.start()
            if self._process is not None:
                self._trouble = f"{why}; the next has not taken up its post yet"
        return self._trouble

    def stop(self) -> None:
        """See gateway.ports.Guardian."""
        self._write(_QUIT)
        self._end(kill=False)

    def _write(self, data: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError):  # its end, or its silence, is seen in beat()
            os.write(self._process.stdin.fileno(), data)

    def _answered(self) -> bool:
        if self._process is None or self._process.stdout is None:
            return False
        with contextlib.suppress(BlockingIOError):
            return bool(os.read(self._process.stdout.fileno(), 4096))
        return False

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if kill:
                process.kill()
            process.wait(self._deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def guard(plan: Plan, gateway: int, deadline_s: float) -> str:
    """Answer the gateway's beats until it goes, and make its outputs safe unless it has; `gateway` is a pidfd. What was
    done, in words.
    """
    waiting = select.poll()
    waiting.register(sys.stdin.fileno(), select.POLLIN)
    while waiting.poll(deadline_s * 1e3):
        data = os.read(sys.stdin.fileno(), 4096)
        if data.endswith(_QUIT):
            return ""
        if not data:
            return "the gateway has died: " + _made_safe(safety.stop_pwms(plan.pwms) + safety.set_lines(plan.lines))
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), data)
    troubles = safety.stop_pwms(plan.pwms)
    signal.pidfd_send_signal(gateway, signal.SIGKILL)
    ended = select.poll()
    ended.register(gateway, select.POLLIN)
    ended.poll(deadline_s * 1e3)
    troubles += safety.set_lines(plan.lines)
    return f"the gateway did not run for {deadline_s:g} s and was killed: {_made_safe(troubles)}"


def _made_safe(troubles: list[str]) -> str:
    return "NOT all outputs are safe: " + "; ".join(troubles) if troubles else "all outputs are safe"


def main() -> None:
    """The guardian's process: arguments are the gateway's process and the deadline in seconds."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    process, deadline_s = int(sys.argv[1]), float(sys.argv[2])
    gateway = os.pidfd_open(process)
    plan = safety.read(_line(sys.stdin.fileno()))
    if words := guard(plan, gateway, deadline_s):
        os.write(sys.stderr.fileno(), f"guardian: {words}\n".encode())


def _line(descriptor: int) -> str:
    """The first line, and not a byte more."""
    line = b""
    while not line.endswith(b"\n") and (letter := os.read(descriptor, 1)):
        line += letter
    return line.decode()


if __name__ == "__main__":
    main()
