"""A worker of a test: `python -B brokered.py ROOT DESCRIPTOR LEVEL` runs the script on stdin with a broker at the other
end of DESCRIPTOR, under the real filter of LEVEL, and prints as JSON what the script put into `answer`.

With LEVEL "open" there is no filter.
"""

from __future__ import annotations

import asyncio
import csv
import ctypes
import email.generator
import email.message
import email.policy
import encodings.idna
import http.client
import json
import os
import smtplib
import ssl
import sys
import time
import traceback
import urllib.request

sys.path.insert(0, sys.argv[1])
from gateway.scripts import outside
from gateway.scripts.confine import numbers, seccomp

PRELOADED = (
    asyncio,
    csv,
    email.generator,
    email.message,
    email.policy,
    encodings.idna,
    http.client,
    json,
    smtplib,
    ssl,
    time,
    urllib.request,
)


def seal(level: seccomp.Level) -> None:
    """As a worker does at last."""
    machine = numbers.native()
    assert machine is not None
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    seccomp.load(seccomp.program(machine, level, network=True, pid=os.getpid()))


def main(descriptor: int, level: str) -> None:
    """Seal, run, print."""
    source = sys.stdin.read()
    for line in source.splitlines():  # at level C nothing can be imported afterwards
        if line.startswith(("import ", "from ")):
            exec(line, {})
    outside.install(descriptor, level)
    if level != "open":
        seal(level)  # type: ignore[arg-type]
    known: dict[str, object] = {"__name__": "script"}
    try:
        exec(compile(source, "script.py", "exec"), known)
        print(json.dumps(known["answer"]))
    except BaseException:
        traceback.print_exc(chain=True)
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[2]), sys.argv[3])
