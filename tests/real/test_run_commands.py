"""`spectrophone run` is told what to do over MQTT, and answers each time: done or refused, and why; what it shows is
what it reads back.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.life import CRASHES
from tests.real.gateway import Running, command, gateway
from tests.real.mosquitto import Listener, Mosquitto, listening

ROOT = "spectrophone/lab"
CONFIG = """\
box: {{id: lab}}
board: sim
mqtt: {{host: 127.0.0.1, port: {port}}}
processing:
  default_graph:
    nodes:
      - {{id: input, type: input}}
      - {{id: differential, type: differential}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: 0.2}}}}
      - {{id: co2, type: concentration, parameters: {{source: lock, polynomial_coefficients: [0, 41000]}}}}
rules:
  - {{name: high, when: co2 above 1000, hysteresis: 1, do: [relay fan on]}}
"""
SUPERVISED = {**os.environ, "NOTIFY_SOCKET": "@nobody listens"}


class Far:
    """Somebody far away who has nothing but a broker."""

    def __init__(self, box: Running, ear: Listener) -> None:
        self.box, self.ear = box, ear
        self._asked = 0

    def shown(self, target: str) -> str:
        return (self.ear.payload(f"{ROOT}/{target}") or b"").decode()

    def sees(self, target: str, state: str) -> None:
        self.box.wait(lambda: self.shown(target) == state, f"{target} {state}, not {self.shown(target)}")

    def says(self, target: str, wish: str, retain: bool = False) -> dict[str, Any]:
        """Tell it; the answer that came on the topic named for it, which is that on the result topic."""
        self._asked += 1
        own, token = f"far/answer/{self._asked}", f"token {self._asked}".encode()
        before = len(self.ear.messages)
        self.ear.publish(f"{ROOT}/{target}/set", wish, retain, ResponseTopic=own, CorrelationData=token)
        message = self.box.wait(lambda: self.ear.newest(own), f"an answer to {target} {wish}")
        assert message.properties.CorrelationData == token
        came = [bytes(m.payload) for m in self.ear.messages[before:] if m.topic == f"{ROOT}/result"]
        assert bytes(message.payload) in came
        answer: dict[str, Any] = json.loads(message.payload)
        assert answer["target"] == target
        return answer


@contextmanager
def far(directory: Path, broker: Mosquitto, environ: dict[str, str] | None = None, text: str = CONFIG) -> Iterator[Far]:
    config = directory / "lab.yaml"
    config.write_text(text.format(port=broker.port))
    with (
        listening(broker.port) as ear,
        gateway(directory, "run", "--config", str(config), environ=environ or dict(os.environ)) as box,
    ):
        person = Far(box, ear)
        person.sees("laser", "ON")
        yield person
    assert not any("Traceback" in line for line in box.errors)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


def test_numbers_are_set_and_read_back_and_nothing_retained_acts(tmp_path: Path, broker: Mosquitto) -> None:
    with far(tmp_path, broker) as person:
        person.sees("threshold/high", "1000")
        person.sees("integration/lock", "0.2")
        retained = person.says("threshold/high", "6", retain=True)
        assert (retained["done"], retained["reason"]) == (
            False,
            "a retained command never acts. Publish it without the retain flag",
        )
        person.ear.publish(f"{ROOT}/threshold/high/set", b"", retain=True)
        refused = person.says("integration/lock", "1000")
        assert (refused["done"], refused["state"]) == (False, "0.2")
        assert refused["reason"] == "integration/lock cannot be 1000 s. It may be 0.1 to 15 s"
        assert not person.says("threshold/high", "high")["done"]
        assert person.shown("threshold/high") == "1000", "nothing of all this has acted"
        answer = person.says("threshold/high", "5")
        assert answer["done"]
        assert "it holds from the next record on" in answer["reason"]
        person.sees("threshold/high", "5")
        person.sees("relay/fan", "ON")
        assert person.says("integration/lock", "0.5")["done"]
        person.sees("integration/lock", "0.5")
        person.box.wait(
            lambda: json.loads(person.ear.payload(f"{ROOT}/signal/lock") or b"{}").get("integration_s") == 0.5,
            "a record of half a second",
        )
        config = tmp_path / "lab.yaml"
        config.write_text(config.read_text().replace("above 1000", "above 2000"))
        person.sees("threshold/high", "2000")
        assert person.shown("integration/lock") == "0.5", "of which the file has said nothing"
        person.sees("relay/fan", "OFF")
        assert person.box.stop() == 0


def test_a_sweep_is_told_as_it_goes_and_no_value_counts_meanwhile(tmp_path: Path, broker: Mosquitto) -> None:
    with far(tmp_path, broker) as person:
        person.sees("sweep", "idle")
        assert person.says("sweep", "cancel")["reason"] == "there is no sweep to cancel"
        assert person.says("sweep", "sweep")["done"]

        def measured() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(person.ear.payload(f"{ROOT}/measurement/co2") or b"{}")
            return found

        person.box.wait(lambda: "sweeping" in measured().get("flags", ()), "a flag")
        assert (measured()["value"], measured()["valid"]) == (None, False)
        person.box.wait(lambda: person.shown("sweep").startswith("done: f0 "), "the resonance")
        assert (tmp_path / "lab.sweep.json").exists()
        person.box.wait(lambda: measured()["valid"], "a value that counts again")
        assert person.box.stop() == 0


def test_safe_mode_is_dark_until_it_is_over_and_the_laser_told_to_be_on(tmp_path: Path, broker: Mosquitto) -> None:
    with far(tmp_path, broker) as person:
        assert person.says("identify", "identify")["state"] == "identify"
        assert person.says("relay/fan", "ON")["done"]
        person.sees("relay/fan", "ON")
        assert person.says("gateway", "safe_mode")["state"] == "safe mode"
        person.sees("laser", "OFF")
        person.sees("relay/fan", "OFF")
        person.box.wait(lambda: "SAFE MODE: told by mqtt. " in command(tmp_path, "status").stdout, "it in the status")
        for target in ("laser", "relay/fan"):
            answer = person.says(target, "ON")
            assert not answer["done"]
            assert "the gateway is in safe mode: told by mqtt" in answer["reason"]
        over = person.says("gateway", "normal")
        assert (over["done"], over["state"], over["reason"]) == (
            True,
            "running",
            "the laser stays dark until it is told to be on",
        )
        person.box.wait(lambda: person.says("laser", "ON")["done"], "light")
        person.sees("laser", "ON")
        refused = person.says("gateway", "restart")
        assert (refused["done"], "nobody would start the gateway again" in refused["reason"]) == (False, True)


SCRIPT = """
class Counting(CustomPythonAction):
    def on_update(self, data):
        return 1
"""
NODE = """\
      - {{id: counting, type: python_action, parameters: {{monitored_nodes: [co2], python_script_path: {file},
                                                          python_class_name: Counting}}}}
rules:
"""


def test_no_script_runs_in_safe_mode(tmp_path: Path, broker: Mosquitto) -> None:
    file = tmp_path / "counting.py"
    file.write_text(SCRIPT)
    text = CONFIG.replace("rules:\n", NODE.replace("{file}", str(file)))

    def scripts() -> list[int]:
        """How much was delivered to each, as the status has it."""
        return [action["delivered"] for action in json.loads((tmp_path / "lab.json").read_text())["actions"]]

    with far(tmp_path, broker, text=text) as person:
        person.box.wait(lambda: scripts() and scripts()[0] > 0, "the script at work")
        assert person.says("gateway", "safe_mode")["done"]
        person.box.wait(lambda: scripts() == [], "the end of the script")
        assert person.says("gateway", "normal")["done"]
        person.box.wait(lambda: person.says("laser", "ON")["done"], "light")
        person.box.wait(lambda: scripts() and scripts()[0] > 0, "the script at work again")
        assert person.box.stop() == 0


def test_a_restart_is_answered_and_leaves_the_outputs_safe(tmp_path: Path, broker: Mosquitto) -> None:
    with far(tmp_path, broker, SUPERVISED) as person:
        assert person.says("gateway", "restart")["done"]
        assert person.box.ended() == 75
        assert person.shown("laser") == "OFF"
        assert person.shown("status") == "offline"
        assert "spectrophone: told to begin anew" in person.box.errors


def test_three_crashes_lead_to_safe_mode_and_a_restart_out_of_it(tmp_path: Path, broker: Mosquitto) -> None:
    for _ in range(CRASHES):
        with far(tmp_path, broker, SUPERVISED) as person:
            person.box.stop(signal.SIGKILL)
            person.ear.publish(f"{ROOT}/laser", b"", retain=True)
    config = tmp_path / "lab.yaml"
    with listening(broker.port) as ear, gateway(tmp_path, "run", "--config", str(config), environ=SUPERVISED) as box:
        person = Far(box, ear)
        box.wait(
            lambda: any("safe mode: it has crashed 3 times" in line for line in box.errors), "safe mode in the log"
        )
        person.sees("laser", "OFF")
        assert "it has crashed 3 times" in person.says("laser", "ON")["reason"]
        assert person.says("gateway", "restart")["done"]
        assert box.ended() == 75
    with far(tmp_path, broker) as person:
        assert person.box.stop() == 0
