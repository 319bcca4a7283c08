"""Metrics as Prometheus reads them: its own checker finds no fault, and it knows what the box printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from gateway.metrics import FAMILIES
from tests.real.gateway import Running, eventually, gateway
from tests.real.page import token_of
from tests.servers.prometheus import Prometheus, promtool

CONFIG = """\
box: {id: lab}
board: sim
cell: {ppm: 400, seed: 5}
journal: {commit_s: 0.2}
modbus: {port: 0}
web: {port: 0}
"""


def measured(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The measurements of a status."""
    return [each for each in status["results"] if each["kind"] == "measurement"]


class Page:
    """A running box and the way to its page."""

    def __init__(self, box: Running, address: str, token: str) -> None:
        self.box, self.address, self.token = box, address, token

    def metrics(self, **headers: str) -> tuple[str, str]:
        """The page of metrics, and its content type."""
        asked = Request(f"{self.address}metrics", headers={"Authorization": f"Bearer {self.token}", **headers})
        with urlopen(asked, timeout=20) as response:
            return response.read().decode(), response.headers["Content-Type"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A box that measures, with a token for its page."""
    place = tmp_path_factory.mktemp("box")
    config = place / "lab.yaml"
    config.write_text(CONFIG)
    with gateway(place, "run", "--json", "--config", str(config)) as box:

        def status() -> dict[str, Any] | None:
            file = place / "lab.json"
            found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"results": [], "health": {}}
            return found if found["health"] and any(each.get("valid") for each in measured(found)) else None

        told = box.wait(status, "a valid measurement")
        yield Page(box, told["page"]["address"], token_of(place / "lab.access.json"))
        assert box.stop() == 0


def test_promtool_finds_no_fault(page: Page) -> None:
    text, content_type = page.metrics()
    assert content_type.startswith("text/plain; version=0.0.4")
    checked = promtool("check", "metrics", text=text)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    told = {name.removesuffix("_bucket") for name in re.findall(r"^(spectrophone_\w+)", text, re.MULTILINE)}
    known = {family.full_name for family in FAMILIES}
    assert {name.removesuffix("_count").removesuffix("_sum") for name in told} <= known
    wanted = ("info", "concentration_ppm", "block_duration_seconds", "lost_frames_total", "machine_load", "modbus_up")
    assert {f"spectrophone_{name}" for name in wanted} <= told


def test_nobody_reads_them_without_a_token(page: Page) -> None:
    with pytest.raises(HTTPError) as refused, urlopen(f"{page.address}metrics", timeout=20):
        pass
    assert refused.value.code == 401
    refused.value.close()


def test_prometheus_knows_what_the_box_printed_and_every_panel_has_something_to_ask(page: Page, tmp_path: Path) -> None:
    with Prometheus(tmp_path, page.address, page.token) as prometheus:
        name = "spectrophone_concentration_ppm"
        eventually(lambda: prometheus.query(f"count_over_time({name}[10s]) >= 3"), "three scrapes")
        (target,) = prometheus.targets()
        assert (target["health"], target["lastError"]) == ("up", "")
        (now,) = prometheus.query(name)
        assert now["metric"]["node"] == "co2_concentration"
        printed = [fields["ppm"] for fields in page.box.objects("measurement")]
        assert now["value"] in printed
        assert [each["value"] for each in prometheus.query("spectrophone_concentration_valid")] == [1.0]
        assert [each["value"] for each in prometheus.query("spectrophone_modbus_up")] == [1.0]
        silent = {title for title, expression in panels() if not prometheus.query(expression)}
        assert silent <= {"Flags", "Resonance and laser", "Temperature of the processor"} | {
            title for title, expression in panels() if "action" in expression or "mqtt" in expression
        }


def panels() -> list[tuple[str, str]]:
    """Title and expression of everything that the dashboard asks, of any box over the last ten seconds."""
    board = json.loads(Path("docs/grafana.json").read_text("utf-8"))
    asked = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]
    return [(title, text.replace("$__rate_interval", "10s").replace("$instance", ".*")) for title, text in asked]


def test_what_the_dashboard_asks_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": text} for number, (_, text) in enumerate(panels())]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    checked = promtool("check", "rules", str(file))
    assert checked.returncode == 0, checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout
