"""Customers' scripts in tests: the node that a script's docstring shows, and the script itself, running.

`running` checks the node as part of a configuration and runs the script as the gateway does, behind real walls; the
test itself is the part of the gateway that measures.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import tempfile
import textwrap
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from gateway import build, configured, design
from gateway.actions import making
from gateway.actions.driver import Refused, Surroundings
from gateway.actions.drivers import KINDS
from gateway.actions.history import History
from gateway.actions.python import Python
from gateway.check import Checked
from gateway.clock import RealClock
from gateway.inbox import CommandInbox
from gateway.journal.entry import Entry
from gateway.scripts import permissions, policy
from gateway.scripts.confine.confine import Plan, worker_user
from gateway.scripts.host import Scripts
from gateway.scripts.messages import Finding, Functions
from gateway.scripts.work import Failure, Waiting

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


class Workers:
    """Where the scripts of several tests run: an event loop, which stands still from call to call, and at each level a
    place where workers come from."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._scripts: dict[str, Scripts] = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let the loop run until this is done."""
        return self._runner.run(work)

    def at(self, config: Any) -> Scripts:
        """Where workers of this configuration come from."""
        given = config.scripts
        return self._scripts.setdefault(given.level, Scripts(RealClock(), given.level, given.least))

    def close(self) -> None:
        """End all workers."""
        for each in self._scripts.values():
            self.run(each.close())
        self._runner.close()


class Running:
    """A script that runs. What is measured, and when, is the test's: `now_s`, seconds since 1970."""

    def __init__(self, node: Node, config: build.Config, workers: Workers) -> None:
        self.node = node
        self.now_s: float = START_S
        self.notifications: list[tuple[str, str]] = []
        self.outputs: list[tuple[str, Any]] = []
        self._workers, self._inbox, self._entries, self._returned = workers, CommandInbox(), 0, None
        settings = design.actions(config)[node.id]
        assert settings.driven is not None
        self._history = History(settings.capacity)
        about = making.parameters_of(settings)
        around = Surroundings(
            node.id, BOX, RealClock(), self._inbox, self._history, parameters=about, scripts=workers.at(config)
        )
        driver = KINDS[settings.driven.type].make(settings.driven.config, around)
        assert isinstance(driver, Python)
        self.driver, self._call = driver, driver._script.call
        driver._script.call = self._called  # type: ignore[method-assign]

    def start(self) -> None:
        """Load and initialise it. Raises AssertionError with what went wrong."""

        async def start() -> None:
            await self.driver.start()
            try:
                await self._call("none of its functions", [])
            except Waiting as waiting:
                raise AssertionError(waiting.reason) from None

        self._workers.run(start())

    def close(self) -> None:
        """Shut it down."""
        self._workers.run(self.driver.close())
        self._take()

    @property
    def status(self) -> Mapping[str, Any]:
        """What `spectrophone status` tells of it."""
        return self.driver.status()

    @property
    def logs(self) -> list[tuple[str, str]]:
        """Level and text of the newest lines that it logged or printed."""
        return [(line["level"], line["text"]) for line in self.status["log"]]

    def measured(
        self, ppm: float | None, sigma_ppm: float | None = 0.5, *, after_s: float = 1.0, node: str = ""
    ) -> Outcome:
        """A measurement comes: on_measurement or on_update; None as `ppm` is an invalid one."""
        self.now_s += after_s
        source = node or self.node.parameters["monitored_nodes"][0]
        flags = [] if ppm is not None else ["laser_off"]
        fields = {
            "kind": "measurement", **self._times(), "node": source, "ppm": ppm, "sigma_ppm": sigma_ppm, "u95_ppm": 1.0,
            "dof": 30, "lod_ppm": 1.2, "smoothed_ppm": ppm, "sigma_smoothed_ppm": 0.2, "valid": ppm is not None,
            "flags": flags, "source": "co2_lock_in", "frequency_hz": 2012.5, "amplitude": 0.0244,
        }  # fmt: skip
        entry = self._entry("measurement", source, fields)
        self._history.append(entry)
        return self._told(self.driver.deliver([entry]))

    def alerted(self, value: float | None, state: str = "raised", *, severity: str = "", **changed: Any) -> Outcome:
        """An alert is raised, or cleared: on_alert; in class style on_trigger, if it is raised."""
        source = self.node.parameters["monitored_nodes"][0]
        severity = severity or self.node.parameters.get("severity", "warning")
        threshold = self.node.parameters.get("concentration_threshold", 1000)
        fields = {
            "kind": "alert", **self._times(), "rule": f"{self.node.id}/concentration/{source}", "type": "concentration",
            "severity": severity, "state": state, "value": value, "threshold": float(threshold), "source": source,
        } | changed  # fmt: skip
        return self._told(self.driver.deliver([self._entry("alert", source, fields)]))

    def call(self, hook: str, *given: Any) -> Outcome:
        """Call a hook as it is; nothing if the script does not have it."""
        return self._told(self._called(hook, list(given)))

    async def _called(self, hook: str, arguments: list[Any]) -> Any:
        self._returned = await self._call(hook, arguments)
        return self._returned

    def _told(self, work: Coroutine[Any, Any, Any]) -> Outcome:
        """What became of this work."""
        self._returned = None
        try:
            self._workers.run(work)
        except (Refused, Failure) as fault:
            place = re.search(r"\.py:(\d+): ", fault.reason)
            lines = self.node.source.decode().splitlines()
            return Outcome(None, fault.reason, lines[int(place[1]) - 1].strip() if place else "")
        finally:
            self._take()
        return Outcome(self._returned)

    def _take(self) -> None:
        for command in self._inbox.drain():
            if command.verb == "notify":
                self.notifications.append((command.args["severity"], command.args["message"]))
            else:
                self.outputs.append((command.target, {"on": True, "off": False}.get(command.verb, command.verb)))

    def _times(self) -> dict[str, Any]:
        time = datetime.fromtimestamp(self.now_s, UTC).isoformat(timespec="milliseconds")
        return {"time": time.replace("+00:00", "Z"), "t_s": self.now_s - START_S}

    def _entry(self, kind: str, subject: str, fields: dict[str, Any]) -> Entry:
        self._entries += 1
        return Entry(self._entries, round(self.now_s * 1e9), kind, subject, fields)


@contextmanager
def workers() -> Iterator[None]:
    """While this lasts all scripts of the tests share a loop and what workers come from."""
    _shared.append(Workers())
    try:
        yield
    finally:
        _shared.pop().close()


@contextmanager
def running(node: Node, level: str = "auto") -> Iterator[Running]:
    """The node's script, loaded and initialised behind the walls of a level; shut down at the end, whatever became of
    it. Raises AssertionError for a node that is not right. What it may write belongs to the workers' user afterwards.
    """
    with tempfile.TemporaryDirectory() as directory:
        checked = prepared(node, Path(directory), level)
        assert checked.config is not None, "\n".join(map(str, checked.faults))
        for path, writable in node.plan.files:
            if writable and os.geteuid() == 0:
                os.chown(path, *worker_user())
        script = Running(node, checked.config, _shared[-1])
        try:
            script.start()
            yield script
        finally:
            script.close()


def prepared(node: Node, directory: Path, level: str = "auto") -> Checked:
    """The node as part of a configuration, checked as at the start of the gateway; it and the script are put into
    `directory`."""
    option = "script_path" if node.style == "module" else "python_script_path"
    script = directory / Path(node.options[option]).name
    script.write_bytes(node.source)
    options = {**node.options, option: str(script)}
    if node.style == "module":
        parameters = {**node.parameters, "driver": {"type": "python", "config": options}}
    else:
        parameters = options
    nodes: list[dict[str, Any]] = [
        {"id": "input", "type": "input"},
        {"id": "lock", "type": "lock_in", "parameters": {"integration_s": 0.2}},
    ]
    for name in node.parameters["monitored_nodes"]:
        made = {"source": "lock", "polynomial_coefficients": [0, 41000]}
        nodes.append({"id": name, "type": "concentration", "parameters": made})
    kind = "universal_action" if node.style == "module" else "python_action"
    nodes.append({"id": node.id, "type": kind, "parameters": parameters})
    file = directory / "box.yaml"
    graph = {"default_graph": {"nodes": nodes}}
    document = {"box": {"id": BOX}, "board": "sim", "processing": graph, "scripts": {"level": level}}
    file.write_text(yaml.safe_dump(document))
    return configured.prepare(file, {}, scripts=True)


_shared: list[Workers] = []


def _functions(node: Node) -> Functions:
    return Functions(**{_OPTIONS[name]: value for name, value in node.options.items() if name in _OPTIONS})
