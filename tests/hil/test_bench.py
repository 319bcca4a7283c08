"""What the bench itself is good for: each simulated device does what the real one does, as kernel and Debian see it."""

from __future__ import annotations

import io
import json
import re
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from tests.hil import bme280
from tests.hil.guest import PINS, VENV, BenchFailure, Guest

CHIP = "/sys/class/pwm/pwmchip0"
PWM = f"{CHIP}/pwm0"
PWM_LINE, RELAY, BUTTON = 12, 17, 5
KEEP = "/sys/module/gpio_sim/parameters/persist_gpio_outputs"
RATE_HZ = 48000


def test_the_whole_system_runs_and_is_a_pi_to_its_device_tree(guest: Guest) -> None:
    assert guest.run("systemctl", "--failed", "--no-legend").out == ""
    assert guest.read("/proc/1/comm") == "systemd"
    assert guest.read("/proc/sys/kernel/osrelease").startswith("6.12.")
    assert guest.read("/proc/device-tree/model").startswith("Raspberry Pi 4 Model B")
    assert guest.read("/proc/device-tree/hat/product").startswith("RPi Codec Zero")
    guest.run("python3", "-c", "import socket; socket.create_server(('127.0.0.1', 1883))")


def test_a_command_gives_its_exit_code_and_both_outputs_whatever_their_size(guest: Guest) -> None:
    ran = guest.run("sh", "-c", "cat; head -c 300000 /dev/zero | tr '\\0' x >&2; exit 7", stdin=b"in", check=False)
    assert (ran.code, ran.out, len(ran.err)) == (7, "in", 300000)
    with pytest.raises(BenchFailure, match="ended with 3: sorry"):
        guest.shell("echo sorry >&2; exit 3")
    with pytest.raises(FileNotFoundError):
        guest.run("/there/is/none")
    sleeper = guest.start("sleep", "1000")
    before_ns = guest.now_ns()
    assert before_ns < sleeper.signal(signal.SIGKILL) < guest.now_ns()
    assert sleeper.wait().code == -signal.SIGKILL


def test_files_go_in_and_out_as_they_are(guest: Guest) -> None:
    data = np.random.default_rng(1).bytes(200_000)
    guest.put(data, "/var/tmp/new/file", owner="spectrophone", mode=0o640)
    assert guest.get("/var/tmp/new/file") == data
    assert guest.run("stat", "-c", "%U %a", "/var/tmp/new/file").out == "spectrophone 640\n"


def test_the_chip_has_a_pis_label_and_lines(guest: Guest) -> None:
    assert guest.run("gpiodetect").out == "gpiochip0 [pinctrl-bcm2711] (58 lines)\n"
    assert guest.run("gpioinfo", "GPIO17").out.startswith('gpiochip0 17\t"GPIO17"')


def test_a_button_is_felt_as_level_and_as_edge(guest: Guest) -> None:
    listener = guest.start("gpiomon", "--num-events=2", "--format=%e", "GPIO5")
    guest.shell("until grep -q gpiomon /proc/interrupts; do :; done")
    guest.pull(BUTTON, 1)
    guest.run("sleep", "0.1")  # gpio-sim tells of edges at the kernel's next tick: two within 10 ms are one
    guest.pull(BUTTON, 0)
    assert listener.wait().out.split() == ["1", "2"]  # rising, falling


@pytest.mark.parametrize("keeps", [False, True])
def test_of_a_line_whose_owner_was_killed_mainline_lets_go_and_a_pis_kernel_does_not(guest: Guest, keeps: bool) -> None:
    guest.write(KEEP, "Y" if keeps else "N")
    with guest.trace(RELAY) as trace:
        owner = guest.start("gpioset", "--chip=gpiochip0", f"{RELAY}=1")
        guest.shell(f"until [ $(cat {PINS}/sim_gpio{RELAY}/value) = 1 ]; do :; done")
        killed_ns = owner.signal(signal.SIGKILL)
        owner.wait()
    guest.write(KEEP, "N")
    assert guest.level(RELAY) == int(keeps)
    assert trace.changes[0][1] == (0,)
    assert killed_ns - 2_000_000 < (trace.last(RELAY, 1) or 0)
    guest.run("gpioget", "--chip=gpiochip0", str(RELAY))  # an input again, and let go
    assert guest.level(RELAY) == 0


@pytest.fixture
def pwm(guest: Guest) -> Iterator[str]:
    """The first PWM channel, exported and off; off and gone again afterwards."""
    guest.write(f"{CHIP}/export", "0")
    yield PWM
    guest.write(f"{PWM}/enable", "0")
    guest.write(f"{CHIP}/unexport", "0")


def duty(guest: Guest, reads: int = 1000) -> float:
    """How often the PWM's line is found high."""
    script = f"for _ in range({reads}): f.seek(0); n += int(f.read(1))"
    program = f"n = 0\nwith open('{PINS}/sim_gpio{PWM_LINE}/value') as f:\n {script}\nprint(n / {reads})"
    return float(guest.run("python3", "-c", program).out)


def test_a_pwm_goes_on_after_its_process_was_killed_until_it_is_told_otherwise(guest: Guest, pwm: str) -> None:
    guest.shell(f"until [ $(stat -c %G {pwm}/enable) = gpio ]; do :; done")  # udev's rule
    orders = f"echo 500000 >{pwm}/period; echo 150000 >{pwm}/duty_cycle; echo 1 >{pwm}/enable; exec sleep 1000"
    owner = guest.start("setpriv", "--reuid=spectrophone", "--init-groups", "sh", "-c", orders)
    guest.shell(f"until [ $(cat {pwm}/enable) = 1 ]; do :; done")
    owner.signal(signal.SIGKILL)
    owner.wait()
    assert (guest.read(f"{pwm}/enable"), guest.read(f"{pwm}/period")) == ("1", "500000")
    assert abs(duty(guest) - 0.3) < 0.1
    guest.write(f"{pwm}/enable", "0")
    assert duty(guest) == 0.0


def test_a_duty_beyond_the_period_is_refused_by_a_pwm_that_is_on_and_keeps_one_off(guest: Guest, pwm: str) -> None:
    guest.write(f"{pwm}/period", "1000000")
    guest.write(f"{pwm}/duty_cycle", "1000001")
    with pytest.raises(OSError, match="Invalid argument"):
        guest.write(f"{pwm}/enable", "1")
    guest.write(f"{pwm}/duty_cycle", "1000000")
    guest.write(f"{pwm}/enable", "1")
    with pytest.raises(OSError, match="Invalid argument"):
        guest.write(f"{pwm}/duty_cycle", "1000001")
    assert guest.level(PWM_LINE) == 1


def test_what_is_played_into_the_far_side_of_the_sound_card_is_captured(guest: Guest) -> None:
    frequency_hz, amplitude = 1234.5, 0.25
    t_s = np.arange(4 * RATE_HZ) / RATE_HZ
    sound = amplitude * np.sin(2 * np.pi * frequency_hz * t_s)
    file = io.BytesIO()
    soundfile.write(file, np.column_stack([sound, sound]), RATE_HZ, subtype="PCM_32", format="WAV")
    guest.put(file.getvalue(), "/var/tmp/tone.wav")
    player = guest.start("aplay", "-q", "-D", "hw:Zero,1,0", "/var/tmp/tone.wav")
    format_ = ["-f", "S32_LE", "-c", "2", "-r", str(RATE_HZ), "-t", "raw"]
    guest.run("arecord", "-q", "-D", "hw:Zero,0,0", *format_, "-s", str(2 * RATE_HZ), "/var/tmp/heard")
    player.signal(signal.SIGTERM)
    player.wait()
    heard = np.frombuffer(guest.get("/var/tmp/heard"), "<i4").reshape(-1, 2)[RATE_HZ // 2 : RATE_HZ * 3 // 2, 0] / 2**31
    turns = np.exp(-2j * np.pi * frequency_hz * np.arange(RATE_HZ) / RATE_HZ)
    first, second = (2 * np.mean(part) for part in np.split(heard * turns, 2))
    # Each half second is a number of periods and a quarter: of the tone at minus the frequency 1 / 4000 stays.
    assert abs(first) == pytest.approx(amplitude, rel=1e-3)
    assert abs(second - first) < amplitude * 1e-3  # not one frame more or less, and the phase with it


def test_a_sound_card_that_is_pulled_out_ends_who_listens_and_comes_back(guest: Guest) -> None:
    listener = guest.start(
        "arecord", "-q", "-D", "hw:Zero,0,0", "-f", "S32_LE", "-c", "2", "-r", str(RATE_HZ), "/dev/null"
    )
    guest.shell("until grep -q RUNNING /proc/asound/Zero/pcm0c/sub0/status; do sleep 0.02; done")
    pulled = guest.unplug()
    assert re.search("No such device|File descriptor in bad state", listener.wait().err)  # ENODEV, or EBADFD in a read
    assert pulled.wait().code == 0
    assert "Loopback" not in guest.read("/proc/asound/cards")
    guest.plug()
    assert "Loopback" in guest.read("/proc/asound/cards")


def test_the_climate_sensor_gives_what_it_is_made_to_feel(guest: Guest) -> None:
    device = bme280.feel(guest, 20.0, 101325.0, 30.0)
    assert guest.read(f"{device}/name") == "bme280"
    for temperature_c, pressure_pa, humidity in [(20.0, 101325.0, 30.0), (-12.3, 65000.0, 95.0), (61.7, 108000.0, 3.0)]:
        bme280.feel(guest, temperature_c, pressure_pa, humidity)
        assert float(guest.read(f"{device}/in_temp_input")) / 1e3 == pytest.approx(temperature_c, abs=0.011)
        assert float(guest.read(f"{device}/in_pressure_input")) * 1e3 == pytest.approx(pressure_pa, abs=3.0)
        assert float(guest.read(f"{device}/in_humidityrelative_input")) / 1e3 == pytest.approx(humidity, abs=0.05)


def test_the_registers_are_those_of_the_data_sheets_own_example() -> None:
    t_fine = bme280.fine(519888)
    assert t_fine / 5120 == pytest.approx(25.08, abs=0.005)
    assert bme280.pressure_pa(415148, t_fine) == pytest.approx(100653.27, abs=0.01)


def test_the_watchdog_is_there_and_lets_itself_be_stopped(guest: Guest) -> None:
    watchdog = "/sys/class/watchdog/watchdog0"
    assert guest.read(f"{watchdog}/identity") == "Software Watchdog"
    guest.write("/dev/watchdog0", "V")  # the magic close
    assert guest.read(f"{watchdog}/state") == "inactive"


def test_the_activity_led_is_a_line(guest: Guest) -> None:
    guest.write("/sys/class/leds/ACT/brightness", "1")
    assert guest.level(42) == 1
    guest.write("/sys/class/leds/ACT/brightness", "0")
    assert guest.level(42) == 0


def test_a_service_may_be_given_a_cgroup_of_its_own_to_divide(guest: Guest) -> None:
    script = """set -e
    cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
    mkdir main worker
    echo 0 >main/cgroup.procs
    echo '+cpu +memory +pids' >cgroup.subtree_control
    echo 64M >worker/memory.max; echo '50000 100000' >worker/cpu.max; echo 7 >worker/pids.max
    cat worker/memory.max worker/cpu.max worker/pids.max
    """
    unit = ["systemd-run", "--quiet", "--wait", "--pipe", "-p", "Delegate=yes", "-p", "User=spectrophone"]
    assert guest.run(*unit, "sh", "-c", script).out == "67108864\n50000 100000\n7\n"


def test_landlock_and_user_name_spaces_are_there(guest: Guest) -> None:
    landlock_create_ruleset, version = 444, 1
    program = f"import ctypes; print(ctypes.CDLL(None).syscall({landlock_create_ruleset}, None, 0, {version}))"
    assert int(guest.run("python3", "-c", program).out) >= 6
    spaces = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--net", "--ipc", "--uts", "--mount-proc"]
    ran = guest.run("setpriv", "--reuid=spectrophone", "--init-groups", *spaces, "sh", "-c", "echo $$ $(id -u)")
    assert ran.out == "1 0\n"


def test_the_checked_out_gateway_is_installed_and_answers(guest: Guest) -> None:
    assert "photoacoustic" in guest.run(f"{VENV}/bin/python", "-m", "gateway", "--help").out
    guest.put(b"box: {id: bench}\nboard: sim\n", "/etc/spectrophone/gateway.yaml")
    guest.run(f"{VENV}/bin/spectrophone", "check", "/etc/spectrophone/gateway.yaml")
    guest.put(b"box: {ident: bench}\n", "/etc/spectrophone/wrong.yaml")
    ran = guest.run(f"{VENV}/bin/spectrophone", "check", "/etc/spectrophone/wrong.yaml", check=False)
    assert (ran.code, "box.ident" in ran.out + ran.err) == (2, True)


def test_the_gateway_measures_as_a_service_of_its_own_user(guest: Guest) -> None:
    guest.put(b"box: {id: bench}\nboard: sim\ncell: {ppm: 1000}\n", "/etc/spectrophone/sim.yaml")
    unit = ["systemd-run", "--quiet", "--unit=demo", "-p", "User=spectrophone", "-p", "StateDirectory=spectrophone"]
    guest.run(*unit, f"{VENV}/bin/spectrophone", "run", "--demo", "--config", "/etc/spectrophone/sim.yaml", "--json")
    wait = "until journalctl -q -o cat -u demo | grep -q smoothed_ppm; do sleep 0.2; done"
    guest.run("timeout", "100", "sh", "-c", wait, timeout_s=110)
    guest.run("systemctl", "stop", "demo")
    lines = [line for line in guest.journal("demo").splitlines() if line.startswith('{"kind": "measurement"')]
    values = [json.loads(line) for line in lines]
    assert abs(values[-1]["ppm"] - 1000) < 5 * values[-1]["sigma_ppm"]
    assert not re.search("Failed with result|Traceback", guest.journal("demo"))
