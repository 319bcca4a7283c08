"""The status file: whole, strict, and silent about gateways that are gone."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from gateway import status
from gateway.types import NO_FLAGS, Alert, LockInResult, Measurement, Outcome, Result, Snapshot, Tick
from tests.support.clock import FakeClock

LOCK = LockInResult("lock", 10**9, 2012.5, 0.1, float("nan"), 1e-4, 32, 1.0)
CO2 = Measurement("co2", 10**9, 412.0, 1.0, 2.04, 32, 3.0, True, NO_FLAGS, LOCK)
ALERT = Alert("high", "concentration", "warning", "raised", 1001.0, 1000.0, "co2", 10**9)
ABOUT = {
    "kind": "status",
    "box": "lab",
    "board": "sim",
    "version": "1",
    "blocks": 10,
    "overruns": 0,
    "lost_frames": 0,
    "block_mean_ms": 1.0,
    "block_longest_ms": 2.0,
    "mqtt": "connected",
}


def write(directory: Path, clock: FakeClock, pid: int) -> status.StatusFile:
    file = status.StatusFile(directory / "run" / "lab.json", clock, lambda: {**ABOUT, "pid": pid})
    asyncio.run(file.start())
    results: dict[str, Result] = {"lock": LOCK, "co2": CO2}
    tick = Tick(0, 10**9, clock.utc_ns(), (), (), (), Snapshot(results, {"high": ALERT}))
    file.offer(tick, Outcome((), {"laser": "on"}))
    return file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    clock = FakeClock()
    file = write(tmp_path, clock, os.getpid())
    clock.advance(2.0)
    (found,) = status.read(tmp_path / "run", clock.utc_ns())
    assert found["age_s"] == 2.0
    assert found["outputs"] == {"laser": "on"}
    assert {result["node"]: result.get("ppm") for result in found["results"]} == {"lock": None, "co2": 412.0}
    text = status.described(found)
    assert "co2: 412.00 ± 1.00 ppm" in text
    assert "WARNING high" in text
    assert "laser on" in text
    asyncio.run(file.close())
    assert status.read(tmp_path / "run", clock.utc_ns()) == []


def test_a_value_that_is_stale_is_not_shown(tmp_path: Path) -> None:
    tick = Tick(0, 4 * 10**9, None, (), (), (), Snapshot({"lock": LOCK, "co2": CO2}, {}))
    told = status.told({**ABOUT, "pid": 1}, tick, Outcome(), 0)
    lock, co2 = told["results"]
    assert (lock["stale"], lock["age_s"], lock["in_phase"]) == (True, 3.0, 0.1)
    assert (co2["stale"], co2["age_s"], co2["ppm"], co2["valid"], co2["flags"]) == (True, 3.0, None, False, ["stale"])
    assert "co2: no value  INVALID  [stale]" in status.described({**told, "age_s": 0.0})


def test_a_gateway_that_hangs_is_told(tmp_path: Path) -> None:
    clock = FakeClock()
    write(tmp_path, clock, os.getpid())
    clock.advance(60.0)
    assert "HANGS: nothing new for 60 s" in status.described(status.read(tmp_path / "run", clock.utc_ns())[0])


def test_it_is_renewed_once_a_second(tmp_path: Path) -> None:
    clock = FakeClock()
    file = write(tmp_path, clock, os.getpid())
    path = tmp_path / "run" / "lab.json"
    path.write_text("{}")
    empty = Tick(1, 10**9, None, (), (), (), Snapshot())
    clock.advance(0.5)
    file.offer(empty, Outcome())
    assert path.read_text() == "{}"
    clock.advance(0.5)
    file.offer(empty, Outcome())
    assert json.loads(path.read_text())["box"] == "lab"


def test_what_a_crash_left_is_no_gateway(tmp_path: Path) -> None:
    clock = FakeClock()
    write(tmp_path, clock, 2**22 + 5)  # beyond the kernel's largest process number
    (tmp_path / "run" / "half.json").write_text("{")
    assert status.read(tmp_path / "run", clock.utc_ns()) == []
    assert status.read(tmp_path / "nowhere", clock.utc_ns()) == []


def test_the_climate_is_told_with_its_sensors_and_their_ages() -> None:
    told = {
        "temperature_c": {"value": 23.45, "from": "iio bme280", "age_s": 2.2},
        "pressure_pa": {"value": 95000.0, "from": "configuration", "age_s": 0.0},
        "sensors": [{"sensor": "iio bme280", "problem": "", "failures": 0}],
    }
    bare = {**ABOUT, "pid": 1, "age_s": 0.0, "results": [], "alerts": [], "outputs": {}}
    text = status.described({**bare, "climate": told})
    assert "  climate: 23.45 °C (iio bme280, 2 s old), 95000 Pa (configuration)\n" in text
    missing = {"sensors": [{"sensor": "w1 28", "problem": "w1 28 is not there", "failures": 3}]}
    assert "  climate: not known. w1 28 is not there\n" in status.described({**bare, "climate": missing})
    assert "climate" not in status.described({**bare, "climate": {}})


def test_safe_mode_and_what_is_set_by_hand_are_told() -> None:
    bare = {**ABOUT, "pid": 1, "age_s": 0.0, "results": [], "alerts": [], "outputs": {}}
    plain = status.described({**bare, "safe_mode": "", "set_by_hand": {}})
    assert "SAFE MODE" not in plain
    assert "by hand" not in plain
    hand = {"threshold/high": {"value": 900.0, "configured": 1000.0}}
    text = status.described({**bare, "safe_mode": "it has crashed 3 times", "set_by_hand": hand})
    assert "  SAFE MODE: it has crashed 3 times. Laser dark, relays safe, no scripts, until it is told normal" in text
    assert "  threshold/high is 900, set by hand; the configuration says 1000\n" in text


def test_the_modbus_server_is_told_where_there_is_one() -> None:
    bare = {**ABOUT, "pid": 1, "age_s": 0.0, "results": [], "alerts": [], "outputs": {}}
    assert "modbus" not in status.described({**bare, "modbus": {}})
    well = {"listen": "0.0.0.0", "port": 502, "problem": "", "clients": 2, "requests": 9, "refused": 1}
    told = status.described({**bare, "modbus": well})
    assert "  modbus: port 502, 2 clients, 9 requests, 1 refused\n" in told
    ill = {**well, "problem": "Modbus cannot listen on 0.0.0.0 port 502: Permission denied. Trying again"}
    assert "  modbus: Modbus cannot listen on 0.0.0.0 port 502" in status.described({**bare, "modbus": ill})


def test_what_scripts_lack_is_told_once_they_run(tmp_path: Path) -> None:
    clock = FakeClock()
    write(tmp_path, clock, os.getpid())
    (found,) = status.read(tmp_path / "run", clock.utc_ns())
    scripts: dict[str, Any] = {"isolation": None, "lacking": []}
    assert "scripts" not in status.described({**found, "scripts": scripts})
    scripts = {"isolation": "B", "lacking": ["Landlock: not in this kernel", "no memory cgroup: not delegated"]}
    text = status.described({**found, "scripts": scripts})
    said = "  scripts: isolation B\n    Landlock: not in this kernel\n    no memory cgroup: not delegated\n"
    assert said in text


def test_how_the_box_fares_is_told_once_it_is_known() -> None:
    bare = {**ABOUT, "pid": 1, "age_s": 0.0, "results": [], "alerts": [], "outputs": {}}
    assert "machine" not in status.described({**bare, "health": {}})
    assert "  machine: load 0.42\n" in status.described({**bare, "health": {"load": 0.42}})


def test_what_the_broker_lacks_is_told_when_it_is_worth_a_line(tmp_path: Path) -> None:
    write(tmp_path, FakeClock(), os.getpid())
    (found,) = status.read(tmp_path / "run", FakeClock().utc_ns())
    well = {"queue_depth": 3, "queue_age_s": 2.5, "missed": 0, "delivered": 9, "problem": ""}
    assert "history" not in status.described({**found, "history": well})
    behind = {**well, "queue_depth": 500, "queue_age_s": 3600.4, "missed": 7, "problem": "It is refused"}
    words = (
        "history: 500 rows wait for the broker, the oldest for 3600 s, 7 were thinned or dropped before. It is refused"
    )
    assert words in status.described({**found, "history": behind})
