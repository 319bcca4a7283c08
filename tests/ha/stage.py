"""What can be stopped and started: a gateway on the simulated cell, a broker, a Home Assistant; and what the box is to
show there.

The truth is the simulated gas. A scene changes it while something is away, so that a number from before is seen to be
one. An entity is current when it shows the truth, or, where its value expires, when it was written since.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.mqtt.lint import lint
from tests.ha.home import NO_ANSWER, Failure, HomeAssistant, wait
from tests.real.mosquitto import HOST, Listener, Mosquitto, listening

BOX = "ha-test"
ROOT = f"spectrophone/{BOX}"
DISCOVERY = f"homeassistant/device/spectrophone_{BOX}/config"
EXPIRE_S = 10
LOW_PPM, HIGH_PPM, ALARM_PPM = 400, 1200, 800
GAS = "co2_concentration"
CONFIG = """\
box: {{id: {box}, name: Gas box}}
mqtt: {{host: {host}, port: {port}, expire_s: {expire_s}}}
cell: {{ppm: {ppm}}}
rules:
  - {{when: {gas} above {alarm}, hysteresis: 50, severity: warning, do: [relay fan on, led status red]}}
{graph}"""
TOLERANCE = 0.06
LOST = (None, "unavailable", "unknown")
SILENT = ("event.", "button.")
"""Kinds of entities that are unknown as long as nothing happened to them."""
UNKNOWN = ("cpu_temperature", "throttled", "boot_time", "last_calibration", "span_gas")
"""Entities that a machine may not know: one without sensors, firmware or a clock that is set, never
calibrated, and not told what span gas there is."""


class Broker(Mosquitto):
    """A broker that can also be asked to end; with `persistence` it then writes down what is retained."""

    def __init__(self, directory: Path, persistence: bool) -> None:
        lines = ("persistence true", f"persistence_location {directory}/") if persistence else ()
        super().__init__(directory, *lines)

    def terminate(self) -> None:
        """End it as its service would."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


class Box:
    """The gateway's process, its configuration and its directories."""

    def __init__(self, directory: Path, port: int) -> None:
        self.ppm = LOW_PPM
        self._port = port
        self._file = directory / "box.yaml"
        self._said = directory / "gateway.log"
        self._starts = directory / f"{BOX}.starts"
        self._supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._supervisor.bind(str(directory / "notify"))
        directories = {"STATE_DIRECTORY": str(directory), "RUNTIME_DIRECTORY": str(directory)}
        self._environment = {**os.environ, **directories, "NOTIFY_SOCKET": str(directory / "notify")}
        self._process: subprocess.Popen[bytes] | None = None
        self.write()

    def write(self, ppm: int | None = None, graph: str = "", alarm: int = ALARM_PPM) -> None:
        """Write the configuration: the gas in the cell, the nodes (YAML; "": the built-in ones), the threshold."""
        self.ppm = self.ppm if ppm is None else ppm
        told = {"box": BOX, "host": HOST, "port": self._port, "expire_s": EXPIRE_S, "ppm": self.ppm}
        self._file.write_text(CONFIG.format(**told, alarm=alarm, gas=GAS, graph=graph))

    def start(self) -> None:
        """Start it; it is up when it says so on MQTT."""
        command = [sys.executable, "-m", "gateway", "run", "--config", str(self._file), "--json"]
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=self._environment)

    def stop(self, kill: bool = False) -> None:
        """End it as its service would, or kill it; and wait."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self._process.kill()
            self._process.wait()
            self._process = None
            self._starts.unlink(missing_ok=True)  # so many kills in a row would make it stay in safe mode

    def ends(self) -> int:
        """Its exit status, once it has ended by itself."""
        assert self._process is not None
        status = self._process.wait(30)
        self._process = None
        return status

    def freeze(self, frozen: bool) -> None:
        """Hang it, or let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def waits(self, words: str) -> None:
        """Wait until it logs these words."""
        wait(f"the gateway says: {words}", lambda: words in self.said())

    def said(self) -> str:
        """The end of what it logged."""
        return self._said.read_text(errors="replace")[-3000:] if self._said.exists() else ""


class Stage:
    """All three, running, and what Home Assistant shows of the box."""

    def __init__(self, home: HomeAssistant, broker: Broker, box: Box, ear: Listener) -> None:
        self.home, self.broker, self.box, self.ear = home, broker, box, ear
        self._ids: dict[str, str] = {}

    @property
    def components(self) -> dict[str, Any]:
        """What the box announced last: components that become entities, by key."""
        payload = self.ear.payload(DISCOVERY)
        told: dict[str, Any] = json.loads(payload)["cmps"] if payload else {}
        return {key: c for key, c in told.items() if len(c) > 1 and c.get("en", True)}

    def announced(self) -> None:
        """Discovery is there, and has no fault."""
        message = json.loads(wait("discovery is at the broker", lambda: self.ear.payload(DISCOVERY)))
        if faults := lint(message):
            raise Failure(f"the lint finds {faults}")

    def key_of(self, device_class: str) -> str:
        """The key of the component of that class."""
        return next(key for key, c in self.components.items() if c.get("dev_cla") == device_class)

    def entity(self, key: str) -> str:
        """The entity id of a component; one that Home Assistant does not know is called after its key."""
        unique = self.components[key]["uniq_id"]
        if unique not in self._ids:
            with contextlib.suppress(*NO_ANSWER):
                self._ids = self.home.registered()
        return self._ids.get(unique, key)

    def value(self, key: str) -> float:
        """The number that an entity shows; NaN if it shows none."""
        return number(self.home.states(), self.entity(key))

    def wrong(self, since: float = 0.0) -> list[str]:
        """What is not as it should be: lost, another value than the truth, or an old number where new ones come."""
        self._ids = self.home.registered()
        states = self.home.states()
        found = []
        for key, component in self.components.items():
            entity = self.entity(key)
            state = states.get(entity, {})
            shown = state.get("state")
            if shown in LOST and not (shown == "unknown" and (key in UNKNOWN or entity.startswith(SILENT))):
                found.append(f"{entity} is {shown}")
            elif component.get("exp_aft") == EXPIRE_S and "stat_cla" in component and written(state) < since:
                found.append(f"{entity} is {shown} from before")
        return found + self._untrue(states)

    def current(self, what: str, seconds: float = 60.0) -> None:
        """Wait until nothing is wrong any more, with values written from now on."""
        since = now()
        try:
            wait(what, lambda: not self.wrong(since), seconds)
        except Failure as failure:
            raise Failure(f"{failure}; {self.wrong(since)[:40]}") from None

    def becomes(self, key: str, state: str, seconds: float = 30) -> None:
        """An entity gets that state."""
        entity = self.entity(key)
        try:
            wait(f"{entity} becomes {state}", lambda: self.home.state(entity) == state, seconds)
        except Failure as failure:
            raise Failure(f"{failure}; it is {self.home.state(entity)}") from None

    def obeys(self, key: str, service: str, state: str, **data: Any) -> None:
        """A service called on an entity leads to that state, read back from the gateway."""
        self.home.call(service, self.entity(key), **data)
        self.becomes(key, state)

    def press(self, key: str) -> None:
        """Press a button."""
        self.home.call("button/press", self.entity(key))

    def settle(self) -> None:
        """Everything runs, with the configuration of the beginning."""
        self.broker.kill()
        self.broker.start()
        self.box.stop()
        self.box.write(LOW_PPM)
        self.box.start()
        with contextlib.suppress(*NO_ANSWER):
            self.home.states()
            return self.current("everything is back as in the beginning")
        self.home.stop(kill=True)
        self.home.start()
        return self.current("everything is back as in the beginning")

    def ghosts(self) -> list[str]:
        """Entities that Home Assistant still has, and that are not announced any more."""
        announced = {
            c["uniq_id"] for c in json.loads(self.ear.payload(DISCOVERY) or b"{}")["cmps"].values() if len(c) > 1
        }
        return [entity for unique, entity in self.home.registered().items() if unique not in announced]

    def _untrue(self, states: dict[str, Any]) -> list[str]:
        """Entities that show something else than the gas in the cell demands."""
        high = self.box.ppm > ALARM_PPM
        demanded = {"laser": "on", "relay_fan": "on" if high else "off", self.key_of("gas"): "on" if high else "off"}
        shown = {self.entity(key): (states.get(self.entity(key), {}).get("state"), s) for key, s in demanded.items()}
        found = [f"{entity} is {state}, not {right}" for entity, (state, right) in shown.items() if state != right]
        numbers = {entity: number(states, entity) for entity in (self.entity("cell"), self.entity(f"gas_{GAS}"))}
        off = [e for e, value in numbers.items() if not math.isclose(value, self.box.ppm, rel_tol=TOLERANCE)]
        return found + [f"{entity} is {numbers[entity]:g}, not {self.box.ppm}" for entity in off]


def number(states: dict[str, Any], entity: str) -> float:
    """The number that an entity shows; NaN if it shows none."""
    shown = states.get(entity, {}).get("state")
    return math.nan if shown in LOST else float(shown)


def written(state: dict[str, Any]) -> float:
    """When an entity was written last, whether or not with another value (Unix time)."""
    return datetime.fromisoformat(state["last_reported"]).timestamp() if state else 0.0


@contextlib.contextmanager
def stage(home_root: Path, version: str, directory: Path, persistence: bool) -> Iterator[Stage]:
    """Everything started, but nothing looked at yet; and ended."""
    broker = Broker(directory, persistence)
    with broker, listening(broker.port) as ear:
        box, home = Box(directory, broker.port), HomeAssistant(home_root, version, broker.port)
        try:
            box.start()
            home.start()
            yield Stage(home, broker, box, ear)
        finally:
            box.stop(kill=True)
            home.remove()


def now() -> float:
    """Unix time, as Home Assistant stamps it."""
    return time.time()
