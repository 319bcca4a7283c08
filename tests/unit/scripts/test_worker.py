"""A worker on a socketpair: what it loads, how it calls, and how it tells what goes wrong."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from gateway.actions import records
from gateway.journal.entry import Entry
from gateway.scripts import rates
from gateway.scripts.messages import Checked, Denied, Functions, Log, Notify, Output
from gateway.scripts.wire import frame
from tests.unit.scripts.forked import PATH, Worker

MEASUREMENT = {"concentration_ppm": 612.5, "source_node_id": "co2", "timestamp": 1_700_000_000, "valid": True}
ENTRY = records.measurement(
    Entry(
        id=7,
        kind="measurement",
        subject="co2",
        time_ns=1_700_000_000_000_000_000,
        fields={
            "kind": "measurement",
            "time": "2023-11-14T22:13:20Z",
            "t_s": 5.0,
            "node": "co2",
            "ppm": 612.5,
            "sigma_ppm": 3.0,
            "valid": True,
            "flags": ["tone"],
            "frequency_hz": 2044.0,
            "amplitude": 0.01,
        },
    ),
    "box",
)


def test_module_style() -> None:
    script = """
    seen = []
    def initialize(config):
        seen.append(config["limit"])
    def on_measurement(measurement):
        seen.append(measurement["concentration_ppm"])
        return {"seen": tuple(seen)}
    def on_alert(alert):
        seen.append(alert["severity"])
    def get_status():
        return {"seen": seen}
    def shutdown():
        print("bye")
    """
    with Worker(script, config={"limit": 5}, parameters={"limit": 4}) as worker:
        assert worker.hooks == ["on_measurement", "on_alert", "get_status", "shutdown"]
        assert worker.call("on_measurement", MEASUREMENT) == {"seen": [5, 612.5]}
        assert worker.call("on_alert", {"severity": "warning"}) is None
        assert worker.call("get_status") == {"seen": [5, 612.5, "warning"]}
        assert worker.call("shutdown") is None
        assert worker.printed() == "bye\n"
        assert worker.end() == 0


def test_class_style() -> None:
    script = """
    class Alarm(CustomPythonAction):
        def __init__(self, api):
            super().__init__(api)
            self.limit = self.api.get_node_parameter("limit", 1.0)
        def on_trigger(self, trigger_type, data):
            return trigger_type == data["type"] and data["value"] > self.limit
        def on_update(self, computing_data):
            self.newest = computing_data["nodes"]
        def get_status(self):
            return {"newest": self.newest}
    """
    with Worker(script, class_name="Alarm", config={"limit": 2.0}) as worker:
        assert worker.hooks == ["on_trigger", "on_update", "get_status"]
        assert worker.call("on_trigger", "concentration", {"type": "concentration", "value": 2.5}) is True
        assert worker.call("on_trigger", "concentration", {"type": "concentration", "value": 1.5}) is False
        assert worker.call("on_update", {"nodes": {"co2": 1.0}}) is None
        assert worker.call("get_status") == {"newest": {"co2": 1.0}}


def test_what_a_class_only_inherits_is_not_called() -> None:
    with Worker("class Quiet(CustomPythonAction):\n def on_update(self, data): pass", class_name="Quiet") as worker:
        assert worker.hooks == ["on_update"]


def test_a_class_of_its_own_kind() -> None:
    script = """
    class Plain:
        def __init__(self, api):
            self.ids = api.get_monitored_node_ids()
        def on_update(self, data):
            return self.ids
        def shutdown(self):
            return "gone"
    """
    with Worker(script, class_name="Plain") as worker:
        assert worker.hooks == ["on_update", "shutdown"]
        assert worker.call("on_update", {}) == ["co2"]
        assert worker.call("shutdown") == "gone"


def test_functions_can_have_other_names() -> None:
    script = """
    def prepare(): global ready; ready = True
    def measured(measurement): return ready
    def alarmed(alert): return "alarmed"
    def state(): return {"ready": ready}
    def leave(): return "left"
    """
    names = Functions("prepare", "measured", "alarmed", "state", "leave")
    with Worker(script, functions=names) as worker:
        assert worker.call("on_measurement", MEASUREMENT) is True
        assert worker.call("on_alert", {}) == "alarmed"
        assert worker.call("get_status") == {"ready": True}
        assert worker.call("shutdown") == "left"


@pytest.mark.parametrize(
    ("head", "expected"), [("()", None), ("(config)", {"a": 1}), ("(*given)", {"a": 1}), ("(config=None)", {"a": 1})]
)
def test_initialize_gets_the_configuration_if_it_takes_it(head: str, expected: Any) -> None:
    script = f"""
    taken = None
    def initialize{head}:
        global taken
        taken = next(iter(locals().values()), None)
        taken = taken[0] if type(taken) is tuple else taken
    def on_measurement(measurement): return taken
    """
    with Worker(script, config={"a": 1}) as worker:
        assert worker.call("on_measurement", MEASUREMENT) == expected


def test_every_call_of_the_api() -> None:
    script = """
    def on_measurement(measurement):
        return {
            "ppm": api.get_concentration_data("co2"),
            "frequency": api.get_peak_frequency("co2"),
            "amplitude": api.get_peak_amplitude("co2"),
            "unknown": [api.get_concentration_data(""), api.get_peak_amplitude("other")],
            "statistics": api.get_node_statistics("mail"),
            "config": api.get_node_config(),
            "parameter": [api.get_node_parameter("to", "x"), api.get_node_parameter("absent", 5)],
            "monitored": api.get_monitored_node_ids(),
            "count": api.get_history_count(),
            "recent": api.get_recent_entries(1),
            "same": RustPhotoacousticAPI is GatewayAPI and isinstance(api, GatewayAPI),
        }
    def on_alert(alert):
        api.log_message("warning", "two\\nlines")
        return [
            api.trigger_notification("the filter is full", "critical"),
            api.set_output("relay/fan", True),
            api.set_output("led/status", 1),
            api.set_output("relay/other", True),
        ]
    """
    fields = {"config": {"to": "me"}, "parameters": {"threshold": 9.0}, "outputs": ["relay/fan", "led/status"]}
    with Worker(script, **fields) as worker:
        worker.news({**ENTRY, "concentration_ppm": 1.0}, ENTRY, mail={"calls": 3})
        assert worker.call("on_measurement", MEASUREMENT) == {
            "ppm": 612.5,
            "frequency": 2044.0,
            "amplitude": 0.01,
            "unknown": [None, None],
            "statistics": {"calls": 3},
            "config": {"to": "me", "threshold": 9.0},
            "parameter": ["me", 5],
            "monitored": ["co2"],
            "count": 2,
            "recent": [ENTRY],
            "same": True,
        }
        assert worker.call("on_alert", {}) == [True, True, True, False]
        assert worker.told == [
            Log("warning", "two\\nlines"),
            Notify("the filter is full", "critical"),
            Output("relay/fan", True),
            Output("led/status", 1.0),
        ]


def test_the_script_is_told_when_it_notifies_too_often() -> None:
    with Worker("def on_alert(alert): return [api.trigger_notification('x') for _ in range(8)]") as worker:
        said = worker.call("on_alert", {})
        assert said == [True] * rates.NOTIFICATIONS.burst + [False] * (8 - rates.NOTIFICATIONS.burst)
        assert len(worker.told) == rates.NOTIFICATIONS.burst


def test_history_is_bounded_as_configured() -> None:
    with Worker("def on_alert(alert): return api.get_history_count()", history_capacity=3) as worker:
        worker.news(ENTRY, ENTRY)
        worker.news(ENTRY, ENTRY)
        assert worker.call("on_alert", {}) == 3


@pytest.mark.parametrize(
    ("returned", "status"),
    [('\'{"sent": 3, "last": null}\'', {"sent": 3, "last": None}), ("{'sent': 3}", {"sent": 3}), ("None", {})],
)
def test_a_status_is_a_dict_or_its_json(returned: str, status: dict[str, Any]) -> None:
    with Worker(f"def get_status(): return {returned}") as worker:
        assert worker.call("get_status") == status


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("'sent: 3'", "no JSON (Expecting value: line 1 column 1 (char 0)): return a dict"),
        ("'[1, 2]'", "get_status returned JSON of a list: return a dict, or the JSON of one"),
        ("[1, 2]", "get_status returned list: return a dict, or the JSON of one"),
        ("'{\"sent\": NaN}'", "get_status returned nan at $.sent: give None where there is no number"),
        ("'[' * 5000", "maximum recursion depth exceeded"),
        ("'x' * 70000", "get_status returned str: return a dict, or the JSON of one"),
    ],
)
def test_a_status_that_is_none(returned: str, message: str) -> None:
    with Worker(f"def on_alert(alert): pass\n\ndef get_status(): return {returned}") as worker:
        record = worker.fault("get_status")
        assert message in record.message
        assert (record.line, record.file) == (3, PATH)


def test_hooks_may_be_async_and_share_one_event_loop() -> None:
    script = """
    import asyncio
    async def initialize():
        global lock
        lock = asyncio.Lock()
    async def on_measurement(measurement):
        async with lock:
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
        return id(asyncio.get_running_loop())
    async def on_alert(alert):
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
    async def fails():
        raise ValueError("in a task")
    """
    with Worker(script, allowed_imports=["asyncio"]) as worker:
        assert worker.call("on_measurement", MEASUREMENT) == worker.call("on_measurement", MEASUREMENT)
        record = worker.fault("on_alert", {})
        assert (record.type, record.message, record.line) == ("ValueError", "in a task", 14)
        assert worker.call("on_measurement", MEASUREMENT)


def test_modern_python_works() -> None:
    script = """
    from __future__ import annotations
    import enum
    from dataclasses import dataclass, field, asdict
    from typing import TYPE_CHECKING, Any
    from gateway.scripts.api import CustomPythonAction, GatewayAPI
    if TYPE_CHECKING:
        import pandas

    class Step(enum.Enum):
        CALM = "calm"

    @dataclass(slots=True)
    class State:
        step: str = Step.CALM.value
        seen: list[float] = field(default_factory=list)

    class Modern(CustomPythonAction):
        def __init__(self, api: GatewayAPI) -> None:
            super().__init__(api)
            self.state: State = State()

        def on_update(self, computing_data: dict[str, Any]) -> dict[str, Any]:
            match computing_data:
                case {"concentration_ppm": float(ppm)} if (rounded := round(ppm)) > 600:
                    self.state.seen += [ppm]
                    return asdict(self.state) | {"text": f"{rounded=}", "name": __name__, "file": __file__}
            return {}
    """
    with Worker(script, class_name="Modern") as worker:
        assert worker.call("on_update", MEASUREMENT) == {
            "step": "calm",
            "seen": [612.5],
            "text": "rounded=612",
            "name": "script_fan_control",
            "file": PATH,
        }


def test_a_script_has_globals_of_its_own() -> None:
    script = "count = 0\ndef on_alert(alert):\n global count\n count += 1\n return count"
    with Worker(script) as one, Worker(script) as other:
        assert [one.call("on_alert", {}) for _ in range(3)] == [1, 2, 3]
        assert other.call("on_alert", {}) == 1


def test_a_script_called_like_a_library_does_not_hide_it() -> None:
    script = "import json\ndef on_alert(alert): return json.dumps(alert)"
    with Worker(script, path="/home/box/json.py", allowed_imports=["json"]) as worker:
        assert worker.call("on_alert", {}) == "{}"


def test_what_a_script_corrupts_is_its_own_copy() -> None:
    script = """
    def on_measurement(measurement):
        measurement.clear()
        api.get_recent_entries(1)[0].clear()
        return api.get_recent_entries(1)
    """
    with Worker(script) as worker:
        worker.news(ENTRY)
        assert worker.call("on_measurement", dict(ENTRY)) == [ENTRY]


@pytest.mark.parametrize(
    ("style", "call", "given"),
    [("module", "on_alert", [{}]), ("class", "on_trigger", ["concentration", {}])],
)
def test_an_exception_is_told_with_the_customers_lines(style: str, call: str, given: list[Any]) -> None:
    module = """
    def on_alert(alert):
        return first([3])

    def first(rows):
        return max(rows, key=lambda row: row["value"])
    """
    kind = """
    class Fan:
        def on_trigger(self, trigger_type, data): return first([3])

    def first(rows):
        return max(rows, key=lambda row: row["value"])
    """
    kind = kind.replace("class Fan:", "class Fan(CustomPythonAction):")
    options: dict[str, Any] = {} if style == "module" else {"class_name": "Fan"}
    with Worker(module if style == "module" else kind, **options) as worker:
        record = worker.fault(call, *given)
    assert (record.type, record.message) == ("TypeError", "'int' object is not subscriptable")
    assert (record.line, record.file) == (6, PATH)
    assert [(line, name) for line, name, _ in record.frames] == [(3, call), (6, "first"), (6, "<lambda>")]
    assert record.frames[1][2] == 'return max(rows, key=lambda row: row["value"])'


def test_library_frames_are_cut_off() -> None:
    script = "import json\ndef on_alert(alert):\n    json.loads('{')"
    with Worker(script, allowed_imports=["json"]) as worker:
        record = worker.fault("on_alert", {})
    assert record.type == "json.decoder.JSONDecodeError"
    assert record.frames == [(3, "on_alert", "json.loads('{')")]


def test_a_customers_own_traceback_has_its_lines() -> None:
    script = """
    import traceback
    def on_alert(alert):
        try:
            1 / 0
        except ZeroDivisionError:
            return traceback.format_exc()
    """
    with Worker(script, allowed_imports=["traceback"]) as worker:
        assert "    1 / 0\n" in worker.call("on_alert", {})


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        ("SystemExit('done')", "SystemExit", "done"),
        ("KeyboardInterrupt()", "KeyboardInterrupt", ""),
        ("GeneratorExit()", "GeneratorExit", ""),
        ("MemoryError()", "MemoryError", ""),
        ("StopIteration()", "StopIteration", ""),
        ("BrokenPipeError('a pipe')", "BrokenPipeError", "a pipe"),
        ("Rude()", "Rude", "(its text cannot be shown: __str__ raised SystemExit)"),
        ("Odd()", "Odd", "(its text cannot be shown: __str__ raised TypeError)"),
        ("Deep()", "Deep", "(its text cannot be shown: __str__ raised RecursionError)"),
        (r"ValueError('a\nb\x1b[2J')", "ValueError", r"a\nb\x1b[2J"),
        ("ValueError('x' * 10**7)", "ValueError", "x" * 2045 + "..."),
        ("ValueError('\\ud800')", "ValueError", "\\ud800"),
    ],
)
def test_whatever_is_raised_is_a_fault_and_the_worker_goes_on(raised: str, kind: str, message: str) -> None:
    script = f"""
    class Rude(Exception):
        def __str__(self): raise SystemExit
    class Odd(Exception):
        def __str__(self): return 5
    class Deep(Exception):
        def __str__(self): return str(self)
    def on_alert(alert): raise {raised}
    def on_measurement(measurement): return "still here"
    """
    with Worker(script) as worker:
        record = worker.fault("on_alert", {})
        assert (record.type, record.message, record.line) == (kind, message, 8)
        assert worker.call("on_measurement", MEASUREMENT) == "still here"


def test_a_class_that_lies_about_itself() -> None:
    script = """
    class Meta(type):
        __name__ = property(lambda cls: 1 / 0)
    class Liar(Exception, metaclass=Meta):
        __class__ = property(lambda self: 1 / 0)
        __traceback__ = property(lambda self: 1 / 0)
    def on_alert(alert): raise Liar("no")
    """
    with Worker(script) as worker:
        record = worker.fault("on_alert", {})
        assert (record.type, record.message, record.line) == ("Liar", "no", 7)
        assert worker.fault("on_alert", {}) == record


def test_endless_recursion_is_a_fault() -> None:
    script = """
    import sys
    def on_alert(alert):
        return on_alert(alert)
    def on_measurement(measurement):
        sys.setrecursionlimit(60)
        return deeper(1)
    def deeper(level):
        return deeper(level + 1)
    def get_status():
        return {"limit": sys.getrecursionlimit()}
    """
    with Worker(script, allowed_imports=["sys"]) as worker:
        record = worker.fault("on_alert", {})
        assert record.type == "RecursionError"
        assert "without end" in record.hint
        assert (len(record.frames), record.line) == (20, 4)
        assert worker.fault("on_measurement", MEASUREMENT).type == "RecursionError"
        assert worker.call("get_status") == {"limit": 1000}


def test_memory_that_runs_out_is_a_fault() -> None:
    script = """
    import resource
    kept = []
    def initialize():
        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + (32 << 20),) * 2)
    def on_alert(alert):
        while True:
            kept.append("x" * 50_000)
    def on_measurement(measurement):
        kept.clear()
        return "still here"
    """
    with Worker(script, allowed_imports=["resource"], checks=False) as worker:
        record = worker.fault("on_alert", {})
        assert (record.type, record.line) == ("MemoryError", 10)
        assert "max_memory_mb" in record.hint
        assert worker.call("on_measurement", MEASUREMENT) == "still here"


@pytest.mark.parametrize("setting", ["settrace", "setprofile"])
def test_a_tracer_does_not_outlive_its_call(setting: str) -> None:
    script = f"""
    import sys
    def tracer(frame, event, argument):
        raise ValueError("traced")
    def on_alert(alert):
        sys.{setting}(tracer)
        return "set"
    def on_measurement(measurement):
        return sys.gettrace() is sys.getprofile() is None
    """
    with Worker(script, allowed_imports=["sys"]) as worker:
        worker.answer("on_alert", {})
        assert worker.call("on_measurement", MEASUREMENT) is True


def test_what_dies_with_a_call_dies_before_its_answer() -> None:
    script = """
    class Last:
        def __del__(self): print("gone")
    def on_alert(alert):
        alert["last"] = Last()
        raise ValueError(Last())
    """
    with Worker(script) as worker:
        worker.fault("on_alert", {})
        assert worker.printed() == "gone\ngone\n"


def test_what_is_printed_comes_out_with_the_call() -> None:
    with Worker("def on_alert(alert): print('no end of line', end='')") as worker:
        worker.call("on_alert", {})
        assert worker.printed() == "no end of line"


def test_a_script_that_closes_its_output_is_called_on() -> None:
    script = "import sys\ndef on_alert(alert):\n sys.stdout.close()\n sys.stderr = None\n return 5"
    with Worker(script, allowed_imports=["sys"]) as worker:
        assert [worker.call("on_alert", {}) for _ in range(2)] == [5, 5]


def test_other_threads_may_tell() -> None:
    script = """
    import threading
    def on_alert(alert):
        threads = [threading.Thread(target=speak, args=(name,)) for name in "abcd"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    def speak(name):
        for number in range(50): api.log_message("info", name * 1000)
    """
    with Worker(script, allowed_imports=["threading"]) as worker:
        worker.call("on_alert", {})
        texts = [said.text for said in worker.told if isinstance(said, Log)]
        assert sorted(texts) == [name * 1000 for name in "abcd" for _ in range(50)]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("{1, 2}", "on_alert returned set at $: convert it with sorted()"),
        ("{'a': [1, float('inf')]}", "on_alert returned inf at $.a[1]: give None where there is no number"),
        ("'x' * 10**8", "on_alert returned more than 65536 characters: make it smaller"),
        ("2**64", "on_alert returned an int of 65 bits at $: make it a float or a str"),
        (
            "[type('Hanging', (), {})()]",
            "on_alert returned Hanging at $[0]: use None, bool, int, float, str, list and dict",
        ),
    ],
)
def test_a_result_that_is_not_plain(returned: str, message: str) -> None:
    with Worker(f"import math\ndef on_alert(alert): return {returned}", allowed_imports=["math"]) as worker:
        record = worker.fault("on_alert", {})
        assert (record.type, record.message, record.line) == ("ValueError", message, 2)


def test_the_functions_own_name_is_told() -> None:
    with Worker("def alarmed(alert): return {1}", functions=Functions(on_alert="alarmed")) as worker:
        assert worker.fault("on_alert", {}).message.startswith("alarmed returned set")


def test_all_findings_are_told_before_anything_runs() -> None:
    script = "print('ran')\nimport os\nimport socket\ndef on_alert(): input()"
    with Worker(script) as worker:
        assert worker.printed() == ""
        record = worker.failure
        told = [finding for said in worker.told if isinstance(said, Checked) for finding in said.findings]
    assert {(finding.line, finding.severity) for finding in told} == {
        *((2, "error"), (3, "error"), (3, "warning"), (4, "error"), (4, "warning")),
    }
    assert (record.type, record.line, record.file) == ("check", 2, PATH)
    assert record.message.startswith("import of 'os' is not allowed: add it to allowed_imports (line 2); import of 's")
    assert "on_alert takes no parameters" in record.message


def test_many_findings_travel() -> None:
    source = "\n".join(f"import missing_{number}" for number in range(45)) + "\ndef on_alert(alert): pass"
    with Worker(source) as worker:
        assert [len(said.findings) for said in worker.told if isinstance(said, Checked)] == [20, 20, 5]
        assert worker.failure.message.endswith("...")


def test_a_warning_does_not_keep_a_script_from_being_loaded() -> None:
    with Worker("def on_alert(alert): return eval('5')") as worker:
        assert [type(said) for said in worker.told] == [Checked]
        assert worker.call("on_alert", {}) == 5


@pytest.mark.parametrize(
    ("script", "kind", "line"),
    [
        ("x = 1\nraise KeyError('x')\ndef on_alert(alert): pass", "KeyError", 2),
        ("def on_alert(alert): pass\ndef initialize():\n    raise SystemExit(3)", "SystemExit", 3),
        ("async def initialize():\n    raise OSError('no')\ndef on_alert(alert): pass", "OSError", 2),
    ],
)
def test_a_script_that_fails_to_load(script: str, kind: str, line: int) -> None:
    with Worker(f"print('loading', end=''); {script}" if script[0] == "x" else script) as worker:
        assert (worker.failure.type, worker.failure.line) == (kind, line)
        assert worker.printed() == ("loading" if script[0] == "x" else "")


def test_a_class_that_fails_to_load() -> None:
    script = """
    class Fan(CustomPythonAction):
        def __init__(self, api):
            self.server = api.get_node_config()["server"]
        def on_update(self, data): pass
    """
    with Worker(script, class_name="Fan") as worker:
        record = worker.failure
    assert (record.type, record.message, record.line) == ("KeyError", "'server'", 4)
    assert record.frames == [(4, "__init__", 'self.server = api.get_node_config()["server"]')]


@pytest.mark.parametrize(
    ("script", "kind", "line"),
    [
        ("def on_alert(alert:\n  pass", "SyntaxError", 1),
        ("\n\nx = '", "SyntaxError", 3),
        ("a\0b", "ValueError", 0),
        ("(" * 5000, "MemoryError", 0),
        ("class Other: pass", "LookupError", 0),
        ("Fan = 5", "LookupError", 0),
    ],
)
def test_without_checks_the_same_faults_end_the_loading(script: str, kind: str, line: int) -> None:
    with Worker(script, class_name="Fan", checks=False) as worker:
        record = worker.failure
        assert record.type in (kind, "SyntaxError")  # 3.12 makes syntax errors of more of them
        assert record.line == line or record.type != kind


def test_without_checks_anything_is_imported() -> None:
    with Worker("import os\ndef on_alert(alert): return os.getpid() > 0", checks=False) as worker:
        assert worker.told == []
        assert worker.call("on_alert", {}) is True


def test_exit_handlers_and_threads_do_not_hold_up_the_end() -> None:
    script = """
    import atexit, threading, time
    atexit.register(time.sleep, 3600)
    threading.Thread(target=time.sleep, args=(3600,)).start()
    def on_alert(alert): pass
    """
    with Worker(script, allowed_imports=["atexit", "threading", "time"]) as worker:
        assert worker.hooks
        assert worker.end() == 0


def test_a_script_for_the_rust_original_in_class_style() -> None:
    script = '''
    import smtplib
    from datetime import datetime, timedelta
    from email.mime.text import MIMEText
    from typing import Any, Dict


    class EmailAlertAction(CustomPythonAction):
        """Sends an e-mail when a threshold is exceeded."""

        def __init__(self, api: RustPhotoacousticAPI):
            super().__init__(api)
            self.smtp_server = self.api.get_node_parameter("smtp_server", "localhost")
            self.smtp_port = int(self.api.get_node_parameter("smtp_port", 587))
            self.recipients = self.api.get_node_parameter("recipients", [])
            self.threshold = self.api.get_node_parameter("concentration_threshold", 1000.0)
            self.last_alert = None
            self.cooldown = timedelta(minutes=self.api.get_node_parameter("cooldown_minutes", 5))
            self.alert_count = 0

        def on_trigger(self, trigger_type: str, data: Dict[str, Any]) -> bool:
            if trigger_type != "concentration" or data["value"] < self.threshold:
                return False
            now = datetime.now()
            if self.last_alert and now - self.last_alert < self.cooldown:
                self.api.log_message("info", "cooldown active")
                return False
            try:
                self._send_email(data)
            except Exception as e:
                self.api.log_message("error", f"Failed to send email: {e}")
                return False
            self.last_alert = now
            self.alert_count += 1
            return True

        def on_update(self, computing_data: Dict[str, Any]) -> None:
            if self.api.get_history_count() > 0:
                self.latest = self.api.get_recent_entries(1)[0]

        def get_status(self) -> Dict[str, Any]:
            last = self.last_alert.isoformat() if self.last_alert else None
            return {"alerts": self.alert_count, "last": last, "latest": self.latest["concentration_ppm"]}

        def _send_email(self, data):
            msg = MIMEText(f"{data['value']:.1f} ppm at {data['source_node_id']}")
            msg["Subject"] = "Alert"
            msg["To"] = ", ".join(self.recipients)
            with smtplib.SMTP(self.smtp_server, self.smtp_port, timeout=10) as server:
                server.send_message(msg, "box@example.org")
    '''
    config = {"smtp_server": "mail.example.org", "recipients": ["me@example.org"]}
    parameters = {"concentration_threshold": 500.0}
    imports = ["smtplib", "email", "datetime"]
    data = {"type": "concentration", "value": 612.5, "source_node_id": "co2"}
    with Worker(
        script, class_name="EmailAlertAction", config=config, parameters=parameters, allowed_imports=imports
    ) as worker:
        worker.news(ENTRY)
        worker.broker.sendall(frame(Denied(1, errno.EACCES, "mail.example.org:587 is not listed under network")))
        assert worker.call("on_update", {**MEASUREMENT, "nodes": {}}) is None
        assert worker.call("on_trigger", "concentration", {**data, "value": 499.0}) is False
        assert worker.call("on_trigger", "concentration", data) is False
        assert worker.call("get_status") == {"alerts": 0, "last": None, "latest": 612.5}
        (said,) = (said for said in worker.told if isinstance(said, Log))
        text = "Failed to send email: [Errno 13] mail.example.org:587 is not listed under network"
        assert (said.level, said.text) == ("error", text)


def test_a_script_for_the_rust_original_in_module_style() -> None:
    script = '''
    import json
    import time
    from datetime import datetime

    measurement_count = 0
    last_measurement = None
    alerts = []


    def initialize(config):
        """Called once when the driver starts."""
        print(f"initialised with {json.dumps(config)}")
        return True


    def on_measurement(measurement_data):
        global measurement_count, last_measurement
        measurement_count += 1
        last_measurement = measurement_data
        ppm = measurement_data["concentration_ppm"]
        print(f"[{datetime.fromtimestamp(measurement_data['timestamp']).year}] {ppm:.2f} ppm")
        return {"status": "success", "processed_at": time.time() > 0}


    def on_alert(alert_data):
        alerts.append(alert_data)
        return {"status": "success", "alert_type": alert_data["alert_type"]}


    def get_status():
        return json.dumps({
            "status": "running",
            "measurement_count": measurement_count,
            "last": last_measurement and last_measurement["source_node_id"],
            "alerts": len(alerts),
        })


    def shutdown():
        print("shutdown after", measurement_count)
    '''
    with Worker(script, allowed_imports=["json", "time", "datetime"]) as worker:
        assert worker.call("on_measurement", MEASUREMENT) == {"status": "success", "processed_at": True}
        alert = {"alert_type": "concentration", "severity": "critical", "message": "high", "data": {}, "timestamp": 1}
        assert worker.call("on_alert", alert) == {"status": "success", "alert_type": "concentration"}
        status = {"status": "running", "measurement_count": 1, "last": "co2", "alerts": 1}
        assert worker.call("get_status") == status
        worker.call("shutdown")
        printed = worker.printed()
    assert printed == "initialised with {}\n[2023] 612.50 ppm\nshutdown after 1\n"


def test_the_channel_is_not_among_the_scripts_names() -> None:
    script = """
    def on_alert(alert):
        return sorted(name for name in globals() if not name.startswith("__"))
    """
    with Worker(script) as worker:
        assert worker.call("on_alert", {}) == [
            "CustomPythonAction",
            "GatewayAPI",
            "RustPhotoacousticAPI",
            "api",
            "on_alert",
        ]


def test_a_gateway_that_is_gone_ends_the_worker() -> None:
    with Worker("def on_alert(alert): pass") as worker:
        worker._socket.shutdown(socket.SHUT_RDWR)
        assert worker._reap() == 0
