"""What an action is tried with: values that rise through the threshold, and what its node would get, when it would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import jsonlines
from gateway.actions.history import History
from gateway.journal.entry import Entry
from gateway.journal.store import Store
from gateway.trial import events, given
from tests.unit.journal.samples import SECOND_NS, UTC_NS, entries

SCRIPT = "class A(CustomPythonAction):\n    def on_update(self, data): pass\n"


def node(directory: Path, parameters: str = "") -> given.Node:
    script, file = directory / "a.py", directory / "a.yaml"
    script.write_text(SCRIPT)
    file.write_text(parameters or "{}\n")
    return given.node(script, file, {})


def collected(found: AsyncIterator[Any]) -> list[Any]:
    async def main() -> list[Any]:
        return [each async for each in found]

    return asyncio.run(main())


def batched(node: given.Node, found: AsyncIterator[Entry]) -> list[list[tuple[str, int]]]:
    """Kind and second of every entry, batch by batch."""
    batches = collected(events.batches(node, found, History(100)))
    return [[(entry.kind, (entry.time_ns - UTC_NS) // SECOND_NS) for entry in batch] for batch in batches]


async def each(*found: Entry) -> AsyncIterator[Entry]:
    for entry in found:
        yield entry


def test_sample_values_rise_through_the_threshold_and_come_back(tmp_path: Path) -> None:
    found = collected(events.sampled(node(tmp_path, "concentration_threshold: 400\n"), 5, UTC_NS))
    measured = [entry.fields for entry in found if entry.kind == "measurement"]
    assert [fields["ppm"] for fields in measured] == [280, 340, 400, 460, 520]
    for fields in measured:
        assert set(fields) == {"kind", "time", "t_s", *jsonlines.FIELDS["measurement"]}
        assert fields["amplitude"] == pytest.approx(fields["ppm"] / events.PPM_PER_AMPLITUDE, rel=1e-3)
        assert 0 < fields["sigma_ppm"] < 0.01 * fields["ppm"]
        assert fields["valid"] is True
    raised, cleared = (entry.fields for entry in found if entry.kind == "alert")
    assert (raised["state"], raised["value"], raised["threshold"], raised["rule"]) == (
        "raised", 460.0, 400.0, "a/concentration/co2_concentration",
    )  # fmt: skip
    assert (cleared["state"], cleared["value"], cleared["t_s"]) == ("cleared", 360.0, 5.0)
    assert [entry.id for entry in found] == list(range(1, 8))


@pytest.mark.parametrize("count", [1, 2, 50])
def test_however_many_there_are_one_alert_is_raised_and_cleared(count: int, tmp_path: Path) -> None:
    found = collected(events.sampled(node(tmp_path), count, UTC_NS))
    assert [entry.fields["state"] for entry in found if entry.kind == "alert"] == ["raised", "cleared"]
    assert sum(entry.kind == "measurement" for entry in found) == count


def test_nodes_of_other_kinds_give_their_own_results_and_an_alert_of_the_amplitude(tmp_path: Path) -> None:
    parameters = "monitored_nodes: [co2_peak_finder, co2_lock_in, my_level]\namplitude_threshold: 0.5\n"
    found = collected(events.sampled(node(tmp_path, parameters), 2, UTC_NS))
    assert [entry.kind for entry in found] == ["peak", "lock_in", "level"] * 2 + ["alert", "alert"]
    assert found[3].fields["amplitude"] == pytest.approx(0.65)
    assert (found[6].fields["type"], found[6].fields["threshold"]) == ("amplitude", 0.5)


def test_once_an_interval_the_newest_and_alerts_at_once(tmp_path: Path) -> None:
    def entry(number: int, second: int, kind: str = "measurement") -> Entry:
        return Entry(number, UTC_NS + second * SECOND_NS, kind, "co2_concentration", {"valid": True})

    found = [entry(n, n) for n in range(5)] + [entry(5, 5), entry(6, 5, "alert"), entry(7, 6), entry(8, 7)]
    slow = node(tmp_path, "update_interval_ms: 3000\n")
    assert batched(slow, each(*found)) == [
        [("measurement", 0)], [("measurement", 3)], [("measurement", 5), ("alert", 5)], [("measurement", 7)],
    ]  # fmt: skip
    assert batched(slow, each()) == []


def test_of_a_journal_its_own_thresholds_are_judged_anew(tmp_path: Path) -> None:
    kept = list(entries(60))
    store = Store(tmp_path / "lab.journal")
    store.append(kept)
    store.close()
    values = [e.fields["ppm"] for e in kept if e.kind == "measurement" and e.fields["valid"]]
    mine = node(tmp_path, f"monitored_nodes: [co2]\nconcentration_threshold: {min(values) - 1}\n")
    found = collected(events.journalled(mine, tmp_path / "lab.journal", None, None))
    own = [entry for entry in found if entry.kind == "alert" and entry.fields["rule"].startswith("a/")]
    assert [entry.fields["state"] for entry in own] == ["raised"]
    assert own[0].fields["value"] == values[0]
    theirs = [
        e.fields["rule"] for e in kept if e.kind == "alert" and e.subject == "co2" and "/" not in e.fields["rule"]
    ]
    assert [e.fields["rule"] for e in found if e.kind == "alert" and e not in own] == theirs
    assert [entry.id for entry in found] == list(range(1, len(found) + 1))
