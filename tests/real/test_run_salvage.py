"""A gateway whose configuration has a fault: it comes up with the rest of it, dark, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.real.gateway import command, gateway
from tests.real.mosquitto import Listener, Mosquitto, listening
from tests.real.test_run_commands import SUPERVISED

FAULTY = "box: {{id: lab}}\nmqtt: {{host: 127.0.0.1, port: {port}}}\nlaser: {{start: 'on', colour: green}}\n"
WRONG = "laser.colour: unknown option 'colour'"


def problem(ear: Listener) -> dict[str, Any]:
    payload = ear.payload("spectrophone/lab/problem")
    return json.loads(payload) if payload else {"state": "OFF"}


def test_the_rest_runs_without_light_and_a_mended_file_begins_it_anew(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    with Mosquitto(tmp_path) as broker, listening(broker.port, "spectrophone/#") as ear:
        file.write_text(FAULTY.format(port=broker.port))
        assert command(tmp_path, "check", str(file)).returncode == 2
        with gateway(tmp_path, "run", "--config", str(file), "--salvage", environ=SUPERVISED) as box:
            box.wait(lambda: problem(ear)["state"] == "ON", "the problem over MQTT")
            assert any(WRONG in reason for reason in problem(ear)["reasons"])
            status = json.loads(command(tmp_path, "status", "--json").stdout)
            assert any(WRONG in fault for fault in status["configuration_faults"])
            assert status["outputs"]["laser"] == "off"
            assert WRONG in command(tmp_path, "status").stdout

            ear.publish("spectrophone/lab/laser/set", "ON")
            refused = box.wait(lambda: ear.payload("spectrophone/lab/result"), "an answer")
            assert b"the configuration has a fault" in refused
            file.write_text(FAULTY.format(port=broker.port) + "rules: 5\n")
            box.wait(lambda: any("rules" in reason for reason in problem(ear)["reasons"]), "the other fault")
            assert ear.payload("spectrophone/lab/laser") == b"OFF"

            file.write_text(FAULTY.format(port=broker.port).replace(", colour: green", ""))
            assert box.ended() == 75, box.said()
        with gateway(tmp_path, "run", "--config", str(file), "--salvage", environ=SUPERVISED) as box:
            box.wait(lambda: ear.payload("spectrophone/lab/laser") == b"ON", "light")
            box.wait(lambda: problem(ear)["state"] == "OFF", "no problem")
            assert box.stop() == 0
