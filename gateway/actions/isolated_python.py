"""The driver `isolated_python`: a script of the customer's, in a fresh interpreter for each measurement and alert.

    SCRIPT FUNCTION JSON

FUNCTION is on_measurement or on_alert, JSON the measurement or alert of gateway/actions/records.py, and what the script
prints, if it is JSON, its result. Nothing lives from call to call.

The interpreter is the gateway's, and stands behind the same walls as the workers of `python` before the first line of
the script: at the level of the section `scripts`, below its min_isolation not at all. A call may not start a process,
signal another one, make a socket, or open a file but those of Python, of its packages and of `file_access`; a gateway
that root started runs it as the user spectrophone-script or nobody, who must be able to write what ends in ":rw". It
has no input, no descriptor of the gateway's, a fixed environment, /tmp of 4 MB for itself (levels A and B), the lowest
priority but one, and ends with the gateway. The gateway looks at the walls from outside before it lets each call begin.
Connections to what `network` lists are made for it outside; Python's own socket module takes them from there. There is
no `allowed_imports`: what can be imported is what is installed.

At level C no file can be opened once the walls are up. Files of `file_access` are handed in from outside, but nothing
is imported: so what the script's import statements name of the standard library is imported before, and there are no
packages, neither numpy nor those of venv_path and python_paths.

After `timeout_ms`, or when it writes too much, the call is killed, and it is reaped before the next. Each call costs
the start of an interpreter; the driver `python` does without.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from gateway.actions import records
from gateway.actions.child import Child, Ended
from gateway.actions.driver import DriverKind, Refused, Surroundings, Undelivered, Verbs
from gateway.actions.launch import SEALED
from gateway.errors import LinkError
from gateway.journal.entry import Entry
from gateway.scripts.broker import Broker
from gateway.scripts.confine import probe
from gateway.scripts.confine.cgroup import Group
from gateway.scripts.confine.confine import Plan, worker_user
from gateway.scripts.confine.paths import interpreter_paths
from gateway.scripts.confine.seccomp import Level
from gateway.scripts.permissions import authorities, grant, place
from gateway.scripts.quota import Quota
from gateway.scripts.settings import Function, Reach
from gateway.scripts.work import NotLoaded

LONGEST_JSON = 100_000
"""Bytes; the kernel takes 131 072 in one argument."""
MOST_OUT, MOST_ERR = 64 * 1024, 16 * 1024
LONGEST_RESULT, DEEPEST_RESULT = 4096, 32
LONGEST_REASON = 200
ENVIRON = {"LC_ALL": "C.UTF-8", "TZ": ":/etc/localtime", "HOME": "/tmp", "OPENBLAS_NUM_THREADS": "1"}
_ROOT = str(Path(__file__).parents[2])
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from gateway.actions import launch; launch.main()"


class IsolatedPythonSettings(Reach):
    """One fresh Python interpreter a call, for the strictest isolation."""

    script_path: Path = Field(description="the script, from the working directory; called as SCRIPT FUNCTION JSON")
    timeout_ms: int = Field(5000, ge=10, le=30_000, description="how long a call may take; then it is killed")
    max_memory_mb: int = Field(
        128, ge=16, le=512, description="memory that a call may map beside the bare interpreter; numpy wants 110"
    )
    update_function: Function = Field("on_measurement", description="FUNCTION of a measurement")
    alert_function: Function = Field("on_alert", description="FUNCTION of an alert")

    @property
    def packages(self) -> tuple[str, ...]:
        """Where installed packages are: those of venv_path, or the gateway's own."""
        return installed() if self.site is None else (str(self.site),)


def installed() -> tuple[str, ...]:
    """Directories of the gateway's own packages."""
    return tuple(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))


def missing(settings: IsolatedPythonSettings, verbs: Verbs) -> Iterator[tuple[str, str, str]]:
    """What the settings name and is not there: option, message, remedy. It only looks: the script is not read."""
    yield from settings.absent("script_path", settings.script_path)


def plan(settings: IsolatedPythonSettings, level: Level) -> Plan:
    """The walls around each call. Raises ValueError for paths that can never be given, LookupError where
    root's calls have nobody to become.
    """
    uid, gid = worker_user() if os.geteuid() == 0 else (None, None)
    own = (*settings.packages, *(str(path.absolute()) for path in settings.python_paths))
    return Plan(
        level,
        (*interpreter_paths(network=bool(settings.network)), *own),
        () if level == "C" else tuple(map(grant, settings.file_access)),
        network=bool(settings.network),
        memory_bytes=settings.max_memory_mb << 20,
        file_bytes=settings.max_disk_mb << 20,
        uid=uid,
        gid=gid,
    )


class IsolatedPython:
    """An ActionDriver that runs the script. A call that fails is told and not made again."""

    def __init__(self, settings: IsolatedPythonSettings, surroundings: Surroundings) -> None:
        assert surroundings.scripts is not None
        self._settings = settings
        self._around, self._scripts = surroundings, surroundings.scripts
        self._script = settings.script_path.absolute()
        self._plan: Plan | None = None
        self._quota: Quota | None = None
        self._child: Child | None = None
        self._calls = self._failed = 0
        self._result: Any = None

    async def start(self) -> None:
        """See ActionDriver. Raises LinkError for a script, an environment or files that are not there, and where this
        machine's walls are lower than min_isolation.
        """
        node, settings = self._around.node, self._settings
        for option, message, remedy in missing(settings, {}):
            raise LinkError(f"{node}: {option}: {message}", remedy)
        level = await self._scripts.level()
        writable = [given.path for given in map(grant, settings.file_access) if given.writable]
        try:
            self._plan = plan(settings, level)
            if writable:
                self._quota = await asyncio.to_thread(Quota, writable, settings.max_disk_mb << 20)
        except (ValueError, LookupError) as fault:
            raise LinkError(f"{node}: {fault}") from None

    async def deliver(self, batch: Sequence[Entry]) -> None:
        """See ActionDriver. All entries are called with, whatever becomes of one; Refused tells of the first fault."""
        faults = [fault for entry in batch if (fault := await self._deliver(entry))]
        if faults:
            more = f" (and {len(faults) - 1} more of {len(batch)} calls failed)" if len(faults) > 1 else ""
            raise Refused(faults[0] + more)

    def status(self) -> Mapping[str, Any]:
        """See ActionDriver. `result` is the newest that a call printed."""
        level = None if self._plan is None else self._plan.level
        return {"isolation": level, "calls": self._calls, "failed_calls": self._failed, "result": self._result}

    async def close(self) -> None:
        """See ActionDriver."""
        if self._child is not None:
            self._child.kill()
            await self._child.gone()

    async def _deliver(self, entry: Entry) -> str:
        """Make the call for an entry, if there is one; the fault, empty if all went well."""
        if entry.kind == "alert":
            function, given = self._settings.alert_function, records.alert(entry, self._around.box)
        elif entry.kind in records.RESULTS:
            function, given = self._settings.update_function, records.measurement(entry, self._around.box)
        else:
            return ""
        text = json.dumps(given, allow_nan=False)
        self._calls += 1
        if len(text) > LONGEST_JSON:
            fault = f"{function} was not called: its JSON has {len(text)} bytes, more than {LONGEST_JSON}"
        else:
            fault = self._judge(await self._call(function, text))
        self._failed += bool(fault)
        return fault

    async def _call(self, function: str, text: str) -> Ended:
        if not self._script.is_file():
            raise Undelivered(f"the script {self._script} is not there: put it back")
        if self._quota is not None and (much := await asyncio.to_thread(self._quota.look)) is not None:
            raise Undelivered(much)
        async with contextlib.AsyncExitStack() as around:
            group = await self._group(around)
            gate, theirs = socket.socketpair()
            around.enter_context(gate)
            gate.setblocking(False)
            passed = [around.enter_context(theirs), *await self._broker(around)]
            given = json.dumps(self._given(*(each.fileno() for each in passed)))
            launch = [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, _ROOT, given]
            command = [*launch, str(self._script), function, text]
            try:
                child = Child(command, ENVIRON, MOST_OUT, MOST_ERR, [each.fileno() for each in passed])
            except OSError as error:
                raise Undelivered(f"{sys.executable} cannot be started: {error.strerror}") from None
            for each in passed:
                each.close()
            self._child = child
            let_in = asyncio.create_task(self._let_in(gate, child, group))
            around.callback(let_in.cancel)
            if self._quota is not None:
                watch = asyncio.create_task(self._watch_disk(self._quota))
                around.callback(watch.cancel)
            try:
                ended = await child.ended(self._settings.timeout_ms / 1e3)
            finally:
                self._child = None
            if not ended.stopped and (fault := await let_in):
                raise Undelivered(f"{self._script.name} was not run: {fault}")
            if ended.status == -signal.SIGKILL and not ended.stopped and group is not None and group.out_of_memory():
                most = f"{self._settings.max_memory_mb} MB of memory (max_memory_mb)"
                return replace(ended, stopped=f"was stopped: it has used up its {most}")
            return ended

    async def _group(self, around: contextlib.AsyncExitStack) -> Group | None:
        """The call's control group, if there are any, until `around` ends."""
        try:
            group = await self._scripts.group()
        except NotLoaded as fault:
            raise Undelivered(f"{self._script.name} was not run: {fault}") from None
        if group is not None:
            around.push_async_callback(asyncio.to_thread, group.remove)
        return group

    async def _let_in(self, gate: socket.socket, child: Child, group: Group | None) -> str:
        """Let the script begin when its walls stand; why it did not, empty if it did."""
        assert self._plan is not None
        loop = asyncio.get_running_loop()
        said = await loop.sock_recv(gate, LONGEST_REASON)
        if said != SEALED:
            return _shown(said.decode("utf-8", "replace")) or "the interpreter ended before its walls stood"
        wrong = await asyncio.to_thread(_wrong, child.pid, self._plan, group)
        if wrong:
            child.kill()
            return wrong
        with contextlib.suppress(OSError):
            await loop.sock_sendall(gate, b"!")
        return ""

    def _given(self, gate: int, broker: int | None = None) -> dict[str, Any]:
        """What launch.py is to know."""
        assert self._plan is not None
        before = [str(path.absolute()) for path in self._settings.python_paths]
        return {
            "plan": asdict(self._plan),
            "parent": os.getpid(),
            "seconds": math.ceil(self._settings.timeout_ms / 1e3) + 1,
            "own": installed(),
            "paths": {"before": before, "behind": self._settings.packages},
            "broker": broker,
            "gate": gate,
        }

    async def _broker(self, around: contextlib.AsyncExitStack) -> list[socket.socket]:
        """The call's end of a channel to a broker, which is there until `around` ends; none if there is nothing to ask
        for.
        """
        settings, assured = self._settings, self._plan
        assert assured is not None
        files = tuple(map(grant, settings.file_access)) if assured.level == "C" else ()
        if not settings.network and not files:
            return []
        ours, theirs = socket.socketpair()
        around.enter_context(theirs)
        files += authorities() if assured.level == "C" and settings.network else ()
        hosts = tuple(map(place, settings.network))
        around.push_async_callback(Broker(ours, self._around.node, hosts, files, self._around.clock, self._stop).close)
        return [theirs]

    def _stop(self, why: str) -> None:
        if self._child is not None:
            self._child.stop(f"was stopped: {why}")

    async def _watch_disk(self, quota: Quota) -> None:
        self._stop(await quota.exceeded())

    def _judge(self, ended: Ended) -> str:
        if ended.stopped:
            return f"{self._script.name} {ended.stopped}"
        err = ended.err.decode("utf-8", "replace")
        if ended.status != 0 or "Traceback (most recent call last)" in err:
            return self._fault(ended.status, err)
        self._result = result(ended.out)
        return ""

    def _fault(self, status: int, err: str) -> str:
        """The customer's own line, and what Python says of it."""
        said = [line for line in err.splitlines() if line.strip()]
        places = re.findall(rf'File "{re.escape(str(self._script))}", line (\d+)', err)
        place = f"{self._script.name}, line {places[-1]}" if places else self._script.name
        if not said:
            ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            return f"{place} {ended}"
        assert self._plan is not None
        return f"{place}: {_shown(said[-1])}{hint(said[-1], self._plan, self._settings)}"


def _wrong(pid: int, around: Plan, group: Group | None) -> str:
    """Put a call that waits behind its walls into its control group, and say what is lacking; empty if nothing is."""
    try:
        if group is not None:
            group.admit(pid, around.memory_bytes + around.scratch_bytes)
    except OSError as error:
        return f"its control group does not take it in: {error.strerror}"
    return "; ".join(probe.verify(pid, around.level, group))


def hint(told: str, around: Plan, settings: IsolatedPythonSettings) -> str:
    """What to do about an exception, if it is one that walls make; what is told is its last line."""
    path = re.search(r"(?:FileNotFound|Permission|OS)Error: \[Errno (?:1|2|13|30)\] .*: '(/[^']*)'$", told)
    if "MemoryError" in told:
        return f" (it may take {settings.max_memory_mb} MB: max_memory_mb)"
    if "ModuleNotFoundError" in told and around.level == "C":
        return " (at level C only modules of the standard library that an import statement of the script names)"
    if path and "[Errno 2]" in told and any(given.covers(path[1]) for given in map(grant, settings.file_access)):
        return ""
    if path:
        return f' (a call sees what file_access lists, and writes what it lists as "{path[1]}:rw")'
    if "socket.gaierror" in told or "PermissionError: [Errno 13]" in told:
        return ' (network access is only through what is listed: network: ["host:port"])'
    if "PermissionError: [Errno 1]" in told:
        return " (no new processes, and no power over others)"
    return ""


def _shown(text: str) -> str:
    return "".join(char for char in text.strip() if char.isprintable())[:LONGEST_REASON]


def result(out: bytes) -> Any:
    """The JSON value that a script printed, all of it or its last line; None where there is none, or none that is fit
    to be handed on: finite, encodable, not long, not deep.
    """
    text = out.strip()
    for candidate in (text, text[text.rfind(b"\n") + 1 :]):
        if not candidate or len(candidate) > LONGEST_RESULT:
            continue
        try:
            value = json.loads(candidate)
            if _shallow(value, DEEPEST_RESULT):
                json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
                return value
        except (ValueError, RecursionError):
            continue
    return None


def _shallow(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_shallow(item, levels - 1) for item in inner)


KIND = DriverKind(IsolatedPythonSettings, IsolatedPython, durable=False, missing=missing, code=True)
