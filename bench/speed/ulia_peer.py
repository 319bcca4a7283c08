"""ulia on whole records of 1 s: runs in an environment of its own, takes and gives what the C peers do (main.c).

Usage: ulia_peer.py FILE RATE FREQUENCY REPEATS WARM_S 1000

It gets what makes it fast: the reference as a complex wave, for which it needs no Hilbert transform, and one run of its
phase-locked loop for both channels. Its low-pass, order 2 at 5 Hz, is the one of those tried (orders 1, 2, 4; 2 to 20
Hz) that comes nearest to the true amplitude after 1 s.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import ulia


def main() -> None:
    """Measure and print."""
    file, rate, frequency_hz, repeats, warm_s = sys.argv[1], *map(float, sys.argv[2:6])
    frames = int(rate)
    sound = np.fromfile(file, np.float32).reshape(-1, frames, 2)[int(warm_s) :]
    reference = np.exp(2j * np.pi * frequency_hz * np.arange(frames) / rate)
    lock_in = ulia.ULIA(frames, rate, 1 / 5, 2, 0.1)
    best, amplitude = float("inf"), 0.0
    for _ in range(int(repeats)):
        begin = time.process_time()
        for record in sound:
            lock_in.load_data(reference, record[:, 1])
            lock_in.execute()
            lock_in.load_data(reference, record[:, 0])
            lock_in.lock_in()
            amplitude = 2.0 * float(np.hypot(lock_in.x[-1], lock_in.y[-1]))
        best = min(best, (time.process_time() - begin) * 1e6 / len(sound))
    name = f"ulia {ulia.__version__}"
    print(json.dumps({"name": name, "block_ms": 1000, "cpu_us": best, "amplitude": amplitude}))


if __name__ == "__main__":
    main()
