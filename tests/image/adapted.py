"""adapted.py BASE WORK: image/adapt on a card as Raspberry Pi OS has it, and the box that comes of it.

Raspberry Pi's own images are not in any registry of Debian's; this one has their shape (two partitions, /boot/firmware,
a root with no room to spare) around the Debian BASE of image/build, for amd64, so that the box can be started: in
user-mode Linux, where it has to measure. Exit status 1 on any FAIL.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.hil.guest import built
from tests.image.cuts import looked_at, start

PROJECT = Path(__file__).parents[2]
BOOT_AT, BOOT_SECTORS = 16384, 131072
ROOT_AT = BOOT_AT + BOOT_SECTORS
VARIABLES = """\
spectrophone_board: rpi4-usb
spectrophone_configuration: |
  box: {id: adapted}
  board: sim
"""


def card(base: Path, work: Path, name: str, architecture: str = "") -> Path:
    """A card with that Debian; `architecture` is what its list of packages is then made to say."""
    root, image = work / "os", work / f"{name}.img"
    root.mkdir()
    subprocess.run(["tar", "-C", root, "--numeric-owner", "-xpf", base], check=True)
    boot = root / "boot/firmware"
    shutil.rmtree(boot, ignore_errors=True)
    boot.mkdir(parents=True)
    (root / "etc/fstab").write_text("")
    os.utime(root / "var/lib/apt/lists", (0, 0))  # it was built long ago, as far as apt knows
    if architecture:
        status = root / "var/lib/dpkg/status"
        status.write_text(status.read_text().replace("Architecture: amd64", f"Architecture: {architecture}"))
    used_mb = int(subprocess.run(["du", "-sm", root], check=True, capture_output=True, text=True).stdout.split()[0])
    size_mb = used_mb * 11 // 10 + 100
    with image.open("wb") as file:
        file.truncate(ROOT_AT * 512 + size_mb * 2**20)
    table = f"label: dos\nstart={BOOT_AT}, size={BOOT_SECTORS}, type=c\nstart={ROOT_AT}, type=83\n"
    subprocess.run(["sfdisk", "-q", image], input=table, text=True, check=True)
    fat = [f"--offset={BOOT_AT}", "-F", "32", "-s", "1", image, str(BOOT_SECTORS // 2)]
    subprocess.run(["mkfs.vfat", *fat], check=True, capture_output=True)
    for file, text in {"config.txt": "arm_64bit=1\n", "cmdline.txt": "console=tty1 rootwait\n"}.items():
        subprocess.run(["mcopy", "-i", at(image), "-", f"::{file}"], input=text, text=True, check=True)
    system = work / "system.img"
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-d", root, system, f"{size_mb}M"]
    subprocess.run(make, check=True, capture_output=True)
    put = ["dd", f"if={system}", f"of={image}", "bs=512", f"seek={ROOT_AT}", "conv=notrunc,sparse"]
    subprocess.run(put, check=True, capture_output=True)
    system.unlink()
    shutil.rmtree(root)
    return image


def at(image: Path) -> str:
    """The FAT partition, as mtools want it."""
    return f"{image}@@{BOOT_AT * 512}"


def told(image: Path, name: str) -> str:
    """A file of the FAT partition."""
    return subprocess.run(["mtype", "-i", at(image), f"::{name}"], check=True, capture_output=True, text=True).stdout


def adapt(*arguments: object) -> tuple[int, str]:
    """The exit status, and what was said."""
    ran = subprocess.run(
        [PROJECT / "image/adapt", *map(str, arguments)], stderr=subprocess.PIPE, text=True, check=False
    )
    return ran.returncode, ran.stderr


def measured(image: Path, work: Path) -> str:
    """Start it for two minutes, then look at its disk: what is wrong, or nothing."""
    kernel, _ = built()
    table = json.loads(subprocess.run(["sfdisk", "--json", image], check=True, capture_output=True).stdout)
    sectors = table["partitiontable"]["partitions"][1]["size"]
    disk = work / "disk.img"
    copy = ["dd", f"if={image}", f"of={disk}", "bs=1M", "iflag=skip_bytes", "conv=sparse"]
    subprocess.run([*copy, f"skip={ROOT_AT * 512}"], check=True, capture_output=True)
    os.truncate(disk, sectors * 512)
    process = start(kernel, [f"ubd0={disk}", "rw"], work / "console.log")
    time.sleep(120)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = looked_at(disk, "/var/lib/spectrophone")
    return "" if left.whole and left.rows > 10 else f"{left.words}, {left.rows} measurements"


def main() -> int:
    """Refuse what cannot be adapted; adapt what can; adapt it once more; start it."""
    base, work = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    failures = 0

    def say(good: bool, what: str) -> None:
        nonlocal failures
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)

    variables, out = work / "variables.yml", work / "out.img"
    variables.write_text(VARIABLES)
    (work / "text.img").write_text("no image\n" * 1000)
    (work / "half.img.xz").write_bytes(lzma.compress(os.urandom(100_000))[:5000])
    (work / "card.zip").write_bytes(b"PK")
    old = card(base, work, "old", "armhf")
    for file, word in {
        "none.img": "no such file",
        "card.zip": "neither .img",
        "half.img.xz": "cannot be unpacked",
        "text.img": "no image of Raspberry Pi OS",
        old.name: "is for armhf",
    }.items():
        code, said = adapt(work / file, out)
        good = code == 1 and word in said and not list(work.glob("out.img*"))
        say(good, f"{file} is refused, and nothing of it left: {said.splitlines()[-1]}")
    old.unlink()
    image = card(base, work, "raspberry")
    code, said = adapt(image, out, variables)
    say(code == 0, f"it is adapted: {said.splitlines()[-1]}")
    lines = told(out, "config.txt")
    say("dtparam=watchdog=on" in lines and lines.startswith("arm_64bit=1\n"), "the board's lines are in config.txt")
    say("cgroup_enable=memory" in told(out, "cmdline.txt"), "the kernel's line counts memory")
    code, said = adapt(image, out)
    say(code == 1 and "exists already" in said, f"what is there is not written over: {said.splitlines()[-1]}")
    wrong = measured(out, work)
    say(not wrong, f"started as a machine, it measures{wrong and ': ' + wrong}")
    code, said = adapt(out, work / "again.img", variables)
    log = Path(os.environ.get("SPECTROPHONE_IMAGE", "/var/tmp/spectrophone-image")) / "log/adapt.log"
    recap = [line for line in log.read_text().splitlines() if "changed=" in line]
    say(code == 0 and " changed=0 " in recap[-1], f"adapted once more, nothing changes: {recap[-1].strip()}")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
