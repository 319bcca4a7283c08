"""Replay of an archive: seconds of sound per second of wall time, one recording after the other in one process, and by
a Dask cluster of one worker process a core; what the cluster costs before the first result.

The ratio says what Dask adds: at best the number of cores.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.recordings import tone, write_wav

FILES, SECONDS = 40, 150.0


@dataclass(frozen=True, slots=True)
class Took:
    """What a fresh `spectrophone replay` took: wall seconds to its first line and to its end, CPU seconds of all its
    processes, and what it printed.
    """

    first_s: float
    wall_s: float
    cpu_s: float
    out: bytes

    def say(self, who: str) -> str:
        """As a line."""
        rate = FILES * SECONDS / self.wall_s
        return (
            f"{who:16} {rate:6.0f} s of sound a second, first after {self.first_s:4.1f} s, {self.cpu_s:5.1f} s of CPU"
        )


def took(*arguments: str) -> Took:
    """Run `spectrophone replay ARGUMENTS`."""
    begin, cpu_s = time.perf_counter(), children_s()
    process = subprocess.Popen([sys.executable, "-m", "gateway", "replay", *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    out = process.stdout.readline()
    first_s = time.perf_counter() - begin
    out += process.stdout.read()
    if process.wait() != 0:
        raise SystemExit("the replay failed")
    return Took(first_s, time.perf_counter() - begin, children_s() - cpu_s, out)


def children_s() -> float:
    """CPU seconds of all processes that have ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        sound = tone(2012.5, 0.02, seconds=SECONDS, noise_rms=1e-3)
        file = write_wav(Path(directory, "sound.wav"), sound, subtype="PCM_16")
        files = FILES * [str(file)]
        alone, there = took(*files), took(*files, "--scheduler", "local")
    if alone.out != there.out:
        raise SystemExit("the cluster gives other numbers")
    print(alone.say("one process"))
    print(there.say(f"{len(os.sched_getaffinity(0))} Dask workers"))
    running = (alone.wall_s - alone.first_s) / (there.wall_s - there.first_s)
    print(f"{alone.wall_s / there.wall_s:.2f} x as fast, {running:.2f} x once it runs, with the same bytes", end="")
    print(f", for {there.cpu_s / alone.cpu_s:.2f} x the CPU")


if __name__ == "__main__":
    main()
