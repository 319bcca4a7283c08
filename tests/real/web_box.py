"""A running box with a page, over real TLS, and a client that trusts its certificate and no other."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.real.gateway import Running, command, eventually, gateway

PASSWORD = "correct horse battery"
LITERAL, REFERRED, SET = "broker-pass-4711", "referred-pass-4712", "from-environment-4713"
ENVIRON = {**os.environ, "BROKER_USER": SET}
SCRIPT = """\
class Watch(CustomPythonAction):
    def on_update(self, data):
        self.api.log_message("info", "seen")
"""


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Client:
    """Somebody with a cookie, a token, or neither."""

    port: int
    tls: ssl.SSLContext
    token: str = ""
    cookie: str = ""
    csrf: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request under /api/v1, or of a path that begins with //; `body` as JSON, or bytes as they are."""
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.token:
            given.setdefault("Authorization", f"Bearer {self.token}")
        if self.cookie:
            given.setdefault("Cookie", f"spectrophone={self.cookie}")
            given.setdefault("X-CSRF-Token", self.csrf)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=90, context=self.tls)
        try:
            connection.request(method, path[1:] if path.startswith("//") else f"/api/v1{path}", data, given)
            got = connection.getresponse()
            return Answer(got.status, dict(got.getheaders()), got.read().decode())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """What a GET gives, which must succeed."""
        answer = self.ask("GET", path)
        assert answer.status == 200, (path, answer)
        return answer.json

    def tell(self, method: str, path: str, body: Any = None) -> Any:
        """What another method gives, which must succeed."""
        answer = self.ask(method, path, body)
        assert 200 <= answer.status < 300, (path, answer)
        return answer.json if answer.text else None

    def socket(self) -> ssl.SSLSocket:
        """A connection on which nothing was said yet."""
        return self.tls.wrap_socket(socket.create_connection(("127.0.0.1", self.port)), server_hostname="127.0.0.1")


@dataclass
class Box:
    """The box, its directory, and who may do what."""

    directory: Path
    port: int
    running: Running
    tls: ssl.SSLContext

    @property
    def nobody(self) -> Client:
        return Client(self.port, self.tls)

    def run(self, *arguments: str) -> str:
        """What `spectrophone web ARGUMENTS` prints."""
        done = command(self.directory, "web", *arguments, "--config", str(self.file), environ=ENVIRON)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def machine(self, name: str, scope: str) -> Client:
        """One with a token, made on the command line."""
        return Client(self.port, self.tls, token=self.run("token", name, "--scope", scope))

    def owner(self) -> Client:
        """The owner, logged in, the first time with a new password."""
        who = self.nobody
        path = "/setup" if who.get("/session")["setup"] else "/session"
        answer = who.ask("POST", path, {"password": PASSWORD})
        assert answer.status == 200, answer
        who.cookie = answer.headers["Set-Cookie"].split("=", 1)[1].split(";")[0]
        who.csrf = answer.json["csrf"]
        return who

    @property
    def file(self) -> Path:
        return self.directory / "box.yaml"


def configuration(port: int, directory: Path) -> str:
    """A box whose page is encrypted, with secrets of every sort, an alarm and a script."""
    return f"""\
# what everybody may read
box: {{id: lab}}
web: {{port: {port}, tls: generated, hosts: [lab.example]}}
mqtt: {{host: 127.0.0.1, port: 1, username: "${{BROKER_USER}}", password: {LITERAL}}}
homeassistant: {{url: "http://127.0.0.1:1", token: !secret home}}
processing:
  default_graph:
    nodes:
      - {{id: preamp, type: gain, parameters: {{gain_db: 12}}}}
      - {{id: differential, type: differential}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: 0.2}}}}
      - {{id: spectrum, type: spectrum, parameters: {{averages: 2}}}}
      - id: co2
        type: concentration
        parameters: {{source: lock, polynomial_coefficients: [0, 41000, 0, 0, 0]}}
      - id: watch
        type: python_action
        parameters:
          monitored_nodes: [co2]
          update_interval_ms: 200
          python_script_path: {directory / "watch.py"}
          python_class_name: Watch
rules:
  - {{name: high, when: co2 above 1000, severity: warning}}
"""


@contextmanager
def web_box(directory: Path) -> Iterator[Box]:
    """Run it."""
    port = free_port()
    (directory / "watch.py").write_text(SCRIPT)
    (directory / "secrets.yaml").write_text(f"home: {REFERRED}\n")
    (directory / "box.yaml").write_text(configuration(port, directory))
    with running_box(directory, port) as box:
        yield box


@contextmanager
def running_box(directory: Path, port: int) -> Iterator[Box]:
    """Run what stands in the directory already."""
    with gateway(directory, "run", "--config", str(directory / "box.yaml"), environ=ENVIRON) as running:
        running.wait(lambda: any("the page is at" in line for line in running.errors), "page")
        tls = ssl.create_default_context(cafile=str(directory / "lab.web.pem"))
        box = Box(directory, port, running, tls)
        running.wait(lambda: box.nobody.ask("GET", "/session").status == 200, "answer")
        yield box


def until(client: Client, path: str, done: Any, what: str, seconds: float = 60.0) -> Any:
    """What a GET gives once `done` says so of it."""

    def look() -> Any:
        answer = client.ask("GET", path)
        return answer.json if answer.status == 200 and done(answer.json) else None

    return eventually(look, what, seconds)
