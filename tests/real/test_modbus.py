"""Modbus as a control system sees it: mbpoll, which stands on libmodbus, reads from a running box what that prints."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.modbus.registers import ALARM_BIT, BOX, GAS, THRESHOLD
from tests.real.gateway import Running, command, gateway
from tests.real.mosquitto import free_port

RULE = "co2_concentration_above_1000_for_3s"
CONFIG = """\
box: {{id: lab}}
board: sim
cell: {{ppm: 400, seed: 5}}
journal: {{commit_s: 0.2}}
modbus: {{port: {port}, writes: thresholds}}
"""


class Plc:
    """mbpoll against a port."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it once; registers count from 0, 32 bits come high word first."""
        words = ["mbpoll", "-m", "tcp", "-p", str(self.port), "-0", "-B", "-1", "-o", "5"]
        options, _, values = " ".join(arguments).partition(" -- ")
        told = [*words, *options.split(), "127.0.0.1", *(["--", *values.split()] if values else [])]
        return subprocess.run(told, capture_output=True, text=True, timeout=20, check=False)

    def read(self, kind: str, address: int, count: int = 1) -> list[float]:
        """So many values; [] while the box refuses."""
        done = self.ask("-t", kind, "-r", str(address), "-c", str(count))
        found = re.findall(r"^\[(\d+)\]:\s+(\S+)(?: \(-?\d+\))?$", done.stdout, re.MULTILINE)
        return [float(value) for _, value in found]

    def number(self, address: int) -> float:
        """A float32 of the input registers."""
        return self.read("3:float", address)[0]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Plc, Path]]:
    """A box with a Modbus server, and a control system beside it."""
    place, port = tmp_path_factory.mktemp("box"), free_port()
    config = place / "lab.yaml"
    config.write_text(CONFIG.format(port=port))
    with gateway(place, "run", "--json", "--config", str(config)) as running:
        plc = Plc(port)
        running.wait(lambda: plc.read("3:float", GAS.address("value")), "a value over Modbus")
        yield running, plc, place
        assert running.stop() == 0


def test_an_independent_client_reads_what_the_box_prints(box: tuple[Running, Plc, Path]) -> None:
    running, plc, _ = box
    told = plc.read("3:float", GAS.address("value"), 4)
    measurements = running.objects("measurement")
    printed = [[fields[name] for name in ("ppm", "sigma_ppm", "u95_ppm", "lod_ppm")] for fields in measurements]
    assert [values for values in printed if values == pytest.approx(told, rel=2e-6)], (told, printed)
    assert told == plc.read("4:float", GAS.address("value"), 4) or len(running.objects("measurement")) > len(printed)
    assert plc.number(GAS.address("frequency")) == 2012.5
    assert plc.number(BOX.address("pressure")) == 101325.0
    assert 0.0 <= plc.number(GAS.address("age")) < 5.0
    assert plc.read("3", GAS.address("valid")) == [1.0]
    letters = b"".join(int(word).to_bytes(2, "big") for word in plc.read("3", BOX.address("box"), 32))
    assert letters.rstrip(b"\0") == b"lab"


def test_the_heartbeat_goes_on_and_what_is_not_there_is_refused(box: tuple[Running, Plc, Path]) -> None:
    running, plc, _ = box
    (before,) = plc.read("3", BOX.address("heartbeat"))
    running.wait(lambda: plc.read("3", BOX.address("heartbeat"))[0] > before, "a heartbeat")
    assert "Illegal data address" in plc.ask("-t", "3", "-r", "500").stderr
    assert "Illegal function" in plc.ask("-t", "0", "-r", "0", "--", "1").stderr


def test_a_threshold_is_written_the_alarm_follows_and_the_journal_knows_who(box: tuple[Running, Plc, Path]) -> None:
    running, plc, place = box
    value = str(THRESHOLD.address("value"))
    assert plc.read("1", ALARM_BIT) == [0.0]
    assert plc.ask("-t", "4:float", "-r", value, "--", "300.5").returncode == 0
    running.wait(lambda: plc.read("4:float", int(value)) == [300.5], "the threshold read back")
    running.wait(lambda: plc.read("1", ALARM_BIT) == [1.0], "the alarm")
    (alert,) = running.objects("alert")
    assert (alert["rule"], alert["threshold"]) == (RULE, 300.5)
    refused = plc.ask("-t", "4:float", "-r", value, "--", "-5")
    assert "Illegal data value" in refused.stderr
    status = json.loads(command(place, "status", "--json").stdout)
    assert status["set_by_hand"] == {f"threshold/{RULE}": {"value": 300.5, "configured": 1000.0}}
    assert status["modbus"]["refused"] >= 3

    def commands() -> list[dict[str, Any]]:
        done = command(place, "export", "--format", "jsonl", "--kind", "command")
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return [fields for fields in found if fields["origin"] == "modbus:127.0.0.1"]

    asked = running.wait(lambda: len(found := commands()) >= 2 and found, "the commands in the journal")
    assert [fields["done"] for fields in asked] == [True, False]


def test_a_value_is_none_while_the_laser_is_dark(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "lab.yaml"
    config.write_text(CONFIG.format(port=port) + "laser: {start: off}\n")
    plc = Plc(port)
    with gateway(tmp_path, "run", "--json", "--config", str(config)) as running:
        refused = running.wait(lambda: "refused" not in (said := plc.ask("-t", "3", "-r", "0").stderr) and said, "busy")
        assert "Slave device or server is busy" in refused
        running.wait(lambda: plc.read("3", GAS.address("count")), "a measurement")
        assert math.isnan(plc.number(GAS.address("value")))
        assert plc.read("3", GAS.address("valid")) == [0.0]
        assert int(plc.read("3", GAS.address("flags") + 1)[0]) & 16
        assert running.stop() == 0
