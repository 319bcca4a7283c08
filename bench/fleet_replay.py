"""Replay of an archive: seconds of sound per second of wall time, one recording after the other in one process, and by
a Dask cluster of one worker process a core; what the cluster costs before the first result.

The ratio says what Dask adds: at best the number of cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.recordings import tone, write_wav

FILES, SECONDS = 24, 150.0


def took_s(*arguments: str) -> tuple[float, float, bytes]:
    """Wall seconds of a fresh `spectrophone replay`, to its first output and to its end, and what it printed."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "gateway", "replay", *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    out = process.stdout.readline()
    first = time.perf_counter() - begin
    out += process.stdout.read()
    if process.wait() != 0:
        raise SystemExit("the replay failed")
    return first, time.perf_counter() - begin, out


def main() -> None:
    """Measure and print."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory:
        sound = tone(2012.5, 0.02, seconds=SECONDS, noise_rms=1e-3)
        file = write_wav(Path(directory, "sound.wav"), sound, subtype="PCM_16")
        files = FILES * [str(file)]
        first, alone, out = took_s(*files)
        first_there, there, out_there = took_s(*files, "--scheduler", "local")
    if out != out_there:
        raise SystemExit("the cluster gives other numbers")
    total = FILES * SECONDS
    print(f"one process     {total / alone:6.0f} s of sound a second, first result after {first:.1f} s")
    print(
        f"{cores} Dask workers  {total / there:6.0f} s of sound a second, first result after {first_there:.1f} s",
        end="",
    )
    print(f" ({alone / there:.2f} x, {(alone - first) / (there - first_there):.2f} x once it runs; same bytes)")


if __name__ == "__main__":
    main()
