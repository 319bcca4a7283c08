"""Every board with every example of a configuration that ships: all of it is prepared and built, short of opening
hardware. A board with one microphone takes all but those that measure with the difference of two, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import board as boards
from gateway import build, config_txt, configured, design, hardware
from gateway.board import Board
from gateway.clock import RealClock
from gateway.config.config import Config
from tests.support.scripts import ROOT, SHIPPED, node_of, pasted, prepared

FENCE = re.compile(r"^```yaml(?: \S+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAIR = re.compile(r"```yaml\n(.*?)```\s+```python\n(.*?)```", re.DOTALL)
MONO = "differential needs two channels, and the sound is mono here"
Example = Callable[[Path], str]
"""Writes what it needs into a directory, and gives the configuration."""


def whole(text: str) -> Example:
    return lambda directory: text


def plain(text: str) -> str:
    """The text with every secret as plain text."""
    return re.sub(r"!secret \w+", "abc", text)


def in_readme() -> str:
    """The configuration that README.md shows, with its secret as plain text."""
    part = (ROOT / "README.md").read_text("utf-8").partition("## A configuration\n")[2]
    lines = [line[4:] for line in part.partition("\nAn action")[0].splitlines()]
    return plain("\n".join(lines))


def measurement(text: str) -> Example:
    """A configuration of docs/measurement.md, without the calibration that the page makes on its way."""
    return whole(re.sub(r"calibration: \S+\.toml", "polynomial_coefficients: [0, 41000]", text))


def fleet() -> str:
    """What docs/fleet.md adds to a graph, behind the concentration that it tells of."""
    (fence,) = FENCE.findall((ROOT / "docs/fleet.md").read_text("utf-8"))
    added = yaml.safe_load(plain(fence))
    before = [
        {"id": "lock", "type": "lock_in"},
        {"id": "co2", "type": "concentration", "parameters": {"source": "lock", "polynomial_coefficients": [0, 1]}},
    ]
    added["processing"]["default_graph"]["nodes"][:0] = before
    return yaml.safe_dump(added)


def script(name: str) -> Example:
    def write(directory: Path) -> str:
        source = (ROOT / "user_scripts" / f"{name}.py").read_text()
        prepared(pasted(name, places(source.split('"""')[1], directory)), directory)
        return (directory / "box.yaml").read_text()

    return write


def written(text: str, source: str) -> Example:
    def write(directory: Path) -> str:
        named = text
        for word, place in places(text, directory).items():
            named = named.replace(word, place)
        prepared(node_of(named, source.encode()), directory)
        return (directory / "box.yaml").read_text()

    return write


def places(text: str, directory: Path) -> dict[str, str]:
    """What a node wants of a machine, and what it gets here: a secret, and a directory that is there."""
    secrets = dict.fromkeys(re.findall(r"\$\{\w+\}", text), "https://example.org/abc")
    return secrets | dict.fromkeys(re.findall(r"/var/lib/spectrophone/\w+", text), str(directory))


def examples() -> dict[str, Example]:
    found = {"nothing at all": whole(""), "README.md": whole(in_readme()), "docs/fleet.md": whole(fleet())}
    page = (ROOT / "docs/measurement.md").read_text("utf-8")
    found |= {f"docs/measurement.md {i}": measurement(text) for i, text in enumerate(FENCE.findall(page), 1)}
    found |= {f"user_scripts/{each.name}": script(each.stem) for each in SHIPPED}
    page = (ROOT / "docs/writing-actions.md").read_text("utf-8")
    pairs = PAIR.findall(page)
    return found | {f"docs/writing-actions.md {i}": written(*pair) for i, pair in enumerate(pairs, 1)}


EXAMPLES = examples()


def test_there_are_examples_of_every_kind() -> None:
    kinds = {name.split(" ")[0].split("/")[-2 if name.startswith("user") else -1] for name in EXAMPLES}
    assert kinds == {"nothing", "README.md", "fleet.md", "measurement.md", "user_scripts", "writing-actions.md"}
    assert len(EXAMPLES) == 3 + 3 + 8 + 5


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The configurations by example. What they name is written once, and stays."""
    places = {name: tmp_path_factory.mktemp("example") for name in EXAMPLES}
    return {name: yaml.safe_load(example(places[name])) or {} for name, example in EXAMPLES.items()}


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("name", boards.names())
def test_every_board_builds_with_every_example(
    name: str, example: str, documents: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    document = {**documents[example], "board": name}
    file = tmp_path / "box.yaml"
    file.write_text(yaml.safe_dump(document))
    checked = configured.prepare(file, {"USER": "somebody"})
    if boards.load(name).microphone.channels == 1 and checked.config is None:
        assert [fault.message for fault in checked.faults] == [MONO]
        assert [fault.remedy for fault in checked.faults] == ["Remove this node"]
        return
    assert checked.config is not None, "\n".join(map(str, checked.faults))
    whole_box(*configured.accepted(checked))


def whole_box(config: Config, board: Board) -> None:
    """Everything of the box that can be built without opening hardware."""
    heard = design.sound(config, board)
    assert heard.rate_hz <= board.microphone.rate_max_hz or config.acquisition.device is not None
    assert design.path(config, board, heard).state.results == {}
    told = hardware.verbs(config, board)
    assert told.keys() >= {*(f"relay/{name}" for name in board.relays), *(f"led/{name}" for name in board.leds)}
    face = design.face(config, board)
    assert {output.target for output in face.outputs} >= told.keys()
    assert len(face.rules) == len(config.rules)
    assert hardware.light(config).duty == config.laser.duty
    calibrator = build.calibrator(config, RealClock())
    assert (calibrator is None) == (face.output("calibration") is None)


@pytest.mark.parametrize("name", boards.names())
def test_a_rule_that_names_what_the_board_lacks_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    co2 = "{id: co2, type: concentration, parameters: {source: lock, polynomial_coefficients: [0, 1]}}"
    nodes = f"[{{id: lock, type: lock_in}}, {co2}]"
    rule = "{when: co2 above 1 for 1s, do: [relay pump on]}"
    file.write_text(f"board: {name}\nprocessing: {{default_graph: {{nodes: {nodes}}}}}\nrules: [{rule}]\n")
    (fault,) = configured.prepare(file, {}).faults
    assert "pump" in str(fault)
    assert "relay fan" in str(fault)


def test_every_real_board_can_be_put_into_config_txt() -> None:
    real = [board for board in map(boards.load, boards.names()) if not board.simulated]
    assert len({config_txt.text(board) for board in real}) == len(real) > 10


def test_the_page_lists_every_board_and_its_wiring() -> None:
    page = (ROOT / "docs" / "boards.md").read_text("utf-8")
    table, _, rest = page.partition("## Wiring")
    listed = re.findall(
        r"\brpi\w+-[\w-]+\b", "\n".join(line for line in table.splitlines() if line.startswith("| Pi "))
    )
    assert sorted([*listed, "sim"]) == list(boards.names())
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", rest.partition("## Which")[0], re.MULTILINE))
    board = boards.load("rpi4-usb")
    assert board.laser is not None
    assert board.interlock is not None
    red, green, blue = (board.leds["status"].lines[colour] for colour in ("red", "green", "blue"))
    assert rows["laser, PWM"] == str(board.laser.line)
    assert rows["laser, enable"] == str(board.laser.enable)
    assert rows["relay fan"].startswith(f"{board.relays['fan'].line} (")
    assert rows["relay valve"] == str(board.relays["valve"].line)
    assert rows["LED status"] == f"red {red}, green {green}, blue {blue}"
    assert rows["interlock"] == str(board.interlock.line)
    assert rows["button stop"] == str(board.buttons["stop"].line)
