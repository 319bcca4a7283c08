"""A real Home Assistant in a chroot, with MQTT set up and nothing else; and how to wait for what it shows."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ha.websocket import WebSocket
from tests.real.mosquitto import HOST

PORT = 8123
URL = f"http://{HOST}:{PORT}"
CLIENT = f"{URL}/"
STEP_S = 0.1
SLOW_S = 180.0
"""How long Home Assistant may take to start on a machine that has other things to do."""
ITS_FILES = re.compile(r"\S*/spectrophone-\w+/\S*")
"""Where its own files are: its database complains of having been killed, and names it."""
BROKEN_OFF = re.compile(
    r"mqtt\.(async_)?client\] (Error returned|Disconnected|(Failed|Unable) to connect|No ACK|failed to receive)"
)
NO_ANSWER = (urllib.error.URLError, ConnectionError, TimeoutError)


class Failure(Exception):
    """Something did not happen."""


def wait(what: str, done: Callable[[], Any], seconds: float = 60.0, quiet: bool = False) -> Any:
    """What `done` returns once that is true, said on a line; Failure if it stays false for so long."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        with contextlib.suppress(*NO_ANSWER):
            if seen := done():
                if not quiet:
                    print(f"ok    {what} ({time.monotonic() - start:.1f} s)", flush=True)
                return seen
        time.sleep(STEP_S)
    raise Failure(f"{what}: not within {seconds:.0f} s")


def never(what: str, seen: Callable[[], Any], seconds: float) -> None:
    """Look for so long; Failure if `seen` returns something true, which is then told."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        with contextlib.suppress(*NO_ANSWER):
            if found := seen():
                raise Failure(f"{what}, but after {time.monotonic() - start:.1f} s: {found}")
        time.sleep(STEP_S)
    print(f"ok    {what} (watched for {seconds:.0f} s)", flush=True)


class HomeAssistant:
    """Home Assistant `version` in the chroot `root`, whose broker listens at `mqtt_port`."""

    def __init__(self, root: Path, version: str, mqtt_port: int) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._user = ""
        self._token = ""
        self._directory = Path(tempfile.mkdtemp(prefix="spectrophone-", dir=root / "root"))
        place = f"/{self._directory.relative_to(root)}"
        self._command = ["chroot", str(root), f"/opt/ha-{version}/bin/hass", "-c", place, "--skip-pip"]
        self._said = self._directory / "said"
        named = "homeassistant: {name: test, time_zone: UTC, unit_system: metric}\n"
        settings = f"{named}api:\nrecorder:\nlogger: {{default: warning}}\n"
        (self._directory / "configuration.yaml").write_text(settings)
        (self._directory / ".storage").mkdir()
        (self._directory / ".storage/core.config_entries").write_text(json.dumps(_entries(mqtt_port)))

    def start(self, quiet: bool = False) -> None:
        """Start it, and return when it runs."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(self._command, env=environment, stdout=said, stderr=said)
        wait("Home Assistant answers", lambda: self._get("/api/onboarding", allowed=(404,)), SLOW_S, quiet)
        if not self._user:
            self._sign_up()
        self._sign_in()
        wait("Home Assistant runs", lambda: self._get("/api/config")["state"] == "RUNNING", SLOW_S, quiet)

    def stop(self, kill: bool = False) -> None:
        """End it as its own service would, or kill it; and wait."""
        if self._process is not None:
            if not kill:
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(60)
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop it, and leave nothing of it."""
        self.stop(kill=True)
        shutil.rmtree(self._directory)

    @property
    def token(self) -> str:
        """An administrator's, for half an hour."""
        return self._token

    def states(self) -> dict[str, dict[str, Any]]:
        """Every entity's state."""
        return {state["entity_id"]: state for state in self._get("/api/states")}

    def state(self, entity: str) -> Any:
        """One entity's state; None if there is no such."""
        return self.states().get(entity, {}).get("state")

    def call(self, service: str, entity: str, **data: Any) -> None:
        """Call a service, such as switch/turn_off."""
        self._post(f"/api/services/{service}", json.dumps({"entity_id": entity, **data}).encode())

    def registered(self) -> dict[str, str]:
        """The entities of MQTT in its registry, whether or not they live: entity ids by unique id."""
        with WebSocket(HOST, PORT, "/api/websocket") as socket:
            socket.receive()
            socket.send({"type": "auth", "access_token": self._token})
            if socket.receive()["type"] != "auth_ok":
                raise ConnectionError("the token is not accepted")
            socket.send({"id": 1, "type": "config/entity_registry/list"})
            entities = socket.receive()["result"]
        return {entity["unique_id"]: entity["entity_id"] for entity in entities if entity["platform"] == "mqtt"}

    def complaints(self, broken_off: bool) -> list[str]:
        """Warnings about us in its log; but for those of a broker gone, if the broker was `broken_off`."""
        lines = self._said.read_text(errors="replace").splitlines()
        loud = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
        ours = [line for line in loud if re.search("mqtt|spectrophone|ha-test", ITS_FILES.sub("", line), re.IGNORECASE)]
        return [line for line in ours if not (broken_off and BROKEN_OFF.search(line))]

    def _sign_up(self) -> None:
        """The first user, as a browser would make it; only this step of the onboarding."""
        user = {"name": "t", "username": "t", "password": "t" * 8, "client_id": CLIENT, "language": "en"}
        code = self._post("/api/onboarding/users", json.dumps(user).encode())["auth_code"]
        self._user = self._log_in(grant_type="authorization_code", code=code)["refresh_token"]

    def _sign_in(self) -> None:
        """A token for the next half hour."""
        self._token = ""
        self._token = self._log_in(grant_type="refresh_token", refresh_token=self._user)["access_token"]

    def _log_in(self, **form: str) -> Any:
        return self._post("/auth/token", urllib.parse.urlencode(form | {"client_id": CLIENT}).encode(), json_body=False)

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
