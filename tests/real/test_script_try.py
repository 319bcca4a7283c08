"""`script try`, as a customer runs it: real workers behind real walls, on samples, a recording and a journal; each
outcome once, and the JSON that others build on."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.journal.store import Store
from gateway.scripts.confine import probe
from gateway.trial.trying import CALL, OUTCOMES, SUMMARY
from tests.real.gateway import command
from tests.recordings import tone, write_wav
from tests.support.scripts import ROOT
from tests.unit.journal.samples import UTC_NS, entries


class Tried:
    """What a try said: its calls, the summary, and what came of it."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status, self.err = done.returncode, done.stderr
        assert done.stdout, done.stderr
        *self.calls, self.summary = (json.loads(line, parse_constant=_no_constant) for line in done.stdout.splitlines())
        assert all(list(call) == list(CALL) for call in self.calls)
        assert list(self.summary) == list(SUMMARY)
        assert self.summary["calls"] == len(self.calls) == sum(self.summary["outcomes"].values())
        assert list(self.summary["outcomes"]) == list(OUTCOMES)
        assert "Traceback" not in done.stdout + done.stderr

    def of(self, hook: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["hook"] == hook]

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(call["hook"], call["outcome"]) for call in self.calls]


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def tried(directory: Path, source: str, *arguments: str, parameters: str = "", **environ: str) -> Tried:
    """`script try --json` of a script."""
    file = directory / "mine.py"
    file.write_text(textwrap.dedent(source))
    if parameters:
        (directory / "mine.yaml").write_text(textwrap.dedent(parameters))
        arguments = ("--parameters", str(directory / "mine.yaml"), *arguments)
    return Tried(
        command(directory, "script", "try", str(file), "--json", *arguments, environ={**os.environ, **environ})
    )


CLASS = """
class Mine(CustomPythonAction):
    def __init__(self, api):
        super().__init__(api)
        api.log_message("debug", "begun")
        self.seen = []

    def on_update(self, computing_data):
        self.seen.append(computing_data["concentration_ppm"])
        print("seen", len(self.seen), end="\\n\\x1b[31mred\\u202e\\n")
        assert self.api.get_history_count() == len(self.seen)
        return {"nodes": sorted(computing_data["nodes"]), "ppm": self.api.get_concentration_data("gas")}

    def on_trigger(self, trigger_type, data):
        self.api.set_output("relay/fan", True)
        self.api.set_output("led/status", "red")
        return self.api.trigger_notification(f"{trigger_type} {data['value']}", data["severity"])

    def get_status(self):
        return {"seen": self.seen, "password": self.api.get_node_parameter("password")}

    def shutdown(self):
        self.api.log_message("info", "over " + self.api.get_node_parameter("password"))
"""

PARAMETERS = """
id: mine
type: python_action
parameters:
  monitored_nodes: [gas]
  concentration_threshold: 800
  severity: critical
  outputs: [relay/fan]
  python_config: {password: "${SECRET_WORD}"}
"""


def test_a_class_on_sample_events_in_json(tmp_path: Path) -> None:
    found = tried(tmp_path, CLASS, parameters=PARAMETERS, SECRET_WORD="open sesame")
    assert (found.status, found.err) == (0, "")
    assert [hook for hook, _ in found.outcomes] == [
        "initialize", *["on_update"] * 3, "on_trigger", *["on_update"] * 2, "get_status", "shutdown",
    ]  # fmt: skip
    assert {outcome for _, outcome in found.outcomes} == {"ok"}
    assert found.of("initialize")[0]["log"] == ["debug: begun"]
    updates = found.of("on_update")
    assert [update["result"]["ppm"] for update in updates] == pytest.approx([560, 680, 800, 920, 1040])
    assert updates[0]["result"]["nodes"] == ["gas"]
    assert updates[1]["log"] == ["info: seen 2", "info: \\x1b[31mred\\u202e"]
    (trigger,) = found.of("on_trigger")
    assert trigger["result"] is True
    assert trigger["log"][0] == "output relay/fan: on"
    assert trigger["log"][-1] == "notification critical: concentration 920.0"
    assert found.of("get_status")[0]["result"]["password"] == "********"
    assert found.of("shutdown")[0]["log"] == ["info: over ********"]
    assert all(call["error"] is None and call["ms"] >= 0 and call["memory_mb"] > 0 for call in found.calls)
    summary = found.summary
    assert (summary["kind"], summary["loaded"], summary["outcomes"]["ok"]) == ("summary", True, 9)
    times = sorted(call["ms"] for call in found.calls)
    assert (summary["p50_ms"], summary["p95_ms"], summary["max_ms"]) == (times[4], times[8], times[8])
    assert summary["peak_memory_mb"] >= max(call["memory_mb"] for call in found.calls) - 0.01
    assert summary["isolation"] == probe.probe().level


def test_a_module_with_other_names_and_one_event(tmp_path: Path) -> None:
    source = """
        def begin(config):
            print("begun with", config["limit"], config["update_interval_ms"])

        def measured(measurement):
            return measurement["concentration_ppm"]

        async def on_alert(alert):
            return alert["data"]["state"]
        """
    parameters = """
        monitored_nodes: [co2_concentration]
        concentration_threshold: 1000
        driver:
          type: python
          config: {init_function: begin, update_function: measured, python_config: {limit: 3},
                   allowed_imports: [asyncio]}
        """
    found = tried(tmp_path, source, "--events", "1", parameters=parameters)
    assert found.status == 0
    assert found.of("initialize")[0]["log"] == ["info: begun with 3 1000"]
    results = [(call["hook"], call["result"]) for call in found.calls[1:]]
    assert results == [("on_measurement", pytest.approx(1300)), ("on_alert", "raised"), ("on_alert", "cleared")]


FAILING = """
import os
calls = 0

class Failing:
    def __init__(self, api):
        self.api = api

    def on_update(self, data):
        global calls
        calls += 1
        print("call", calls)
        if calls == 1:
            raise ValueError("no such gas")
        if calls == 2:
            open("/etc/hostname").read()
        if calls == 3:
            while True:
                pass

    def on_trigger(self, kind, data):
        os._exit(7)

    def get_status(self):
        return {"mean": float("nan")}
"""


def test_each_outcome_and_a_fresh_worker_after_each_that_was_killed(tmp_path: Path) -> None:
    parameters = "allowed_imports: [os]\npython_timeout_ms: 300\n"
    found = tried(tmp_path, FAILING, parameters=parameters)
    assert found.status == 1
    assert found.outcomes == [
        ("initialize", "ok"), ("on_update", "error"), ("on_update", "refused"), ("on_update", "timeout"),
        ("initialize", "ok"), ("on_trigger", "killed"),
        ("initialize", "ok"), ("on_update", "error"), ("on_update", "refused"), ("get_status", "error"),
    ]  # fmt: skip
    error, refused, timeout = found.of("on_update")[:3]
    assert error["error"] == "on_update failed: mine.py:14: ValueError: no such gas"
    assert refused["error"].endswith(
        'no permission to read /etc/hostname: list it under file_access: ["/etc/hostname"]'
    )
    assert refused["error"].startswith("on_update failed: mine.py:16: ")
    assert "was stopped after 300 ms (python_timeout_ms)" in timeout["error"]
    assert timeout["ms"] >= 300
    assert found.of("on_trigger")[0]["error"] == "mine.py ended itself with status 7"
    assert "returned nan at $.mean" in found.of("get_status")[0]["error"]
    assert timeout["log"] == ["info: call 3"]
    assert found.summary["outcomes"] == {"ok": 3, "error": 3, "timeout": 1, "killed": 1, "refused": 2}


def test_what_takes_too_much_memory_is_told_with_what_it_took(tmp_path: Path) -> None:
    source = """
        def on_measurement(measurement):
            kept = []
            while True:
                kept.append(bytearray(1 << 20))
        """
    parameters = "driver: {type: python, config: {max_memory_mb: 40}}\n"
    found = tried(tmp_path, source, "--events", "1", parameters=parameters)
    (call,) = found.of("on_measurement")
    assert call["outcome"] in ("error", "killed")
    assert "memory" in call["error"].lower()
    assert 30 < found.summary["peak_memory_mb"] < 60


@pytest.mark.parametrize(
    ("source", "outcome", "said"),
    [
        ("import subprocess\ndef on_alert(alert): pass", "refused", "import of 'subprocess' is not allowed"),
        ("def on_alert(alert): pass\n1 / 0", "error", "mine.py:2: ZeroDivisionError: division by zero"),
        ("def on_alert(alert): pass\nretrun 1", "refused", "(line 2)"),
        ("def on_alert(alert): pass\nraise SystemExit", "error", "mine.py:2: SystemExit"),
    ],
)
def test_a_script_that_cannot_be_loaded(tmp_path: Path, source: str, outcome: str, said: str) -> None:
    found = tried(tmp_path, source)
    assert found.status == 1
    assert found.outcomes == [("initialize", outcome)]
    assert said in found.calls[0]["error"]
    assert found.summary["loaded"] is False


REACHING = """
import os, socket

ATTACKS = [
    lambda: os.fork(),
    lambda: os.kill(1, 9),
    lambda: open("/etc/shadow").read(),
    lambda: socket.create_connection(("127.0.0.1", 22)),
]

def on_measurement(measurement):
    ATTACKS.pop(0)()
"""


@pytest.mark.parametrize("level", ["A", "C"])
def test_without_the_static_check_the_wall_alone_holds(tmp_path: Path, level: str) -> None:
    level = level if level in possible() else probe.probe().level
    found = tried(tmp_path, REACHING, "--events", "4", "--level", level, "--no-static-check")
    assert found.of("initialize")[0]["outcome"] == "ok"
    assert found.summary["isolation"] == level
    calls = found.of("on_measurement")
    assert len(calls) == 4
    assert {call["outcome"] for call in calls} <= {"refused", "error"}
    assert not any("add it to allowed_imports" in call["error"] for call in calls)


def test_with_the_static_check_the_same_is_not_even_loaded(tmp_path: Path) -> None:
    found = tried(tmp_path, REACHING)
    assert found.outcomes == [("initialize", "refused")]
    assert "import of 'os' is not allowed: add it to allowed_imports (line 2)" in found.calls[0]["error"]


def possible() -> tuple[str, ...]:
    """The levels that this machine has."""
    return {"A": ("A", "B", "L", "C"), "B": ("B", "C"), "L": ("L", "C"), "C": ("C",)}[probe.probe().level]


LISTENING = """
class Listening(CustomPythonAction):
    def on_update(self, data):
        return [data["concentration_ppm"], data["timestamp"]]

    def on_trigger(self, kind, data):
        return [data["value"], data["source_node_id"]]
"""


def test_a_recording_gives_what_replay_gives(tmp_path: Path) -> None:
    sound = tone(2012.5, 0.02, seconds=8.0, noise_rms=1e-5)
    file = write_wav(tmp_path / "lab.wav", np.repeat([[0.05], [0.1], [0.2], [0.05]], 2 * 48_000, axis=0) * sound)
    replayed = command(tmp_path, "replay", str(file), "--json").stdout.splitlines()
    ppm = [each["ppm"] for line in replayed if (each := json.loads(line))["kind"] == "measurement"]
    limit = (max(ppm) + min(ppm)) / 2
    parameters = f"concentration_threshold: {limit}\n"
    found = tried(tmp_path, LISTENING, "--recording", str(file), parameters=parameters)
    assert found.status == 0
    given = [call["result"] for call in found.of("on_update")]
    assert [value for value, _ in given] == pytest.approx(ppm)
    assert [b - a for (_, a), (_, b) in pairwise(given)] == [1] * (len(ppm) - 1)
    triggers = [call["result"] for call in found.of("on_trigger")]
    assert triggers[0] == [pytest.approx(next(value for value in ppm if value > limit)), "co2_concentration"]
    slow = tried(tmp_path, LISTENING, "--recording", str(file), parameters=parameters + "update_interval_ms: 3000\n")
    assert len(slow.of("on_update")) < len(ppm)
    other = command(tmp_path, "script", "try", str(tmp_path / "mine.py"), "--recording", str(file), "--parameters",
                    _written(tmp_path / "p.yaml", "monitored_nodes: [co2_concentrations]\n"))  # fmt: skip
    assert other.returncode == 2
    assert "nothing gives 'co2_concentrations' there. Did you mean 'co2_concentration'?" in other.stderr


def test_a_range_of_a_journal(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab.journal")
    store.append(list(entries(60)))
    store.close()
    expected = [e for e in entries(60) if e.kind == "measurement" and e.time_ns >= UTC_NS + 50 * 10**9]
    arguments = ("--journal", str(tmp_path / "lab.journal"), "--from", "2026-09-21T14:14:10Z")
    found = tried(tmp_path, LISTENING, *arguments, parameters="monitored_nodes: [co2]\n")
    assert found.status == 0
    assert [call["result"] for call in found.of("on_update")] == [
        [entry.fields["ppm"] if entry.fields["valid"] else None, entry.time_ns // 10**9] for entry in expected
    ]
    file = tmp_path / "mine.py"
    for arguments, said in (
        (("--journal", str(file)), "mine.py"),
        (("--journal", str(tmp_path / "lab.journal")), "nothing of 'co2_concentration' in that time"),
    ):
        done = command(tmp_path, "script", "try", str(file), "--json", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def _written(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("style", ["class", "module"])
def test_a_new_script_can_be_tried_at_once(tmp_path: Path, style: str) -> None:
    made = command(tmp_path, "script", "new", "co2_mail", "--style", style, "--out", str(tmp_path))
    assert made.returncode == 0
    file = tmp_path / "co2_mail.py"
    done = command(tmp_path, "script", "try", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["initialize", "ok"]
    assert "    info: 1000 ppm: the limit is near" in lines
    assert any(line.startswith("    notification warning: co2_concentration") for line in lines)
    assert '    returned {"near": true, "alerts": 1}' in lines
    assert lines[-1].endswith(f"isolation level {probe.probe().level} (namespaces, Landlock, seccomp)")


def test_a_shipped_script_with_the_node_of_its_docstring() -> None:
    done = command(Path("/tmp"), "script", "try", str(ROOT / "user_scripts" / "led_control.py"), "--json")
    found = Tried(done)
    assert found.status == 0
    assert [call["log"] for call in found.of("on_update") if call["log"]] == [
        ["output led/status: green", "output relay/fan: off"],
        ["output led/status: yellow"],
        ["output led/status: red", "output relay/fan: on"],
    ]


def test_a_flood_is_cut_and_counted(tmp_path: Path) -> None:
    source = """
        def on_measurement(measurement):
            for number in range(300):
                api.log_message("info", number)
            for number in range(8):
                api.trigger_notification(number)
        """
    found = tried(tmp_path, source, "--events", "1")
    (call,) = found.of("on_measurement")
    assert call["log"][:2] == ["info: 0", "info: 1"]
    assert 100 <= sum(line.startswith("info: ") for line in call["log"]) <= 150
    assert sum(line.startswith("notification ") for line in call["log"]) == 6
    assert call["log"][-1].endswith("were suppressed: too many in a short time)")
