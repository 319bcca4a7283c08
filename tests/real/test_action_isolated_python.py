"""The driver isolated_python with real interpreters: what a script is given, and its limits, each broken."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.actions.driver import Refused, Surroundings, Undelivered
from gateway.actions.isolated_python import IsolatedPython, IsolatedPythonSettings
from gateway.clock import RealClock
from gateway.errors import LinkError
from gateway.inbox import CommandInbox
from gateway.journal.entry import Entry
from tests.real.gateway import eventually
from tests.real.mosquitto import until

TIME_NS = 1_790_000_000_000_000_000
TIMES = {"time": "2026-09-21T14:13:20.000Z", "t_s": 7.5}


def measured(number: int = 1) -> Entry:
    fields = {
        "kind": "measurement", **TIMES, "node": "co2", "ppm": 400.0 + number, "sigma_ppm": 0.42, "valid": True,
        "flags": [], "source": "lock", "frequency_hz": 2012.5, "amplitude": 0.0123,
    }  # fmt: skip
    return Entry(number, TIME_NS, "measurement", "co2", fields)


def alerted(number: int = 2) -> Entry:
    fields = {
        "kind": "alert", **TIMES, "rule": "mail/concentration/co2", "type": "concentration", "severity": "warning",
        "state": "raised", "value": 1010.2, "threshold": 1000.0, "source": "co2",
    }  # fmt: skip
    return Entry(number, TIME_NS, "alert", "co2", fields)


def driver(directory: Path, source: str, **options: Any) -> IsolatedPython:
    script = directory / "mail.py"
    script.write_text(source, "utf-8")
    settings = IsolatedPythonSettings(script_path=script, **{"timeout_ms": 30_000, **options})
    return IsolatedPython(settings, Surroundings("mail", "lab", RealClock(), CommandInbox()))


def shown(made: IsolatedPython, *batch: Entry) -> Any:
    """The result after that batch."""

    async def main() -> Any:
        await made.start()
        await made.deliver(batch)
        await made.close()
        return made.status()["result"]

    return asyncio.run(main())


def refusal(made: IsolatedPython, *batch: Entry) -> str:
    """Why that batch was refused."""
    with pytest.raises(Refused) as refused:
        shown(made, *batch)
    return refused.value.reason


def is_gone(pid: int) -> bool:
    """Whether nobody is left in the group of that number."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_script_is_called_as_script_function_json_once_an_entry_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    source = f"import sys; open({str(log)!r}, 'w').write(repr(sys.argv) + '\\n')"
    shown(driver(tmp_path, source), measured(1), alerted(2), Entry(3, TIME_NS, "command", "laser", {}), measured(4))
    calls = [ast.literal_eval(line) for line in os.read(reader, 65536).decode().splitlines()]
    os.close(reader)
    assert [call[:2] for call in calls] == [
        [str(tmp_path / "mail.py"), "on_measurement"],
        [str(tmp_path / "mail.py"), "on_alert"],
        [str(tmp_path / "mail.py"), "on_measurement"],
    ]
    given = [json.loads(call[2]) for call in calls]
    assert [given[0]["concentration_ppm"], given[2]["concentration_ppm"]] == [401.0, 404.0]
    assert given[0]["metadata"]["key"] == "lab-1"
    assert given[1]["message"] == "co2 is 1010.2 ppm, above 1000 ppm"


def test_functions_can_be_renamed(tmp_path: Path) -> None:
    source = 'import sys; print(\'{"called": "%s"}\' % sys.argv[1])'
    made = driver(tmp_path, source, update_function="update", alert_function="warn")
    assert shown(made, measured()) == {"called": "update"}
    assert shown(made, alerted()) == {"called": "warn"}
    assert made.status() == {"calls": 2, "failed_calls": 0, "result": {"called": "warn"}}


SURROUNDINGS = """
import json, os, resource, sys
limits = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in ("CORE", "NPROC", "FSIZE", "CPU")}
print(json.dumps({
    "environ": dict(os.environ), "files": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1],
    "stdin": os.readlink("/proc/self/fd/0"), "cwd": os.getcwd(), "nice": os.nice(0), "pid": os.getpid(),
    "group": os.getpgid(0), "session": os.getsid(0), "isolated": sys.flags.isolated, "limits": limits,
    "main": __name__, "file": __file__, "pycache": sys.dont_write_bytecode,
}))
"""


def test_a_call_has_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "of the gateway")
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    found = shown(driver(tmp_path, SURROUNDINGS, timeout_ms=29_500), measured())
    os.close(inherited)
    assert found["environ"] == {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
    assert found["files"] == [0, 1, 2]
    assert (found["stdin"], found["cwd"]) == ("/dev/null", "/")
    assert found["nice"] == min(19, os.nice(0) + 10)
    assert found["pid"] == found["group"] == found["session"] != os.getpid()
    assert found["isolated"] == 1
    assert found["pycache"]
    assert found["limits"] == {"CORE": [0, 0], "NPROC": [0, 0], "FSIZE": [0, 0], "CPU": [31, 31]}
    assert (found["main"], found["file"]) == ("__main__", str(tmp_path / "mail.py"))


def test_a_fault_names_the_customers_line_and_does_not_stop_the_others(tmp_path: Path) -> None:
    source = "import json, sys\n\ndef on_alert(alert):\n    json.loads(alert + '}')\n\nif sys.argv[1] == 'on_alert':\n"
    made = driver(tmp_path, source + "    on_alert(sys.argv[2])\nprint(sys.argv[2])\n")
    reason = refusal(made, alerted(1), alerted(2), measured(3))
    assert reason.startswith("mail.py, line 4: json.decoder.JSONDecodeError: Extra data")
    assert reason.endswith("(and 1 more of 3 calls failed)")
    status = made.status()
    assert (status["calls"], status["failed_calls"]) == (3, 2)
    assert status["result"]["metadata"]["key"] == "lab-3"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def on_alert(:\n", "mail.py, line 1: SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "mail.py ended with status 3"),
        ("import sys; sys.exit('no server')", "mail.py: no server"),
        ("import os; os.kill(os.getpid(), 9)", "mail.py was killed by signal 9"),
        ("import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
         "mail.py, line 3: ZeroDivisionError: division by zero"),
        ("a = bytearray(200_000_000)", "mail.py, line 1: MemoryError (it may take 64 MB: max_memory_mb)"),
        ("import mmap\nmmap.mmap(-1, 200_000_000)", "mail.py, line 2: OSError: [Errno 12] Cannot allocate memory"),
        ("open('DIRECTORY/never', 'wb', 0).write(b'x')", "mail.py, line 1: OSError: [Errno 27] File too large"),
        ("import sys\nwhile True: print('x' * 1000)", "mail.py was stopped because it wrote more than 65536 bytes"),
        ("import sys\nwhile True: print('x' * 1000, file=sys.stderr)",
         "mail.py was stopped because it wrote more than 16384 bytes"),
        ("files = [open('/dev/null') for _ in range(100)]",
         "mail.py, line 1: OSError: [Errno 24] Too many open files: '/dev/null'"),
    ],
)  # fmt: skip
def test_each_way_to_fail_is_told(source: str, reason: str, tmp_path: Path) -> None:
    source = source.replace("DIRECTORY", str(tmp_path))
    assert refusal(driver(tmp_path, source, max_memory_mb=64), measured()) == reason


@pytest.mark.parametrize(
    "source",
    [
        "import time\nwhile True: time.sleep(1)",
        "while True: pass",
        "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(1000)",
        "import re; re.match('(a+)+b', 'a' * 50)",
    ],
)
def test_a_call_that_takes_too_long_is_killed(source: str, tmp_path: Path) -> None:
    assert refusal(driver(tmp_path, source, timeout_ms=200), measured()) == "mail.py was stopped after 200 ms"


def test_nobody_of_its_group_is_left_behind(tmp_path: Path) -> None:
    source = """
import json, os, sys, time
print(json.dumps(os.getpid()), flush=True)
try:
    if os.fork() == 0:
        time.sleep(1000)
except BlockingIOError:
    pass
"""
    pid = shown(driver(tmp_path, source), measured())
    assert eventually(lambda: is_gone(pid), "end of the group")


def test_a_cancelled_call_and_a_closed_driver_leave_nobody_behind(tmp_path: Path) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    source = f"import os, time; open({str(fifo)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"

    async def main() -> None:
        made = driver(tmp_path, source)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        for end in ("cancel", "close"):
            call = asyncio.create_task(made.deliver([measured()]))
            said = await until(lambda: os.read(reader, 100), "the call")
            if end == "cancel":
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            else:
                await made.close()
                with pytest.raises(Refused, match="killed by signal 9"):
                    await call
            assert is_gone(int(said))
        await made.close()
        os.close(reader)

    asyncio.run(main())


def test_the_end_of_the_loop_is_the_end_of_the_call(tmp_path: Path) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    made = driver(tmp_path, f"import os, time; open({str(fifo)!r}, 'w').write(str(os.getpid())); time.sleep(1000)")

    async def main() -> tuple[int, asyncio.Task[None]]:
        call = asyncio.create_task(made.deliver([measured()]))
        return int(await until(lambda: os.read(reader, 100), "the call")), call

    pid, call = asyncio.run(main())
    os.close(reader)
    assert call.cancelled()
    assert is_gone(pid)


def test_numpy_loads_within_the_default_memory(tmp_path: Path) -> None:
    assert shown(driver(tmp_path, "import numpy; print(numpy.arange(5).sum())"), measured()) == 10


def test_an_environment_and_directories_of_the_customers_own(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (site / "of_the_venv.py").write_text("where = 'venv'")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/of_the_path.py").write_text("where = 'path'")
    source = 'import of_the_venv, of_the_path; print(\'["%s", "%s"]\' % (of_the_venv.where, of_the_path.where))'
    options = {"venv_path": tmp_path / "env", "python_paths": (tmp_path / "lib",)}
    assert shown(driver(tmp_path, source, **options), measured()) == ["venv", "path"]
    assert not list((tmp_path / "lib").glob("__pycache__"))


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    made = driver(tmp_path, "print(1)")
    (tmp_path / "mail.py").unlink()

    async def main() -> None:
        with pytest.raises(LinkError, match="mail: script_path: there is no file"):
            await made.start()
        with pytest.raises(Undelivered, match="is not there: put it back"):
            await made.deliver([measured()])

    asyncio.run(main())
