"""What the gateway costs before and while it runs: import time, resident memory, start to first measurement.

Each figure is the median of fresh processes; a bare interpreter stands beside it.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMES = 5
_MEMORY = "import re; print(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1])"
_SERVICE = "import gateway.build, gateway.service, gateway.readings"


def import_ms(statement: str) -> float:
    """Median wall time of a fresh interpreter that runs `statement`, milliseconds."""
    took = []
    for _ in range(TIMES):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        took.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(took)


def memory_mb(statement: str) -> float:
    """Resident memory after `statement`, megabytes."""
    code = f"{statement}\n{_MEMORY}"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout) / 1024


def first_measurement() -> tuple[float, float]:
    """Seconds from the start of `run --demo` to its first measurement, and its resident megabytes ten seconds on."""
    with tempfile.TemporaryDirectory() as directory:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "run", "--demo", "--json"],
            env={**os.environ, "RUNTIME_DIRECTORY": directory},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        took, seen = 0.0, 0
        for line in process.stdout:
            if json.loads(line)["kind"] == "measurement":
                took, seen = took or time.perf_counter() - begin, seen + 1
            if seen == 10:
                break
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
        process.send_signal(signal.SIGINT)
        process.communicate()
        return took, resident


def main() -> None:
    """Measure and print."""
    bare_ms, bare_mb = import_ms("pass"), memory_mb("pass")
    for name, statement in (("numpy", "import numpy"), ("the whole gateway", _SERVICE)):
        took, resident = import_ms(statement), memory_mb(statement)
        print(
            f"import {name:18} {took:7.0f} ms ({took / bare_ms:4.1f} x a bare interpreter) {resident:6.1f} MB", end=""
        )
        print(f" ({resident / bare_mb:.1f} x)")
    runs = [first_measurement() for _ in range(3)]
    first = statistics.median(run[0] for run in runs)
    print(f"start to first measurement {first:.2f} s, of which 1.2 s are a dark block, the ring-up and the record")
    print(f"resident memory while running {statistics.median(run[1] for run in runs):.1f} MB")


if __name__ == "__main__":
    main()
