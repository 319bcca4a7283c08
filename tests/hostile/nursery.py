"""Real workers for the tests: a process that forks and confines children on request, as the zygote does.

`python nursery.py DIRECTORY` reads one request a line and answers with one line. A request is {plan, source, name,
arguments}: the child confines itself by the plan, or not if it is null, and calls the function `name` of `source`.
While it waits to begin, it is looked at from outside. The answer is {report, wrong, result, status}.

More that a request may have: `broken` makes system calls or functions of modules fail, {"mount_setattr": 1}; `claimed`
is the level that is looked for from outside if not the report's; `hidden` makes the child not dumpable before that;
`stay` lets it wait for ever, and the answer has its id as `child`.
"""

from __future__ import annotations

import contextlib
import ctypes  # noqa: F401  (what is imported here is there for the functions of the tests, also at level C)
import dataclasses
import errno  # noqa: F401
import fcntl
import functools
import json
import mmap  # noqa: F401
import os
import signal  # noqa: F401
import socket  # noqa: F401
import sys
import tempfile  # noqa: F401
import threading
import traceback
from pathlib import Path  # noqa: F401

sys.path.insert(0, sys.argv[1])

from gateway.scripts.confine import kernel, limits, probe
from gateway.scripts.confine.confine import Plan, Unconfined, confine

threading.stack_size(256 << 10)
loaded_before = set(sys.modules)
"""What is imported later is loaded behind the walls."""


def main() -> None:
    base = limits.measure_baseline()
    for line in sys.stdin:
        request = json.loads(line)
        tell_us, tell = os.pipe()
        hear, begin = os.pipe()
        child = os.fork()
        if child == 0:
            serve(request, base, tell, hear)
        os.close(tell)
        os.close(hear)
        answers = os.fdopen(tell_us)
        answer = json.loads(answers.readline())
        if request.get("stay"):
            print(json.dumps(answer | {"child": child}), flush=True)
            continue
        if answer["report"] and answer["report"]["level"] != "D":
            level = request.get("claimed") or answer["report"]["level"]
            answer["wrong"] = probe.verify(answer["report"]["pid"], level)
        os.write(begin, b".")
        answer["result"] = json.loads(answers.readline() or '"silence"')
        answers.close()
        os.close(begin)
        answer["status"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(answer), flush=True)


def serve(request: dict, base: limits.Baseline, tell: int, hear: int) -> None:
    try:
        limits.only_descriptors([2, tell, hear])
        if request.get("hidden"):
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        break_calls(request.get("broken") or {})
        report = None
        if request["plan"]:
            plan = request["plan"]
            plan["files"] = tuple(tuple(each) for each in plan["files"])
            try:
                report = confine(Plan(**plan), base)
            except Unconfined as lacking:
                report = lacking.report
        told = dataclasses.asdict(report) if report else None
        os.write(tell, json.dumps({"report": told}).encode() + b"\n")
        os.read(hear, 1)
        names = dict(globals())
        try:
            exec(request["source"], names)
            result = names[request["name"]](*request["arguments"])
        except BaseException:
            result = traceback.format_exc()
        os.write(tell, json.dumps(result).encode() + b"\n")
        os._exit(0)
    finally:
        os._exit(1)


def open_descriptors() -> list[int]:
    """Which descriptors are open; fstat(3) is a call with a path at level C."""
    found = []
    for descriptor in range(64):
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
            found.append(descriptor)
    return found


def break_calls(broken: dict) -> None:
    real = kernel.call

    def call(name: str, *arguments: object) -> int:
        if name in broken:
            refuse(name)
        return real(name, *arguments)

    def refuse(name: str, *_: object, **__: object) -> None:
        raise OSError(broken[name], f"{name}: {os.strerror(broken[name])}")

    kernel.call = call
    for name in broken:
        module, _, function = name.rpartition(".")
        if module:
            setattr(sys.modules[module], function, functools.partial(refuse, name))


if __name__ == "__main__":
    main()
