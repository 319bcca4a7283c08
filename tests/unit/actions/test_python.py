"""Settings of scripts, and what their functions are given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.actions.driver import Refused, Surroundings, Undelivered
from gateway.actions.python import Python, PythonActionSettings, PythonSettings, computing, missing, read, trigger
from gateway.inbox import CommandInbox
from gateway.journal.entry import Entry
from gateway.scripts.host import Scripts
from gateway.scripts.messages import Functions
from gateway.scripts.work import Failure, Waiting
from tests.support.clock import FakeClock

SECOND = 1_000_000_000
UTC_S = 1_790_000_000


def measured(number: int, ppm: float | None = 400.0, node: str = "co2", valid: bool = True) -> Entry:
    fields = {"kind": "measurement", "node": node, "ppm": ppm, "sigma_ppm": 0.5, "valid": valid, "flags": []}
    return Entry(
        number, (UTC_S + number) * SECOND, "measurement", node, {**fields, "frequency_hz": 2012.5, "amplitude": 0.1}
    )


def alerted(number: int, state: str = "raised") -> Entry:
    fields = {"kind": "alert", "rule": "mail/concentration/co2", "type": "concentration", "severity": "warning"}
    fields |= {"state": state, "value": 1001.0, "threshold": 1000.0, "source": "co2"}
    return Entry(number, (UTC_S + number) * SECOND, "alert", "co2", fields)


class Script:
    """In the place of a Script: what was called, and what becomes of the next calls."""

    def __init__(self) -> None:
        self.called: list[tuple[str, list[Any]]] = []
        self.faults: list[Exception | None] = []
        self.awoken = 0

    async def call(self, hook: str, arguments: list[Any]) -> Any:
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        self.called.append((hook, arguments))

    async def awake(self) -> None:
        self.awoken += 1


def driver(style: str = "module") -> tuple[Python, Script]:
    options = {"script_path": "mail.py"} if style == "module" else {"python_script_path": "mail.py"}
    watching = {"monitored_nodes": ("co2", "peak")}
    settings: Any = (
        PythonSettings.model_validate(options)
        if style == "module"
        else PythonActionSettings.model_validate({**options, **watching, "python_class_name": "Mail"})
    )
    clock = FakeClock()
    around = Surroundings("mail", "lab", clock, CommandInbox(), parameters=watching, scripts=Scripts(clock))
    made, script = Python(settings, around), Script()
    made._script = script  # type: ignore[assignment]
    return made, script


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


def test_functions_are_called_for_each_entry_in_order() -> None:
    async def main() -> None:
        made, script = driver()
        await made.deliver([measured(1), alerted(2), measured(3, node="peak"), alerted(4, "cleared")])
        assert [hook for hook, _ in script.called] == ["on_measurement", "on_alert", "on_measurement", "on_alert"]
        assert script.called[0][1][0]["concentration_ppm"] == 400.0
        assert script.called[3][1][0]["data"]["state"] == "cleared"

    run(main)


def test_a_class_is_told_of_alerts_first_and_once_of_what_is_new() -> None:
    async def main() -> None:
        made, script = driver("class")
        await made.deliver([measured(1), measured(2, 500.0), alerted(3), alerted(4, "cleared")])
        assert [hook for hook, _ in script.called] == ["on_trigger", "on_update"]
        assert script.called[0][1] == ["concentration", trigger(alerted(3))]
        assert script.called[1][1][0]["concentration_ppm"] == 500.0
        await made.deliver([alerted(5)])
        assert [hook for hook, _ in script.called[2:]] == ["on_trigger"]

    run(main)


def test_a_call_that_fails_is_refused_and_the_others_are_made() -> None:
    async def main() -> None:
        made, script = driver()
        script.faults = [Failure("no gas"), None, Failure("again")]
        with pytest.raises(Refused, match=r"no gas \(and 1 more calls failed\)"):
            await made.deliver([measured(1), measured(2), measured(3)])
        assert len(script.called) == 1

    run(main)


def test_a_paused_script_gets_the_rest_later_and_nothing_twice() -> None:
    async def main() -> None:
        made, script = driver()
        script.faults = [None, Waiting("paused", 5.0)]
        batch = [alerted(1), alerted(2)]
        with pytest.raises(Undelivered, match="paused"):
            await made.deliver(batch)
        assert script.awoken == 1
        await made.deliver([*batch, alerted(3)])
        times = [arguments[0]["timestamp"] - UTC_S for _, arguments in script.called]
        assert times == [1, 2, 3]

    run(main)


def test_computing_data_has_what_is_valid_and_all_nodes() -> None:
    peak = Entry(
        5, (UTC_S + 5) * SECOND, "peak", "peak",
        {"kind": "peak", "node": "peak", "frequency_hz": 2000.0, "amplitude": 0.2, "valid": True, "flags": []},
    )  # fmt: skip
    found = computing({"peak": peak, "co2": measured(4)}, "lab")
    assert (found["concentration_ppm"], found["uncertainty_ppm"], found["peak_frequency"]) == (400.0, 0.5, 2012.5)
    assert found["timestamp"] == UTC_S + 5
    assert set(found["nodes"]) == {"peak", "co2"}
    invalid = computing({"peak": peak, "co2": measured(4, valid=False)}, "lab")
    assert (invalid["concentration_ppm"], invalid["peak_frequency"]) == (None, 2000.0)
    assert computing({}, "lab")["concentration_ppm"] is None


def test_what_a_trigger_is_told() -> None:
    found = trigger(alerted(7))
    assert found.pop("message").startswith("co2 is 1001 ppm")
    assert found == {
        "type": "concentration", "value": 1001.0, "threshold": 1000.0, "source_node_id": "co2",
        "timestamp": UTC_S + 7, "severity": "warning",
    }  # fmt: skip


@pytest.mark.parametrize(("options", "seconds"), [({}, 5.0), ({"timeout": 0.5}, 0.5), ({"timeout_ms": 700}, 0.7)])
def test_timeouts(options: dict[str, Any], seconds: float) -> None:
    settings = PythonSettings.model_validate({"script_path": "mail.py", **options})
    assert settings.work("mail", {}).timeout_s == seconds


@pytest.mark.parametrize(
    "options", [{"timeout": 1, "timeout_ms": 1000}, {"timeout": 31}, {"python_config": {"a": {1, 2}}}]
)
def test_settings_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PythonSettings.model_validate({"script_path": "mail.py", **options})


def test_all_options_reach_the_script() -> None:
    settings = PythonSettings.model_validate(
        {
            "script_path": "mail.py", "init_function": "begin", "update_function": "measured",
            "alert_function": "alarm",
            "status_function": "status", "shutdown_function": "end", "buffer_capacity": 7,
            "python_config": {"to": "me"},
            "allowed_imports": ["json"], "network": ["example.org:25"], "outputs": ["relay/fan"], "auto_reload": False,
            "file_access": ["/var/lib/x:rw"], "max_memory_mb": 32, "max_disk_mb": 2,
        }
    )  # fmt: skip
    work = settings.work("mail", {"monitored_nodes": ["co2"]})
    assert work.functions == Functions("begin", "measured", "alarm", "status", "end")
    assert (work.history_capacity, work.config, work.allowed_imports) == (7, {"to": "me"}, ("json",))
    assert (str(work.network[0]), str(work.files[0]), work.outputs) == (
        "example.org:25", "/var/lib/x:rw", ("relay/fan",),
    )  # fmt: skip
    assert (work.hot_reload, work.memory_bytes, work.disk_bytes) == (False, 32 << 20, 2 << 20)
    assert work.monitored == ("co2",)


def test_check_reads_the_script(tmp_path: Path) -> None:
    script = tmp_path / "mail.py"
    settings = PythonActionSettings.model_validate(
        {"python_script_path": script, "python_class_name": "Mail", "monitored_nodes": ("co2",)}
    )
    assert [option for option, _, _ in missing(settings, {})] == ["python_script_path"]
    assert list(read(settings)) == []
    script.write_text("import os\n\nclass Mail(CustomPythonAction):\n    def on_update(self, data):\n        pass\n")
    (fault,) = read(settings)
    assert (fault.file, fault.line, fault.loc) == (str(script), 1, ("python_script_path",))
    assert "'os'" in fault.message
