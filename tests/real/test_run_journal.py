"""The gateway's journal as a user meets it: killed, on a full disk, with a file that is none; it goes on measuring."""

from __future__ import annotations

import itertools
import json
import signal
import time
from pathlib import Path
from typing import Any

from gateway import status
from tests.real.gateway import Running, command, gateway
from tests.real.test_journal import small_disk
from tests.real.test_run_actions import configuration


def state(running: Running, directory: Path) -> dict[str, Any]:
    """What the status says of the journal."""
    found = running.wait(lambda: status.read(directory, time.time_ns()), "a status")
    return dict(found[0]["journal"])


def exported(directory: Path, file: Path) -> list[dict[str, Any]]:
    """What `spectrophone export` gives."""
    done = command(directory, "export", "--format", "jsonl", "--journal", str(file))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_killed_and_started_again_nothing_that_was_committed_is_lost_and_no_number_comes_twice(tmp_path: Path) -> None:
    file, kept = tmp_path / "lab.journal", []
    config = str(configuration(tmp_path, {}, journal={"commit_s": 0.5}))
    for _ in range(3):
        with gateway(tmp_path, "run", "--config", config, "--json") as running:
            running.wait(lambda: len(running.objects("measurement")) >= 10, "measurements")
            kept = exported(tmp_path, file)
            running.stop(signal.SIGKILL)
    after = exported(tmp_path, file)
    assert [entry["key"] for entry in after[: len(kept)]] == [entry["key"] for entry in kept]
    assert len({entry["key"] for entry in after}) == len(after)
    assert [entry["time"] for entry in after] == sorted(entry["time"] for entry in after)
    starts = sum(one["t_s"] > other["t_s"] for one, other in itertools.pairwise(after))
    assert starts == 2


def test_a_file_that_is_no_journal_is_set_aside_and_told(tmp_path: Path) -> None:
    file = tmp_path / "lab.journal"
    file.write_bytes(b"not a journal" * 1000)
    config = str(configuration(tmp_path, {}, journal={"commit_s": 0.5}))
    with gateway(tmp_path, "run", "--config", config, "--json") as running:
        running.wait(lambda: len(running.objects("measurement")) >= 5, "measurements")
        found = state(running, tmp_path)
        assert running.stop() == 0, running.said()
    assert found["integrity"] not in ("good", "not checked yet"), found
    assert [other.name for other in tmp_path.iterdir() if "damaged" in other.name]
    assert len(exported(tmp_path, file)) >= 5


def test_a_full_disk_stops_no_measurement_and_loses_none(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk / "ballast").write_bytes(b"\0" * 1_900_000)
        file = disk / "lab.journal"
        config = str(configuration(tmp_path, {}, journal={"path": str(file), "commit_s": 0.2}))
        with gateway(tmp_path, "run", "--config", config, "--json") as running:
            running.wait(lambda: state(running, tmp_path)["problem"], "the problem in the status", 120.0)
            some = len(running.objects("measurement"))
            running.wait(lambda: len(running.objects("measurement")) >= some + 10, "measurements all the same")
            (disk / "ballast").unlink()
            running.wait(lambda: not state(running, tmp_path)["problem"], "the end of the problem")
            measured = len(running.objects("measurement"))
            assert state(running, tmp_path)["lost"] == 0
            assert running.stop() == 0, running.said()
        assert len(exported(tmp_path, file)) >= measured
