"""`spectrophone sweep` from its command line; the simulated sound comes at its own pace, so sweeps are short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.__main__ import main

SHORT = ["sweep", "--points", "4", "--seconds", "0.1"]


def test_json_lines_and_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, plot = tmp_path / "resonance.json", tmp_path / "resonance.html"
    main([*SHORT, "--json", "--out", str(out), "--plot", str(plot)])
    *points, found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(point) for point in points] == [["kind", "frequency_hz", "in_phase", "quadrature", "sigma"]] * 4
    assert {point["kind"] for point in points} == {"sweep_point"}
    values = ["f0_hz", "sigma_f0_hz", "q", "sigma_q", "peak", "background", "sigma_background"]
    assert list(found) == ["kind", *values, "chi2", "dof", "p_value", "good"]
    assert found["kind"] == "sweep"
    assert found["dof"] == 4
    assert (found["background"], found["sigma_background"]) == (None, None)
    assert abs(found["f0_hz"] - 2012.5) < 4.5 * found["sigma_f0_hz"]
    written = json.loads(out.read_text())
    assert written["q"] == found["q"]
    assert written["time"].endswith("Z")
    assert "Q " in plot.read_text("utf-8")
    assert plot.read_text("utf-8").count("<circle") >= 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--points", "3"], "--points 3"),
        (["--seconds", "0"], "--seconds 0"),
        (["--out", "resonance.toml"], "a name that ends in .json"),
        (["--plot", "resonance.gif"], "resonance.gif"),
        (["--ppm", "-1"], "--ppm -1.0"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    assert "example:\n  spectrophone sweep" in capsys.readouterr().out
