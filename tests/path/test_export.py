"""An export of the journal says what a replay of the same sound says, also while the gateway writes; and what
docs/journal.md tells a user to type works.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import shlex
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from drivers.recorder import Recorder
from gateway import replay
from gateway.__main__ import main
from gateway.clock import RealClock
from gateway.journal.entry import Entry, told
from gateway.journal.store import Store
from gateway.types import Outcome, SampleBlock
from tests.support.sound import stereo, tone
from tests.unit.journal.samples import SECOND_NS, UTC_NS, entries, measurement, tick

WATCHED = {"co2_lock_in", "co2_peak_finder", "level", "spectrum"}


def recorded(file: Path) -> None:
    """Twelve seconds of the laser's tone in noise, with a date."""
    noise = 1e-3 * np.random.default_rng(3).standard_normal(12 * 48_000)
    samples = stereo(tone(2012.5, 0.01, 12.0, 48_000) + noise.astype(np.float32))
    with Recorder(file, 48_000, 2) as recorder:
        recorder.write(SampleBlock(0, 0, 48_000, samples, utc_ns=UTC_NS))


async def journalled(recording: Path, journal: Path) -> None:
    """What the recording gives, as the gateway would have kept it."""
    made: list[Entry] = []
    async for brought in replay.prepare(recording, None).ticks():
        made += told(brought, Outcome(), WATCHED, WATCHED, len(made) + 1, 0)
    store = Store(journal)
    store.append(made)
    store.close()


def test_an_export_says_what_the_replay_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording, journal = tmp_path / "lab.wav", tmp_path / "lab-42.journal"
    recorded(recording)
    assert main(["replay", str(recording)]) == 0
    lines = capsys.readouterr().out
    replayed = [json.loads(line) for line in lines.splitlines()]
    asyncio.run(journalled(recording, journal))
    assert main(["export", "--format", "jsonl", "--journal", str(journal)]) == 0
    exported = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [fields.pop("key") for fields in exported] == [f"lab-42-{i + 1}" for i in range(len(exported))]
    assert exported == replayed
    measured = [fields for fields in replayed if fields["kind"] == "measurement"]
    assert len(measured) > 8
    assert main(["export", "--format", "csv", "--journal", str(journal)]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    out = tmp_path / "lab.parquet"
    assert main(["export", "--format", "parquet", "--journal", str(journal), "--out", str(out)]) == 0
    columns = pq.read_table(out).to_pydict()
    for name in ("ppm", "sigma_ppm", "t_s", "amplitude"):
        expected = [fields[name] for fields in measured]
        assert columns[name] == expected
        assert [float(row[name]) for row in table] == expected
    assert [row["time"] for row in table] == [fields["time"] for fields in measured]
    judged = []
    capsys.readouterr()
    (tmp_path / "lab.jsonl").write_text(lines)
    for file in (journal, tmp_path / "lab.jsonl"):
        assert main(["allan", str(file)]) == 0
        judged.append(capsys.readouterr().out)
    assert judged[0] == judged[1]


def test_while_the_gateway_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, kept = tmp_path / "a.journal", list(entries(1200))
    Store(journal).close()
    half, go_on = threading.Event(), threading.Event()

    def write(rows: list[Entry]) -> None:
        store = Store(journal)
        for at in range(0, len(rows), 20):
            store.append(rows[at : at + 20])
            if at >= len(rows) // 2 and not half.is_set():
                half.set()
                go_on.wait()
        store.close()

    def exported() -> list[Any]:
        assert main(["export", "--format", "jsonl", "--journal", str(journal)]) == 0
        return [json.loads(line)["key"] for line in capsys.readouterr().out.splitlines()]

    writing = threading.Thread(target=write, args=(kept,), daemon=True)
    writing.start()
    seen = [exported() for _ in range(3)]
    half.wait()
    seen.append(exported())
    go_on.set()
    seen += [exported() for _ in range(3)]
    writing.join()
    seen.append(exported())
    keys = [f"a-{entry.id}" for entry in kept]
    assert all(found == keys[: len(found)] for found in seen)
    assert sorted(map(len, seen)) == list(map(len, seen))
    assert len(kept) // 2 <= len(seen[3]) < len(kept)
    assert seen[-1] == keys


PAGE = Path(__file__).parents[2] / "docs" / "journal.md"


def test_the_commands_of_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = re.findall(r"^    spectrophone (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 6
    noise, made = np.random.default_rng(0), []
    began_ns = RealClock().utc_ns() - 60 * SECOND_NS
    for i in range(30):
        measured = measurement(i * SECOND_NS, "co2_concentration", 400.0 + float(noise.standard_normal()))
        made += told(tick(i * SECOND_NS, (measured,), utc_ns=began_ns), Outcome(), (), (), i + 1, 0)
    store = Store(tmp_path / "lab-42.journal")
    store.append(made)
    store.close()
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert main(shlex.split(command)) == 0, command
    capsys.readouterr()
    assert {file.name for file in tmp_path.iterdir()} >= {"week.csv", "november.parquet", "night.html"}
    assert len((tmp_path / "week.csv").read_bytes().splitlines()) == 31
