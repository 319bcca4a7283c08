"""One gateway process with the default graph and nothing else: wall time of a tick at 100 ms blocks, and memory.

Usage: python -m bench.speed.tick FILE, float32 stereo sound of whole periods. Prints a JSON line. The ticks run back to
back; a live box has 100 ms between them.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from bench.speed.ours import computation
from bench.speed.sound import RATE
from gateway.types import SampleBlock

_TICKS, _WARM = 2020, 20


def main() -> None:
    """Measure and print."""
    samples = np.fromfile(sys.argv[1], np.float32).reshape(-1, 2)
    path = computation(None)
    size = RATE // 10
    took = []
    for index in range(_TICKS):
        at = index * size % len(samples)
        block = SampleBlock(index, index * size, RATE, samples[at : at + size])
        begin = time.perf_counter_ns()
        path.tick(block, ())
        took.append((time.perf_counter_ns() - begin) / 1e3)
    p50, p99 = np.percentile(took[_WARM:], (50, 99))
    status = Path("/proc/self/status").read_text()
    sound_mb = samples.nbytes / 2**20
    resident_mb = int(status.split("VmRSS:")[1].split()[0]) / 1024 - sound_mb
    print(json.dumps({"p50_us": round(p50, 1), "p99_us": round(p99, 1), "resident_mb": round(resident_mb, 1)}))


if __name__ == "__main__":
    main()
