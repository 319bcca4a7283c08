"""Every board file in tests/broken/boards is refused with exactly the sentences that its header expects.

A header line reads `# expect: FILE:LINE:COLUMN: KEY: WHAT IS WRONG. WHAT TO DO`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import board as boards
from gateway.errors import ConfigError

BROKEN = Path(__file__).parent.parent / "broken" / "boards"


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.toml")), ids=lambda path: path.stem)
def test_every_fault_is_told_in_one_sentence_and_no_other(path: Path) -> None:
    expected = [line.removeprefix("# expect: ") for line in path.read_text().splitlines() if line.startswith("# ex")]
    with pytest.raises(ConfigError) as refused:
        boards.load(path.stem, BROKEN)
    assert [str(fault).removeprefix(f"{BROKEN}/") for fault in refused.value.faults] == expected
    for sentence in expected:
        assert re.fullmatch(rf"{path.name}:\d+:\d+: .+\. .+", sentence)


def test_there_are_more_than_fifty_different_sentences() -> None:
    told = {path.read_text().splitlines()[0].partition(".toml:")[2] for path in BROKEN.glob("*.toml")}
    assert len(told) > 50
