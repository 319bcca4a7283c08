"""cuts.py ROOT WORK [NUMBER]: pull the plug of a box that measures, at random moments, and look at what is left.

The image's root file system for amd64 (image/build, ARCHITECTURE=amd64) on the bench's kernel, user-mode Linux, with
the image's own start and a data partition made as the image's; a start takes seconds. The partition is looked at from
outside after each cut, by a copy: its file system, and every journal on it. Exit status 1 on any FAIL.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hil.guest import built

LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class Left:
    """What a cut has left: whether all is whole, measurements in the journal, and what is wrong."""

    whole: bool
    rows: int
    words: str


def disks(root: Path, work: Path) -> None:
    """The root's disk, without the line for a card's first partition, and an empty data partition."""
    bare = work / "root"
    subprocess.run(["cp", "-a", root, bare], check=True)
    (bare / "etc/fstab").write_text("")
    (bare / "etc/systemd/system/sysinit.target.wants/nftables.service").unlink()  # the bench's kernel has none
    unit = bare / "etc/systemd/system/spectrophone.service.d/readings.conf"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nStandardOutput=journal\n")  # which tells when to pull the plug
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096"]
    subprocess.run([*make, "-d", bare, work / "root.img", "1200M"], check=True, capture_output=True)
    shutil.rmtree(bare)
    subprocess.run([*make, work / "data.img", "256M"], check=True, capture_output=True)


def start(kernel: Path, disks: Sequence[str], console: Path) -> subprocess.Popen[bytes]:
    """Switch a box on, with these disks and options of the kernel; its console's log tells what its units say."""
    command = [str(kernel / "linux"), "mem=512M", *disks, "root=/dev/ubda", "con=null", "con0=null,fd:1", "panic=-1"]
    command += ["systemd.journald.forward_to_console=1"]
    work = str(console.parent)
    environment = {"PATH": os.environ["PATH"], "HOME": work, "GLIBC_TUNABLES": "glibc.pthread.rseq=0"}
    environment["TMPDIR"] = "/dev/shm" if os.access("/dev/shm", os.W_OK) else work
    with console.open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )


def until_measured(console: Path) -> None:
    """Wait for the first value, two minutes at most."""
    end = time.monotonic() + 120.0
    while b" ppm " not in console.read_bytes() and time.monotonic() < end:
        time.sleep(0.2)


def looked_at(disk: Path, state: str) -> Left:
    """Look at a copy of the disk, which has the state directory there: the file system's own journal is replayed, then
    nothing may be wrong.
    """
    copy, there = disk.with_name("copy.img"), disk.with_name("there")
    subprocess.run(["cp", "--sparse=always", disk, copy], check=True)
    shutil.rmtree(there, ignore_errors=True)
    there.mkdir()
    replayed = subprocess.run(["e2fsck", "-p", copy], capture_output=True, text=True)
    if replayed.returncode > 1:
        return Left(False, 0, f"e2fsck -p: {replayed.stdout.strip()[-120:]}")
    checked = subprocess.run(["e2fsck", "-fn", copy], capture_output=True, text=True)
    if checked.returncode:
        return Left(False, 0, f"e2fsck -fn: {checked.stdout.strip()[-120:]}")
    subprocess.run(["debugfs", "-R", f"rdump {state} {there}", copy], check=True, capture_output=True)
    journals = list(there.glob("*/*.journal*"))
    if any("damaged" in path.name for path in journals):
        return Left(False, 0, "a journal was put aside as damaged")
    rows = 0
    for path in journals:
        if path.name.endswith(".journal"):
            with sqlite3.connect(path) as database:
                verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
                if verdict != "ok":
                    return Left(False, 0, f"{path.name}: {verdict}")
                rows += database.execute("SELECT count(*) FROM measurement").fetchone()[0]
    return Left(True, rows, "file system and journal are whole")


def main() -> int:
    """Cut NUMBER times (20), within 30 s of the start or, every other time, of the first value; then let it measure."""
    root, work, number = Path(sys.argv[1]), Path(sys.argv[2]), int((sys.argv[3:] or ["20"])[0])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    kernel, _ = built()
    disks(root, work)
    before = (work / "root.img").stat().st_mtime_ns
    box = [f"ubd0r={work}/root.img", f"ubd1={work}/data.img", "ro", "init=/usr/lib/spectrophone/start"]
    box += ["spectrophone.data=/dev/ubdb"]
    draw, rows, failures = random.SystemRandom(), 0, 0
    for cut in range(1, number + 2):
        console = work / f"console-{cut}.log"
        begun = time.monotonic()
        process = start(kernel, box, console)
        if cut % 2 == 0:
            until_measured(console)
        time.sleep(draw.uniform(1.0, LONGEST_S) if cut <= number else 2 * LONGEST_S)
        after_s = time.monotonic() - begun
        ended = process.poll()
        if ended is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        text = console.read_bytes()
        said = text.count(b" ppm ")
        left = looked_at(work / "data.img", "/state")
        failed = b"Failed to start" in text or b"Failed with result" in text
        good = ended is None and not failed and left.whole and left.rows >= rows and (cut <= number or left.rows > rows)
        failures += not good
        lost = f"{said} values said, {left.rows - rows} of them kept, {left.rows} in all" + "; a unit failed" * failed
        print(f"{'ok  ' if good else 'FAIL'} cut {cut} after {after_s:4.1f} s: {left.words}; {lost}", flush=True)
        rows = left.rows
    good = (work / "root.img").stat().st_mtime_ns == before
    print(f"{'ok  ' if good else 'FAIL'} the root is as it was", flush=True)
    return min(failures + (not good), 1)


if __name__ == "__main__":
    sys.exit(main())
