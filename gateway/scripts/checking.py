"""The static check of a script for people who ask, in a process of its own, since a file may bring down its parser.

A worker makes the same check behind its walls; this one is for `spectrophone check`, which starts no worker.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import msgspec

from gateway.scripts import policy
from gateway.scripts.findings import error
from gateway.scripts.messages import LONGEST_SOURCE, Finding, Functions
from gateway.scripts.work import Work

PATIENCE_S = 20.0
MOST_BYTES = 1 << 30
_ROOT = Path(__file__).parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from gateway.scripts import checking; checking.main()"


def findings(work: Work) -> list[Finding]:
    """What is wrong with the script of `work`. Blocks, at most PATIENCE_S; never raises."""
    command = [sys.executable, "-I", "-B", "-c", _PROGRAM, str(_ROOT), work.style, work.class_name]
    given = msgspec.msgpack.encode(
        (work.path, work.allowed_imports, work.functions, bool(work.network), bool(work.files))
    )
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=PATIENCE_S, check=True, env={})
        return msgspec.msgpack.decode(done.stdout, type=list[Finding])
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return [error(1, 0, f"{work.name} cannot be checked: it takes too long, or too much memory", "make it simpler")]


def main() -> None:
    """The process of `findings`."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    path, allowed, functions, network, files = msgspec.msgpack.decode(
        sys.stdin.buffer.read(), type=tuple[str, list[str], Functions, bool, bool]
    )
    with Path(path).open("rb") as file:
        source = file.read(LONGEST_SOURCE + 1)
    style, class_name = sys.argv[1:3]
    name = Path(path).name
    found = policy.check(
        source, name, allowed, "class" if style == "class" else "module", class_name, functions,
        network=network, files=files,
    )  # fmt: skip
    sys.stdout.buffer.write(msgspec.msgpack.encode(list(found)))
