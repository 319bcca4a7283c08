"""`allan`: table, JSON, plots, gaps, and one sentence for what cannot be judged."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.__main__ import main
from gateway.journal.entry import Entry
from gateway.journal.store import Store
from tests.recordings import tone, wav

Objects = list[dict[str, Any]]


def measurements(count: int, node: str = "co2", seed: int = 0) -> Objects:
    noise = np.random.default_rng(seed).standard_normal(count)
    return [
        {"kind": "measurement", "node": node, "t_s": i + 1.0, "ppm": 400.0 + float(x), "valid": True}
        for i, x in enumerate(noise)
    ]


def written(path: Path, objects: Objects) -> str:
    path.write_text("".join(json.dumps(fields) + "\n" for fields in objects))
    return str(path)


def test_table_and_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["allan", written(tmp_path / "a.jsonl", measurements(1000))]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["tau", "s", "ADEV", "ppm", "lower", "upper", "count"]
    assert [line.split()[0] for line in lines[1:10]] == ["1", "2", "4", "8", "16", "32", "64", "128", "256"]
    assert [line.partition(":")[0] for line in lines[11:]] == [
        "white noise",
        "floor",
        "random walk",
        "limit of detection",
        "best averaging time",
    ]
    assert "none seen" in lines[13]
    assert err == ""


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "a.jsonl", [{"kind": "peak", "t_s": 1.0}, *measurements(1000)])
    assert main(["allan", file, "--json"]) == 0
    *points, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(points) == 9
    assert list(points[0]) == ["kind", "node", "tau_s", "adev_ppm", "low_ppm", "high_ppm", "n"]
    assert all(p["kind"] == "allan" and p["low_ppm"] < p["adev_ppm"] < p["high_ppm"] for p in points)
    assert summary["kind"] == "summary"
    assert summary["lod_ppm"] == pytest.approx(3.0, rel=4.5 / np.sqrt(2000))
    assert summary["walk_ppm_per_sqrt_s"] is None
    assert summary["best_s"] == 256.0


def test_the_longest_run_without_a_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = measurements(300)
    objects[99].update(ppm=None, valid=False)
    objects[49]["valid"] = False
    for late in objects[250:]:
        late["t_s"] += 3.0
    assert main(["allan", written(tmp_path / "a.jsonl", objects), "--json"]) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out.splitlines()[-1])
    assert (summary["used"], summary["not_valid"], summary["beyond_gap"]) == (150, 2, 148)
    assert err == "spectrophone: 150 measurements in a row were used; left out: 2 not valid, 148 beyond a gap\n"


def test_standard_input_and_a_chosen_node(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(json.dumps(fields) + "\n" for fields in [*measurements(20, "a"), *measurements(30, "b")])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["allan", "-", "--node", "b", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["node"], summary["used"]) == ("b", 30)


def test_a_recording_gives_what_its_json_lines_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lab.wav"
    file.write_bytes(wav(tone(2012.5, 0.01, 48_000, 12.0, noise_rms=1e-3, seed=1), 48_000, "PCM_24"))
    assert main(["replay", str(file)]) == 0
    lines = tmp_path / "lab.jsonl"
    lines.write_text(capsys.readouterr().out)
    assert main(["allan", str(file)]) == 0
    table = capsys.readouterr().out
    assert main(["allan", str(lines)]) == 0
    assert capsys.readouterr().out == table


BEGAN_S = 1_790_000_000


def journal(file: Path, *runs: tuple[int, range]) -> str:
    """A journal of the gateway's runs: how long after the first each began, and which of its measurements are kept."""
    noise, made = np.random.default_rng(0), []
    for after_s, kept in runs:
        for i in kept:
            t_s, ppm = i + 1.2, 400.0 + float(noise.standard_normal())
            fields = {"kind": "measurement", "time": None, "t_s": t_s, "node": "co2", "ppm": ppm, "valid": True}
            made.append(
                Entry(len(made) + 1, (BEGAN_S + after_s) * 10**9 + round(t_s * 1e9), "measurement", "co2", fields)
            )
    store = Store(file)
    store.append(made)
    store.close()
    return str(file)


def summary(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_the_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    file = journal(tmp_path / "lab-42.journal", (0, range(100)))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    config = tmp_path / "c.yaml"
    config.write_text("box: {id: lab-42}\nboard: sim\n")
    assert main(["allan", file]) == 0
    table = capsys.readouterr().out
    for chosen in ([], ["--journal", file], ["--box", "lab-42"], ["--config", str(config)], ["--node", "co2"]):
        assert main(["allan", *chosen]) == 0
        assert capsys.readouterr().out == table
    told = ["--from", "2026-09-21T14:13:31", "--to", "2026-09-21T14:14:11", "--json"]
    for given in ([], [file]):
        assert main(["allan", *given, *told]) == 0
        assert summary(capsys)["used"] == 40


def test_a_restart_of_the_gateway_is_a_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = journal(tmp_path / "late", (0, range(100)), (3600, range(60)))
    at_once = journal(tmp_path / "at_once", (0, range(1)), (2, range(60)))
    longer = journal(tmp_path / "longer", (0, range(30)), (31, range(100)))
    partly = journal(tmp_path / "partly", (0, range(9, 10)), (20, range(10, 60)))
    for file, used, apart in ((late, 100, 60), (at_once, 60, 1), (longer, 100, 30), (partly, 50, 1)):
        assert main(["allan", file, "--json"]) == 0
        found = summary(capsys)
        assert (found["used"], found["beyond_gap"]) == (used, apart)


def test_a_clock_that_is_set_is_none_while_sound_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise, made = np.random.default_rng(0).standard_normal(100), []
    for i, x in enumerate(noise):
        time_ns = (BEGAN_S + i - 7 * (i > 50)) * 10**9
        fields = {"kind": "measurement", "time": None, "t_s": i + 1.2, "node": "a", "ppm": float(x), "valid": True}
        made.append(Entry(i + 1, time_ns, "measurement", "a", fields))
    store = Store(tmp_path / "a.journal")
    store.append(made)
    store.close()
    assert main(["allan", str(store.file), "--json"]) == 0
    assert summary(capsys)["used"] == 100


@pytest.mark.parametrize("suffix", ["html", "png"])
def test_plot(suffix: str, tmp_path: Path) -> None:
    plot = tmp_path / f"a.{suffix}"
    assert main(["allan", written(tmp_path / "a.jsonl", measurements(1000)), "--plot", str(plot)]) == 0
    assert plot.stat().st_size > 3000


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no measurements"),
        ('{"kind": "level"}\n', "has no measurements"),
        ('{"kind": "level"}\n{"kind"\n', "line 2 is not a JSON object"),
        ("[1]\n", "line 1 is not a JSON object"),
        ('{"kind": "measurement", "node": "a"}\n', "line 1 is a measurement without"),
        ("\xff\xfe\n", "line 1 is not a JSON object"),
    ],
)
def test_bad_files(content: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content.encode("latin-1"))
    refused(["allan", str(file)], sentence, capsys)


def refused(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


def test_what_cannot_be_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = written(tmp_path / "few.jsonl", measurements(9))
    refused(["allan", few], "co2: 9 of 9 measurements are valid and without a gap between, 10 are needed", capsys)
    two = written(tmp_path / "two.jsonl", [*measurements(20, "b"), *measurements(20, "a")])
    refused(["allan", two], "several nodes: a, b. Choose one with --node", capsys)
    refused(["allan", two, "--node", "c"], "has no measurements of c. There are: a, b", capsys)
    equal = written(tmp_path / "equal.jsonl", [{**fields, "ppm": 1.0} for fields in measurements(20)])
    refused(["allan", equal], "there is no noise to judge", capsys)
    refused(["allan", str(tmp_path / "none.jsonl")], "cannot be read: No such file or directory", capsys)
    refused(["allan", str(tmp_path)], "cannot be read: Is a directory", capsys)
    refused(["allan", two, "--config", "x.yaml"], "--config is for recordings", capsys)
    refused(["allan", two, "--from", "-2h"], f"--from is for the journal, and {two} is none", capsys)
    kept = journal(tmp_path / "lab-42.journal", (0, range(20)))
    refused(["allan", kept, "--box", "lab-42"], f"{kept} is a journal already", capsys)
    refused(["allan", kept, "--node", "c"], f"{kept} has no measurements of c. There are: co2", capsys)
    refused(["allan", kept, "--to", "2026-01-01"], f"{kept} has no measurements", capsys)
    refused(["allan", two, "--plot", "a.pdf"], "a plot is a .png or an .html", capsys)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused(["allan", two, "--plot", "a.png"], "pip install 'spectrophone[plots]'", capsys)
