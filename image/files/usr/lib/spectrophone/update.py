"""`spectrophone-update FILE`: write a new image beside the one that runs, and start it once.

What is kept of a box (configuration, journal, keys) is on the partition `data` and belongs to both. The file is a tar:
first manifest.json, then what it names, compressed by zstd. What is written is read back and compared with the manifest
before the firmware is told anything; a fault or a power cut until then leaves all as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import card
import settings
import slots
from card import CARD, SYSTEM

LABELS = Path("/dev/disk/by-partlabel")
MOUNT = Path("/run/spectrophone-new")
PIECE = 1 << 20
MEASURING = "/opt/spectrophone/measuring"


class Refused(Exception):
    """The update is not for this box, or not whole; the message is one sentence."""


def manifest(data: bytes, machine: str) -> dict[str, Any]:
    """Read manifest.json for a machine with this `uname -m`. Raises Refused."""
    try:
        found = json.loads(data)
        parts = {part["name"]: (part["partition"], part["bytes"], part["sha256"]) for part in found["parts"]}
        version, fits = found["version"], found["machine"] == machine
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"manifest.json is not one of an update: {error!r}") from error
    if found.get("format") != 1:
        raise Refused(f"this update has format {found.get('format')!r}, and this box knows 1: flash a newer image")
    if not fits:
        raise Refused(f"this update is for {found['machine']}, and this box is {machine}")
    if sorted(partition for partition, _, _ in parts.values()) != ["boot", "system"]:
        raise Refused("manifest.json does not name one boot and one system partition")
    return {"version": version, "parts": parts}


def write(source: IO[bytes], device: Path, size: int, sha256: str) -> None:
    """Write what comes decompressed out of `source` to `device`, and read it back. Raises Refused."""
    unpack = subprocess.Popen(["zstd", "-dcq", "--long=27"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert unpack.stdin is not None
    assert unpack.stdout is not None
    feeder = threading.Thread(target=_feed, args=(source, unpack.stdin))
    feeder.start()
    written, digest = 0, hashlib.sha256()
    with device.open("r+b") as file:
        room = file.seek(0, os.SEEK_END)
        file.seek(0)
        while piece := unpack.stdout.read(PIECE):
            written += len(piece)
            if written > min(size, room):
                break
            digest.update(piece)
            file.write(piece)
            print(f"\r{device.name}: {written // 1_000_000} of {size // 1_000_000} MB", end="", flush=True)
        file.flush()
        os.fsync(file.fileno())
    print(flush=True)
    unpack.stdout.close()
    feeder.join()
    unpack.wait()
    if size > room:
        raise Refused(f"{device.name} has {room} bytes, and the update needs {size}: flash the new image")
    if written != size or digest.hexdigest() != sha256:
        raise Refused(f"what came for {device.name} is not what manifest.json says: copy the file anew")
    subprocess.run(["blockdev", "--flushbufs", device], check=True)
    with device.open("rb") as file:
        digest, left = hashlib.sha256(), size
        while left and (piece := file.read(min(PIECE, left))):
            digest.update(piece)
            left -= len(piece)
    if digest.hexdigest() != sha256:
        raise Refused(f"{device.name} does not hold what was written to it: the card is worn out")


def _feed(source: IO[bytes], into: IO[bytes]) -> None:
    """What `source` has, to a program that may end before it has had it all."""
    with suppress(BrokenPipeError), into:
        while piece := source.read(PIECE):
            into.write(piece)


@contextmanager
def mounted(device: Path) -> Iterator[Path]:
    """The boot partition `device`, to be written to in the block."""
    MOUNT.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "vfat", device, MOUNT], check=True)
    try:
        yield MOUNT
    finally:
        subprocess.run(["umount", MOUNT], check=True)


def own(boot: Path, slot: str, current: Path) -> None:
    """Make files of a boot partition those of `slot`, with the board's lines of `current`, the running one."""
    cmdline = boot / "cmdline.txt"
    cmdline.write_text(for_slot(cmdline.read_text(), slot))
    text = (current / "config.txt").read_text().splitlines()
    begin = next((n for n, line in enumerate(text) if line.startswith(settings.BEGIN)), len(text))
    config = boot / "config.txt"
    config.write_text(settings.with_lines(config.read_text(), text[begin:]))


def for_slot(cmdline: str, slot: str) -> str:
    """A command line of the kernel for the other of both slots, or the same."""
    words = []
    for word in cmdline.split():
        if word.startswith("root=PARTLABEL=system_"):
            word = f"root=PARTLABEL=system_{slot}"
        elif word.startswith("spectrophone.slot="):
            word = f"spectrophone.slot={slot}"
        words.append(word)
    return " ".join(words) + "\n"


def install(tar: tarfile.TarFile, machine: str, new: str) -> str:
    """Write an update to the slot `new`; its version. Raises Refused."""
    first = tar.next()
    file = tar.extractfile(first) if first and first.name == "manifest.json" else None
    if file is None:
        raise Refused("this is no update: it does not begin with manifest.json")
    found = manifest(file.read(), machine)
    missing = dict(found["parts"])
    while member := tar.next():
        content = tar.extractfile(member)
        if member.name in missing and content is not None:
            partition, size, sha256 = missing.pop(member.name)
            write(content, LABELS / f"{partition}_{new}", size, sha256)
    if missing:
        raise Refused(f"the file ends before {', '.join(sorted(missing))}: copy it anew")
    return str(found["version"])


def main(arguments: list[str]) -> int:
    """Update this machine; 1 with a sentence if that cannot be."""
    parser = argparse.ArgumentParser(prog="spectrophone-update", description=__doc__.partition("\n")[0])
    parser.add_argument("file", metavar="FILE", help="spectrophone-*.update, or - for standard input")
    name = parser.parse_args(arguments).file
    try:
        running = slots.running(Path("/proc/cmdline").read_text())
        if slots.parse((CARD / "autoboot.txt").read_text()).tried(running):
            raise Refused("the system that runs is on trial itself: wait until it has proved itself")
        new = slots.other(running)
        measured = subprocess.run([MEASURING, "5", "2"], stdout=subprocess.DEVNULL).returncode == 0
        stream = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115  # closed below
        with stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            version = install(tar, os.uname().machine, new)
        with mounted(LABELS / f"boot_{new}") as boot:
            own(boot, new, settings.FIRMWARE)
        state = {"slot": new, "version": version, "measured": measured, "outcome": f"Update to {version}: on trial."}
        card.put(SYSTEM / "update.json", json.dumps(state).encode())
        with card.writable():
            slots.write(CARD / "autoboot.txt", slots.Autoboot(new, new))
    except (Refused, ValueError, OSError, tarfile.TarError, subprocess.CalledProcessError) as error:
        print(f"\nspectrophone-update: {error}. Nothing has changed.", file=sys.stderr)
        return 1
    print(f"{version} is written. It is started now, once; it stays if the box measures with it.", flush=True)
    subprocess.run(["systemctl", "--no-block", "reboot"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
