"""How a play is run on the guests, and what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.image.role.guests import Guest

PROJECT = Path(__file__).parents[3]
ANSIBLE = PROJECT / "ansible"
CONFIGURATION = """\
box:
  id: {{ inventory_hostname }}
board: sim
mqtt:
  host: {{ 'localhost' if spectrophone_broker else '192.0.2.1' }}
  username: {{ inventory_hostname }}
  password: !secret mqtt_password
  tls: {{ '{ca: /etc/spectrophone/broker.pem}' if spectrophone_broker else '{}' }}
"""
LISTEN = """
import json, sys, time
import paho.mqtt.client as mqtt
host, port, authority, user, password, topic, message = sys.argv[1:]
heard = []
def connected(client, data, flags, code, properties):
    heard.append(str(code))
    client.subscribe("spectrophone/#")
    if message:
        client.publish(topic, message)
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.username_pw_set(user, password)
client.tls_set(authority)
client.on_connect = connected
client.on_message = lambda client, data, message: heard.append(message.topic)
client.connect(host, int(port))
client.loop_start()
time.sleep(6)
print(json.dumps(heard))
"""


def wheel(directory: Path) -> Path:
    """The wheel of this checkout."""
    directory.mkdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    return next(directory.glob("*.whl"))


def changed(old: Path, directory: Path, name: str, line: str) -> Path:
    """The same wheel with another `line` at the end of one of its modules: one of the same version that is another."""
    directory.mkdir()
    new = directory / old.name
    with zipfile.ZipFile(old) as source, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            target.writestr(item, source.read(item) + (line.encode() if item.filename == name else b""))
    return new


class Proof:
    """The two boxes, how a play is run on them, and what came of it."""

    def __init__(self, python: Path, boxes: dict[str, Guest], work: Path, log: Path) -> None:
        """`python` has Ansible; what plays say is written below `log`."""
        self.failures = 0
        self._python, self._work, self._log = python, work, log
        self._plays = 0
        hosts: dict[str, Any] = {
            name: {"ansible_host": "127.0.0.1", "ansible_port": box.ports[22]} for name, box in boxes.items()
        }
        hosts["box-1"]["spectrophone_broker"] = True
        key = str(next(iter(boxes.values())).key)
        inventory: dict[str, Any] = {"canary": {"hosts": {"box-1": hosts.pop("box-1")}}, "boxes": {"hosts": hosts}}
        inventory["boxes"] |= {
            "children": {"canary": {}},
            "vars": {"ansible_user": "pi", "ansible_ssh_private_key_file": key},
        }
        (work / "inventory.json").write_text(json.dumps(inventory))
        (work / "password").write_text("example\n")

    def play(self, book: str, *options: str, **variables: object) -> tuple[int, str]:
        """Run a play; its exit status, and what it said."""
        self._plays += 1
        wheels = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/var/cache/wheels"}
        given: dict[str, Any] = {"spectrophone_configuration": CONFIGURATION, "spectrophone_board": "rpi4-codec-zero"}
        given |= {"spectrophone_secrets": {"mqtt_password": "{{ vault_mqtt_passwords[inventory_hostname] }}"}}
        given |= {"spectrophone_broker_passwords": "{{ vault_mqtt_passwords }}", "spectrophone_pip_environment": wheels}
        given |= {"spectrophone_patience_s": 40, "spectrophone_hold_s": 10, **variables}
        (self._work / "variables.json").write_text(json.dumps(given))
        command = [
            str(self._python),
            "-m",
            "ansible",
            "playbook",
            "-i",
            str(self._work / "inventory.json"),
            book,
            *options,
        ]
        command += ["-e", "@inventory/group_vars/boxes/vault.yml", "-e", f"@{self._work}/variables.json"]
        command += ["--vault-password-file", str(self._work / "password")]
        environment = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_HOME": str(self._work)}
        said = self._log / f"play-{self._plays}.log"
        with said.open("wb") as log:
            code = subprocess.run(
                command, cwd=ANSIBLE, env=os.environ | environment, stdout=log, stderr=log, check=False
            ).returncode
        return code, said.read_text()

    def note(self, what: str) -> None:
        """A line of what was seen."""
        print(f"     {what}", flush=True)

    @contextlib.contextmanager
    def told(self, what: str) -> Iterator[None]:
        """A line for a block: that all in it held, or what did not."""
        begin = time.monotonic()
        try:
            yield
        except (AssertionError, subprocess.SubprocessError, OSError, LookupError, ValueError) as error:
            self.failures += 1
            where = traceback.extract_tb(error.__traceback__)[1]
            print(f"FAIL {what}: {where.line}: {' '.join(str(error).split())[:1000]}", flush=True)
        else:
            print(f"ok   {what} ({time.monotonic() - begin:.0f} s)", flush=True)


def counts(said: str) -> dict[str, tuple[int, int]]:
    """How many tasks changed something, and how many failed, by host."""
    found = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=\d+ +failed=(\d+)", said, re.MULTILINE)
    return {host: (int(changes), int(faults)) for host, changes, faults in found}


def sentence(said: str) -> str:
    """What the play ended with."""
    found = re.findall(r'"msg": "(box-.*?)"\n?', said) + re.findall(
        r"^\[ERROR\]: Task failed: (?:Action failed: )?(.*)", said, re.M
    )
    return found[-1].replace('\\"', '"') if found else ""


def release(box: Guest) -> str:
    """Which release a box runs."""
    return box.ssh("basename $(readlink /opt/spectrophone/current)")


def measures(box: Guest) -> str:
    """The first line of its value."""
    said = box.ssh("/opt/spectrophone/current/bin/spectrophone status")
    found = re.search(r"co2?.*ppm|\S+: [\d.]+ ± [\d.]+ ppm", said)
    assert found, said
    assert "INVALID" not in said, said
    return found[0]


def heard(box: Guest, authority: Path, password: str, topic: str = "", message: str = "") -> list[str]:
    """What a client outside hears of the box's broker: how the connection went, then topics."""
    command = [sys.executable, "-W", "ignore", "-c", LISTEN, "127.0.0.1", str(box.ports[8883]), str(authority)]
    ran = subprocess.run([*command, "home", password, topic, message], capture_output=True, text=True, check=True)
    return list(json.loads(ran.stdout))
