"""The two systems on a card, a and b, and which of them the firmware starts.

autoboot.txt on the first partition names a boot partition under [all], and one under [tryboot] (Raspberry Pi
documentation, "The autoboot.txt file"). Debian's kernel cannot ask the firmware for its [tryboot] way; so both lines
together say what is going on:

    normal  trial
    old     new     old is started. Running new means: new is on trial, and the next start is old's
    new     new     new is started once: its initial file system writes "old new" before anything else happens
    new     old     new has proved itself

All texts have the same length and fit a sector, and are written in place.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

PARTITIONS = {"a": 2, "b": 3}
"""Numbers of boot_a and boot_b in the card's table."""


@dataclass(frozen=True, slots=True)
class Autoboot:
    """What autoboot.txt says: the slots that the firmware starts."""

    normal: str
    trial: str

    def text(self) -> str:
        """As it is written; ends of lines are those of the firmware's own files."""
        lines = ["[all]", "tryboot_a_b=1", f"boot_partition={PARTITIONS[self.normal]}"]
        lines += ["[tryboot]", f"boot_partition={PARTITIONS[self.trial]}"]
        return "".join(f"{line}\r\n" for line in lines)

    def tried(self, running: str) -> bool:
        """Whether the `running` slot is on trial."""
        return self.normal != running or self.trial == running


def parse(text: str) -> Autoboot:
    """Read autoboot.txt. Raises ValueError if it names no two boot partitions of ours."""
    found: dict[str, str] = {}
    section = "all"
    names = {str(number): slot for slot, number in PARTITIONS.items()}
    for line in text.split():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
        elif (number := re.fullmatch(r"boot_partition=(\d+)", line)) and number[1] in names:
            found[section] = names[number[1]]
    if not {"all", "tryboot"} <= found.keys():
        raise ValueError("autoboot.txt: [all] and [tryboot] need a boot_partition each, 2 or 3")
    return Autoboot(found["all"], found["tryboot"])


def other(slot: str) -> str:
    """The other slot."""
    return "b" if slot == "a" else "a"


def running(cmdline: str) -> str:
    """The slot that the kernel's command line names. Raises ValueError on a machine without slots."""
    found = re.search(r"(?:^|\s)spectrophone\.slot=([ab])(?:\s|$)", cmdline)
    if not found:
        raise ValueError("this machine has no two systems: /proc/cmdline names no spectrophone.slot")
    return found[1]


def write(path: Path, autoboot: Autoboot) -> None:
    """Write autoboot.txt in place, to the card, and look whether it is there. Raises OSError if it is not."""
    data = autoboot.text().encode()
    with path.open("r+b") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.read_bytes() != data:
        raise OSError(f"{path} could not be written: it is not as long as it should be")
