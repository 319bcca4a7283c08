"""CPU for one second of 48 kHz stereo, side by side in one run on one core: python -m bench.speed [--json].

Each figure is the least process CPU time of REPEATS, after two untimed seconds of sound, in microseconds per second
of sound; the repeats of all Python methods take turns, so that what else the machine does meets all alike. That
leaves cold caches to everybody, as on a live box: the demodulator repeated by itself takes a sixth less, the others
the same. The targets take the median over the rounds of the ratio within a round. The peers with a process of their
own (C, ulia) follow, on the same core and the same sound. Only `two gas lines` hears a second laser as well.
Everybody starts from float32: the step from the microphone's integers is the driver's. A row whose amplitude is not
the true one within 1e-4 is marked. Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import scipy

from bench.speed import ours, peers, scipys
from bench.speed.rows import CLASSIC, FRONT_END, GRAPH, TWO_GASES, Row, Verdict, find, ratio, verdicts
from bench.speed.sound import BLOCKS_MS, FREQUENCY_HZ, RATE, SECOND_HZ, TIMED_S, Sound, blocks, sound, split
from gateway.clock import cpu_ns
from gateway.types import SampleBlock

REPEATS = 30


class Method(Protocol):
    """One way to find the amplitude of `signal`, from its beginning."""

    signal: str

    def push(self, block: SampleBlock) -> None:
        """Take a block."""
        ...

    def amplitude(self) -> float:
        """What was found, full scale."""
        ...


METHODS: dict[str, Callable[[], Method]] = {
    FRONT_END: ours.FrontEnd,
    "ours: lock_in node": ours.LockInNode,
    GRAPH: ours.DefaultGraph,
    TWO_GASES: ours.TwoGases,
    CLASSIC: scipys.Classic,
    "numpy: exp per block": scipys.ExpPerBlock,
    "scipy: table, upfirdn": scipys.CachedUpfirdn,
    "scipy: mix, 4-pole RC": scipys.FourPoles,
}


def measure(sounds: dict[str, Sound]) -> list[Row]:
    """All Python methods at all blocks; a method without a sound of its own gets the one named ""."""
    cut = {(name, ms): split(blocks(one.samples, ms)) for name, one in sounds.items() for ms in BLOCKS_MS}
    rounds: dict[tuple[str, int], list[float]] = {}
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for repeat in range(REPEATS):
        print(f"\rround {repeat + 1} of {REPEATS}", end="", file=sys.stderr, flush=True)
        for ms in BLOCKS_MS:
            for name, make in METHODS.items():
                heard = name if name in sounds else ""
                method = make()
                rounds.setdefault((name, ms), []).append(cpu_us(method, *cut[heard, ms]))
                found[name, ms] = method.amplitude(), sounds[heard].truth[method.signal]
    print(file=sys.stderr)
    return [Row(name, ms, tuple(costs), *found[name, ms]) for (name, ms), costs in rounds.items()]


def cpu_us(method: Method, warm: Sequence[SampleBlock], timed: Sequence[SampleBlock]) -> float:
    """Microseconds of CPU that `method` takes per second of `timed`, after `warm`."""
    for block in warm:
        method.push(block)
    begin = cpu_ns()
    for block in timed:
        method.push(block)
    return (cpu_ns() - begin) / 1e3 / TIMED_S


def machine() -> dict[str, str]:
    """What this was measured on."""
    model = Path("/proc/device-tree/model")
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpus = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": model.read_text().rstrip("\0") if model.exists() else (cpus or [platform.machine()])[0],
        "cores": f"1 of {os.cpu_count()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "blas": f"{blas['name']} {blas['version']}, 1 thread",
    }


def table(rows: Sequence[Row]) -> str:
    """A line a method, a column a length of block; wrong amplitudes marked."""
    title = f"us of CPU per second of {RATE} Hz stereo (times the classic chain)"
    lines = [title, f"{'':26}" + "".join(f"{f'{ms} ms blocks':>18}" for ms in BLOCKS_MS) + "  amplitude error"]
    for name in dict.fromkeys(row.name for row in rows):
        cells = []
        for ms in BLOCKS_MS:
            row = find(rows, name, ms)
            cells.append(f"{row.cpu_us:9.1f} ({ratio(rows, row):6.3f})" if row else "")
        mine = [row for row in rows if row.name == name]
        error = max((row.error for row in mine), key=abs)
        mark = "" if all(row.right for row in mine) else "  WRONG"
        lines.append(f"{name:26}" + "".join(f"{cell:>18}" for cell in cells) + f"   {error:+.1e}{mark}")
    return "\n".join(lines)


def told(verdict: Verdict) -> str:
    """A verdict in words."""
    return (
        f"{verdict.target}: {verdict.measured:.3f}, at most {verdict.limit:.3f}: {'met' if verdict.met else 'MISSED'}"
    )


def tick(file: Path) -> dict[str, float]:
    """Wall time of a tick and resident memory, from a process of its own."""
    command = [sys.executable, "-m", "bench.speed.tick", str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def show(rows: list[Row], absent: list[peers.Absent], ticked: dict[str, float], *, as_json: bool) -> None:
    """Everything, as a page or as JSON lines."""
    if as_json:
        lines: list[dict[str, object]] = [{"kind": "machine", **machine()}]
        for row in rows:
            judged = {"cpu_us": row.cpu_us, "ratio": ratio(rows, row), "error": row.error, "right": row.right}
            lines.append({"kind": "row", **asdict(row), **judged})
        lines += [{"kind": "tick", **ticked}]
        lines += [{"kind": "verdict", **asdict(verdict)} for verdict in verdicts(rows)]
        lines += [{"kind": "absent", **asdict(one)} for one in absent]
        print("\n".join(map(json.dumps, lines)))
        return
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(table(rows))
    print("\n".join(f"{one.name}: {one.reason}" for one in absent))
    print("a tick of the default graph at 100 ms blocks, wall time: ", end="")
    print("p50 {p50_us:.0f} us, p99 {p99_us:.0f} us; resident memory {resident_mb:.0f} MB".format(**ticked))
    print("\n".join(map(told, verdicts(rows))))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description="CPU per second of sound, side by side")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    arguments = parser.parse_args()
    if len(cores := os.sched_getaffinity(0)) > 1:  # anew, so that BLAS counts one core when it is loaded
        os.sched_setaffinity(0, {max(cores)})
        os.execv(sys.executable, [sys.executable, "-m", "bench.speed", *sys.argv[1:]])
    one = sound(FREQUENCY_HZ)
    rows = measure({"": one, TWO_GASES: sound(FREQUENCY_HZ, SECOND_HZ)})
    absent: list[peers.Absent] = []
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "sound.f32"
        one.samples.tofile(file)
        for found in peers.run(file, REPEATS, one.truth["A"], Path(directory)):
            if isinstance(found, Row):
                rows.append(found)
            else:
                absent.append(found)
        ticked = tick(file)
    show(rows, absent, ticked, as_json=arguments.json)


if __name__ == "__main__":
    main()
