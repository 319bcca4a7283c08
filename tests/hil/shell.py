"""A shell in a fresh guest, with the checked-out gateway: `python -m tests.hil.shell`. Ctrl-D ends the guest."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.hil.guest import PROJECT, Guest, wheel

with Guest.boot() as guest, tempfile.TemporaryDirectory() as directory:
    guest.install(wheel(PROJECT, Path(directory)))
    print(f"booted in {guest.boot_s:.0f} s, its console: {guest.console}", file=sys.stderr)
    print(
        "every line is a script of its own: no cd, and nothing asks back", end="\nguest# ", file=sys.stderr, flush=True
    )
    for line in sys.stdin:
        ran = guest.shell(line, check=False, timeout_s=3600.0)
        print(ran.out + ran.err, end="guest# ", flush=True)
