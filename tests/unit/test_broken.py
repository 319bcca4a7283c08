"""Every file in tests/broken has exactly the faults that its header expects, each at its line.

A header line reads `# expect: LINE OPTION: PART`: the fault's line, the beginning of its option, and a part
of what it says. The environment holds one variable, whose value must never be told.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.check import check
from gateway.design import SETTINGS

BROKEN = Path(__file__).parent.parent / "broken"
SECRET = "hunter2-and-more"
EXPECTATION = re.compile(r"# expect: (\d+) ([^:\s]*): (.+)")


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_fault_is_told_and_no_other(path: Path) -> None:
    lines = path.read_bytes().decode("latin-1").splitlines()
    expected = [match.groups() for line in lines if (match := EXPECTATION.fullmatch(line))]
    checked = check(path, SETTINGS, {"SECRET": SECRET})
    told = "\n".join(str(fault) for fault in checked.faults)
    assert expected, "the header expects nothing"
    assert checked.config is None
    assert SECRET not in told
    for (line, option, part), fault in zip(expected, checked.faults, strict=False):
        assert fault.line == int(line), told
        assert fault.option.startswith(option), told
        assert part in f"{fault.message}. {fault.remedy}", told
        assert fault.file == str(path)
    assert len(checked.faults) == len(expected), told


def test_the_corpus_is_large_and_has_a_file_with_ten_faults_on_ten_lines() -> None:
    assert len(list(BROKEN.glob("*.yaml"))) >= 20
    faults = check(BROKEN / "ten_faults.yaml", SETTINGS, {}).faults
    assert len({fault.line for fault in faults}) == 10
