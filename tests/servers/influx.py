"""A real InfluxDB for a test: line protocol over HTTPS with a login on loopback, its data in one directory."""

from __future__ import annotations

import json
import os
import signal
from base64 import b64encode
from http.client import HTTPSConnection
from pathlib import Path
from ssl import create_default_context
from typing import Any
from urllib.parse import urlencode

from tests.real.mosquitto import free_port
from tests.servers.authority import Authority
from tests.servers.process import DEADLINE_S, HOST, Process, program

SETTINGS = """
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
dir = "{home}/meta"
[data]
dir = "{home}/data"
wal-dir = "{home}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
auth-enabled = true
https-enabled = true
https-certificate = "{certificate}"
https-private-key = "{key}"
"""


class InfluxDB:
    """A server with one database and one user; can be stopped or killed, and started again on the same port with what
    it had taken. `directory` must exist; a new one is made in it."""

    user, password, database = "spectrophone", "right horse", "measurements"
    host = HOST

    def __init__(self, directory: Path, authority: Authority) -> None:
        self.port = free_port()
        self.ca = authority.file
        self._tls = create_default_context(cafile=self.ca)
        home = directory / "influxdb"
        home.mkdir()
        certificate, key = authority.issue("influxdb")
        settings = home / "influxdb.conf"
        settings.write_text(SETTINGS.format(home=home, port=self.port, certificate=certificate, key=key))
        command: list[str | Path] = [program("influxd", "influxdb"), "-config", settings]
        self._process = Process(command, home / "log", {"PATH": os.environ["PATH"], "HOME": str(home)})

    @property
    def url(self) -> str:
        """Its root; lines go to /write?db=measurements below it."""
        return f"https://{self.host}:{self.port}"

    def query(self, influxql: str) -> list[dict[str, Any]]:
        """Points as column to value, `time` in nanoseconds since 1970; AssertionError with its words on a refusal."""
        status, body = self._ask("POST", "/query", {"db": self.database, "epoch": "ns", "q": influxql})
        answer = json.loads(body)
        assert status == 200, (status, body)
        assert "error" not in answer["results"][0], answer
        series = answer["results"][0].get("series", [])
        return [dict(zip(one["columns"], values, strict=True)) for one in series for values in one["values"]]

    def start(self) -> None:
        """Start, and return when it takes requests."""
        self._process.start(self._answers)

    def stop(self) -> None:
        """End it in order, as `systemctl stop` does."""
        self._process.end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._process.end(signal.SIGKILL)

    def __enter__(self) -> InfluxDB:
        self.start()
        try:
            self.query(f"CREATE USER {self.user} WITH PASSWORD '{self.password}' WITH ALL PRIVILEGES")
            self.query(f'CREATE DATABASE "{self.database}"')
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            return self._ask("GET", "/ping", {})[0] == 204
        except ConnectionError:
            return False

    def _ask(self, method: str, path: str, parameters: dict[str, str]) -> tuple[int, bytes]:
        connection = HTTPSConnection(self.host, self.port, timeout=DEADLINE_S, context=self._tls)
        login = b64encode(f"{self.user}:{self.password}".encode()).decode()
        try:
            connection.request(method, f"{path}?{urlencode(parameters)}", headers={"Authorization": f"Basic {login}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
