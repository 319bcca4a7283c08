"""Customers' scripts in real workers: what they can do, how they are ended, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import status
from gateway.scripts.confine.confine import worker_user
from gateway.scripts.messages import Functions
from gateway.scripts.permissions import Grant, Place
from gateway.scripts.work import Failure
from gateway.types import TELL
from tests.real.gateway import command, gateway
from tests.servers.authority import Authority
from tests.servers.https import HttpsServer
from tests.support.scripted import bench, run

LEVELS = ("auto", "C")
LONGEST_GAP_S = 1.0
"""Far longer than the event loop may be held, on a machine that is busy with other tests, too."""
CLASS = """
    import json

    class Co2(CustomPythonAction):
        def __init__(self, api):
            super().__init__(api)
            self.updates = 0
            self.limit = api.get_node_parameter("limit", 5)

        def on_trigger(self, trigger_type, data):
            self.api.log_message("warning", f"{trigger_type} {data['value']} > {self.limit}")
            self.api.trigger_notification("too much", "critical")
            return self.api.set_output("relay/fan", True)

        def on_update(self, computing_data):
            self.updates += 1
            api = self.api
            return {
                "updates": self.updates, "ppm": api.get_concentration_data("co2"), "count": api.get_history_count(),
                "of": api.get_monitored_node_ids(), "told": api.get_node_statistics("co2"),
            }

        def get_status(self):
            return json.dumps({"updates": self.updates})
"""


@pytest.mark.parametrize("level", LEVELS)
def test_class_style(level: str) -> None:
    async def main() -> None:
        about: dict[str, Any] = {"class_name": "Co2", "config": {"limit": 7}, "outputs": ("relay/fan",)}
        given = {"style": "class", "allowed_imports": ("json",), "monitored": ("co2",), **about}
        async with bench(CLASS, level, **given) as b:
            b.news.entries = [{"source_node_id": "co2", "concentration_ppm": float(n)} for n in range(450)]
            b.news.told = {"co2": {"results": 450}}
            assert await b.call("on_trigger", "concentration", {"value": 9.5}) is True
            assert await b.call("on_update") == {
                "updates": 1, "ppm": 449.0, "count": 100, "of": ["co2"], "told": {"results": 450},
            }  # fmt: skip
            assert b.log == ["concentration 9.5 > 7"]
            sent = {(each.target, each.verb, each.origin) for each in b.inbox.drain()}
            assert sent == {(TELL, "notify", "script:node"), ("relay/fan", "on", "script:node")}
            await b.until(lambda found: found["script"] == {"updates": 1}, "get_status")

    run(main)


@pytest.mark.parametrize("level", LEVELS)
def test_module_style_keeps_its_state_and_says_goodbye(level: str) -> None:
    async def main() -> None:
        source = """
            count = 0

            def begin(config):
                print("began with", config["to"])

            def on_measurement(measurement):
                global count
                count += 1
                return {"count": count, "ppm": measurement["concentration_ppm"]}

            def shutdown():
                print("bye", count)
        """
        about = {"functions": Functions(initialize="begin"), "config": {"to": "me"}}
        async with bench(source, level, **about) as b:
            assert await b.call("on_measurement", {"concentration_ppm": 1.5}) == {"count": 1, "ppm": 1.5}
            assert await b.call("on_measurement", {"concentration_ppm": 2.5}) == {"count": 2, "ppm": 2.5}
            assert await b.call("on_alert", {}) is None
        assert b.log == ["began with me", "bye 2"]

    run(main)


ENDINGS = {
    "loop": ("while True: pass", "on_measurement was stopped after 300 ms (python_timeout_ms)"),
    "sum": ("sum(range(10**12))", "on_measurement was stopped after 300 ms"),
    "regex": ("re.match('(a+)+$', 'a' * 40 + 'b')", "on_measurement was stopped after 300 ms"),
    "exit": ("os._exit(3)", "co2.py ended itself with status 3"),
    "kill": ("os.kill(os.getpid(), 9)", "signal 9"),
    "crash": ("ctypes.string_at(8)", "co2.py crashed (signal 11)"),
    "memory": ("x = [bytearray(1 << 20) for _ in range(200)]", "MemoryError"),
    "raise": ("raise ValueError('no gas')", "on_measurement failed: co2.py:5: ValueError: no gas"),
    "leave": ("raise SystemExit(1)", "SystemExit"),
    "rubbish": ("return {1: 2}", "on_measurement returned a dict with int as a key at $"),
    "nan": ("return float('nan')", "on_measurement returned nan at $"),
    "fork": ("os.fork()", "no new processes"),
    "program": ("os.system('true')", "no new processes"),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_call_that_goes_wrong_ends_itself_and_nothing_else(ending: str, level: str) -> None:
    async def main() -> None:
        line, told = ENDINGS[ending]
        source = f"""
            import os, re, ctypes
            def on_measurement(given):
                if given:
                    {line}
                return "well"
        """
        allowed = ("os", "re", "ctypes")
        async with bench(source, level, allowed_imports=allowed, timeout_s=0.3, memory_bytes=32 << 20) as b:
            assert await b.call() == "well"
            assert told in await b.failure("on_measurement", {"wrong": 1})
            assert await b.call() == "well"
            assert b.script.problem is None

    run(main)


LIES = {
    "rubbish": ("os.write(3, b'rubbish' * 9)", "broke the protocol: a frame of"),
    "half": ("os.write(3, b'\\0\\0'); time.sleep(9)", "on_measurement was stopped after 400 ms"),
    "early": ("tell(Result(m['id'], 1), Idle(m['id']), Result(m['id'], 2))", "broke the protocol: Result while idle"),
    "other": ("tell(Result(m['id'] + 1, 1))", "broke the protocol: Result while calling"),
    "sealed": ("tell(Sealed({}))", "broke the protocol: Sealed while calling"),
    "flood": ("while True: tell(Log('info', 'x'))", "on_measurement was stopped after 400 ms"),
    "output": ("while True: os.write(1, b'x' * 9999)", "on_measurement was stopped after 400 ms"),
    "lines": ("while True: os.write(1, bytes([10, 65]) * 9999)", "on_measurement was stopped after 400 ms"),
    "deaf": ("os.close(3); time.sleep(9)", "on_measurement was stopped after 400 ms"),
    "broker": ("os.write(4, b'rubbish' * 9); time.sleep(9)", "broke the protocol"),
    "deep": ("x = []\n                    for _ in range(10**5): x = [x]\n                    return x", "deep"),
    "large": ("return 'x' * 10**7", "more than 65536 characters"),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("lie", LIES)
def test_a_worker_that_lies_or_floods_is_ended_and_the_loop_goes_on(lie: str, level: str) -> None:
    async def main() -> None:
        line, told = LIES[lie]
        source = f"""
            import os, time
            from gateway.scripts.messages import Result, Idle, Sealed, Log
            from gateway.scripts.wire import frame
            def tell(*messages):
                os.write(3, b"".join(map(frame, messages)))
            def on_measurement(m):
                if m:
                    {line}
                return "well"
        """
        async with bench(source, level, checks=False, timeout_s=0.4) as b:
            assert await b.call() == "well"
            gaps: list[float] = []
            watching = asyncio.create_task(watch(gaps))
            try:
                reason = await b.failure("on_measurement", {"id": 2})
            except AssertionError:  # the lie came behind the answer
                reason = (await b.until(lambda found: found["deaths"], "death"))["last_death"]
            assert told in reason
            assert await b.call() == "well"
            watching.cancel()
            assert max(gaps) < LONGEST_GAP_S
            assert b.script.status()["violations"] == ("protocol" in told)

    run(main)


async def watch(gaps: list[float]) -> None:
    """How long the event loop did something else, each time."""
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(0.001)
        gaps.append(time.perf_counter() - begin)


def test_shared_memory_is_seen_from_outside() -> None:
    async def main() -> None:
        source = """
            import mmap, time
            kept = []
            def on_measurement(given):
                for _ in range(12):
                    kept.append(mmap.mmap(-1, 1 << 20))
                    kept[-1].write(b"x" * (1 << 20))
                time.sleep(20)
        """
        async with bench(source, allowed_imports=("mmap", "time"), memory_bytes=8 << 20, timeout_s=15) as b:
            assert "memory limit 8 MB exceeded" in await b.failure()

    run(main)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import socket\ndef on_measurement(m): pass", "import of 'socket' is not allowed: add it to allowed_imports"),
        ("def on_measurement(m):\n  return m +", "invalid syntax"),
        ("def other(m): pass", "does nothing"),
        ("x = 1 / 0\ndef on_measurement(m): pass", "co2.py:1: ZeroDivisionError"),
        ("def initialize():\n  raise OSError('no')\ndef on_measurement(m): pass", "co2.py:2: OSError: no"),
        ("import os\nos._exit(4)\ndef on_measurement(m): pass", "co2.py ended itself with status 4"),
    ],
)
def test_what_cannot_be_loaded_says_why_and_goes_on_when_it_is_mended(source: str, told: str) -> None:
    async def main() -> None:
        async with bench(source, allowed_imports=("os",)) as b:
            found = await b.until(lambda found: found["problem"], "problem")
            assert told in found["problem"]
            assert found["state"] == "failed"
            b.write("def on_measurement(m): return 'mended'")
            assert await b.call() == "mended"

    run(main)


def test_a_new_version_proves_itself_before_the_old_one_goes() -> None:
    async def main() -> None:
        good = "def on_measurement(m): return {}\ndef shutdown(): print('bye {}')"
        async with bench(good.format(1, 1)) as b:
            assert await b.call() == 1
            b.write("def on_measurement(m) return 2")
            found = await b.until(lambda found: found["reload_problem"], "problem of the broken version")
            assert "co2.py" in found["reload_problem"]
            assert await b.call() == 1
            b.write(good.format(3, 3))
            await b.until(lambda found: found["reloads"] == 1, "new version")
            assert await b.call() == 3
            assert b.script.status()["reload_problem"] is None
            await b.until(lambda found: "bye 1" in b.log, "shutdown of the old version")
            assert b.script.status()["warnings"] == []
            b.write("def on_measurement(m): return 4")  # the first half of a file may be a script of its own
            found = await b.until(lambda found: found["reloads"] == 2, "shorter version")
            assert found["warnings"] == ["shutdown is gone in the new version"]
            b.write(good.format(3, 3))
            found = await b.until(lambda found: found["reloads"] == 3, "version of before")
            assert found["warnings"] == []
            b.file.write_text("")  # as an editor that is not done yet
            await b.until(lambda found: found["reload_problem"], "problem of the empty version")
            b.script._current.kill("died")  # type: ignore[union-attr]
            assert await b.call() == 3

    run(main)


def test_repeated_failures_pause_and_a_reset_ends_the_pause() -> None:
    async def main() -> None:
        async with bench("def on_measurement(m): raise ValueError('again')") as b:
            for _ in range(4):
                assert "paused" not in await b.failure()
            assert "paused for 1 s after 5 failures in a row" in await b.failure()
            assert b.script.status()["state"] == "paused"
            b.script.reset()
            assert b.script.status()["state"] == "ready"
            assert "again" in await b.failure()
            for _ in range(5):
                await b.failure()
            assert b.script.status()["paused_s"] > 1

    run(main)


def test_five_deaths_in_a_minute_pause() -> None:
    async def main() -> None:
        source = "import os\ndef on_measurement(m): return os._exit(1) if m else 'well'"
        async with bench(source, allowed_imports=("os",)) as b:
            for _ in range(5):
                assert await b.call() == "well"
                await b.failure("on_measurement", {"wrong": 1})
            found = b.script.status()
            assert (found["state"], found["deaths"]) == ("paused", 5)

    run(main)


def test_nothing_of_the_gateway_comes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_PASSWORD", "sesame")

    async def main() -> None:
        source = """
            import os
            def on_measurement(m):
                fds = [fd for fd in range(64) if is_open(fd)]
                return {"environ": dict(os.environ), "fds": fds}
            def is_open(fd):
                try:
                    os.fstat(fd)
                except OSError:
                    return False
                return True
        """
        async with bench(source, allowed_imports=("os",)) as b:
            found = await b.call()
            assert "sesame" not in str(found)
            assert found["fds"] == [0, 1, 2, 3, 4, 5], "the last is the eventfd of its own channel to the broker"
            threads = {f"{library}_NUM_THREADS" for library in ("OPENBLAS", "OMP", "MKL")}
            assert set(found["environ"]) <= {"HOME", "LANG", "LC_ALL", "PATH", "TZ"} | threads

    run(main)


@pytest.mark.parametrize("level", LEVELS)
def test_fifty_dead_workers_leave_nothing(level: str) -> None:
    async def main() -> None:
        async with bench("def on_measurement(m): return 1", level) as b:
            await b.call()
            gc.collect()  # what earlier tests left to the collector would be missing afterwards
            descriptors = len(os.listdir("/proc/self/fd"))
            zygote = next(iter(b.scripts._zygotes.values())).pid
            for _ in range(50):
                b.script.reset()
                b.script._current.kill("died")  # type: ignore[union-attr]
                assert await b.call() == 1
            await asyncio.sleep(0.2)
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) == descriptors
            assert children(zygote) == [b.script.status()["pid"]]
            assert len(os.listdir(f"/proc/{zygote}/fd")) < 12
        assert str(zygote) not in os.listdir("/proc")

    run(main)


def children(pid: int) -> list[int]:
    """The processes whose parent that is, zombies too."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_dead_zygote_is_followed_by_another_one() -> None:
    async def main() -> None:
        async with bench("def on_measurement(m): return 1") as b:
            await b.call()
            os.kill(next(iter(b.scripts._zygotes.values())).pid, signal.SIGKILL)
            await b.until(lambda found: found["deaths"] == 1, "death of the worker")
            assert await b.call() == 1
            assert b.scripts.status()["zygote_restarts"] == 1

    run(main)


def test_a_flood_of_words_is_bounded() -> None:
    async def main() -> None:
        source = """
            def on_measurement(m):
                for n in range(3000):
                    api.log_message("info", f"line {n}")
                    print("printed", n)
                    api.trigger_notification("again")
                    api.set_output("relay/fan", True)
                    api.set_output("laser", "on")
                return "done"
        """
        async with bench(source, outputs=("relay/fan",), timeout_s=20) as b:
            assert await b.call() == "done"
            found = b.script.status()
            assert len(found["log"]) == 100
            assert found["suppressed"]["log"] > 2000
            sent = [(each.target, each.verb) for each in b.inbox.drain()]
            assert sent.count((TELL, "notify")) <= 10
            assert 10 <= sent.count(("relay/fan", "on")) <= 120
            assert {target for target, _ in sent} == {TELL, "relay/fan"}

    run(main)


@pytest.mark.parametrize("level", LEVELS)
def test_the_network_is_what_is_listed(level: str, tmp_path: Path) -> None:
    source = """
        import ssl
        from urllib import request
        def on_measurement(m):
            context = ssl.create_default_context(cadata=m["ca"])
            with request.urlopen(m["url"], data=b"{}", context=context, timeout=5) as answer:
                return answer.status
    """
    authority = Authority(tmp_path)
    with HttpsServer(authority) as web, HttpsServer(authority) as other:

        async def main() -> None:
            about: dict[str, Any] = {"allowed_imports": ("urllib.request", "ssl"), "timeout_s": 10}
            async with bench(source, level, network=(Place("localhost", web.port),), **about) as b:
                given = {"ca": authority.file.read_text(), "url": web.url}
                assert await b.call("on_measurement", given) == 200
                told = await b.failure("on_measurement", {**given, "url": other.url})
                assert f"localhost:{other.port}" in told
                assert "network" in told
            async with bench(source, level, **about) as b:
                assert "network" in await b.failure("on_measurement", given)

        run(main)
        assert len(web.requests) == 1
        assert not other.requests


@pytest.mark.parametrize("level", LEVELS)
def test_files_are_what_is_listed(level: str, tmp_path: Path) -> None:
    data, secret = tmp_path / "data", tmp_path / "secret"
    data.mkdir(mode=0o777)
    data.chmod(0o777)
    secret.write_text("sesame")
    if os.geteuid() == 0:
        os.chown(data, *worker_user())
    for above in tmp_path.parents:
        if os.stat(above).st_uid == os.geteuid() and above != Path("/") and above != Path("/tmp"):
            above.chmod(0o755)
    tmp_path.chmod(0o755)

    async def main() -> None:
        source = """
            def on_measurement(m):
                with open(m["path"], m["mode"]) as file:
                    return file.read() if m["mode"] == "r" else file.write(m["text"])
        """
        async with bench(source, level, files=(Grant(str(data), True),), disk_bytes=1 << 20) as b:
            there = {"path": f"{data}/report.csv", "mode": "w", "text": "12 ppm"}
            assert await b.call("on_measurement", there) == 6
            assert await b.call("on_measurement", {**there, "mode": "r"}) == "12 ppm"
            told = await b.failure("on_measurement", {"path": str(secret), "mode": "r"})
            assert "Error" in told
            assert "sesame" not in told
            with contextlib.suppress(Failure):  # it may be ended within the last call
                for name in "ab":
                    await b.call("on_measurement", {**there, "path": f"{data}/{name}", "text": "x" * 900_000})
            found = await b.until(lambda found: found["problem"], "end of the quota")
            assert "disk quota exceeded" in found["problem"]
            for name in "ab":
                (data / name).unlink()
            assert await b.call("on_measurement", {**there, "mode": "r"}) == "12 ppm"

    run(main)


def test_work_between_calls_is_ended() -> None:
    async def main() -> None:
        source = """
            import threading
            def work():
                while True:
                    pass
            def on_measurement(m):
                threading.Thread(target=work, daemon=True).start()
        """
        async with bench(source, allowed_imports=("threading",)) as b:
            await b.call()
            found = await b.until(lambda found: found["deaths"], "end of the worker")
            assert "went on working between calls" in found["last_death"]

    run(main)


@pytest.mark.parametrize("level", LEVELS)
def test_numpy_where_it_is_allowed(level: str) -> None:
    async def main() -> None:
        source = """
            import numpy as np
            def on_measurement(m):
                return float(np.abs(np.fft.rfft(np.ones(64)))[0] + np.linalg.solve(np.eye(2), np.ones(2))[0])
        """
        async with bench(source, level, allowed_imports=("numpy",)) as b:
            assert await b.call() == 65.0
            assert b.scripts.status()["zygotes"] == 1

    run(main)


def test_packages_of_an_environment_and_further_directories(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "customers.py").write_text("import os\nWHERE = 'ours'\nUID = os.getuid()\n")
    for above in tmp_path.parents:
        if os.stat(above).st_uid == os.geteuid() and above != Path("/") and above != Path("/tmp"):
            above.chmod(0o755)

    async def main() -> None:
        source = "import customers\ndef on_measurement(m): return [customers.WHERE, customers.UID]"
        async with bench(source, allowed_imports=("customers",), paths=(str(tmp_path),)) as b:
            where, uid = await b.call()
            assert where == "ours"
            assert uid != 0  # so it was not imported before the walls stood

    run(main)


def test_at_level_c_nothing_can_be_imported_from_elsewhere(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench("def on_measurement(m): return 1", "C", paths=(str(tmp_path),)) as b:
            found = await b.until(lambda found: found["problem"], "problem")
            assert "venv_path and python_paths need level B" in found["problem"]

    run(main)


def test_below_the_least_level_nothing_starts() -> None:
    async def main() -> None:
        async with bench("def on_measurement(m): return 1", "C", "B") as b:
            found = await b.until(lambda found: found["problem"], "problem")
            assert "level C, and min_isolation is B" in found["problem"]
            assert found["state"] == "failed"

    run(main)


SEEN = """
import json

class Co2(CustomPythonAction):
    def __init__(self, api):
        super().__init__(api)
        self.seen = {"updates": 0, "triggers": []}

    def on_trigger(self, trigger_type, data):
        self.seen["triggers"].append([trigger_type, data["source_node_id"]])
        self.api.set_output("relay/fan", True)
        self.api.trigger_notification("too much of it", "warning")
        return True

    def on_update(self, computing_data):
        self.seen["updates"] += 1
        self.seen["ppm"] = computing_data["concentration_ppm"]
        self.seen["read"] = self.api.get_concentration_data("co2")
        self.seen["count"] = self.api.get_history_count()

    def get_status(self):
        return self.seen
"""
FUNCTIONS = """
import json
updates = 0

def initialize(config):
    print("the password has", len(config["password"]), "letters:", config["password"])

def on_measurement(measurement):
    global updates
    updates += 1
    if updates == 3:
        while True:
            pass

def get_status():
    return json.dumps({"updates": updates})
"""


def configuration(directory: Path, password: str = "${EMAIL_PASSWORD}", **scripts: str) -> Path:
    """The simulated box with a node of either style."""
    (directory / "seen.py").write_text(SEEN)
    (directory / "functions.py").write_text(FUNCTIONS)
    watching = {"monitored_nodes": ["co2"], "update_interval_ms": 200, "concentration_threshold": 1.0}
    own = {"python_script_path": str(directory / "seen.py"), "python_class_name": "Co2", "outputs": ["relay/fan"]}
    config = {
        "script_path": str(directory / "functions.py"), "timeout_ms": 300, "allowed_imports": ["json"],
        "python_config": {"password": password},
    }  # fmt: skip
    nodes: list[dict[str, Any]] = [
        {"id": "input", "type": "input"},
        {"id": "lock", "type": "lock_in", "parameters": {"integration_s": 0.2}},
        {"id": "co2", "type": "concentration", "parameters": {"source": "lock", "polynomial_coefficients": [0, 41000]}},
        {"id": "seen", "type": "python_action", "parameters": {**watching, **own, "allowed_imports": ["json"]}},
        {
            "id": "functions",
            "type": "universal_action",
            "parameters": {**watching, "driver": {"type": "python", "config": config}},
        },
    ]
    file = directory / "box.yaml"
    processing = {"default_graph": {"nodes": nodes}}
    file.write_text(
        yaml.safe_dump({"box": {"id": "lab"}, "board": "sim", "processing": processing, "scripts": scripts})
    )
    return file


def test_where_isolation_is_required_no_script_runs_without_namespaces(tmp_path: Path) -> None:
    file = configuration(tmp_path, "none", level="C", isolation="required")
    with gateway(tmp_path, "run", "--config", str(file)) as running:

        def refused() -> Any:
            found = [node for box in status.read(tmp_path, time.time_ns()) for node in box.get("actions", [])]
            return found if found and all(node["driver"]["problem"] for node in found) else None

        for node in running.wait(refused, "refusal"):
            assert node["driver"]["state"] == "failed"
            assert "level C, and min_isolation is B" in node["driver"]["problem"]
        assert running.stop() == 0


def test_both_styles_in_the_running_gateway(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    environ = {**os.environ, "EMAIL_PASSWORD": "open-sesame", "NEW_PASSWORD": "another-sesame"}
    with gateway(tmp_path, "run", "--config", str(file), environ=environ) as running:

        def nodes() -> dict[str, Any]:
            found = status.read(tmp_path, time.time_ns())
            return {node["node"]: node for box in found for node in box.get("actions", [])}

        def there() -> Any:
            now = nodes()
            seen = now.get("seen", {}).get("driver", {}).get("script")
            killed = now.get("functions", {}).get("driver", {}).get("deaths")
            return now if seen and seen.get("updates", 0) > 5 and killed else None

        now = running.wait(there, "both scripts")
        seen = now["seen"]["driver"]["script"]
        assert seen["triggers"] == [["concentration", "co2"]]
        assert seen["ppm"] > 1
        assert seen["read"] > 1
        assert now["seen"]["driver"]["notifications"] == 1
        assert "on_measurement was stopped after 300 ms (timeout_ms)" in now["functions"]["last_error"]
        configuration(tmp_path, "${NEW_PASSWORD} after ${EMAIL_PASSWORD}")
        shown = "the password has 32 letters: ******** after ********"
        running.wait(lambda: shown in str(running.errors), "script with the changed password")
        said = str(running.lines + running.errors) + str(now) + str(nodes())
        assert running.stop() == 0
    assert "-sesame" not in said
    assert "the password has 11 letters: ********" in said


def test_check_names_the_customers_file_and_line(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    environ = {**os.environ, "EMAIL_PASSWORD": "open-sesame"}
    assert command(tmp_path, "check", str(file), environ=environ).returncode == 0
    (tmp_path / "functions.py").write_text("import json\n\ndef on_measurement(measurement):\n    import os\n")
    done = command(tmp_path, "check", str(file), environ=environ)
    assert done.returncode == 2
    assert f"{tmp_path}/functions.py:4:" in done.stderr
    assert "import of 'os' is not allowed" in done.stderr
