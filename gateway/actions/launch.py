"""Runs in the child, before the customer's script: takes rights away, then becomes the script.

    python -I -B launch.py LIMITS SCRIPT FUNCTION JSON

LIMITS is a JSON object: memory_bytes, beyond what the bare interpreter has; seconds, of CPU and, as a second line
behind the parent's own watch, of the clock; paths, put in front of sys.path. The script finds sys.argv as [SCRIPT,
FUNCTION, JSON] and itself as __main__. It must run on any Python 3 of a customer's environment, so it imports nothing
but the standard library, and nothing of the gateway.
"""

import json
import os
import resource
import signal
import sys
import types

SLACK_BYTES = 16 << 20
"""Room that the interpreter and its C library map for themselves."""
FILES = 64


def restrict(memory_bytes: int, seconds: int) -> None:
    """Give up what a call does not need, for good: no soft limit can be raised again without a privilege."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: mapped + memory_bytes + SLACK_BYTES,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: FILES,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))
    signal.alarm(seconds)
    os.umask(0o077)
    os.nice(10)


def become(script: str, paths: list[str], arguments: list[str]) -> None:
    """Run the script as python itself would have."""
    sys.path[:0] = paths
    sys.argv[:] = [script, *arguments]
    module = types.ModuleType("__main__")
    module.__file__ = script
    sys.modules["__main__"] = module
    with open(script, "rb") as file:  # noqa: PTH123
        source = file.read()
    exec(compile(source, script, "exec", dont_inherit=True), module.__dict__)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    restrict(given["memory_bytes"], given["seconds"])
    become(sys.argv[2], given["paths"], sys.argv[3:])
