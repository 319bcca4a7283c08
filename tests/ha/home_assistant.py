"""A real Home Assistant and a real gateway meet at a real broker: every entity is there, alive, and obeys.

Started by tests/ha/run, inside a network and a mount of its own, as root. Each line printed is a thing that was seen to
happen, with the seconds it took; the first that does not ends the run with exit status 1. Home Assistant's own log is
read as well: it tells only there what it refused of a discovery message.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateway.mqtt.lint import lint
from tests.real.mosquitto import HOST, Listener, Mosquitto, listening

URL = "http://127.0.0.1:8123"
CLIENT = f"{URL}/"
CONFIG = "root/spectrophone"  # Home Assistant's own directory, in the chroot
BOX = """\
box: {{id: ha-test, name: Gas box}}
mqtt: {{host: {host}, port: {port}, expire_s: 10}}
"""
DISCOVERY = "homeassistant/device/spectrophone_ha-test/config"
BROKEN_OFF = re.compile(r"mqtt\.client\] (Error returned|Disconnected|Failed to connect|Unable to connect)")


class Failure(Exception):
    """Something did not happen."""


def wait(what: str, done: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `done` returns once that is true, said on a line; Failure if it stays false for so long."""
    start = time.monotonic()
    seen: object = None
    while time.monotonic() - start < seconds:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            seen = done()
            if seen:
                print(f"ok    {what} ({time.monotonic() - start:.1f} s)", flush=True)
                return seen
        time.sleep(0.1)
    raise Failure(f"{what}: not within {seconds:.0f} s")


class HomeAssistant:
    """Home Assistant in the chroot, with MQTT set up and nothing else."""

    def __init__(self, root: Path, version: str, mqtt_port: int) -> None:
        self._command = ["chroot", str(root), f"/opt/ha-{version}/bin/hass", "-c", f"/{CONFIG}", "--skip-pip"]
        self._directory = root / CONFIG
        self._said = self._directory / "said"
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""
        shutil.rmtree(self._directory, ignore_errors=True)
        (self._directory / ".storage").mkdir(parents=True)
        settings = (
            "homeassistant: {name: test, time_zone: UTC, unit_system: metric}\napi:\nlogger: {default: warning}\n"
        )
        (self._directory / "configuration.yaml").write_text(settings)
        (self._directory / ".storage/core.config_entries").write_text(json.dumps(_entries(mqtt_port)))

    def start(self) -> None:
        """Start it, and return when it runs."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(self._command, env=environment, stdout=said, stderr=said)
        wait("Home Assistant answers", lambda: self._get("/api/onboarding", allowed=(404,)), 180)
        if not self._token:
            self._token = self._sign_up()
        wait("Home Assistant runs", lambda: self._get("/api/config")["state"] == "RUNNING", 180)

    def stop(self) -> None:
        """End it as its own service would, and wait."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def states(self) -> dict[str, dict[str, Any]]:
        """Every entity's state."""
        return {state["entity_id"]: state for state in self._get("/api/states")}

    def state(self, entity: str) -> Any:
        """One entity's state; None if there is no such."""
        return self.states().get(entity, {}).get("state")

    def call(self, service: str, entity: str, **data: Any) -> None:
        """Call a service, such as switch/turn_off."""
        self._post(f"/api/services/{service}", json.dumps({"entity_id": entity, **data}).encode())

    def agrees(self, broken_off: bool = False) -> None:
        """Its log has no warning about us; but for that of a broker gone, if the broker was `broken_off`."""
        lines = self._said.read_text(errors="replace").splitlines()
        loud = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
        ours = [line for line in loud if re.search("mqtt|spectrophone|ha-test", line, re.IGNORECASE)]
        if faults := [line for line in ours if not (broken_off and BROKEN_OFF.search(line))]:
            raise Failure("Home Assistant complains:\n" + "\n".join(faults))
        print("ok    Home Assistant's log has no complaint about MQTT or the box")

    def _sign_up(self) -> str:
        """The first user, as a browser would make it; only this step of the onboarding."""
        user = {"name": "t", "username": "t", "password": "t" * 8, "client_id": CLIENT, "language": "en"}
        code = self._post("/api/onboarding/users", json.dumps(user).encode())["auth_code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": CLIENT}
        token: str = self._post("/auth/token", urllib.parse.urlencode(form).encode(), json_body=False)["access_token"]
        return token

    def _get(self, path: str, allowed: tuple[int, ...] = ()) -> Any:
        try:
            return self._open(urllib.request.Request(URL + path))
        except urllib.error.HTTPError as error:
            if error.code in allowed:
                return True
            raise

    def _post(self, path: str, body: bytes, json_body: bool = True) -> Any:
        kind = "application/json" if json_body else "application/x-www-form-urlencoded"
        return self._open(urllib.request.Request(URL + path, body, {"Content-Type": kind}))

    def _open(self, request: urllib.request.Request) -> Any:
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


def _entries(port: int) -> dict[str, Any]:
    """The stored result of the set-up dialogue of MQTT."""
    told = {"topic": "homeassistant/status", "qos": 0, "retain": False}
    options = {"discovery": True, "discovery_prefix": "homeassistant"}
    options |= {"birth_message": told | {"payload": "online"}, "will_message": told | {"payload": "offline"}}
    entry = {
        "entry_id": "spectrophonetest0000000000000001",
        "version": 1,
        "minor_version": 2,
        "domain": "mqtt",
        "title": HOST,
        "data": {"broker": HOST, "port": port, "protocol": "5"},
        "options": options,
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "source": "user",
        "unique_id": None,
        "disabled_by": None,
    }
    return {"version": 1, "minor_version": 1, "key": "core.config_entries", "data": {"entries": [entry]}}


@contextlib.contextmanager
def gateway(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway on the simulated cell; killed in the end if it still runs."""
    file = directory / "box.yaml"
    file.write_text(BOX.format(host=HOST, port=port))
    command = [sys.executable, "-m", "gateway", "run", "--config", str(file), "--json"]
    with (directory / "gateway.log").open("ab") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Scene:
    """Home Assistant, and what the gateway announced to it."""

    def __init__(self, home: HomeAssistant, ear: Listener) -> None:
        self.home = home
        message = json.loads(wait("discovery is at the broker", lambda: ear.payload(DISCOVERY)))
        if faults := lint(message):
            raise Failure(f"the lint finds {faults}")
        self.components: dict[str, Any] = message["cmps"]

    def entity(self, key: str) -> str:
        """The entity id of a component."""
        name: str = self.components[key]["def_ent_id"]
        return name

    def lacking(self, but: tuple[str, ...] = ()) -> list[str]:
        """Entities that are missing, unavailable, or unknown where something should be known."""
        states = self.home.states()
        shown = {self.entity(k): states.get(self.entity(k), {}).get("state") for k in self.components}
        fine = [e for e, s in shown.items() if s == "unknown" and (e.startswith(("event.", "button.")) or e in but)]
        return [f"{e} is {s}" for e, s in shown.items() if s in (None, "unavailable", "unknown") and e not in fine]

    def all_alive(self, what: str) -> None:
        """Every entity has a state."""
        try:
            wait(what, lambda: not self.lacking(), 60)
        except Failure as failure:
            raise Failure(f"{failure}; {self.lacking()}") from None

    def value(self, key: str) -> float:
        """The number that an entity shows."""
        state = self.home.state(self.entity(key))
        return float("nan") if state in (None, "unavailable", "unknown") else float(state)

    def becomes(self, key: str, state: str, seconds: float = 30) -> None:
        """An entity gets that state."""
        entity = self.entity(key)
        wait(f"{entity} becomes {state}", lambda: self.home.state(entity) == state, seconds)

    def obeys(self, key: str, service: str, state: str, **data: Any) -> None:
        """A service called on an entity leads to that state, read back from the gateway."""
        self.home.call(service, self.entity(key), **data)
        self.becomes(key, state)

    def show(self) -> None:
        """The entities as Home Assistant has them."""
        states = self.home.states()
        for key in self.components:
            state = states[self.entity(key)]
            about = state["attributes"]
            words = [about.get(k, "-") for k in ("unit_of_measurement", "device_class", "friendly_name")]
            print(f"      {self.entity(key)} = {state['state']} | {' | '.join(words)}")

    def units_hold(self) -> None:
        """Units and classes are those announced."""
        states = self.home.states()
        for key, component in self.components.items():
            about = states[self.entity(key)]["attributes"]
            for ours, theirs in (("unit_of_meas", "unit_of_measurement"), ("dev_cla", "device_class")):
                if component.get(ours) != about.get(theirs):
                    raise Failure(f"{self.entity(key)}: {theirs} is {about.get(theirs)}, not {component.get(ours)}")
        print("ok    units and classes are as announced")


def orders(scene: Scene, gas: str, alarm: str) -> None:
    """Home Assistant commands, and the box obeys."""
    scene.obeys("laser", "switch/turn_off", "off")
    wait("without the laser there is no value", lambda: scene.value(gas) != scene.value(gas))
    scene.becomes("problem", "on")
    scene.obeys("laser", "switch/turn_on", "on")
    wait("with the laser there is one again", lambda: abs(scene.value(gas) - 400) < 40)
    scene.obeys("relay_valve", "switch/turn_on", "on")
    scene.obeys("led_status", "light/turn_on", "on", effect="cyan")
    effect = "the light has its effect"
    wait(effect, lambda: scene.home.states()[scene.entity("led_status")]["attributes"].get("effect") == "cyan")
    scene.obeys("led_status", "light/turn_off", "off")
    scene.obeys("cell", "number/set_value", "1200.0", value=1200)
    wait("the concentration follows", lambda: abs(scene.value(gas) - 1200) < 60)
    scene.becomes(alarm, "on")
    scene.becomes("relay_fan", "on")
    wait("the alarm is an event", lambda: scene.home.state(scene.entity("alarm")) not in (None, "unknown"))
    scene.obeys("cell", "number/set_value", "400.0", value=400)
    scene.becomes(alarm, "off")
    scene.becomes("relay_fan", "off")


def breaks(scene: Scene, directory: Path, broker: Mosquitto, process: subprocess.Popen[bytes], gas: str) -> None:
    """Whatever goes away and comes back, no entity stays lost and none stays alive with an old value."""
    broker.kill()
    time.sleep(2)
    broker.start()
    scene.all_alive("after a restart of the broker every entity is back")
    scene.home.stop()
    scene.home.start()
    scene.all_alive("after a restart of Home Assistant every entity is back")
    process.kill()
    scene.becomes(gas, "unavailable")
    scene.becomes("online", "off")
    scene.home.stop()
    time.sleep(5)
    scene.home.start()
    wait("MQTT is up", lambda: scene.home.state(scene.entity("online")) == "off")
    time.sleep(5)
    if (state := scene.home.state(scene.entity(gas))) != "unavailable":
        raise Failure(f"after its death the box still shows {state}")
    print("ok    an old value does not come back to life when Home Assistant restarts")
    with gateway(directory, broker.port) as again:
        scene.all_alive("after a restart of the gateway every entity is back")
        again.terminate()
        again.wait(20)
        scene.becomes(gas, "unavailable", 5)


def play(directory: Path) -> None:
    """All scenes, in order."""
    with Mosquitto(directory) as broker, listening(broker.port) as ear, gateway(directory, broker.port) as process:
        home = HomeAssistant(Path(os.environ["ROOTDIR"]), os.environ["HA"], broker.port)
        try:
            scene = Scene(home, ear)
            home.start()
            scene.all_alive(f"all {len(scene.components)} entities are there and have a state")
            scene.show()
            scene.units_hold()
            gas = next(k for k, c in scene.components.items() if c.get("dev_cla") == "carbon_dioxide")
            alarm = next(k for k, c in scene.components.items() if c.get("dev_cla") == "gas")
            wait("the concentration is that of the cell", lambda: abs(scene.value(gas) - 400) < 40)
            orders(scene, gas, alarm)
            home.agrees()
            breaks(scene, directory, broker, process, gas)
        finally:
            home.stop()
        home.agrees(broken_off=True)


def main() -> int:
    """0 if all is well."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        try:
            play(directory)
        except Failure as failure:
            print(f"FAIL  {failure}")
            said = directory / "gateway.log"
            print(said.read_text()[-2000:] if said.exists() else "", end="")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
