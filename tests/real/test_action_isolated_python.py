"""The driver isolated_python with real interpreters: what a script is given, and its limits, each broken."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.actions import isolated_python
from gateway.actions.driver import Refused, Surroundings, Undelivered
from gateway.actions.isolated_python import ENVIRON, IsolatedPython, IsolatedPythonSettings
from gateway.clock import RealClock
from gateway.errors import LinkError
from gateway.inbox import CommandInbox
from gateway.journal.entry import Entry
from gateway.scripts.confine.confine import worker_user
from gateway.scripts.confine.probe import probe
from gateway.scripts.host import Scripts
from tests.real.gateway import eventually
from tests.real.mosquitto import until

TIME_NS = 1_790_000_000_000_000_000
TIMES = {"time": "2026-09-21T14:13:20.000Z", "t_s": 7.5}


BELOW = {"A": ("A", "B", "C"), "B": ("B", "C"), "L": ("L", "C"), "C": ("C",), "D": ()}
LEVELS = BELOW[probe().level]
at_each_level = pytest.mark.parametrize("level", LEVELS)
with_paths = pytest.mark.parametrize("level", [level for level in LEVELS if level != "C"])


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A directory that a call may be given to write."""
    directory = tmp_path / "given"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, *worker_user())
    return directory


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


def driver(directory: Path, source: str, level: Any = "auto", least: Any = "C", **options: Any) -> IsolatedPython:
    script = directory / "mail.py"
    script.write_text(source, "utf-8")
    settings = IsolatedPythonSettings(script_path=script, **{"timeout_ms": 30_000, **options})
    clock = RealClock()
    scripts = Scripts(clock, level, least)
    return IsolatedPython(settings, Surroundings("mail", "lab", clock, CommandInbox(), scripts=scripts))


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


@at_each_level
def test_a_script_is_called_as_script_function_json_once_an_entry_in_order(
    level: str, tmp_path: Path, given: Path
) -> None:
    source = f"import sys; open('{given}/log', 'a').write(repr(sys.argv) + '\\n')"
    made = driver(tmp_path, source, level, file_access=[f"{given}:rw"])
    shown(made, measured(1), alerted(2), Entry(3, TIME_NS, "command", "laser", {}), measured(4))
    calls = [ast.literal_eval(line) for line in (given / "log").read_text().splitlines()]
    assert [call[:2] for call in calls] == [
        [str(tmp_path / "mail.py"), "on_measurement"],
        [str(tmp_path / "mail.py"), "on_alert"],
        [str(tmp_path / "mail.py"), "on_measurement"],
    ]
    told = [json.loads(call[2]) for call in calls]
    assert [told[0]["concentration_ppm"], told[2]["concentration_ppm"]] == [401.0, 404.0]
    assert told[0]["metadata"]["key"] == "lab-1"
    assert told[1]["message"] == "co2 is 1010.2 ppm, above 1000 ppm"


def test_functions_can_be_renamed(tmp_path: Path) -> None:
    source = 'import sys; print(\'{"called": "%s"}\' % sys.argv[1])'
    made = driver(tmp_path, source, update_function="update", alert_function="warn")
    assert shown(made, measured()) == {"called": "update"}
    assert shown(made, alerted()) == {"called": "warn"}
    isolation = {"isolation": LEVELS[0]}
    assert made.status() == {**isolation, "calls": 2, "failed_calls": 0, "result": {"called": "warn"}}


SURROUNDINGS = """
import fcntl, json, os, resource, sys
limits = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in ("CORE", "FSIZE", "CPU")}
def is_open(number):
    try:
        fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError:
        return False
    return True
print(json.dumps({
    "environ": dict(os.environ), "files": [number for number in range(300) if is_open(number)],
    "stdin": os.read(0, 1).decode(), "nice": os.getpriority(os.PRIO_PROCESS, 0), "pid": os.getpid(),
    "group": os.getpgid(0), "session": os.getsid(0), "isolated": sys.flags.isolated, "limits": limits,
    "main": __name__, "file": __file__, "pycache": sys.dont_write_bytecode, "user": os.getuid(), "path": sys.path,
}))
"""


@at_each_level
def test_a_call_has_nothing_of_ours(level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "of the gateway")
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    found = shown(driver(tmp_path, SURROUNDINGS, level, timeout_ms=29_500, max_disk_mb=2), measured())
    os.close(inherited)
    assert found["environ"] == ENVIRON
    assert found["files"] == [0, 1, 2]
    assert found["stdin"] == ""
    assert found["nice"] == min(19, os.nice(0) + 10)
    assert found["pid"] == found["group"] == found["session"] != os.getpid()
    assert found["isolated"] == 1
    assert found["pycache"]
    assert found["limits"] == {"CORE": [0, 0], "FSIZE": [2 << 20] * 2, "CPU": [31, 31]}
    assert (found["main"], found["file"]) == ("__main__", str(tmp_path / "mail.py"))
    assert found["user"] == (worker_user()[0] if os.geteuid() == 0 else os.getuid())
    assert str(Path(__file__).parents[2]) not in found["path"]


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
        ("raise SystemExit(70)", "mail.py ended with status 70"),
        ("exit(4)", "mail.py ended with status 4"),
        ("import os; os.kill(os.getpid(), 9)", "mail.py was killed by signal 9"),
        ("import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
         "mail.py, line 3: ZeroDivisionError: division by zero"),
        ("a = bytearray(200_000_000)", "mail.py, line 1: MemoryError (it may take 64 MB: max_memory_mb)"),
        ("import mmap\nmmap.mmap(-1, 200_000_000)", "mail.py, line 2: OSError: [Errno 12] Cannot allocate memory"),
        ("import socket; socket.create_connection(('192.0.2.1', 80))",
         "mail.py, line 1: PermissionError: [Errno 13] Permission denied "
         '(network access is only through what is listed: network: ["host:port"])'),
        ("import os; os.fork()",
         "mail.py, line 1: PermissionError: [Errno 1] Operation not permitted "
         "(no new processes, and no power over others)"),
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


def called(directory: Path) -> int:
    """The process of the call that `STAYS` is; 0 while it has not begun."""
    file = directory / "pid"
    text = file.read_text() if file.exists() else ""
    return int(text) if text.endswith("\n") else 0


STAYS = """
import os, time
with open("GIVEN/pid", "w") as file:
    print(os.getpid(), file=file)
time.sleep(1000)
"""


def stays(directory: Path, given: Path, level: Any) -> IsolatedPython:
    return driver(directory, STAYS.replace("GIVEN", str(given)), level, file_access=[f"{given}:rw"])


@at_each_level
def test_a_cancelled_call_and_a_closed_driver_leave_nobody_behind(level: str, tmp_path: Path, given: Path) -> None:
    async def main() -> None:
        made = stays(tmp_path, given, level)
        await made.start()
        for end in ("cancel", "close"):
            call = asyncio.create_task(made.deliver([measured()]))
            pid = await until(lambda: called(given), "the call")
            (given / "pid").unlink()
            if end == "cancel":
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            else:
                await made.close()
                with pytest.raises(Refused, match="killed by signal 9"):
                    await call
            assert is_gone(pid)
        await made.close()

    asyncio.run(main())


def test_the_end_of_the_loop_is_the_end_of_the_call(tmp_path: Path, given: Path) -> None:
    made = stays(tmp_path, given, "auto")

    async def main() -> tuple[int, asyncio.Task[None]]:
        await made.start()
        call = asyncio.create_task(made.deliver([measured()]))
        return await until(lambda: called(given), "the call"), call

    pid, call = asyncio.run(main())
    assert call.cancelled()
    assert is_gone(pid)


@at_each_level
def test_a_call_ends_with_a_gateway_that_is_killed(level: str, tmp_path: Path, given: Path) -> None:
    gateway = os.fork()
    if gateway == 0:
        with contextlib.suppress(BaseException):
            shown(stays(tmp_path, given, level), measured())
        os._exit(0)
    try:
        pid = eventually(lambda: called(given), "the call")
    finally:
        os.kill(gateway, signal.SIGKILL)
        os.waitpid(gateway, 0)
    assert eventually(lambda: is_gone(pid) or is_zombie(pid), "end of the call")


def is_zombie(pid: int) -> bool:
    """Whether it is dead, and whoever inherits orphans here has not yet looked."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@with_paths
def test_numpy_loads_within_the_default_memory(level: str, tmp_path: Path) -> None:
    assert shown(driver(tmp_path, "import numpy; print(numpy.arange(5).sum())", level), measured()) == 10


@at_each_level
def test_the_standard_library_works(level: str, tmp_path: Path) -> None:
    source = """
import json, statistics
from datetime import datetime
from email.mime import text as mime
from decimal import (
    Decimal,
    localcontext,
)

def later():
    import csv, io
    return csv.writer(io.StringIO()).writerow(["a"])

at = datetime.strptime("2026-11-23", "%Y-%m-%d")
mail = mime.MIMEText("CO₂", "plain", "utf-8").as_string()
print(json.dumps([at.isoformat(), statistics.mean([1, 2]), len(mail) > 0, str(Decimal("1.5")), later()]))
"""
    assert shown(driver(tmp_path, source, level), measured()) == ["2026-11-23T00:00:00", 1.5, True, "1.5", 3]


def test_what_is_not_of_the_standard_library_is_not_imported_at_level_c(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/own.py").write_text("raise SystemExit('it ran')")
    for name in ("numpy", "own"):
        made = driver(tmp_path, f"import {name}", "C", python_paths=(tmp_path / "lib",))
        assert refusal(made, measured()) == (
            f"mail.py, line 1: ModuleNotFoundError: No module named '{name}' (at level C only modules of the standard "
            "library that an import statement of the script names)"
        )


@with_paths
def test_an_environment_and_directories_of_the_customers_own(level: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (site / "of_the_venv.py").write_text("where = 'venv'")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/of_the_path.py").write_text("where = 'path'")
    source = 'import of_the_venv, of_the_path; print(\'["%s", "%s"]\' % (of_the_venv.where, of_the_path.where))'
    options = {"venv_path": tmp_path / "env", "python_paths": (tmp_path / "lib",)}
    assert shown(driver(tmp_path, source, level, **options), measured()) == ["venv", "path"]
    reason = refusal(driver(tmp_path, "import pydantic", level, **options), measured())
    assert reason == "mail.py, line 1: ModuleNotFoundError: No module named 'pydantic'"
    assert not list((tmp_path / "lib").glob("__pycache__"))


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    made = driver(tmp_path, "print(1)")
    (tmp_path / "mail.py").unlink()

    async def main() -> None:
        with pytest.raises(LinkError, match="mail: script_path: there is no file"):
            await made.start()
        (tmp_path / "mail.py").touch()
        await made.start()
        (tmp_path / "mail.py").unlink()
        with pytest.raises(Undelivered, match="is not there: put it back"):
            await made.deliver([measured()])

    asyncio.run(main())


ATTACKS = """
import ctypes, json, os, resource, signal, socket, sys
won = []

def attempt(name, do, *arguments):
    try:
        do(*arguments)
    except (OSError, ValueError):
        return
    won.append(name)

parent = os.getppid()
for path in ("/etc/shadow", "/etc/passwd", "CONFIG", "/proc/self/maps", f"/proc/{parent}/environ",
             f"/proc/{parent}/mem", "/proc/1/environ", "/sys/kernel/uevent_seqnum", "/dev/mem", "/dev/kmsg"):
    attempt(path, os.open, path, os.O_RDONLY)
for path in ("DIRECTORY", "/proc", "/etc/ssl/private", "/home", "/root/.ssh"):
    attempt(path, os.listdir, path)
for path in ("/etc/hosts", "CONFIG", "SCRIPT", sys.executable, json.__file__, "/dev/null/x"):
    attempt("write " + path, os.open, path, os.O_WRONLY)
attempt("make a file", os.open, "DIRECTORY/x", os.O_WRONLY | os.O_CREAT)
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        attempt(f"socket {family} {kind}", socket.socket, family, kind)
attempt("signal the gateway", os.kill, parent, 0)
attempt("signal all", os.kill, -1, 0)
attempt("signal a group", os.killpg, os.getpgrp(), 0)
attempt("look at the gateway's limits", resource.prlimit, parent, resource.RLIMIT_CPU)
attempt("no limit", resource.setrlimit, resource.RLIMIT_AS, (-1, -1))
attempt("fork", os.fork)
attempt("spawn", os.posix_spawn, sys.executable, [sys.executable, "-c", ""], {})
attempt("exec", os.execv, sys.executable, [sys.executable, "-c", ""])
attempt("leave the session", os.setsid)
attempt("become root", os.setuid, 0)
attempt("become nobody's group", os.setgroups, [0])
attempt("priority", os.nice, -5)
attempt("processors", os.sched_setaffinity, parent, {0})
attempt("memory of no limit", os.memfd_create, "x")
attempt("link", os.symlink, "/etc/shadow", "/tmp/x")
attempt("root", os.chroot, "/")
libc = ctypes.CDLL(None, use_errno=True)
calls = {"unshare": (0x10000000,), "ptrace": (0x4206, parent, 0, 0), "prctl": (1, 0, 0, 0, 0),
         "personality": (0x40000,), "pidfd_open": (parent, 0)}
for name, arguments in calls.items():
    if hasattr(libc, name) and getattr(libc, name)(*arguments) >= 0:
        won.append(name)
print(json.dumps(won))
"""


@at_each_level
def test_nothing_that_was_not_given_is_reached(level: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    config = tmp_path / "gateway.yaml"
    config.write_text("password: x")
    config.chmod(0o666)
    source = ATTACKS.replace("CONFIG", str(config)).replace("DIRECTORY", str(tmp_path))
    source = source.replace("SCRIPT", str(tmp_path / "mail.py"))
    made = driver(tmp_path, source, level)
    assert shown(made, measured()) == []
    assert made.status()["isolation"] == level
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gateway.yaml", "mail.py"]


@at_each_level
def test_a_file_that_is_not_listed_is_named_with_the_option(level: str, tmp_path: Path) -> None:
    assert refusal(driver(tmp_path, "open('/etc/shadow')", level), measured()).endswith(
        "'/etc/shadow' (a call sees what file_access lists, and writes what it lists as \"/etc/shadow:rw\")"
    )


@at_each_level
def test_memory_is_bounded(level: str, tmp_path: Path) -> None:
    source = "kept = []\nwhile True: kept.append(bytearray(1 << 20))"
    reason = refusal(driver(tmp_path, source, level, max_memory_mb=32), measured())
    assert reason == "mail.py, line 2: MemoryError (it may take 32 MB: max_memory_mb)"


@at_each_level
def test_files_are_those_that_are_listed(level: str, tmp_path: Path, given: Path) -> None:
    (tmp_path / "read").write_text("what is read")
    (tmp_path / "read").chmod(0o644)
    source = f"""
import json
text = open("{tmp_path}/read").read()
open("{given}/written", "w").write(text)
try:
    open("{tmp_path}/read", "a")
except OSError:
    print(json.dumps(text))
"""
    options = {"file_access": [str(tmp_path / "read"), f"{given}:rw"]}
    assert shown(driver(tmp_path, source, level, **options), measured()) == "what is read"
    assert (given / "written").read_text() == "what is read"


@at_each_level
def test_a_call_that_fills_the_disk_is_stopped_and_no_other_is_made(level: str, tmp_path: Path, given: Path) -> None:
    source = f"""
data, number = bytes(1 << 19), 0
while True:
    with open(f"{given}/{{number % 40}}", "wb") as file:
        file.write(data)
    number += 1
"""
    made = driver(tmp_path, source, level, file_access=[f"{given}:rw"], max_disk_mb=4)

    async def main() -> tuple[str, str]:
        await made.start()
        with pytest.raises(Refused) as refused:
            await made.deliver([measured()])
        with pytest.raises(Undelivered) as undelivered:
            await made.deliver([measured()])
        return refused.value.reason, undelivered.value.reason

    stopped, before = asyncio.run(main())
    told = rf"disk quota exceeded: [0-9.]+ MB in {given}, 4\.19 MB allowed \(max_disk_mb\)"
    assert re.fullmatch(f"mail.py was stopped: {told}", stopped)
    assert re.fullmatch(told, before)


@at_each_level
def test_connections_are_those_that_are_listed(level: str, tmp_path: Path) -> None:
    source = """
import json, socket
with socket.create_connection(("127.0.0.1", LISTED)) as made:
    said = made.recv(100).decode()
try:
    socket.create_connection(("127.0.0.1", OTHER))
except PermissionError as error:
    print(json.dumps([said, str(error)]))
"""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        listed, unlisted = server.getsockname()[1], other.getsockname()[1]
        source = source.replace("LISTED", str(listed)).replace("OTHER", str(unlisted))
        greeter = threading.Thread(target=_greet, args=(server,))
        greeter.start()
        made = driver(tmp_path, source, level, network=[f"127.0.0.1:{listed}"])
        said, refused = shown(made, measured())
        greeter.join()
    assert said == "hello"
    assert f'Add "127.0.0.1:{unlisted}" to `network` of mail' in refused


def _greet(server: socket.socket) -> None:
    made, _ = server.accept()
    with made:
        made.sendall(b"hello")


def test_below_min_isolation_no_call_is_made(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(LinkError, match="level C, and min_isolation is B"):
            await driver(tmp_path, "print(1)", "C", "B").start()

    asyncio.run(main())


@at_each_level
def test_without_a_wall_the_script_does_not_run(
    level: str, tmp_path: Path, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = driver(tmp_path, f"open('{given}/ran', 'w')", level, file_access=[f"{given}:rw"])
    right = IsolatedPython._given
    monkeypatch.setattr(IsolatedPython, "_given", lambda self, *given: {**right(self, *given), "parent": 1 << 30})

    async def main() -> None:
        await made.start()
        with pytest.raises(Undelivered, match=r"mail.py was not run: parent: the parent is gone"):
            await made.deliver([measured()])

    asyncio.run(main())
    assert not list(given.iterdir())


@at_each_level
def test_walls_that_do_not_look_right_from_outside_let_no_script_in(
    level: str, tmp_path: Path, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = driver(tmp_path, f"open('{given}/ran', 'w')", level, file_access=[f"{given}:rw"])
    monkeypatch.setattr(isolated_python.probe, "verify", lambda pid, level, group: [f"process {pid} has a door"])

    async def main() -> None:
        await made.start()
        with pytest.raises(Undelivered, match=r"mail.py was not run: process \d+ has a door"):
            await made.deliver([measured()])

    asyncio.run(main())
    assert not list(given.iterdir())
