"""Fresh Debians with systemd and SSH, as ordinary processes: user-mode Linux, and qemu's user network as its only wire.

The two speak Ethernet in UDP on loopback. What comes through a forwarded port comes, to the guest, from outside.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BOOT_S = 180.0


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest: its SSH, and `ports`, what its own ports are on this machine."""

    name: str
    key: Path
    ports: dict[int, int]

    def ssh(self, command: str, *, stdin: str = "", check: bool = True, timeout_s: float = 120.0) -> str:
        """What a command says, as root; CalledProcessError if it fails."""
        options = ["-i", str(self.key), "-p", str(self.ports[22]), "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5"]
        options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        argv = ["ssh", *options, "pi@127.0.0.1", "sudo sh -c " + _quoted(command)]
        ran = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s)
        if check:
            ran.check_returncode()
        return ran.stdout.strip()

    def wait(self, other_than: str = "") -> None:
        """Until systemd is done with starting, in another boot than that. OSError if it does not, or a unit failed."""
        end = time.monotonic() + BOOT_S
        command = "cat /proc/sys/kernel/random/boot_id; systemctl is-system-running --wait; "
        command += "systemctl --failed --no-legend --plain"
        said: list[str] = []
        while len(said) < 2 or said[0] == other_than:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} does not answer {BOOT_S:.0f} s after its start")
            time.sleep(1)
            with contextlib.suppress(subprocess.SubprocessError):
                said = self.ssh(command, check=False).splitlines()
        if said[1:] != ["running"]:
            raise OSError(f"{self.name} is {' '.join(said[1:])}")

    def says(self, port: int) -> bool:
        """Whether anybody takes a connection at this port from outside: qemu hangs up at once where nobody does."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[port]), 5.0) as line:
            line.settimeout(3.0)
            line.sendall(b"?\n")
            return line.recv(1) != b""
        return False


@contextlib.contextmanager
def boot(
    name: str, number: int, kernel: Path, base: Path, work: Path, log: Path, ports: tuple[int, ...]
) -> Iterator[Guest]:
    """A running guest called `name`, its disk new in `work`, with `ports` forwarded; gone after the block. Its console
    is written below `log`.
    """
    ours, theirs, *forwarded = _free(2, socket.SOCK_DGRAM) + _free(len(ports), socket.SOCK_STREAM)
    guest = Guest(name, base / "key", dict(zip(ports, forwarded, strict=True)))
    user = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for there, here in guest.ports.items())
    wire = ["qemu-system-aarch64", "-M", "none", "-display", "none", "-monitor", "none", "-serial", "none"]
    wire += ["-netdev", f"user,id=user,{user}", "-netdev", "hubport,id=one,hubid=0,netdev=user"]
    wire += ["-netdev", f"socket,id=udp,udp=127.0.0.1:{theirs},localaddr=127.0.0.1:{ours}"]
    wire += ["-netdev", "hubport,id=two,hubid=0,netdev=udp"]
    linux = [str(kernel / "linux"), "mem=1G", f"ubd0={work}/{name}.disk,{base}/root.img", "root=/dev/ubda", "rw"]
    linux += ["panic=-1", "con=null", "con0=null,fd:1", "ssl=null", f"systemd.hostname={name}"]
    linux += [f"eth0=ucast,02:00:00:00:00:{number:02x},127.0.0.1,{theirs},{ours}"]
    # glibc's restartable sequences are unknown to this kernel; its memory is a file, best one in memory itself.
    environment = {"PATH": os.environ["PATH"], "HOME": str(work), "GLIBC_TUNABLES": "glibc.pthread.rseq=0"}
    may_run = os.path.isdir("/dev/shm") and not os.statvfs("/dev/shm").f_flag & os.ST_NOEXEC
    environment["TMPDIR"] = "/dev/shm" if may_run else str(work)
    with contextlib.ExitStack() as stack:
        for what, argv in (("wire", wire), ("console", linux)):
            said = stack.enter_context((log / f"{name}.{what}.log").open("wb"))
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                start_new_session=True,
            )
            stack.callback(_end, process)
        guest.wait()
        yield guest


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def _free(count: int, kind: socket.SocketKind) -> list[int]:
    """So many ports on loopback that are free."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(socket.socket(socket.AF_INET, kind)) for _ in range(count)]
        for line in lines:
            line.bind(("127.0.0.1", 0))
        return [line.getsockname()[1] for line in lines]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
