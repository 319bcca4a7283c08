"""`spectrophone run` is calibrated over MQTT by somebody who has nothing but a broker, and remembers what it learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.path.test_calibrator import CONFIG, WRONG
from tests.real.gateway import gateway
from tests.real.mosquitto import Mosquitto, listening

ROOT = "spectrophone/lab"


def test_zero_and_span_over_mqtt(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    config, calibration = tmp_path / "lab.yaml", tmp_path / "co2.toml"
    calibration.write_text(WRONG)
    config.write_text(
        CONFIG.format(integration_s=0.2, file=calibration) + f"mqtt: {{host: 127.0.0.1, port: {broker.port}}}\n"
    )
    with broker, gateway(tmp_path, "run", "--json", "--config", str(config)) as box:
        with listening(broker.port, "spectrophone/#") as ear:

            def state() -> str:
                return (ear.payload(f"{ROOT}/calibration") or b"").decode()

            def answer() -> Any:
                return json.loads(ear.payload(f"{ROOT}/result") or b"{}").get("reason")

            def ppm() -> Any:
                return json.loads(ear.payload(f"{ROOT}/measurement/co2") or b"{}").get("value")

            box.wait(lambda: state() == "idle", "the calibrator")
            box.wait(lambda: ear.payload(f"{ROOT}/measurement/co2"), "a measurement")
            ear.publish(f"{ROOT}/calibration/set", '{"do": "span", "ppm": "much"}')
            box.wait(lambda: answer() == '"ppm" is not a number', "the refusal")
            ear.publish(f"{ROOT}/calibration/set", '{"do": "zero", "seconds": 2}')
            box.wait(lambda: state().startswith("zero ") and state() != "zero 0 %", "progress")
            ear.publish(f"{ROOT}/calibration/set", "zero")
            box.wait(lambda: "a gas is being read already" in (answer() or ""), "the second refusal")
            box.wait(lambda: state().startswith("done: 0 ppm gives "), "the zero")
            ear.publish(f"{ROOT}/cell/set", "1000")
            ear.publish(f"{ROOT}/calibration/set", '{"do": "span", "ppm": 1000, "sigma_ppm": 1, "seconds": 1}')
            box.wait(lambda: state().startswith("done: line, "), "the span")
            ear.publish(f"{ROOT}/cell/set", "700")
            box.wait(lambda: abs((ppm() or 0.0) - 700.0) < 5.0, "700 ppm by the new calibration")
        assert box.stop() == 0
    assert not any("Traceback" in line for line in box.errors)
    with gateway(tmp_path, "run", "--config", str(config)) as again:
        again.wait(lambda: any("taken up what was learnt until" in line for line in again.errors), "the memory")
        assert again.stop() == 0
