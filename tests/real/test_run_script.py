"""The running gateway with a customer's e-mail action: the mail arrives, the status tells it, and nothing is left."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import status
from gateway.scripts.confine.confine import LEVELS
from tests.real.gateway import Running, eventually, gateway
from tests.servers.authority import Authority
from tests.servers.smtp import MailServer
from tests.support.scripts import ROOT, pasted

LAST_WORDS = """
    def shutdown(self):
        self.api.log_message("info", "goodbye from the script")
"""


def configuration(directory: Path, server: MailServer) -> Path:
    """The simulated box with the node that email_alert.py shows, which says goodbye at the end."""
    places = {"smtp.example.org:587": f"{server.host}:{server.port}", "smtp.example.org": server.host,
              "${EMAIL_PASSWORD}": "!secret"}  # fmt: skip
    node = pasted("email_alert", places).configure(
        smtp_port=server.port, ca_file=str(server.ca), password="${EMAIL_PASSWORD}"
    )
    script = directory / "email_alert.py"
    script.write_text((ROOT / "user_scripts/email_alert.py").read_text() + LAST_WORDS)
    parameters = {**node.parameters, "python_script_path": str(script), "concentration_threshold": 1.0}
    concentration = {"source": "lock", "polynomial_coefficients": [0, 41000]}
    nodes: list[dict[str, Any]] = [
        {"id": "input", "type": "input"},
        {"id": "lock", "type": "lock_in", "parameters": {"integration_s": 0.2}},
        {"id": "co2_concentration", "type": "concentration", "parameters": concentration},
        {"id": "email_alert", "type": "python_action", "parameters": parameters},
    ]
    file = directory / "box.yaml"
    processing = {"default_graph": {"nodes": nodes}}
    file.write_text(yaml.safe_dump({"box": {"id": "lab"}, "board": "sim", "processing": processing}))
    return file


def action(directory: Path) -> dict[str, Any]:
    """What the status tells of the node; nothing before there is one."""
    found = [node for box in status.read(directory, time.time_ns()) for node in box.get("actions", [])]
    return found[0] if found else {}


def children(pid: int) -> set[int]:
    """A process's descendants."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found |= {child} | children(child)
    return found


def alive(pids: set[int]) -> list[int]:
    """Those that run; a dead one that nobody has asked for has no command line."""
    return [pid for pid in pids if (line := Path(f"/proc/{pid}/cmdline")).exists() and line.read_bytes()]


def mailed(running: Running, server: MailServer, directory: Path) -> dict[str, Any]:
    """Wait for the mail, and for a status that counts the call."""
    running.wait(lambda: server.mails, "mail")

    def told() -> dict[str, Any]:
        found = action(directory)
        functions = found.get("driver", {}).get("functions", {})
        return found if functions.get("on_trigger", {}).get("calls") and "on_update" in functions else {}

    found: dict[str, Any] = running.wait(told, "status of the call")
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_mail_of_the_running_gateway(number: signal.Signals, tmp_path: Path) -> None:
    with MailServer(Authority(tmp_path / "authority")) as server:
        file = configuration(tmp_path, server)
        environ = {**os.environ, "EMAIL_PASSWORD": server.password}
        with gateway(tmp_path, "run", "--config", str(file), "--json", environ=environ) as running:
            found = mailed(running, server, tmp_path)
            left = children(running.process.pid)
            ended = running.stop(number)
            said = running.said()
        assert len(left) >= 2, "a zygote and a worker"
        eventually(lambda: not alive(left), "end of zygote and worker")
        (mail,) = server.mails
    text = mail.message.get_content()
    told = re.fullmatch(r"co2_concentration: (\S+) ± (\S+) ppm\nThreshold: 1 ppm\nTime: .*\n", text)
    assert told, text
    assert float(told[1]) > 1 > 0 < float(told[2]) < float(told[1])
    assert mail.recipients == ("lab@example.org",)
    driver = found["driver"]
    assert (found["problem"], driver["state"], driver["deaths"]) == (None, "ready", 0)
    assert driver["isolation"] in LEVELS
    trigger = driver["functions"]["on_trigger"]
    assert (trigger["calls"], trigger["errors"]) == (1, 0)
    assert 0 < trigger["p50_ms"] <= trigger["max_ms"]
    assert server.password not in said
    assert ("goodbye from the script" in said) == (number == signal.SIGINT)
    assert ended == (0 if number == signal.SIGINT else -signal.SIGKILL), said
