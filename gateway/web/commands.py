"""What takes long, as a command of the command line in a process of its own: it takes the processor only when nobody
else wants it, and gives all its memory back.
"""

from __future__ import annotations

import os
import subprocess
import sys

from gateway.web.problem import Problem

LONGEST_S = 60.0


def run(*arguments: str, good: tuple[int, ...] = (0,)) -> list[str]:
    """The lines that `spectrophone ARGUMENTS` prints. Blocks. Raises Problem with what it says where it ends with
    another status than a `good` one.
    """
    environ = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    command = ["nice", "-n", "15", sys.executable, "-m", "gateway", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            env=environ,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Problem(503, f"That took longer than {LONGEST_S:g} s. Ask for less, a shorter time") from None
    if done.returncode not in good:
        said = [line for line in done.stderr.strip().splitlines() if line]
        detail = said[-1].removeprefix("spectrophone: ") if said else f"it ended with {done.returncode}"
        raise Problem(409, detail)
    return done.stdout.splitlines()
