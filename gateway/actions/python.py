"""The customer's Python: the driver `python`, which calls a script's functions, and the node `python_action`, which has
a script's class for a driver. What keeps both from doing harm is in gateway/scripts.

    alert     on_alert(alert)                on_trigger(type, data)
    result    on_measurement(measurement)    on_update(computing_data)

Functions are called for each entry of a batch, in order; a class first for each alert that is raised, then once with
the newest values of all monitored nodes. A call that fails is told and not made again; while a script is paused or
cannot be loaded its alerts wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from gateway.actions import records
from gateway.actions.driver import DriverKind, Refused, Surroundings, Undelivered, Verbs
from gateway.actions.settings import ActionSettings, Driver
from gateway.errors import Fault, LinkError
from gateway.journal.entry import Entry
from gateway.scripts.checking import findings
from gateway.scripts.messages import Functions
from gateway.scripts.permissions import grant, locate, place
from gateway.scripts.running import Script
from gateway.scripts.settings import MOST_HISTORY, Function, Permissions, PlainDict
from gateway.scripts.work import Failure, Waiting, Work

LONGEST_MS = 30_000
_TOLD_NS = 1_000_000_000
"""How old the statistics that a script sees may be."""


class PythonSettings(Permissions):
    """A script of plain functions, called for each result and each alert."""

    script_path: Path = Field(description="the script, from the working directory")
    timeout: float | None = Field(
        None, gt=0, le=LONGEST_MS / 1e3, description="seconds that a call may take; 5 if absent"
    )
    timeout_ms: int | None = Field(None, ge=10, le=LONGEST_MS, description="the same in milliseconds")
    auto_reload: bool = Field(True, description="load the file anew when it changes")
    init_function: Function = Field("initialize", description="called once, with python_config if it takes a parameter")
    update_function: Function = Field("on_measurement", description="called for each result")
    alert_function: Function = Field("on_alert", description="called for each alert, raised or cleared")
    status_function: Function = Field("get_status", description="called now and then, for the status")
    shutdown_function: Function = Field("shutdown", description="called before it is replaced, and at the end")
    buffer_capacity: int = Field(100, ge=1, le=MOST_HISTORY, description="results that its history holds")
    python_config: PlainDict = Field(default_factory=dict, description="what initialize is given")

    @model_validator(mode="after")
    def _one_timeout(self) -> PythonSettings:
        if self.timeout is not None and self.timeout_ms is not None:
            raise ValueError("timeout and timeout_ms say the same: give one of them")
        return self

    def work(self, node: str, parameters: Mapping[str, Any]) -> Work:
        """What is to be run for a node with these parameters."""
        seconds = self.timeout if self.timeout is not None else (self.timeout_ms or 5000) / 1e3
        functions = Functions(
            self.init_function, self.update_function, self.alert_function, self.status_function, self.shutdown_function
        )
        return _work(
            self, node, parameters, path=str(self.script_path), style="module", functions=functions,
            config=self.python_config, timeout_s=seconds, timeout_option="timeout" if self.timeout else "timeout_ms",
            history_capacity=self.buffer_capacity, hot_reload=self.auto_reload,
        )  # fmt: skip


class PythonActionSettings(Permissions, ActionSettings):
    """A script with a class of its own for this node: on_trigger for each alert, on_update for new values."""

    python_script_path: Path = Field(description="the script, from the working directory")
    python_class_name: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$", description="the class in it, usually of CustomPythonAction"
    )
    python_config: PlainDict = Field(
        default_factory=dict, description="what api.get_node_parameter gives; passwords as !secret name or ${NAME}"
    )
    python_timeout_ms: int = Field(
        5000, ge=10, le=LONGEST_MS, description="how long a call may take; then it is killed"
    )
    buffer_size: int = Field(100, ge=1, le=MOST_HISTORY, description="results that its history holds")
    hot_reload: bool = Field(True, description="load the file anew when it changes")

    @property
    def capacity(self) -> int:
        """See ActionSettings."""
        return self.buffer_size

    @property
    def driven(self) -> Driver:
        """See ActionSettings."""
        return Driver(type="python_action", config=self)

    def drives_anew(self, before: ActionSettings) -> bool:
        """See ActionSettings: the script is told all parameters."""
        return self != before

    def work(self, node: str, parameters: Mapping[str, Any]) -> Work:
        """What is to be run for a node with these parameters."""
        return _work(
            self, node, parameters, path=str(self.python_script_path), style="class",
            class_name=self.python_class_name, config=self.python_config, timeout_s=self.python_timeout_ms / 1e3,
            history_capacity=self.buffer_size, hot_reload=self.hot_reload,
        )  # fmt: skip


Given = PythonSettings | PythonActionSettings
_Called = tuple[Sequence[Entry], str, list[Any]]
"""The entries that a call is for, its hook, its arguments."""


def _work(given: Permissions, node: str, parameters: Mapping[str, Any], **about: Any) -> Work:
    """A script plans by what its calls may take: that stands among its node's parameters."""
    limit = "timeout_ms" if about["style"] == "module" else "python_timeout_ms"
    parameters = {**parameters, limit: round(about["timeout_s"] * 1e3)}
    return Work(
        node=node, parameters=parameters, monitored=tuple(parameters.get("monitored_nodes", ())),
        allowed_imports=given.allowed_imports, outputs=given.outputs, network=tuple(map(place, given.network)),
        files=tuple(map(grant, given.file_access)), paths=given.import_paths, memory_bytes=given.max_memory_mb << 20,
        disk_bytes=given.max_disk_mb << 20, **about,
    )  # fmt: skip


def missing(settings: Given, verbs: Verbs) -> Iterator[tuple[str, str, str]]:
    """What the settings name and is not there: option, message, remedy. The script is not read."""
    yield from settings.lacking(*_script(settings), tuple(verbs))


def read(settings: Given) -> Iterator[Fault]:
    """What the static check finds in the script, each with its place there; nothing for a file that is not there."""
    option, path = _script(settings)
    if not path.is_file():
        return
    for finding in findings(settings.work("", {})):
        if finding.severity == "error":
            where = ("driver", "config") if isinstance(settings, PythonSettings) else ()
            said = f"{finding.message}: {finding.remedy}" if finding.remedy else finding.message
            yield Fault((*where, option), said, "", str(path), finding.line, finding.column)


def _script(settings: Given) -> tuple[str, Path]:
    if isinstance(settings, PythonSettings):
        return "script_path", settings.script_path
    return "python_script_path", settings.python_script_path


class Python:
    """An ActionDriver whose target is a script. It is its own Newsroom."""

    def __init__(self, settings: Given, surroundings: Surroundings, script: Callable[..., Script] = Script) -> None:
        """`script` makes the Script; `script try` has one that tells of each call."""
        assert surroundings.scripts is not None
        self._around = surroundings
        self._work = settings.work(surroundings.node, surroundings.parameters)
        self._script = script(self._work, surroundings.scripts, surroundings.clock, surroundings.inbox, self)
        self._newest: dict[str, Entry] = {}
        self._called: set[int] = set()
        self._told: dict[str, Any] = {}
        self._told_ns = 0

    async def start(self) -> None:
        """See ActionDriver: the script is loaded in the background. Raises LinkError for files that cannot be given."""
        for given in self._work.files:
            try:
                locate(given)
            except ValueError as fault:
                raise LinkError(f"{self._around.node}: file_access: {fault}") from None
        self._newest = {entry.subject: entry for entry in reversed(self._around.history.newest())}
        self._script.start()

    async def deliver(self, batch: Sequence[Entry]) -> None:
        """See ActionDriver. What has been called for is not called for again when a batch is offered again."""
        faults: list[str] = []
        calls = self._functions if self._work.style == "module" else self._class
        self._called &= {entry.id for entry in batch}
        try:
            for entries, hook, arguments in calls([entry for entry in batch if entry.id not in self._called]):
                try:
                    await self._script.call(hook, arguments)
                except Failure as failure:
                    faults.append(failure.reason)
                self._called |= {entry.id for entry in entries}
        except Waiting as waiting:
            await self._script.awake()
            raise Undelivered(waiting.reason) from None  # by now there may be newer results
        if faults:
            raise Refused(faults[0] + (f" (and {len(faults) - 1} more calls failed)" if len(faults) > 1 else ""))

    def status(self) -> Mapping[str, Any]:
        """See ActionDriver."""
        return self._script.status()

    @property
    def trouble(self) -> str | None:
        """See Troubled."""
        return self._script.problem if self._script.state in ("paused", "failed") else None

    def reset(self) -> None:
        """See Resettable: no pause, no counts."""
        self._script.reset()

    def reload(self) -> None:
        """See Reloadable."""
        self._script.reload()

    async def close(self) -> None:
        """See ActionDriver: shutdown has a second."""
        await self._script.close()

    def rows(self, after: int, most: int) -> tuple[list[dict[str, Any]], int]:
        """See Newsroom."""
        while entries := self._around.history.after(after, most):
            after = entries[-1].id
            rows = [records.measurement(entry, self._around.box) for entry in entries if entry.kind in records.RESULTS]
            if rows:
                return rows, after
        return [], after

    def statistics(self) -> dict[str, Any]:
        """See Newsroom: how many results came of each node, and how this one fares; at most a second old."""
        now_ns = self._around.clock.monotonic_ns()
        if not self._told or now_ns - self._told_ns > _TOLD_NS:
            own = {self._around.node: self._around.statistics.as_object()}
            self._told, self._told_ns = {**self._around.history.counts(), **own}, now_ns
        return self._told

    def _functions(self, batch: Sequence[Entry]) -> Iterator[_Called]:
        """The calls of a script in module style."""
        for entry in batch:
            if entry.kind == "alert":
                yield (entry,), "on_alert", [records.alert(entry, self._around.box)]
            elif entry.kind in records.RESULTS:
                yield (entry,), "on_measurement", [records.measurement(entry, self._around.box)]

    def _class(self, batch: Sequence[Entry]) -> Iterator[_Called]:
        """The calls of a script in class style."""
        results = [entry for entry in batch if entry.kind in records.RESULTS]
        self._newest |= {entry.subject: entry for entry in results}
        for entry in batch:
            if entry.kind == "alert" and entry.fields["state"] == "raised":
                yield (entry,), "on_trigger", [entry.fields["type"], trigger(entry)]
        if results:
            nodes = {name: self._newest[name] for name in self._work.monitored if name in self._newest}
            yield results, "on_update", [computing(nodes, self._around.box)]


def trigger(entry: Entry) -> dict[str, Any]:
    """What on_trigger is told of an alert. `timestamp` is in whole seconds since 1970."""
    fields = entry.fields
    return {
        "type": fields["type"],
        "value": fields["value"],
        "threshold": fields["threshold"],
        "source_node_id": fields["source"],
        "timestamp": entry.time_ns // 1_000_000_000,
        "severity": fields["severity"],
        "message": records.message(entry),
    }


def computing(newest: Mapping[str, Entry], box: str) -> dict[str, Any]:
    """What on_update is told: of each number the first that is valid among the monitored nodes, None where there is
    none; and under `nodes` the measurement of each node.
    """
    nodes = {name: records.measurement(entry, box) for name, entry in newest.items()}
    ordered = sorted(nodes.values(), key=lambda node: node["concentration_ppm"] is None)
    told = {
        name: next((node[name] for node in ordered if node["valid"] and node[name] is not None), None)
        for name in ("concentration_ppm", "peak_frequency", "peak_amplitude", "uncertainty_ppm")
    }
    return {**told, "timestamp": max((node["timestamp"] for node in nodes.values()), default=0), "nodes": nodes}


KIND = DriverKind(PythonSettings, Python, durable=False, missing=missing, read=read, code=True)
ACTION = DriverKind(PythonActionSettings, Python, durable=False, missing=missing, read=read, code=True)
