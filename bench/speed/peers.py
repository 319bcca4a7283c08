"""The peers with a process of their own: C programs, built here, and ulia in its environment. None is required."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.speed.rows import Row
from bench.speed.sound import BLOCKS_MS, FREQUENCY_HZ, RATE, WARM_S

_HERE = Path(__file__).parent
_PYTHON = _HERE.parent.parent / ".venv" / "peers" / "bin" / "python"
_FLAGS = ("-O3", "-march=native", "-ffast-math", "-Wall", "-Wextra")
_C = {
    "plain": ("C by hand", (), "apt-get install gcc libc6-dev"),
    "volk": ("VOLK", ("-lvolk",), "apt-get install libvolk-dev (Debian 12: libvolk2-dev)"),
    "liquid": ("liquid-dsp", ("-lliquid",), "apt-get install libliquid-dev"),
}


@dataclass(frozen=True, slots=True)
class Absent:
    """A peer that was not run, and how to have it."""

    name: str
    reason: str


UNPACKAGED = (
    Absent("GNU Radio", "not run: apt-get install gnuradio takes 143 packages and 644 MB; its kernels are VOLK's"),
    Absent("csdr", "not run: Debian does not package it"),
)


def run(file: Path, repeats: int, truth: float, directory: Path) -> Iterator[Row | Absent]:
    """Every peer on the float32 stereo sound in `file`; programs are built in `directory`."""
    for source, (name, libraries, install) in _C.items():
        program = directory / source
        parts = [str(_HERE / "main.c"), str(_HERE / f"{source}.c"), *libraries, "-lm"]
        yield from _built(name, install, ["gcc", *_FLAGS, "-o", str(program), *parts]) or _measured(
            name, [str(program)], file, repeats, truth, BLOCKS_MS
        )
    if _PYTHON.exists():
        yield from _measured("ulia", [str(_PYTHON), str(_HERE / "ulia_peer.py")], file, repeats, truth, (1000,))
    else:
        yield Absent("ulia", f"not here: bench/speed/need, or pip install ulia==2023.2.1 for {_PYTHON}")
    yield from UNPACKAGED


def _built(name: str, install: str, command: list[str]) -> tuple[Absent, ...]:
    """Nothing, or why it could not be built."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        return (Absent(name, "not built, there is no gcc: bench/speed/need, or apt-get install gcc libc6-dev"),)
    except subprocess.CalledProcessError as error:
        why = next((line for line in error.stderr.splitlines() if "error" in line), "gcc failed")
        return (Absent(name, f"not built: bench/speed/need, or {install} ({why.strip()})"),)
    return ()


def _measured(
    name: str, command: list[str], file: Path, repeats: int, truth: float, blocks_ms: tuple[int, ...]
) -> Iterator[Row | Absent]:
    print(name, file=sys.stderr)
    numbers = [RATE, FREQUENCY_HZ, repeats, WARM_S, *blocks_ms]
    done = subprocess.run([*command, str(file), *map(str, numbers)], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        yield Absent(name, f"failed: {lines[-1]}")
        return
    for line in done.stdout.splitlines():
        said = json.loads(line)
        yield Row(said["name"], said["block_ms"], (said["cpu_us"],), said["amplitude"], truth)
