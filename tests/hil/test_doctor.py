"""The doctor on a real kernel: chip, lines, PWM, watchdog, sensor, sound card and rights, each there and not there."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hil import bme280
from tests.hil.guest import PROJECT, VENV, Guest, Running

BOX = "/etc/spectrophone/doctor.yaml"
CHIP = "/sys/class/pwm/pwmchip0"
PWM = f"{CHIP}/pwm0"
FAN, INTERLOCK, STOP = 17, 5, 6
PERSISTING = "/sys/module/gpio_sim/parameters/persist_gpio_outputs"
CONFIG = "board: rpi4-codec-zero\nacquisition: {format: S16_LE}\n"
WATCHED = "/run/systemd/system.conf.d/watchdog.conf"
SAYS = "import time; open('/tmp/held', 'w').write('held'); time.sleep(1000)"
PLAY = """
import alsaaudio, numpy as np
tone = np.round(9000 * np.sin(2 * np.pi * np.arange(4800) / 24)).astype("<i2")
card = alsaaudio.PCM(type=alsaaudio.PCM_PLAYBACK, device="hw:Zero,1", rate=48000, channels=2,
                     format=alsaaudio.PCM_FORMAT_S16_LE, periodsize=4800)
while True:
    card.write(np.stack([tone, tone], axis=1).tobytes())
"""


@pytest.fixture(autouse=True)
def _box(guest: Guest) -> None:
    guest.put(CONFIG.encode(), BOX)


def examined(guest: Guest, user: str = "spectrophone") -> dict[str, tuple[str, str, str]]:
    """State, what was found and remedy, by check."""
    command = ("runuser", "-u", user, "--", f"{VENV}/bin/spectrophone", "doctor", "--config", BOX, "--json")
    ran = guest.run(*command, check=False, timeout_s=120)
    assert ran.err == ""
    objects = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == (1 if objects[-1]["missing"] else 0)
    return {each["name"]: (each["state"], each["found"], each["remedy"]) for each in objects[:-1]}


@contextmanager
def holding(guest: Guest, program: str) -> Iterator[Running]:
    """A script that has got something, and keeps it to the end of the block."""
    guest.run("rm", "-f", "/tmp/held")
    owner = guest.start(f"{VENV}/bin/python", "-c", f"{program}\n{SAYS}")
    guest.shell("timeout 20 sh -c 'until [ -s /tmp/held ]; do sleep 0.02; done'")
    try:
        yield owner
    finally:
        owner.signal(signal.SIGKILL)
        owner.wait()


def test_a_box_without_trouble(guest: Guest) -> None:
    """Chip, lines, PWM and sensor are there; sound is heard."""
    bme280.feel(guest, 21.0, 101_325.0, 40.0)
    player = guest.start(f"{VENV}/bin/python", "-c", PLAY)
    try:
        found = examined(guest)
    finally:
        player.signal(signal.SIGKILL)
        player.wait()
    expected = ("GPIO chip", "GPIO lines", "PWM", "climate", "strict_gpiod", "isolation", "sound card", "microphone")
    assert {name: found[name] for name in expected if found[name][0] != "ok"} == {}
    assert found["GPIO chip"][1] == "pinctrl-bcm2711 is /dev/gpiochip0"
    assert found["GPIO lines"][1].startswith("all 7 lines are free: 5 the interlock, ")
    assert found["climate"][1].startswith("bme280: 21.0 C 40 % 10132")
    assert "A -14 dBFS, B -14 dBFS, peak -11 dBFS" in found["microphone"][1]


def test_looking_changes_no_line(guest: Guest) -> None:
    lines = (12, 26, FAN, 22)
    with guest.trace(*lines) as trace:
        examined(guest)
    assert {levels for _, levels in trace.changes} == {(0, 0, 0, 0)}
    assert not guest.glob(PWM), "no channel was exported"


@pytest.mark.parametrize(
    ("levels", "state", "words"),
    [
        ((0, 0), "ok", "closed and let go: line 5, line 6"),
        ((1, 0), "warning", "the interlock is open (line 5): the laser stays dark"),
        ((0, 1), "warning", "button stop is pressed (line 6): the laser stays dark"),
    ],
)
def test_interlock_and_stop_button(guest: Guest, levels: tuple[int, int], state: str, words: str) -> None:
    """gpio-sim has one pull for both sides of a line, so this board leaves it to the far side."""
    (boards,) = guest.glob(f"{VENV}/lib/python3*/site-packages/gateway/boards")
    text = (PROJECT / "boards" / "rpi4-codec-zero.toml").read_text("utf-8")
    guest.put(text.replace('bias = "pull_up"', 'bias = "none"').encode(), f"{boards}/open.toml")
    guest.put(CONFIG.replace("rpi4-codec-zero", "open").encode(), BOX)
    for line, level in zip((INTERLOCK, STOP), levels, strict=True):
        guest.pull(line, level)
    try:
        assert examined(guest)["interlock and stop"][:2] == (state, words)
    finally:
        guest.run("rm", f"{boards}/open.toml")


def test_somebody_else_has_a_line(guest: Guest) -> None:
    other = "import gpiod; r = gpiod.request_lines('/dev/gpiochip0', consumer='fan', config={17: None})"
    with holding(guest, other):
        state, found, remedy = examined(guest)["GPIO lines"]
    assert (state, found) == ("missing", "in use by others: 17 (relay 'fan') by fan")
    assert remedy


def test_somebody_drives_the_pwm_and_leaves_it_on(guest: Guest) -> None:
    drive = "from drivers.pwm import *\nfrom fractions import Fraction\npwm = KernelPwm(0, 0, 50_000_000); "
    drive += "pwm.drive(pwm.ticks(Fraction(2000)), 5000)"
    board = "from gateway import board; print(board.load('rpi4-codec-zero').laser.clock_hz)"
    clock_hz = guest.run(f"{VENV}/bin/python", "-c", board).out.strip()
    try:
        with holding(guest, drive.replace("50_000_000", clock_hz)) as owner:
            state, found, _ = examined(guest)["PWM"]
            assert (state, f"is driven by process {owner.pid} (python)" in found) == ("warning", True), found
        state, found, remedy = examined(guest)["PWM"]
        assert (state, remedy) == ("missing", "Run: spectrophone safe"), found
    finally:
        guest.shell(f"echo 0 >{PWM}/enable; echo 0 >{CHIP}/unexport")


def test_a_stranger_lacks_rights(guest: Guest) -> None:
    found = examined(guest, "nobody")
    assert found["GPIO chip"] == (
        "missing",
        "/dev/gpiochip0 may not be opened",
        "Put the gateway's user into the group gpio",
    )
    assert found["PWM"][0] == "missing"
    assert "group gpio" in found["PWM"][2]
    assert found["sound card"] == (
        "missing",
        "/dev/snd/controlC0 may not be opened by this user",
        "Put the gateway's user into group audio",
    )
    assert found["GPIO lines"][0] == found["interlock and stop"][0] == found["microphone"][0] == "unknown"


def test_a_kernel_that_keeps_lines(guest: Guest) -> None:
    guest.write(PERSISTING, "Y")
    try:
        state, _, remedy = examined(guest)["strict_gpiod"]
    finally:
        guest.write(PERSISTING, "N")
    assert (state, "dtparam=strict_gpiod" in remedy) == ("warning", True)


def test_the_watchdog_is_fed_once_systemd_was_told(guest: Guest) -> None:
    state, found, _ = examined(guest)["hardware watchdog"]
    assert (state, found[:26]) == ("missing", "Software Watchdog is there")
    guest.put(b"[Manager]\nRuntimeWatchdogSec=60\n", WATCHED)
    try:
        guest.run("systemctl", "daemon-reload")
        state, found, _ = examined(guest)["hardware watchdog"]
        assert (state, found) == ("ok", "Software Watchdog, fed by systemd: a machine that hangs restarts after 1min")
    finally:
        guest.put(b"[Manager]\nRuntimeWatchdogSec=0\n", WATCHED)
        guest.run("systemctl", "daemon-reload")
        guest.run("rm", WATCHED)


@pytest.mark.parametrize(
    ("lines", "state", "words"),
    [
        (("Type=notify", "WatchdogSec=5", "ExecStopPost=+/bin/true safe"), "warning", "is not enabled"),
        (("Type=notify", "WatchdogSec=5"), "missing", "spectrophone.service lacks ExecStopPost=+spectrophone safe"),
        (("ExecStopPost=/bin/true safe",), "missing", "spectrophone.service lacks Type=notify, WatchdogSec=5"),
    ],
)
def test_units(guest: Guest, lines: tuple[str, ...], state: str, words: str) -> None:
    unit = "/run/systemd/system/spectrophone.service"
    service = "\n".join(("[Service]", "ExecStart=/bin/true", *lines, "[Install]", "WantedBy=multi-user.target"))
    guest.put(service.encode(), unit)
    try:
        guest.run("systemctl", "daemon-reload")
        found = examined(guest)
        assert found["systemd unit"][0] == state, found["systemd unit"]
        assert found["systemd unit"][1].partition(": ")[0].endswith(words)
        assert found["user"][:2] == ("warning", "rights are looked at as spectrophone, and the gateway runs as root")
        assert found["control groups"][0] == "warning", "nothing is delegated"
    finally:
        guest.run("rm", unit)
        guest.run("systemctl", "daemon-reload")


def test_a_running_gateway_keeps_what_it_has(guest: Guest) -> None:
    """Lines, PWM, switches and microphone are told as its own, and it measures on; a stranger is told that it runs."""
    unit = "/run/systemd/system/spectrophone.service"
    service = (
        f"[Service]\nType=notify\nUser=spectrophone\nRuntimeDirectory=spectrophone\nRuntimeDirectoryMode=0750\nStateDirectory=spectrophone\n"
        f"WatchdogSec=30\nExecStart={VENV}/bin/spectrophone run --config {BOX}\n"
        f"ExecStopPost=+{VENV}/bin/spectrophone safe --config {BOX}\n"
    )
    guest.put(service.encode(), unit)
    player = guest.start(f"{VENV}/bin/python", "-c", PLAY)
    try:
        guest.run("systemctl", "daemon-reload")
        guest.run("systemctl", "start", "spectrophone", timeout_s=90)
        guest.shell("timeout 20 sh -c 'until [ -s /run/spectrophone/*.json ]; do sleep 0.1; done'")
        pid = guest.run("systemctl", "show", "-P", "MainPID", "spectrophone").out.strip()
        found, stranger = examined(guest), examined(guest, "nobody")
        assert guest.run("systemctl", "show", "-P", "MainPID", "spectrophone").out.strip() == pid
    finally:
        guest.run("systemctl", "stop", "spectrophone", timeout_s=60)
        player.signal(signal.SIGKILL)
        player.wait()
        guest.run("rm", unit)
        guest.run("systemctl", "daemon-reload")
    holder = f"the running gateway (process {pid})"
    assert found["GPIO lines"][:2] == ("ok", f"7 lines are held by {holder}, 0 are free")
    assert found["PWM"][1].endswith(f"is held by {holder}")
    assert found["interlock and stop"][1].startswith(f"held by {holder}; the laser is ")
    assert found["microphone"][1].startswith(f"hw:CARD=Zero,DEV=0 belongs to {holder}: ")
    assert found["gateway"][1].startswith(f"bench on rpi4-codec-zero, process {pid}")
    assert found["user"][:2] == ("ok", "spectrophone, as the gateway")
    assert stranger["gateway"][:2] == ("warning", f"{holder} does not show its status to this user")
    assert stranger["microphone"][1].endswith(f"belongs to {holder}")


def test_no_sound_card(guest: Guest) -> None:
    unplugged = guest.unplug()
    unplugged.wait()
    try:
        found = examined(guest)
    finally:
        guest.plug()
    assert found["sound card"][1].startswith("there is no sound card 'Zero' for hw:CARD=Zero,DEV=0; there are Dummy")
    assert found["microphone"][:2] == ("unknown", "not looked at, because its sound card is not there")
