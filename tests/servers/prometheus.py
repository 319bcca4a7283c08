"""A real Prometheus for a test: it scrapes one page with a token, its data in one directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from tests.real.mosquitto import free_port
from tests.servers.process import DEADLINE_S, HOST, Process, program

SETTINGS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: spectrophone
    authorization: {{credentials_file: {token}}}
    static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    """Scrapes the page at `address` once a second. `directory` must exist; a new one is made in it."""

    def __init__(self, directory: Path, address: str, token: str) -> None:
        home = directory / "prometheus"
        home.mkdir()
        self.port = free_port()
        (home / "token").write_text(token)
        settings = home / "prometheus.yml"
        settings.write_text(SETTINGS.format(token=home / "token", target=urlsplit(address).netloc))
        command = [
            program("prometheus", "prometheus"),
            f"--config.file={settings}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
        ]
        self._process = Process(command, home / "log", {"PATH": os.environ["PATH"], "HOME": str(home)})

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now: each `metric`, its labels, and `value`. AssertionError with its words."""
        answer = self._ask("query", query=expression)
        assert answer["status"] == "success", answer
        return [{**each, "value": float(each["value"][1])} for each in answer["data"]["result"]]

    def targets(self) -> list[dict[str, Any]]:
        """How scraping goes: `health`, `lastError`."""
        return list(self._ask("targets")["data"]["activeTargets"])

    def __enter__(self) -> Prometheus:
        self._process.start(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end(signal.SIGKILL)

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://{HOST}:{self.port}/-/ready", timeout=DEADLINE_S) as response:
                return bool(response.status == 200)
        except (URLError, ConnectionError):
            return False

    def _ask(self, what: str, **parameters: str) -> dict[str, Any]:
        url = f"http://{HOST}:{self.port}/api/v1/{what}?{urlencode(parameters)}"
        with urlopen(url, timeout=DEADLINE_S) as response:
            return json.load(response)  # type: ignore[no-any-return]


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Prometheus' own checker, told `text`."""
    command = [program("promtool", "prometheus"), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
