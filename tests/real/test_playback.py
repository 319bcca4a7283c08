"""The laser's modulation played and heard again on one clock: PulseAudio's null sink and its monitor, a closed loop.

What is played is what is captured, sample for sample, so frequency, amplitude and phase are held to the last bit of
the words, and silence is zeros.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.gateway import Running
from tests.real.paced_alsa import sound_server

RATE, BLOCK, AMPLITUDE = 48_000, 4_800, 0.25
ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.codec_out { type pulse device "codec" handle_underrun 1 hint { show on description "loop" } }
pcm.codec_in { type pulse device "codec.monitor" hint { show on description "loop" } }
"""
SINK = f"module-null-sink sink_name=codec rate={RATE} format=s32le channels=2"
LOOP = """
import asyncio, json, sys, time
from fractions import Fraction
import numpy as np
from drivers.alsa import Playback
from drivers.microphone import AlsaMicrophone
from drivers.playback import PlaybackLaser, buffer_frames, period_frames
from gateway.clock import RealClock
from gateway.types import Command, Light

RATE, BLOCK, AMPLITUDE = 48_000, 4_800, 0.25

async def main(plan, count, out):
    player = Playback("codec_out", RATE, "S32_LE", 2, period_frames(RATE), buffer_frames(RATE))
    laser = PlaybackLaser(player, RATE, [AMPLITUDE, 0.0], Light(Fraction("2012.5"), 0.5, 0.02), 0.2)
    microphone = AlsaMicrophone("codec_in", RATE, "S32_LE", 2, BLOCK, RealClock())
    blocks, states = [], []
    async for block in microphone.blocks():
        if not len(block.samples):
            continue
        blocks.append(block)
        states.append(laser.read())
        for verb, value in plan.get(str(len(blocks)), []):
            if verb == "sleep":
                time.sleep(value)
            elif verb == "safe":
                await asyncio.to_thread(laser.make_safe)
            else:
                laser.apply(Command("laser", verb, {"frequency_hz": value} if verb == "tune" else {}))
        if len(blocks) == count:
            break
    underruns = laser.underruns
    laser.close()
    np.savez(out, sound=np.concatenate([b.samples for b in blocks]), lost=[b.lost_frames for b in blocks],
             lit=[state == "on" for state in states], underruns=underruns)

asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
"""

GONE = """
import asyncio
from fractions import Fraction
from drivers.alsa import Playback
from drivers.playback import PlaybackLaser, buffer_frames, period_frames
from gateway.errors import DeviceError
from gateway.types import Command, Light

async def main():
    player = Playback("codec_out", 48_000, "S32_LE", 2, period_frames(48_000), buffer_frames(48_000))
    laser = PlaybackLaser(player, 48_000, [0.25, 0.0], Light(Fraction(2000), 0.5, 0.02), 0.2)
    laser.apply(Command("laser", "on"))
    print(laser.read(), flush=True)
    await asyncio.sleep(3.0)
    print(laser.read())
    try:
        laser.apply(Command("laser", "on"))
    except DeviceError as error:
        print(error)
    laser.close()

asyncio.run(main())
"""
REFUSED = """
import asyncio, sys
from fractions import Fraction
from drivers.alsa import Playback
from drivers.playback import PlaybackLaser
from gateway.errors import DeviceError
from gateway.types import Light

async def main():
    try:
        player = Playback(sys.argv[1], int(sys.argv[2]), "S32_LE", 2, 480, 2880)
        PlaybackLaser(player, 48_000, [0.25, 0.0], Light(Fraction(2000), 0.5, 0.02), 0.2)
    except DeviceError as error:
        print(error)

asyncio.run(main())
"""


@contextmanager
def codec(directory: Path) -> Iterator[tuple[dict[str, str], subprocess.Popen[bytes]]]:
    """The closed loop, with a delay of some 40 ms."""
    with sound_server(directory, ALSA, SINK) as (environment, server):
        yield {**environment, "PULSE_LATENCY_MSEC": "40"}, server


class Heard:
    """What came back. `sound` float32 [frames, channels]; `lit` whether the laser said so when each block had come."""

    def __init__(self, path: Path) -> None:
        found = np.load(path)
        self.sound, self.lit, self.underruns = found["sound"], found["lit"], int(found["underruns"])
        assert not found["lost"][2:].any()

    def lengths(self) -> list[tuple[int, int]]:
        """First and last frame of each stretch of sound; silence is 20 frames of zeros."""
        loud = np.flatnonzero(self.sound[:, 0])
        cut = np.flatnonzero(np.diff(loud) > 20)
        return list(zip(loud[[0, *(cut + 1)]].tolist(), loud[[*cut, -1]].tolist(), strict=True))


def play(directory: Path, count: int, plan: dict[int, list[tuple[str, float | None]]]) -> Heard:
    """Do what `plan` says after the block of that number, until `count` blocks of 0.1 s are heard."""
    out = directory / "heard.npz"
    with codec(directory) as (environment, _):
        command = [sys.executable, "-W", "error", "-c", LOOP, json.dumps(plan), str(count), str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return Heard(out)


def phases(sound: np.ndarray, hertz: float, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude and phase in degrees of each piece of `seconds`, by least squares."""
    n = round(seconds * RATE)
    found = []
    for begin in range(0, len(sound) - n + 1, n):
        turns = 2.0 * np.pi * ((begin + np.arange(n)) * hertz / RATE % 1.0)
        basis = np.stack([np.cos(turns), np.sin(turns)], axis=1)
        fit, *_ = np.linalg.lstsq(basis, sound[begin : begin + n].astype(np.float64), rcond=None)
        found.append(complex(fit[0], -fit[1]))
    return np.abs(found), np.degrees(np.unwrap(np.angle(found)))


def test_the_tone_is_exact_and_its_phase_stands_still(tmp_path: Path) -> None:
    heard = play(tmp_path, 260, {25: [("on", None)]})
    ((first, last),) = heard.lengths()
    assert heard.underruns == 0
    assert last - first > 22 * RATE
    assert not heard.sound[:, 1].any()
    amplitude, phase = phases(heard.sound[first:last, 0], 2012.5, 1.0)
    assert np.abs(amplitude - AMPLITUDE).max() < 1e-7
    assert np.ptp(phase) < 1e-4


def test_a_retune_keeps_the_phase(tmp_path: Path) -> None:
    heard = play(tmp_path, 60, {25: [("on", None)], 40: [("tune", 2037.5)]})
    ((first, last),) = heard.lengths()
    x = heard.sound[first:last, 0].astype(np.float64)
    old, new = (2.0 * math.pi * hertz / RATE for hertz in (2012.5, 2037.5))
    off_old, off_new = (np.abs(x[2:] + x[:-2] - 2.0 * math.cos(w) * x[1:-1]) > 1e-6 for w in (old, new))
    change = int(np.flatnonzero(off_old)[0]) + 1
    assert not off_new[change:].any()
    assert 0 < first + change - 40 * BLOCK < 0.2 * RATE
    turns = np.r_[np.arange(change) * old, change * old + np.arange(len(x) - change) * new]
    basis = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    fit, *_ = np.linalg.lstsq(basis, x, rcond=None)
    assert np.abs(x - basis @ fit).max() < 1e-6


@pytest.mark.parametrize("how", ["off", "safe"])
def test_off_is_silence_at_once(tmp_path: Path, how: str) -> None:
    heard = play(tmp_path, 60, {25: [("on", None)], 40: [(how, None)], 50: [("on", None)]})
    (_, last), (first, _) = heard.lengths()
    assert last - 40 * BLOCK < 0.05 * RATE
    assert 50 * BLOCK < first < 52 * BLOCK
    assert heard.lit.tolist() == [False] * 25 + [True] * 15 + [False] * 10 + [True] * 10


def test_a_loop_that_hangs_leaves_darkness_that_is_told(tmp_path: Path) -> None:
    heard = play(tmp_path, 70, {25: [("on", None)], 40: [("sleep", 0.5)]})
    (_, last), (again, _) = heard.lengths()
    assert heard.underruns == 1
    assert last - 40 * BLOCK < 0.15 * RATE
    dark = heard.lit.tolist().index(False, 30)
    assert again - last > 0.4 * RATE
    assert dark * BLOCK <= last < (dark + 1) * BLOCK
    assert heard.lit[-5:].all()


BOARD = f"""\
title = "A codec in a closed loop"
[microphone]
device = "codec_in"
formats = ["S32_LE"]
[laser]
playback = "codec_out"
amplitude = {AMPLITUDE}
safe = "off"
"""
CONFIG = """\
box: {id: lab}
board: loop
laser: {frequency_hz: 2013.7}
processing:
  default_graph:
    nodes:
      - {id: lock, type: lock_in}
      - {id: level, type: level}
"""
START = """
import sys
from pathlib import Path
from gateway import board
root = Path(sys.argv.pop(1))
board.directory = lambda: root
from gateway.__main__ import main
sys.exit(main())
"""


@contextmanager
def gateway(directory: Path, environment: dict[str, str]) -> Iterator[Running]:
    """The gateway on that board, as a user runs it."""
    (directory / "loop.toml").write_text(BOARD)
    (directory / "lab.yaml").write_text(CONFIG)
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            START,
            str(directory),
            "run",
            "--json",
            "--config",
            f"{directory}/lab.yaml",
        ],
        env={**environment, "RUNTIME_DIRECTORY": str(directory), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    box = Running(process)
    try:
        yield box
    finally:
        if process.poll() is None:
            box.stop(signal.SIGKILL)


def test_the_gateway_measures_what_it_plays(tmp_path: Path) -> None:
    """A least step of the 24 bits that float32 keeps is 6e-8; 0.1 degree in 20 s would be 0.007 ppm.

    On a busy machine the sound server gives an impulse now and then, at its start above all, which the clock's estimate
    follows for three records more: their phase is off by some 1e-4 rad, and nobody is told, as the amplitude is right.
    """

    def steady() -> list[Any]:
        """The last eight of the first twelve records in a row without a flag."""
        locks = box.objects("lock_in")
        runs = (locks[end - 12 : end] for end in range(12, len(locks) + 1))
        return next((run[4:] for run in runs if not any(lock["flags"] for lock in run)), [])

    with codec(tmp_path) as (environment, _), gateway(tmp_path, environment) as box:
        box.wait(lambda: bool(steady()), "twelve records without a flag")
        assert box.stop() == 0
    good = [lock for lock in box.objects("lock_in") if not lock["flags"]]
    assert {lock["frequency_hz"] for lock in good} == {2013.7}
    assert max(abs(lock["in_phase"] - AMPLITUDE) for lock in good) < 6e-8
    good = steady()
    assert max(abs(lock["quadrature"]) for lock in good) < 6e-8
    assert max(abs(lock["clock_offset_ppm"]) for lock in good) < 1e-4


def test_a_killed_gateway_leaves_silence(tmp_path: Path) -> None:
    out = tmp_path / "heard.npz"
    command = [sys.executable, "-W", "error", "-c", LOOP, "{}", "150", str(out)]
    with codec(tmp_path) as (environment, _), gateway(tmp_path, environment) as box:
        box.wait(lambda: box.objects("lock_in"), "a record")
        listener = subprocess.Popen(command, env=environment)
        time.sleep(8.0)
        box.stop(signal.SIGKILL)
        assert listener.wait(60) == 0
    sound = np.load(out)["sound"][:, 0]
    loud = np.flatnonzero(sound)
    assert np.ptp(sound[: 2 * RATE]) > 1.9 * AMPLITUDE
    assert 4 * RATE < loud[-1] < len(sound) - 3 * RATE


def test_a_device_that_goes_away_is_an_answer(tmp_path: Path) -> None:
    with (
        codec(tmp_path) as (environment, server),
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", GONE], env=environment, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        server.kill()
        said, _ = process.communicate(timeout=60)
    state, answer = said.splitlines()
    assert state == "off"
    assert answer.startswith("laser's output codec_out is gone: ")


def test_devices_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    with codec(tmp_path) as (environment, _):
        said = [
            subprocess.run(
                [sys.executable, "-W", "error", "-c", REFUSED, device, rate],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            ).stdout
            for device, rate in (("hw:7,0", "48000"), ("codec_out", "500000"), ("null", "48000"))
        ]
    missing, rate, clock = said
    assert missing.startswith("laser's output hw:7,0 cannot be opened: ")
    assert "Playback devices here: " in missing
    assert "codec_out" in missing
    assert rate.startswith("laser's output codec_out does not give 500000 Hz S32_LE in 2 channels: it offers ")
    assert clock.startswith("laser's output null cannot be waited for: ")
