"""`spectrophone run` as a user meets it: the demonstration, its broker, its rule, its end, and what goes wrong."""

from __future__ import annotations

import itertools
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.real.gateway import Running, command, eventually, gateway
from tests.real.mosquitto import Listener, Mosquitto, free_port, listening
from tests.real.test_mqtt_broker import running

BOX = "box: {id: lab}\ncell: {ppm: 400, seed: 5}\n"


def port_of(box: Running) -> int:
    """The port that the demonstration tells people to listen on."""
    line = box.wait(lambda: next((line for line in (*box.lines, *box.errors) if "-p " in line), None), "a greeting")
    found = re.search(r"-p (\d+)", line)
    assert found
    return int(found[1])


def value(ear: Listener) -> dict[str, Any] | None:
    """The newest concentration that is a number."""
    payload = next((m.payload for m in reversed(ear.messages) if "/measurement/co2_concentration" in m.topic), None)
    fields: dict[str, Any] | None = json.loads(payload) if payload else None
    return fields if fields and fields["value"] is not None else None


@pytest.mark.parametrize("ppm", [0.0, 5.0, 1000.0])
def test_the_demonstration_measures_what_the_cell_is_set_to(ppm: float, tmp_path: Path) -> None:
    with gateway(tmp_path, "run", "--demo", "--ppm", str(ppm)) as box, listening(port_of(box), "spectrophone/#") as ear:
        fields = box.wait(lambda: value(ear), "a value over MQTT")
        assert abs(fields["value"] - ppm) < 4.5 * fields["sigma"]
        assert fields["sigma"] < 0.2
        assert fields["valid"]
        assert box.stop() == 0


def test_a_new_ppm_is_followed_the_rule_switches_and_the_end_is_safe(tmp_path: Path) -> None:
    with gateway(tmp_path, "run", "--demo", "--ppm", "5") as box, listening(port_of(box), "spectrophone/#") as ear:
        root = next(iter(box.wait(lambda: [m.topic for m in ear.messages if m.topic.endswith("/laser")], "the laser")))
        root = root.removesuffix("/laser")
        box.wait(lambda: value(ear), "a value")
        assert ear.payload(f"{root}/laser") == b"ON"
        ear.publish(f"{root}/cell/set", "1500")
        box.wait(lambda: (v := value(ear)) and abs(v["value"] - 1500) < 4.5 * v["sigma"] < 1.0, "1500 ppm")
        box.wait(lambda: ear.payload(f"{root}/relay/fan") == b"ON", "the fan")
        box.wait(lambda: ear.payload(f"{root}/status") == b"online", "the status")

        def shown() -> dict[str, Any]:
            return json.loads(command(tmp_path, "status", "--json").stdout)  # type: ignore[no-any-return]

        box.wait(lambda: shown()["outputs"]["relay/fan"] == "on", "the fan in the status")
        status = shown()
        assert status["outputs"]["laser"] == "on"
        assert status["lost_frames"] == 0
        child = broker_of(box.process.pid)
        assert child is not None
        assert box.stop() == 0
        assert not running(child)
        ended = [line.split("  ", 1)[1] for line in box.lines[-3:]]
        assert {"laser is off", "relay/fan is off", "led/status is off"} == set(ended)
    assert command(tmp_path, "status").returncode == 1


def broker_of(pid: int) -> int | None:
    """The child process that is a mosquitto."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            if "mosquitto" in Path(f"/proc/{child}/comm").read_text():
                return int(child)
    return None


def test_a_broker_that_dies_costs_no_block_and_gets_everything_again(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    config = tmp_path / "lab.yaml"
    config.write_text(BOX + f"mqtt: {{host: 127.0.0.1, port: {broker.port}}}\n")
    discovery = "homeassistant/device/spectrophone_lab/config"
    with gateway(tmp_path, "run", "--json", "--config", str(config)) as box:
        with broker, listening(broker.port, "spectrophone/#", "homeassistant/#") as ear:
            box.wait(lambda: value(ear), "a value")
        before = len(box.wait(lambda: box.objects("measurement"), "a measurement"))
        box.wait(lambda: len(box.objects("measurement")) >= before + 2, "measurements without a broker")
        with broker, listening(broker.port, "spectrophone/#", "homeassistant/#") as ear:
            box.wait(lambda: value(ear), "a value after the restart")
            box.wait(lambda: ear.payload("spectrophone/lab/status") == b"online", "status after the restart")
            box.wait(lambda: ear.payload(discovery), "discovery after the restart")
            box.wait(lambda: ear.payload("spectrophone/lab/laser") == b"ON", "the laser's state after the restart")
            box.wait(lambda: ear.payload("spectrophone/lab/relay/fan") == b"OFF", "the fan's state after the restart")

            def status() -> dict[str, Any]:
                return json.loads(command(tmp_path, "status", "--json").stdout)  # type: ignore[no-any-return]

            box.wait(lambda: status()["mqtt"] == "connected", "the connection in the status")
            assert status()["lost_frames"] == 0
            assert box.stop(signal.SIGTERM) == 0
            eventually(lambda: ear.payload("spectrophone/lab/laser") == b"OFF", "the laser's end")
            eventually(lambda: ear.payload("spectrophone/lab/status") == b"offline", "goodbye")
        times = [round(m["t_s"], 3) for m in box.objects("measurement")]
    assert [round(after - at, 3) for at, after in itertools.pairwise(times)] == [1.0] * (len(times) - 1)


def test_a_wrong_password_is_told_and_the_measurement_goes_on(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, users={"box": "right"})
    config = tmp_path / "lab.yaml"
    (tmp_path / "secrets.yaml").write_text("broker: wrong-as-can-be\n")
    config.write_text(
        BOX + f"mqtt: {{host: 127.0.0.1, port: {broker.port}, username: box, password: !secret broker}}\n"
    )
    with broker, gateway(tmp_path, "run", "--json", "--config", str(config)) as box:
        box.wait(lambda: any("password" in line for line in box.errors), "a word about the password")
        box.wait(lambda: len(box.objects("measurement")) >= 2, "measurements")
        assert box.stop() == 0
    assert "wrong-as-can-be" not in box.said()
    assert "Traceback" not in box.said()


def test_a_changed_file_is_applied_and_a_faulty_one_is_not(tmp_path: Path) -> None:
    config = tmp_path / "lab.yaml"
    config.write_text(BOX)
    rule = "  - {{name: high, when: co2_concentration above {}, do: [relay fan on]}}\n"
    graph = Path("gateway/config/default.yaml").read_text()
    graph = graph[graph.index("processing:") : graph.index("rules:")]
    with gateway(tmp_path, "run", "--json", "--config", str(config)) as box:
        box.wait(lambda: box.objects("measurement"), "a measurement")
        config.write_text(BOX + graph + "rules:\n" + rule.format("a lot"))
        box.wait(lambda: any("goes on as it was" in line for line in box.errors), "the faults of the file")
        assert any(re.search(r"lab.yaml:\d+:\d+: rules\[0\].when", line) for line in box.errors)
        config.write_text(BOX + graph + "rules:\n" + rule.format(300))
        box.wait(lambda: box.objects("alert"), "the alert of the new rule")
        config.write_text(BOX.replace("lab", "other") + graph + "rules:\n" + rule.format(500))
        box.wait(lambda: [a for a in box.objects("alert") if a["state"] == "cleared"], "the alert cleared")
        box.wait(
            lambda: any("changes of box wait for a restart" in line for line in box.errors), "a word about the box"
        )
        assert box.stop() == 0
    t_s = [m["t_s"] for m in box.objects("measurement")]
    assert len(t_s) == round(t_s[-1] - t_s[0]) + 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("run", "--config", "nowhere.yaml"), 2, "nowhere.yaml"),
        (("run", "--demo", "--ppm", "-1"), 2, "--ppm -1.0"),
        (("run", "--microphone", "file:nowhere.wav"), 2, "nowhere.wav does not exist"),
        (("record", "out.mp3", "--seconds", "1"), 2, "neither .wav nor .flac"),
        (("record", "out.wav", "--seconds", "0"), 2, "--seconds 0"),
        (("status",), 1, "no gateway runs here"),
        (("board", "show", "rpi5-nothing"), 2, "there is no board 'rpi5-nothing'"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(
    arguments: tuple[str, ...], status: int, message: str, tmp_path: Path
) -> None:
    done = command(tmp_path, *arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_record_and_replay_give_the_live_numbers(tmp_path: Path) -> None:
    out = tmp_path / "cell.wav"
    done = command(tmp_path, "record", str(out), "--seconds", "3.2", "--ppm", "123", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lost_frames"] == 0
    replayed = command(tmp_path, "replay", str(out))
    assert replayed.returncode == 0, replayed.stderr
    objects = [json.loads(line) for line in replayed.stdout.splitlines()]
    measurements = [fields for fields in objects if fields["kind"] == "measurement"]
    assert len(measurements) == 3
    assert all(abs(m["ppm"] - 123.0) < 4.5 * m["sigma_ppm"] and m["time"].endswith("Z") for m in measurements)


def test_kill_9_leaves_no_broker(tmp_path: Path) -> None:
    with gateway(tmp_path, "run", "--demo") as box:
        port_of(box)
        child = broker_of(box.process.pid)
        assert child is not None
        box.stop(signal.SIGKILL)
        with gateway(tmp_path, "run", "--demo") as next_box:
            port_of(next_box)
            assert not running(child)
            assert next_box.stop() == 0


def test_an_unreachable_broker_is_told_and_waited_for(tmp_path: Path) -> None:
    config = tmp_path / "lab.yaml"
    config.write_text(BOX + f"mqtt: {{host: 127.0.0.1, port: {free_port()}}}\n")
    with gateway(tmp_path, "run", "--config", str(config)) as box:
        box.wait(lambda: any("mqtt" in line for line in box.errors), "a word about the broker")
        box.wait(lambda: any("±" in line for line in box.lines), "a reading")
        assert box.stop() == 0
