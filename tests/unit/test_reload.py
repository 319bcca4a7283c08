"""Which changes of a configuration wait for a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import configured
from gateway.config.config import Config
from gateway.reload import restarting

BEGUN = "box: {id: lab}\ntec: {setpoint_c: 25}\ncell: {ppm: 400}\n"


def configuration(directory: Path, text: str) -> Config:
    file = directory / "box.yaml"
    file.write_text(text)
    return configured.accepted(configured.prepare(file, {}, board="sim"))[0]


@pytest.mark.parametrize(
    ("text", "waiting"),
    [
        (BEGUN, []),
        (BEGUN.replace("400", "500"), []),
        (BEGUN.replace("25", "26"), []),
        (BEGUN + "rules: [{when: co2_concentration above 5}]\n", []),
        (BEGUN + "web: {port: 81}\n", ["web"]),
        (BEGUN + "modbus: {port: 5021}\n", ["modbus"]),
        (BEGUN + "mqtt: {host: x}\nlaser: {duty: 0.4}\n", ["laser", "mqtt"]),
        (BEGUN.replace("ppm: 400", "ppm: 400, seed: 2"), ["cell"]),
        (BEGUN.replace("setpoint_c: 25", "kp: 1"), ["tec"]),
        ("box: {id: lab}\ncell: {ppm: 400}\n", ["tec"]),
        (
            BEGUN + "processing: {default_graph: {nodes: [{id: lock, type: lock_in}]}}\nrules: []\n",
            ["processing (nodes or connections)"],
        ),
    ],
)
def test_what_waits_for_a_restart(tmp_path: Path, text: str, waiting: list[str]) -> None:
    assert restarting(configuration(tmp_path, BEGUN), configuration(tmp_path, text)) == waiting
