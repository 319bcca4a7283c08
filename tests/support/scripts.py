"""Customers' scripts in tests: the node that a script's docstring shows, and the script itself, running.

`running` loads a script by the worker's own `Script`, in the test's process and without walls; what tests say to it and
hear from it is the same with a confined worker behind it.
"""

from __future__ import annotations

import ast
import re
import socket
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from gateway.actions import records
from gateway.journal.entry import Entry
from gateway.scripts import api, permissions, policy
from gateway.scripts.confine.confine import Plan
from gateway.scripts.guard import Guard
from gateway.scripts.messages import Finding, Functions, Load, Record
from gateway.scripts.worker import Script

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "user_scripts").glob("*.py"))
BOX = "lab-42"
START_S = 1_790_000_000
"""The wall clock when a test begins, seconds since 1970: 2026-09-21 14:13:20 UTC."""
_OPTIONS = {"init_function": "initialize", "update_function": "on_measurement", "alert_function": "on_alert",
            "status_function": "get_status", "shutdown_function": "shutdown"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the configuration has it, of either style. `options` are those of the script: the node's parameters in
    class style, those of the driver `python` in module style. `source` is the script."""

    id: str
    style: str
    options: dict[str, Any]
    parameters: dict[str, Any]
    source: bytes

    def configure(self, **config: Any) -> Node:
        """Change python_config; a ca_file is listed under file_access too."""
        self.options["python_config"] |= config
        if "ca_file" in config:
            self.options["file_access"] = [*self.options.get("file_access", []), str(config["ca_file"])]
        return self

    @property
    def plan(self) -> Plan:
        """What network and file_access allow."""
        files = tuple(permissions.grant(entry) for entry in self.options.get("file_access", ()))
        return Plan("B", (), files, bool(self.options.get("network")))

    def check(self) -> tuple[Finding, ...]:
        """What the static check says of the script under this node."""
        style, name = self.style, self.options.get("python_class_name", "")
        allowed, plan = self.options.get("allowed_imports", []), self.plan
        return policy.check(
            self.source, self.id, allowed, style, name, _functions(self), network=plan.network, files=bool(plan.files)
        )


def pasted(name: str, places: Mapping[str, str] | None = None) -> Node:
    """The node that the docstring of user_scripts/NAME.py shows, with words replaced one after the other.

    AssertionError for a word that is not there, and for an environment variable that is left.
    """
    source = (ROOT / "user_scripts" / f"{name}.py").read_bytes()
    shown = ast.get_docstring(ast.parse(source), clean=False)
    assert shown is not None
    text = textwrap.dedent("\n".join(line for line in shown.splitlines() if line.startswith("    ")))
    for word, place in (places or {}).items():
        assert word in text, f"{name}.py does not mention {word}"
        text = text.replace(word, place)
    assert not (left := re.findall(r"\$\{.*?\}", text)), f"{name}.py wants {left}"
    node = node_of(text, source)
    path = node.options.get("script_path", node.options.get("python_script_path"))
    assert path == f"user_scripts/{name}.py", f"{name}.py tells to load {path}"
    return node


def node_of(text: str, source: bytes) -> Node:
    """The only node of a list in YAML, with this as its script."""
    (shown,) = yaml.safe_load(text)
    parameters = dict(shown["parameters"])
    if shown["type"] == "python_action":
        return Node(shown["id"], "class", parameters, parameters, source)
    driver = parameters.pop("driver")
    assert (shown["type"], driver["type"]) == ("universal_action", "python")
    return Node(shown["id"], "module", driver["config"], parameters, source)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: its value, or what the customer reads."""

    value: Any = None
    fault: str = ""
    line: str = ""
    """The customer's own line at which it failed."""


@dataclass
class Running:
    """A script that runs. Time is the test's: `now_s`, seconds since 1970."""

    node: Node
    now_s: float = START_S
    logs: list[tuple[str, str]] = field(default_factory=list)
    notifications: list[tuple[str, str]] = field(default_factory=list)
    outputs: list[tuple[str, Any]] = field(default_factory=list)
    takes: bool = True
    """What trigger_notification and set_output answer."""
    entries: int = 0

    def __post_init__(self) -> None:
        options, monitored = self.node.options, list(self.node.parameters["monitored_nodes"])
        parameters = {**self.node.parameters, **options}
        config = parameters.pop("python_config", {})
        capacity = self.node.parameters.get("buffer_size", 100)
        self.readings = api.Readings(capacity)
        allowed, path = options.get("allowed_imports", []), f"/scripts/{self.node.id}.py"
        load = Load(
            self.node.source, path, self.node.style, options.get("python_class_name", ""), _functions(self.node),
            config, parameters, self.node.id, monitored, allowed, options.get("outputs", []), capacity, checks=True,
        )  # fmt: skip
        given = api.GatewayAPI(
            config, parameters, monitored=monitored, outputs=load.outputs, readings=self.readings, tell=self._tell
        )
        self._script = Script(load, Guard(path, self.node.plan, allowed), given)
        self._script.start()

    def measured(
        self, ppm: float | None, sigma_ppm: float | None = 0.5, *, after_s: float = 1.0, node: str = ""
    ) -> Outcome:
        """A measurement comes: on_measurement, or the history and on_update; None as `ppm` is an invalid one."""
        self.now_s += after_s
        source = node or self.node.parameters["monitored_nodes"][0]
        flags = [] if ppm is not None else ["laser_off"]
        fields = {
            "kind": "measurement", **self._times(), "node": source, "ppm": ppm, "sigma_ppm": sigma_ppm, "u95_ppm": 1.0,
            "dof": 30, "lod_ppm": 1.2, "smoothed_ppm": ppm, "sigma_smoothed_ppm": 0.2, "valid": ppm is not None,
            "flags": flags, "source": "co2_lock_in", "frequency_hz": 2012.5, "amplitude": 0.0244,
        }  # fmt: skip
        given = records.measurement(self._entry("measurement", source, fields), BOX)
        self.readings.take([given], {})
        if self.node.style == "module":
            return self.call("on_measurement", given)
        names = ("concentration_ppm", "peak_frequency", "peak_amplitude", "uncertainty_ppm", "timestamp")
        return self.call("on_update", {**{name: given[name] for name in names}, "nodes": {source: given}})

    def alerted(self, value: float | None, state: str = "raised", *, severity: str = "", **changed: Any) -> Outcome:
        """An alert is raised, or cleared: on_alert; in class style on_trigger, if it is raised."""
        source = self.node.parameters["monitored_nodes"][0]
        severity = severity or self.node.parameters.get("severity", "warning")
        threshold = self.node.parameters.get("concentration_threshold", 1000)
        fields = {
            "kind": "alert", **self._times(), "rule": f"{self.node.id}/concentration/{source}", "type": "concentration",
            "severity": severity, "state": state, "value": value, "threshold": float(threshold), "source": source,
        } | changed  # fmt: skip
        entry = self._entry("alert", source, fields)
        if self.node.style == "module":
            return self.call("on_alert", records.alert(entry, BOX))
        names = ("type", "value", "threshold", "severity")
        data = {"source_node_id": source, "timestamp": int(self.now_s), **{name: fields[name] for name in names}}
        return self.call("on_trigger", fields["type"], data)

    def call(self, hook: str, *given: Any) -> Outcome:
        """Call a hook as it is; nothing if the script does not have it."""
        if hook not in self._script.hooks:
            return Outcome()
        try:
            with patch("socket.create_connection", self._connect):
                return Outcome(self._script.call(hook, list(given)))
        except Exception as exception:
            record = self._script.record(exception, hook)
            return Outcome(None, told(record), record.frames[-1][2] if record.frames else "")

    def _connect(self, address: tuple[str, int], *arguments: Any, **named: Any) -> socket.socket:
        listed = [permissions.place(entry) for entry in self.node.options.get("network", ())]
        wanted = permissions.Place(permissions.normal(address[0]), address[1])
        assert wanted in listed, f"{wanted} is not listed under network"
        return _create_connection(address, *arguments, **named)

    def _tell(self, what: str, how: str, said: Any) -> bool:
        heard = {"log": self.logs, "notification": self.notifications, "output": self.outputs}[what]
        if what == "log" or self.takes:
            heard.append((how, said))
        return self.takes

    def _times(self) -> dict[str, Any]:
        time = datetime.fromtimestamp(self.now_s, UTC).isoformat(timespec="milliseconds")
        return {"time": time.replace("+00:00", "Z"), "t_s": self.now_s - START_S}

    def _entry(self, kind: str, subject: str, fields: dict[str, Any]) -> Entry:
        self.entries += 1
        return Entry(self.entries, round(self.now_s * 1e9), kind, subject, fields)


_create_connection = socket.create_connection


@contextmanager
def running(node: Node) -> Iterator[Running]:
    """The node's script, loaded and initialised; shut down at the end, whatever became of it."""
    found = node.check()
    assert not found, [str(finding) for finding in found]
    script = Running(node)
    yield script
    script.call("shutdown")


def told(record: Record) -> str:
    """A fault as the customer reads it."""
    hint = f" ({record.hint})" if record.hint else ""
    return f"line {record.line}: {record.type}: {record.message}{hint}"


def _functions(node: Node) -> Functions:
    return Functions(**{_OPTIONS[name]: value for name, value in node.options.items() if name in _OPTIONS})
