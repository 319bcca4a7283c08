"""Numbers set by hand in a gateway that runs: they hold, are read back, and give way to the file."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway import configured, design
from gateway.config.redact import Secrets
from gateway.inbox import CommandInbox
from gateway.outputs import Outputs
from gateway.reload import Reloader
from gateway.tuning import Tuning
from gateway.types import Command, CommandResult, Outcome, SampleBlock

CONFIG = """\
box: {{id: lab}}
processing:
  default_graph:
    nodes:
      - {{id: input, type: input}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: {integration_s}}}}}
      - {{id: other, type: lock_in, parameters: {{integration_s: 2}}}}
      - {{id: co2, type: concentration, parameters: {{source: lock, polynomial_coefficients: [0, 41000]}}}}
rules:
  - {{name: high, when: co2 above {threshold}}}
"""


class Box:
    """The parts that a number passes on its way, without sound."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "box.yaml"
        self.save()
        config, board = configured.accepted(configured.prepare(self.file, {}, board="sim"))
        self.inbox, self.path = CommandInbox(), design.path(config, board, design.sound(config, board))
        self.tuning = Tuning(config, board, self.inbox)
        self.reloader = Reloader(self.file, self.tuning, board, self.inbox, Secrets())
        self.outputs = Outputs([])
        self.outputs.add(self.tuning.outputs(self.path))
        self.frame = 0

    def save(self, threshold: float = 1000, integration_s: float = 1) -> None:
        self.file.write_text(CONFIG.format(threshold=threshold, integration_s=integration_s))

    def set(self, target: str, value: Any) -> CommandResult:
        """Tell it, and wait until the path that goes by it is there."""

        async def told() -> Outcome:
            outcome = self.outputs.apply([Command(target, "set", {"value": value}, "mqtt")], 0)
            await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))
            return outcome

        (answer,) = asyncio.run(told()).results
        return answer

    def tick(self, *commands: Command) -> dict[str, str]:
        """A block later: the states."""
        self.path.tick(
            SampleBlock(self.frame // 4800, self.frame, 48_000, np.zeros((4800, 2), np.float32)),
            [*self.inbox.drain(), *commands],
        )
        self.frame += 4800
        return dict(self.outputs.apply((), 0).states)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_what_is_set_holds_from_the_next_block_on_and_is_read_back(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    before = box.path.settings("other")
    with caplog.at_level(logging.INFO):
        answer = box.set("threshold/high", 900)
        assert box.set("integration/lock", 4).done
    assert (answer.done, answer.state) == (True, "1000"), "the old one holds until there is a path with the new one"
    assert box.tick() == {"threshold/high": "900", "integration/lock": "4", "integration/other": "2"}
    assert box.path.settings("other") is before, "what has not changed goes on"
    assert "threshold/high set to 900 by mqtt; the configuration says 1000" in caplog.text
    assert box.tuning.status() == {
        "threshold/high": {"value": 900.0, "configured": 1000.0},
        "integration/lock": {"value": 4.0, "configured": 1.0},
    }


def test_out_of_bounds_nothing_changes(box: Box) -> None:
    answer = box.set("integration/lock", 0.01)
    assert (answer.done, answer.state) == (False, "1")
    assert answer.reason == "integration/lock cannot be 0.01 s. It may be 0.1 to 600 s"
    assert box.inbox.drain() == ()
    assert box.tuning.status() == {}


def test_the_file_wins_where_it_changes_that_very_number(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    box.set("threshold/high", 900)
    box.set("integration/lock", 4)
    assert box.tick()["integration/lock"] == "4"
    box.save(threshold=800)
    assert box.tick(*box.reloader.changed()) == {
        "threshold/high": "800",
        "integration/lock": "4",
        "integration/other": "2",
    }
    assert box.tuning.status() == {"integration/lock": {"value": 4.0, "configured": 1.0}}
    assert "threshold/high: what was set by hand is over, the configuration has changed it" in caplog.text
    box.save(threshold=800, integration_s=3)
    assert box.tick(*box.reloader.changed())["integration/lock"] == "3"
    assert box.tuning.status() == {}


def test_a_rule_that_is_gone_is_unknown_and_cannot_be_set(box: Box) -> None:
    box.set("threshold/high", 900)
    box.file.write_text(CONFIG.format(threshold=1, integration_s=1).partition("rules:")[0] + "rules: []\n")
    assert box.tick(*box.reloader.changed())["threshold/high"] == "unknown"
    answer = box.set("threshold/high", 700)
    assert (answer.done, answer.reason) == (
        False,
        "threshold/high is no longer in the configuration. Begin the gateway anew",
    )


def test_nodes_that_wait_for_a_restart_change_nothing_of_it(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    text = CONFIG.format(threshold=700, integration_s=1).replace("id: other", "id: another")
    box.file.write_text(text)
    assert box.reloader.changed() == ()
    assert "processing (nodes or connections) wait for a restart" in caplog.text
    box.set("integration/lock", 4)
    assert box.tick() == {"threshold/high": "1000", "integration/lock": "4", "integration/other": "2"}
