"""bench/speed: a wrong amplitude is marked and meets no target, and all but the classic chain find the true one."""

import json
import math

import pytest

from bench.speed import __main__ as speed
from bench.speed import peers, sound
from bench.speed.rows import CLASSIC, FRONT_END, GRAPH, TOLERANCE, TWO_GASES, Row, ratio, verdicts


def row(name=FRONT_END, cpu_us=1.0, error=0.0, block_ms=100):
    return Row(name, block_ms, (cpu_us,), 0.05 * (1.0 + error), 0.05)


def targets(**replaced):
    rows = {"classic": row(CLASSIC, 1200.0, error=-0.05), "front": row(FRONT_END, 99.0), "graph": row(GRAPH, 699.0)}
    rows |= {"two": row(TWO_GASES, 699.0 * 1.29)} | replaced
    return [verdict.met for verdict in verdicts(list(rows.values()))]


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (0.0, True),
        (0.9 * TOLERANCE, True),
        (-0.9 * TOLERANCE, True),
        (1.1 * TOLERANCE, False),
        (-1.1 * TOLERANCE, False),
    ],
)
def test_an_amplitude_is_right_within_one_in_ten_thousand(error, right):
    assert row(error=error).right is right


@pytest.mark.parametrize("amplitude", [math.nan, math.inf, 0.0, -0.05])
def test_no_amplitude_is_a_wrong_one(amplitude):
    assert not Row(FRONT_END, 100, (1.0,), amplitude, 0.05).right


def test_the_table_marks_the_method_with_one_wrong_block_length_and_no_other():
    rows = [row(CLASSIC, block_ms=ms) for ms in (10, 100)]
    rows += [row("good", block_ms=10, error=5e-5), row("bad", block_ms=10), row("bad", error=-2e-4)]
    marked = [line.split()[0] for line in speed.table(rows).splitlines() if line.endswith("-2.0e-04  WRONG")]
    assert marked == ["bad"]
    assert speed.table(rows).count("WRONG") == 1


def test_ratio_is_to_the_classic_chain_at_the_same_blocks():
    rows = [row(CLASSIC, 1200.0), row(CLASSIC, 3000.0, block_ms=10), row(cpu_us=300.0, block_ms=10)]
    assert ratio(rows, rows[2]) == pytest.approx(0.1)
    assert ratio(rows, row(block_ms=50)) is None


def test_targets():
    assert targets() == [True, True, True]
    assert targets(front=row(FRONT_END, 101.0)) == [False, True, True]
    assert targets(graph=row(GRAPH, 701.0)) == [True, False, True]
    assert targets(two=row(TWO_GASES, 699.0 * 1.31)) == [True, True, False]


def test_a_moment_of_a_faster_processor_moves_the_least_and_no_target():
    rounds = {CLASSIC: (1200.0, 1200.0, 1200.0), FRONT_END: (110.0, 60.0, 110.0)}
    rounds |= {GRAPH: (690.0, 690.0, 400.0), TWO_GASES: (800.0, 800.0, 800.0)}
    rows = [Row(name, 100, costs, 0.05, 0.05) for name, costs in rounds.items()]
    assert rows[1].cpu_us == 60.0
    front_end, graph, second = verdicts(rows)
    assert (front_end.measured, front_end.met) == (pytest.approx(110 / 1200), False)
    assert (graph.measured, graph.met) == (pytest.approx(690 / 1200), True)
    assert second.measured == pytest.approx(800 / 690 - 1)


def test_what_is_wrong_meets_no_target_however_fast():
    assert targets(front=row(FRONT_END, 1.0, error=math.nan)) == [False, True, True]
    assert targets(graph=row(GRAPH, 690.0, error=2e-4)) == [True, False, False]
    assert targets(two=row(TWO_GASES, 690.0, error=2e-4)) == [True, True, False]


def test_every_method_finds_the_true_amplitude_but_the_highest_bin():
    one, two = sound.sound(sound.FREQUENCY_HZ), sound.sound(sound.FREQUENCY_HZ, sound.SECOND_HZ)
    off = sound.FREQUENCY_HZ * 4096 / sound.RATE % 1 - 1  # bins from the highest one
    for name, make in speed.METHODS.items():
        heard = two if name == TWO_GASES else one
        method = make()
        for block in sound.blocks(heard.samples, 100):
            method.push(block)
        found = Row(name, 100, (1.0,), method.amplitude(), heard.truth[method.signal])
        if name == CLASSIC:  # a Hann window's scalloping, Harris 1978
            lost = math.sin(math.pi * off) / (math.pi * off) / (1 - off**2)
            assert found.error == pytest.approx(lost - 1, abs=1e-3)
            assert not found.right
        else:
            assert found.right, (name, found.error)


@pytest.mark.parametrize(
    "compiler", [None, "#!/bin/sh\necho 'main.c: fatal error: volk/volk.h: No such file' >&2; exit 1\n"]
)
def test_peers_that_are_not_here_say_how_to_have_them(compiler, tmp_path, monkeypatch):
    if compiler is not None:
        (tmp_path / "gcc").write_text(compiler)
        (tmp_path / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(peers, "_PYTHON", tmp_path / "python")
    found = list(peers.run(tmp_path / "sound.f32", 1, 0.05, tmp_path))
    assert [one.name for one in found] == ["C by hand", "VOLK", "liquid-dsp", "ulia", "GNU Radio", "csdr"]
    assert all(isinstance(one, peers.Absent) for one in found)
    assert all("bench/speed/need" in one.reason for one in found[:4])


def test_json_lines_carry_rows_verdicts_and_what_is_absent(capsys):
    truth = sound.sound(sound.FREQUENCY_HZ).truth["A"]
    names = (CLASSIC, FRONT_END, GRAPH, TWO_GASES)
    rows = [Row(name, 100, (100.0, 90.0), truth * (1 + 2e-4 * (name == GRAPH)), truth) for name in names]
    speed.show(rows, [peers.Absent("VOLK", "not here")], {"p50_us": 1.0}, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["machine", *["row"] * 4, "tick", *["verdict"] * 3, "absent"]
    assert [line["name"] for line in lines if line["kind"] == "row" and not line["right"]] == [GRAPH]
    assert lines[1]["cpu_us"] == 90.0
    assert lines[1]["ratio"] == 1.0
