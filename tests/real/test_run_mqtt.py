"""`spectrophone run` at a broker that keeps a topic from it: the log, the status and the doctor name it; and the box's
health, as it is published and shown.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.real.gateway import command, gateway
from tests.real.mosquitto import Mosquitto, listening

ROOT = "spectrophone/lab"
REFUSED = f"refuses {ROOT}/relay/fan: not authorized. Allow user box to write {ROOT}/# in its access list"


def test_a_refused_topic_is_named_in_log_status_and_doctor(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"user box\ntopic readwrite #\ntopic deny {ROOT}/relay/fan\n")
    rules.chmod(0o600)
    with Mosquitto(tmp_path, f"acl_file {rules}", users={"box": "open sesame"}) as broker:
        file = tmp_path / "lab.yaml"
        mqtt = f"{{host: 127.0.0.1, port: {broker.port}, username: box, password: open sesame}}"
        file.write_text(f"board: sim\nbox: {{id: lab}}\nmqtt: {mqtt}\n")
        with gateway(tmp_path, "run", "--config", str(file)) as box:
            said = box.wait(lambda: [line for line in box.errors if REFUSED in line], "the log")
            assert len(said) == 1
            box.wait(lambda: REFUSED in command(tmp_path, "status").stdout, "the status")
            doctor = command(tmp_path, "doctor", "--config", str(file), "--json").stdout
            found = {check["name"]: check for line in doctor.splitlines() if "name" in (check := json.loads(line))}
            assert REFUSED.split(". ")[0] in found["gateway"]["found"]
            assert box.stop() == 0


def test_health_is_published_and_shown(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, listening(broker.port, f"{ROOT}/health") as ear:
        file = tmp_path / "lab.yaml"
        file.write_text(f"board: sim\nbox: {{id: lab}}\nmqtt: {{host: 127.0.0.1, port: {broker.port}}}\n")
        with gateway(tmp_path, "run", "--config", str(file)) as box:
            health = json.loads(box.wait(lambda: ear.payload(f"{ROOT}/health"), "health"))
            shown = json.loads(command(tmp_path, "status", "--json").stdout)["health"]
            assert "% of memory used" in command(tmp_path, "status").stdout
            assert box.stop() == 0
    assert health.pop("reconnects") == 0
    assert health == shown
    assert 0 < health["memory_percent"] < 100
    assert (health["last_calibration"], health["disk_read_only"]) == (None, False)
