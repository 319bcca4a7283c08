"""The doctor at real parts: a mosquitto that is well and one of each fault, a paced sound device, a running gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway import configured
from gateway.clock import RealClock
from gateway.detect import detect
from gateway.doctor import network
from gateway.doctor.checks import CHECKS
from gateway.doctor.finding import Said
from gateway.doctor.place import Place
from tests.real.mosquitto import HOST, Mosquitto, free_port, listening, tls_lines
from tests.real.paced_alsa import feed, paced_device
from tests.servers.authority import Authority

RATE_HZ = 48_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def visited(directory: Path, port: int, *, host: str = HOST, **options: Any) -> Said:
    """What the doctor says of the broker at `port`."""
    mqtt = {"host": host, "port": port, **options}
    file = directory / "gateway.yaml"
    file.write_text(json.dumps({"board": "sim", "box": {"id": "box1"}, "mqtt": mqtt}, default=str))
    checked = configured.prepare(file, {})
    assert checked.faults == ()
    return network.broker(Place(file, checked, detect(), RealClock(), {}))


def missing(said: Said, found: str, remedy: str) -> None:
    """It is to be mended, and told in these words."""
    assert said.state == "missing", said
    assert found in said.found
    assert remedy in said.remedy


@pytest.mark.parametrize(("protocol", "words"), [("auto", "with MQTT 5, "), ("3.1.1", "with MQTT 3.1.1, ")])
def test_a_broker_that_is_well_and_nobody_hears_of_the_visit(tmp_path: Path, protocol: str, words: str) -> None:
    with Mosquitto(tmp_path) as broker, listening(broker.port, "#") as listener:
        said = visited(tmp_path, broker.port, protocol=protocol)
        listener.publish("end", b"")
        heard = {message.topic for message in listener.messages if message.payload or message.retain}
    assert said.state == "ok", said
    assert words in said.found
    assert heard == set(), "nothing is said, and nothing kept"


def test_nobody_listens_and_nobody_is_of_that_name(tmp_path: Path) -> None:
    missing(visited(tmp_path, free_port()), "no MQTT broker listens at", "mqtt.port")
    missing(visited(tmp_path, 1883, host="no.such.name.invalid"), "no.such.name.invalid is not known", "mqtt.host")


def test_login(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, users={"box": "sesame"}) as broker:
        said = visited(tmp_path, broker.port, username="box", password="sesame")
        assert (said.state, "as user box" in said.found) == ("ok", True)
        wrong = visited(tmp_path, broker.port, username="box", password="sesame street")
        missing(wrong, "refused user box: not authorized", "mqtt.password")
        assert "street" not in repr(wrong)
        missing(visited(tmp_path, broker.port), "refused a box without user name", "mqtt.username")


@pytest.mark.parametrize(
    ("protocol", "rule", "found", "remedy"),
    [
        ("5", "readwrite else/#", "drops what is published below spectrophone/box1: not authorized", "access list"),
        ("3.1.1", "readwrite else/#", "MQTT 3.1.1 does not tell which", "read and write spectrophone/box1/#"),
        ("5", "write #", "gives us no commands: what is sent to", "user box to read spectrophone/box1/#"),
    ],
)
def test_an_access_list_that_leaves_us_out(tmp_path: Path, protocol: str, rule: str, found: str, remedy: str) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"user box\ntopic {rule}\n")
    rules.chmod(0o600)
    with Mosquitto(tmp_path, f"acl_file {rules}", users={"box": "sesame"}) as broker:
        missing(visited(tmp_path, broker.port, username="box", password="sesame", protocol=protocol), found, remedy)


def test_certificates(tmp_path: Path, authority: Authority) -> None:
    other = Authority(tmp_path / "other", "Somebody else")
    with Mosquitto(tmp_path, *tls_lines(authority)) as broker:
        said = visited(tmp_path, broker.port, tls={"ca": authority.file})
        assert said.state == "warning", "it is good for two days more"
        assert "TLSv1.3" in said.found
        assert said.found.endswith("its certificate ends in 2 days")
        missing(
            visited(tmp_path, broker.port, tls={"ca": other.file}), "not signed by an authority known", "mqtt.tls.ca"
        )
        missing(visited(tmp_path, broker.port, tls={}), "not signed by an authority known here", "mqtt.tls.ca")
        missing(visited(tmp_path, broker.port), "closed the connection without an answer", "mqtt.tls")


def test_a_certificate_for_another_name(tmp_path: Path, authority: Authority) -> None:
    with Mosquitto(tmp_path, *tls_lines(authority, "broker.lan")) as broker:
        said = visited(tmp_path, broker.port, tls={"ca": authority.file})
        missing(said, "is for another name", "mqtt.tls.server_name")


def test_a_certificate_that_has_expired(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue("old", days=-1)
    lines = [f"cafile {authority.file}", f"certfile {certificate}", f"keyfile {key}"]
    with Mosquitto(tmp_path, *lines) as broker:
        missing(visited(tmp_path, broker.port, tls={"ca": authority.file}), "has expired", "this box's clock")


def test_a_certificate_that_the_broker_wants(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue("box1")
    with Mosquitto(tmp_path, *tls_lines(authority), "require_certificate true") as broker:
        said = visited(tmp_path, broker.port, tls={"ca": authority.file})
        missing(said, "closed the connection without an answer", "mqtt.tls.certificate")
        tls = {"ca": authority.file, "certificate": certificate, "key": key}
        assert visited(tmp_path, broker.port, tls=tls).state == "warning"


def doctored(directory: Path, text: str, environment: dict[str, str] | None = None) -> dict[str, dict[str, str]]:
    """The command's findings by name, from a process of its own."""
    file = directory / "box.yaml"
    file.write_text(text)
    command = [sys.executable, "-m", "gateway", "doctor", "--config", str(file), "--json"]
    own = {"STATE_DIRECTORY": str(directory), "RUNTIME_DIRECTORY": str(directory)}
    done = subprocess.run(command, env={**os.environ, **(environment or {}), **own}, capture_output=True, text=True)
    assert done.stderr == ""
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == int(objects[-1]["missing"] > 0)
    assert [each["name"] for each in objects[:-1]] == [check.name for check in CHECKS]
    return {each["name"]: each for each in objects[:-1]}


def sound(amplitudes: Sequence[float]) -> bytes:
    """A second of 1 kHz, S16_LE."""
    tone = np.sin(2 * np.pi * np.arange(RATE_HZ) / 48)
    return bytes(np.rint(np.outer(tone, amplitudes) * 32767).astype("<i2").tobytes())


@pytest.mark.parametrize(
    ("amplitudes", "state", "words"),
    [
        ((0.1, 0.01), "ok", "A -23 dBFS, B -43 dBFS"),
        ((0.1, 0.0), "missing", "channel B gives digital silence"),
        ((1.0, 0.5), "warning", "the sound clips"),
    ],
)
def test_a_device_is_heard(tmp_path: Path, amplitudes: tuple[float, float], state: str, words: str) -> None:
    with paced_device(tmp_path) as paced, feed(paced, sound(amplitudes)):
        text = f"board: sim\nacquisition: {{device: {paced.device}, format: S16_LE}}\n"
        said = doctored(tmp_path, text, paced.environment)["microphone"]
    assert said["state"] == state, said
    assert words in said["found"]


def test_a_device_that_there_is_not(tmp_path: Path) -> None:
    said = doctored(tmp_path, "board: sim\nacquisition: {device: nowhere}\n")["microphone"]
    assert (said["state"], said["found"][:33]) == ("missing", "microphone nowhere cannot be open")


def test_a_running_gateway(tmp_path: Path) -> None:
    """It is told how it fares; the journal is read while it writes it."""
    text = "board: sim\nbox: {id: lab}\njournal: {commit_s: 0.2}\n"
    (tmp_path / "box.yaml").write_text(text)
    own = {**os.environ, "STATE_DIRECTORY": str(tmp_path), "RUNTIME_DIRECTORY": str(tmp_path)}
    command = [sys.executable, "-m", "gateway", "run", "--config", str(tmp_path / "box.yaml"), "--json"]
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        measured = 0
        while measured < 2:
            measured += json.loads(running.stdout.readline())["kind"] == "measurement"
        found = doctored(tmp_path, text)
        running.terminate()
        running.stdout.read()
    assert found["gateway"]["found"].startswith(f"lab on sim, process {running.pid}, ")
    assert "newest measurement of 20" in found["journal"]["found"]
    after = doctored(tmp_path, text)
    assert after["gateway"]["state"] == "not needed"
    assert after["journal"]["state"] == "ok"
