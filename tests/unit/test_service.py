"""A changed configuration reaches Home Assistant: its rules and nodes do, what waits for a restart does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gateway import build, configured, service
from gateway.config.config import Config
from gateway.config.redact import Secrets
from gateway.mqtt.face import Face
from gateway.reload import Reloader
from gateway.tuning import Tuning
from tests.support.clock import FakeClock

CONFIG = "box: {{id: {box}}}\nmqtt: {{host: broker}}\nrules: [{rules}]\n"
LOW = "{name: low, when: co2_concentration below 5}"
HIGH = "{name: high, when: co2_concentration above 1000}"


class Box:
    """A box whose configuration file is looked at, and the faces that its link is shown."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STATE_DIRECTORY", str(directory / "state"))
        self.file = directory / "box.yaml"
        self.write(HIGH, LOW)
        self.config, self.board = configured.accepted(configured.prepare(self.file, {}, board="sim"))
        self.clock = FakeClock()
        self.parts = build.parts(self.config, self.board, self.clock, file=self.file)
        self.shown: list[Face] = []
        monkeypatch.setattr(self.parts.link, "show", self.shown.append)

    def write(self, *rules: str, box: str = "lab") -> None:
        self.file.write_text(CONFIG.format(box=box, rules=", ".join(rules)))

    def watch(self, change: Callable[[], None]) -> None:
        """Change the file while it is looked at, and wait until that is shown."""

        async def scene() -> None:
            tuning = Tuning(self.config, self.board, self.parts.inbox)
            told = asyncio.Event()

            def show(config: Config) -> None:
                service.show(self.parts, self.config, self.board, config)
                told.set()

            reloader = Reloader(self.file, tuning, self.board, self.parts.inbox, Secrets(), applied=show)
            watching = asyncio.create_task(reloader.watch(self.clock))
            await asyncio.sleep(0.05)
            assert self.shown == []
            change()
            async with asyncio.timeout(20):
                await told.wait()
            watching.cancel()

        asyncio.run(scene())


def test_a_rule_that_goes_is_no_longer_shown_nor_its_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(tmp_path, monkeypatch)
    box.watch(partial(box.write, HIGH))
    (face,) = box.shown
    assert [rule.name for rule in face.rules] == ["high"]
    gone = {output.target for output in box.parts.face.outputs} - {output.target for output in face.outputs}
    assert gone == {"threshold/low"}


def test_a_rule_that_comes_is_shown_and_its_threshold_waits_for_a_restart_as_does_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path, monkeypatch)
    box.watch(partial(box.write, HIGH, LOW, HIGH.replace("high", "higher"), box="other"))
    (face,) = box.shown
    assert [rule.name for rule in face.rules] == ["high", "low", "higher"]
    assert face.outputs == box.parts.face.outputs
    assert face.box == "lab"


def test_a_box_without_mqtt_shows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("box: {id: lab}\n")
    config, board = configured.accepted(configured.prepare(file, {}, board="sim"))
    parts = build.parts(config, board, FakeClock())
    assert parts.link is None
    service.show(parts, config, board, config)
