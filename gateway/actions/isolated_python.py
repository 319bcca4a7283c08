"""The driver `isolated_python`: a script of the customer's, in a fresh interpreter for each measurement and alert.

    SCRIPT FUNCTION JSON

FUNCTION is on_measurement or on_alert, JSON the measurement or alert of gateway/actions/records.py, and what the script
prints, if it is JSON, its result. Nothing lives from call to call.

What holds: a process, session and group of its own, in the directory /; python -I -B, so that neither the environment
nor the working directory says what is imported; an environment of two fixed variables; no input, no descriptor of ours;
limits to address space, CPU time, open files, and none at all for files written, core dumps and (but for root, whom
the kernel does not count) further processes; the lowest priority but one. After `timeout_ms`, or when it writes too
much, the whole group is killed, and it is reaped before the call returns. What the user of the gateway may read, and
the network, are not kept from it yet.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from gateway.actions import records
from gateway.actions.child import Child, Ended
from gateway.actions.driver import DriverKind, Refused, Surroundings, Undelivered, Verbs
from gateway.config.settings import Settings
from gateway.errors import LinkError
from gateway.journal.entry import Entry

Function = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]

LONGEST_JSON = 100_000
"""Bytes; the kernel takes 131 072 in one argument."""
MOST_OUT, MOST_ERR = 64 * 1024, 16 * 1024
LONGEST_RESULT, DEEPEST_RESULT = 4096, 32
LONGEST_REASON = 200
ENVIRON = {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
_LAUNCH = Path(__file__).with_name("launch.py")


class IsolatedPythonSettings(Settings):
    """One fresh Python interpreter a call, for the strictest isolation."""

    script_path: Path = Field(description="the script, from the working directory; called as SCRIPT FUNCTION JSON")
    timeout_ms: int = Field(5000, ge=10, le=30_000, description="how long a call may take; then it is killed")
    max_memory_mb: int = Field(
        128, ge=16, le=512, description="memory that a call may map beside the bare interpreter; numpy wants 110"
    )
    update_function: Function = Field("on_measurement", description="FUNCTION of a measurement")
    alert_function: Function = Field("on_alert", description="FUNCTION of an alert")
    venv_path: Path | None = Field(
        None, description="a virtual environment whose python and packages are used; the gateway's own if absent"
    )
    python_paths: tuple[Path, ...] = Field((), description="further directories to import from")

    @property
    def python(self) -> Path:
        """The interpreter."""
        return Path(sys.executable) if self.venv_path is None else self.venv_path.absolute() / "bin/python"


def missing(settings: IsolatedPythonSettings, verbs: Verbs) -> Iterator[tuple[str, str, str]]:
    """What the settings name and is not there: option, message, remedy. It only looks: the script is not read."""
    if not settings.script_path.is_file():
        yield "script_path", f"there is no file {settings.script_path}", "Correct it, or put the script there"
    if not settings.python.is_file():
        remedy = f"Make it with `python3 -m venv {settings.venv_path}`"
        yield "venv_path", f"there is no python in {settings.venv_path}", remedy
    for directory in settings.python_paths:
        if not directory.is_dir():
            yield "python_paths", f"there is no directory {directory}", "Correct it, or make the directory"


class IsolatedPython:
    """An ActionDriver that runs the script. A call that fails is told and not made again."""

    def __init__(self, settings: IsolatedPythonSettings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._around = surroundings
        self._script = settings.script_path.absolute()
        self._child: Child | None = None
        self._calls = self._failed = 0
        self._result: Any = None

    async def start(self) -> None:
        """See ActionDriver. Raises LinkError for a script or an environment that is not there."""
        for option, message, remedy in missing(self._settings, {}):
            raise LinkError(f"{self._around.node}: {option}: {message}", remedy)

    async def deliver(self, batch: Sequence[Entry]) -> None:
        """See ActionDriver. All entries are called with, whatever becomes of one; Refused tells of the first fault."""
        faults = [fault for entry in batch if (fault := await self._deliver(entry))]
        if faults:
            more = f" (and {len(faults) - 1} more of {len(batch)} calls failed)" if len(faults) > 1 else ""
            raise Refused(faults[0] + more)

    def status(self) -> Mapping[str, Any]:
        """See ActionDriver. `result` is the newest that a call printed."""
        return {"calls": self._calls, "failed_calls": self._failed, "result": self._result}

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
        settings = self._settings
        if not self._script.is_file():
            raise Undelivered(f"the script {self._script} is not there: put it back")
        limits = {
            "memory_bytes": settings.max_memory_mb << 20,
            "seconds": math.ceil(settings.timeout_ms / 1e3) + 1,
            "paths": [str(path.absolute()) for path in settings.python_paths],
        }
        launch = [str(settings.python), "-I", "-B", str(_LAUNCH), json.dumps(limits)]
        try:
            self._child = Child([*launch, str(self._script), function, text], ENVIRON, MOST_OUT, MOST_ERR)
        except OSError as error:
            raise Undelivered(f"{settings.python} cannot be started: {error.strerror}") from None
        try:
            return await self._child.ended(settings.timeout_ms / 1e3)
        finally:
            self._child = None

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
        told = "".join(char for char in said[-1].strip() if char.isprintable())[:LONGEST_REASON]
        remedy = f" (it may take {self._settings.max_memory_mb} MB: max_memory_mb)" if "MemoryError" in told else ""
        return f"{place}: {told}{remedy}"


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


KIND = DriverKind(IsolatedPythonSettings, IsolatedPython, durable=False, missing=missing)
