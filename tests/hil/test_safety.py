"""Whatever happens to the gateway, the laser is dark and the relays are safe: a hundred times, at random moments.

The laser's PWM, its enable and the relays are watched from the far side of the kernel's lines, a thousand times a
second; times are the guest's. `reach` is when whoever is next in line can know of it: a deadline, or at once. What was
measured is printed, and stands in docs/safety.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hil.guest import VENV, Guest

HERE = Path(__file__).parent
UNIT = HERE.parents[1] / "ansible/roles/spectrophone/files/spectrophone.service"
BOX = "/etc/spectrophone/box.yaml"
OWN_BOARD = "/etc/spectrophone/boards/bench.toml"
PWM, ENABLE, FAN, VALVE = 12, 26, 17, 22
LINES = (PWM, ENABLE, FAN, VALVE)
INTERLOCK, STOP = 5, 6
PATIENCE_S = 60.0
MARGIN_MS = 1000.0
"""A hundred would do on a machine that has nothing else to do; what was measured is printed."""
CONFIG = """\
board: bench
box: {id: bench}
acquisition: {format: S16_LE}
climate: {sensor: "off"}
laser: {reference: free, frequency_hz: 2012.5, max_on_s: %g}
rules: [{when: co2_concentration above -1000000, do: [relay fan on, relay valve on]}]
mqtt: {host: 127.0.0.1}
"""
TONE = """
import alsaaudio, numpy as np
tone = np.round(9000 * np.sin(2 * np.pi * 2012.5 / 48000 * np.arange(96000))).astype("<i2")
data = np.stack([tone, np.zeros_like(tone)], axis=1).tobytes()
card = alsaaudio.PCM(type=alsaaudio.PCM_PLAYBACK, device="hw:Zero,1", rate=48000, channels=2,
                     format=alsaaudio.PCM_FORMAT_S16_LE, periodsize=4800)
while True:
    for n in range(0, len(data), 19200):
        card.write(data[n : n + 19200])
"""
RUN = "/run/systemd/system/spectrophone.service.d/faults.conf"
DROP_IN = f"""\
[Service]
ExecStart=
ExecStart={VENV}/bin/python /opt/faulty.py run --config {BOX}
Restart=no
SupplementaryGroups=gpio i2c
"""


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that happens: what does it (it returns when, in the guest's ns), when it can be known of, how often it
    is tried, and whether the gateway ends with it.
    """

    name: str
    path: str
    do: Callable[[Bench], int]
    reach_ms: float
    times: int
    ends: bool


class Bench:
    """The gateway as a service, lit, with its relays on."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def play(self) -> None:
        """Sound for the microphone, until the card is gone."""
        self.tone = self.guest.start(f"{VENV}/bin/python", "/opt/tone.py")

    def start(self, max_on_s: float = 3600.0) -> None:
        """A gateway that measures."""
        guest = self.guest
        guest.run("rm", "-f", "/run/fault", "/var/lib/spectrophone/bench.starts")  # crashes in a row: no safe mode
        guest.put((CONFIG % max_on_s).encode(), BOX)
        for line in (INTERLOCK, STOP):
            guest.pull(line, 0)
        guest.run("systemctl", "reset-failed", "spectrophone", check=False)
        guest.run("systemctl", "restart", "spectrophone", timeout_s=PATIENCE_S)
        self.until_lit()

    def until_lit(self) -> None:
        """The laser is lit and the relays are on."""
        self.until(lambda: all(self.guest.level(line) for line in (ENABLE, FAN, VALVE)), "lit")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(
                    f"not {what} within {PATIENCE_S:g} s: {self.guest.journal('spectrophone')[-3000:]}"
                )
            time.sleep(0.05)

    def tell(self, target: str, verb: str) -> None:
        self.guest.run("mosquitto_pub", "-t", f"spectrophone/bench/{target}/set", "-m", verb)

    def recover(self) -> None:
        """What had happened is mended, and what wants to be told again is."""
        guest = self.guest
        guest.run("rm", "-f", "/run/fault")
        guest.put((CONFIG % 3600.0).encode(), BOX)
        for line in (INTERLOCK, STOP):
            guest.pull(line, 0)
        time.sleep(1.5)  # the reloader looks once a second
        for target in ("laser", "relay/fan", "relay/valve"):
            self.tell(target, "ON")
        self.until_lit()

    def lit_and_dark_ms(self, cause: Cause) -> dict[int, float]:
        """Tell the laser and the relays to be on; how long after that each line went low for good."""
        with self.guest.trace(*LINES) as trace:
            for target in ("relay/fan", "relay/valve", "laser"):
                self.tell(target, "ON")
            self.until_lit()
            self.until(lambda: not any(self.guest.level(line) for line in LINES), f"dark after {cause.name}")
            self.guest.run("sleep", "0.2")
        lit_ns = next(t_ns for t_ns, levels in trace.changes if levels[LINES.index(ENABLE)])
        return {line: ((trace.last(line, 1) or lit_ns) - lit_ns) / 1e6 for line in LINES}

    def pid(self) -> str:
        return self.guest.run("systemctl", "show", "-P", "MainPID", "spectrophone").out.strip()

    def dark_after_ms(self, cause: Cause) -> dict[int, float]:
        """Let it happen; after how long each line went low for good."""
        with self.guest.trace(*LINES) as trace:
            self.guest.run("sleep", "0.05")
            at_ns = cause.do(self)
            self.until(lambda: not any(self.guest.level(line) for line in LINES), f"dark after {cause.name}")
            self.guest.run("sleep", "0.2")
        return {line: ((trace.last(line, 1) or at_ns) - at_ns) / 1e6 for line in LINES}


def signalled(number: str) -> Callable[[Bench], int]:
    def do(bench: Bench) -> int:
        pid, at_ns = bench.pid(), bench.guest.now_ns()
        bench.guest.run("kill", f"-{number}", pid)
        return at_ns

    return do


def all_killed(bench: Bench) -> int:
    at_ns = bench.guest.now_ns()
    bench.guest.run("systemctl", "kill", "--signal=KILL", "spectrophone")
    return at_ns


def injected(fault: str) -> Callable[[Bench], int]:
    return lambda bench: bench.guest.write("/run/fault", fault)


def pulled(line: int) -> Callable[[Bench], int]:
    return lambda bench: bench.guest.pull(line, 1)


def unplugged(bench: Bench) -> int:
    at_ns = bench.guest.now_ns()
    bench.guest.unplug()
    return at_ns


def broken_file(bench: Bench) -> int:
    bench.guest.put((CONFIG % 3600.0).replace("2012.5", "fast").encode(), BOX)
    return bench.guest.now_ns()


CAUSES = [
    Cause("SIGKILL of the gateway", "guardian sees its pipe end", signalled("KILL"), 0.0, 14, True),
    Cause("SIGKILL of gateway and guardian", "systemd: ExecStopPost, `spectrophone safe`", all_killed, 5000.0, 8, True),
    Cause("SIGSTOP", "guardian misses the heartbeat, kills", signalled("STOP"), 2000.0, 8, True),
    Cause("SIGTERM", "the gateway itself", signalled("TERM"), 0.0, 5, True),
    Cause("exception while reading", "the loop's way out", injected("raise inputs"), 200.0, 5, True),
    Cause("exception in the path", "the loop's way out", injected("raise path"), 200.0, 5, True),
    Cause("exception in the outputs", "the loop's way out", injected("raise outputs"), 200.0, 5, True),
    Cause("the loop hangs", "watch's thread", injected("sleep path"), 2300.0, 5, True),
    Cause("the interpreter hangs", "guardian misses the heartbeat, kills", injected("hold path"), 2200.0, 5, True),
    Cause("the sound card stalls", "watch's thread", injected("stall"), 3100.0, 6, False),
    Cause("the interlock opens", "watch's thread waits for the line", pulled(INTERLOCK), 0.0, 14, False),
    Cause("the stop button is pressed", "watch's thread waits for the line", pulled(STOP), 0.0, 14, False),
    Cause("the configuration becomes invalid", "the reloader looks once a second", broken_file, 1000.0, 6, False),
    Cause("the sound card is unplugged", "the microphone's error", unplugged, 0.0, 4, True),
]


@pytest.fixture(scope="module")
def bench(guest: Guest) -> Iterator[Bench]:
    text = (HERE.parents[1] / "boards" / "rpi4-codec-zero.toml").read_text("utf-8")
    # A closed contact is stronger than the Pi's resistor; gpio-sim's pull is whichever was set last.
    guest.put(text.replace('bias = "pull_up"', 'bias = "none"').encode(), OWN_BOARD)
    guest.put((HERE / "faulty.py").read_bytes(), "/opt/faulty.py")
    guest.put(UNIT.read_bytes(), "/run/systemd/system/spectrophone.service")
    guest.put(DROP_IN.encode(), RUN)
    guest.put(TONE.encode(), "/opt/tone.py")
    guest.run("systemctl", "daemon-reload")
    broker = guest.start("mosquitto")
    bench = Bench(guest)
    bench.play()
    yield bench
    guest.run("systemctl", "stop", "spectrophone", check=False)
    for running in (bench.tone, broker):
        running.signal(15)
    guest.run("rm", "-rf", RUN, OWN_BOARD, "/run/systemd/system/spectrophone.service")
    guest.run("systemctl", "daemon-reload")


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name.replace(" ", "_"))
def test_the_laser_is_dark_and_the_relays_are_safe(cause: Cause, bench: Bench) -> None:
    moments = random.Random(cause.name)
    dark: list[dict[int, float]] = []
    for n in range(cause.times):
        if n == 0 or cause.ends:
            bench.start()
        else:
            bench.recover()
        time.sleep(moments.uniform(0.0, 1.0))
        dark.append(bench.dark_after_ms(cause))
        if cause.do is unplugged:
            bench.guest.plug()
            bench.play()
    report(cause, dark)
    light = sorted(min(each[PWM], each[ENABLE]) for each in dark)
    assert light[len(light) // 2] <= cause.reach_ms + MARGIN_MS


def test_the_laser_is_dark_when_max_on_s_is_over(bench: Bench) -> None:
    """Six seconds of light, counted from the block in which it was told; a block is 100 ms."""
    cause = Cause("max_on_s is over", "the outputs, at the next block", lambda bench: 0, 6000.0, 4, False)
    dark = []
    bench.start(6.0)
    for _ in range(cause.times):
        bench.until(lambda: not bench.guest.level(ENABLE), "dark")
        dark.append(bench.lit_and_dark_ms(cause))
    report(cause, dark)
    light = sorted(each[ENABLE] for each in dark)
    assert light[len(light) // 2] <= cause.reach_ms + 200.0 + MARGIN_MS


def report(cause: Cause, dark: list[dict[int, float]]) -> None:
    """A line for docs/safety.md: after how long there was no light (either line is enough), and were relays safe."""
    light = sorted(min(each[PWM], each[ENABLE]) for each in dark)
    relays = sorted(max(each[FAN], each[VALVE]) for each in dark)
    middle = len(dark) // 2
    print(
        f"\n| {cause.name} | {cause.path} | {cause.reach_ms / 1e3:g} s | {len(dark)} "
        f"| {light[middle]:.0f} / {light[-1]:.0f} ms | {relays[middle]:.0f} / {relays[-1]:.0f} ms |"
    )
