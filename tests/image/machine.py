"""A Raspberry Pi's card in a machine that qemu emulates (-M virt), with a firmware that reads autoboot.txt as the Pi's
does, and a network of its own, in which this machine is 10.0.2.2.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.image.box import slots

MB = 1 << 20
PATIENCE_S = 900.0
GROWN_MB = 5000
SLOW = base64.b64encode(b"[Service]\nTimeoutStartSec=20min\nWatchdogSec=0\n").decode()
"""What an emulated machine, which is dozens of times slower than a Pi, needs of the gateway's unit. It is passed to
systemd as a credential, so that the card is as it is.
"""


class Failure(Exception):
    """The machine did not do what it was to do."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command in the machine said, and how it ended."""

    code: int
    out: str


class Card:
    """A card onto which an image was flashed, larger than the image."""

    def __init__(self, image: Path, path: Path) -> None:
        subprocess.run(["cp", "--sparse=always", image, path], check=True)
        os.truncate(path, GROWN_MB * MB)
        self.path = path
        listed = subprocess.run(["sfdisk", "--dump", path], check=True, capture_output=True, text=True).stdout
        found = re.findall(r"start= *(\d+), size= *(\d+).*name=\"(\w+)\"", listed)
        self.starts = {name: int(start) * 512 for start, _, name in found}
        self.sizes = {name: int(size) * 512 for _, size, name in found}

    def put(self, name: str, data: bytes) -> None:
        """Write a file onto the first partition, as an owner does at a desk."""
        file = self.path.with_name(f"put-{name}")
        file.write_bytes(data)
        self._mtools("mcopy", "bootconfig", "-o", file, f"::/{name}")

    def get(self, name: str, partition: str = "bootconfig") -> bytes:
        """What a file of a partition in FAT says."""
        return self._mtools("mtype", partition, f"::/{name}")

    def extract(self, pattern: str, partition: str, file: Path) -> Path:
        """Copy a file of a partition in FAT."""
        self._mtools("mcopy", partition, "-n", "-o", f"::/{pattern}", file)
        return file

    def raw(self, partition: str) -> bytes:
        """All bytes of a partition."""
        with self.path.open("rb") as file:
            file.seek(self.starts[partition])
            return file.read(self.sizes[partition])

    def slot(self) -> str:
        """What the firmware starts: [all] of autoboot.txt."""
        return slots.parse(self.get("autoboot.txt").decode()).normal

    def _mtools(self, command: str, partition: str, *arguments: object) -> bytes:
        environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
        whole = [command, "-i", f"{self.path}@@{self.starts[partition]}", *map(str, arguments)]
        return subprocess.run(whole, check=True, stdout=subprocess.PIPE, env=environment).stdout


class Machine:
    """The machine, switched on. `power_cut` ends it as pulling the plug does."""

    def __init__(self, card: Card, key: Path, log: Path) -> None:
        self.card = card
        self.slot = card.slot()
        self.log = log
        self._key = key
        self._start = time.monotonic()
        work = card.path.parent
        boot = f"boot_{self.slot}"
        cmdline = card.get("cmdline.txt", boot).decode().split()
        words = [word for word in cmdline if not word.startswith("console=")]
        kernel = card.extract("vmlinuz-*", boot, work / "kernel")
        initrd = card.extract("initrd.img-*", boot, work / "initrd")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        command = ["qemu-system-aarch64", "-accel", "tcg,thread=multi", "-M", "virt", "-cpu", "cortex-a72"]
        command += [
            "-smp",
            "2",
            "-m",
            "1024",
            "-nographic",
            "-no-reboot",
            "-kernel",
            str(kernel),
            "-initrd",
            str(initrd),
        ]
        slow = f"systemd.set_credential_binary=systemd.unit-dropin.spectrophone.service:{SLOW}"
        command += ["-append", " ".join([*words, slow, "console=ttyAMA0"])]
        command += ["-drive", f"file={card.path},format=raw,if=none,id=card,cache=unsafe"]
        command += ["-device", "virtio-blk-pci,drive=card"]
        command += ["-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{self._port}-:22"]
        command += ["-device", "virtio-rng-pci"]
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def age_s(self) -> float:
        """How long it has been on."""
        return time.monotonic() - self._start

    def run(self, command: str, timeout_s: float = 120.0, stdin: Path | None = None) -> Ran:
        """Run a line of the shell in the machine, over SSH, as root."""
        options = ["-i", str(self._key), "-p", str(self._port), "-o", "StrictHostKeyChecking=no"]
        options += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30"]
        options += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=20", "-o", "BatchMode=yes"]
        with contextlib.ExitStack() as stack:
            given = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
            whole = ["ssh", *options, "root@127.0.0.1", command]
            try:
                done = subprocess.run(
                    whole, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s
                )
            except subprocess.TimeoutExpired as expired:
                raise Failure(
                    f"{command!r} took longer than {timeout_s:g} s: {(expired.stdout or b'')[-300:]!r}"
                ) from None
        return Ran(done.returncode, done.stdout.decode(errors="replace").strip())

    def until(self, command: str, patience_s: float = PATIENCE_S, every_s: float = 3.0) -> str:
        """Wait until a command ends well; what it said."""
        end = time.monotonic() + patience_s
        said = "nothing"
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise Failure(f"the machine has ended while {command!r} was waited for")
            with contextlib.suppress(Failure):
                ran = self.run(command, timeout_s=max(30.0, end - time.monotonic()))
                if ran.code == 0:
                    return ran.out
                said = ran.out
            time.sleep(every_s)
        raise Failure(f"{command!r} did not end well within {patience_s:g} s: {said[-300:]}")

    def ended(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until it has switched itself off, or has begun anew."""
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"it did not end within {patience_s:g} s") from None

    def power_cut(self) -> None:
        """Pull the plug."""
        self._process.kill()
        self._process.wait()

    def console(self) -> str:
        """What it said on its console."""
        return self.log.read_bytes().decode(errors="replace").replace("\r", "")
