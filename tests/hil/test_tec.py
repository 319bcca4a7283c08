"""The TEC on the kernel's own ti-ads1015, PWM and lines: a temperature in the ADC's registers, what is driven, and that
an open thermistor ends it. The stub of the ADC converts nothing: what is written is what is read. The PWM runs at
500 Hz here: the bench's is made by a timer, and 30 kHz leave the guest no time for anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from drivers.thermistor import Thermistor
from tests.hil.guest import VENV, Guest

BUS, ADDRESS, CONVERSION = 1, 0x48, 0
PWM, PWM_LINE, DIRECTION_LINE = "/sys/class/pwm/pwmchip1/pwm0", 13, 16
DIVIDER = Thermistor(3.3, 10_000.0, 10_000.0, 3950.0)
RUN = """\
import json, sys, threading
from fractions import Fraction
from drivers import bridge
from gateway.board import TecLine
from gateway.config.sections import TecSection
from gateway.thermal import open_line
from gateway.types import Command

bridge.FREQUENCY = Fraction(500)
line = TecLine.model_validate(json.loads(sys.argv[1]))
tec = open_line(TecSection(setpoint_c=25.08, min_c=20, settle_s=1, ki=0.5), "pinctrl-bcm2711", line)
tec.apply(Command("tec", "on"))
before, pause = "", threading.Event()
for tick in range(3000):
    tec.step(tick * 100_000_000)
    if tec.read() != before:
        before = tec.read()
        print(json.dumps([before, tec.temperature_c, tec.fault]), flush=True)
    if tec.fault:
        pause.wait(60)
    pause.wait(0.02)
"""


def convert(guest: Guest, volts: float) -> None:
    """Put a voltage into the ADC: 1 mV a step at its default range of 2.048 V, the 12 upper bits, high byte first."""
    code = min(round(volts * 1e3), 2047) << 4
    swapped = (code & 0xFF) << 8 | code >> 8
    guest.run("i2cset", "-f", "-y", str(BUS), str(ADDRESS), str(CONVERSION), str(swapped), "w")


@pytest.fixture
def adc(guest: Guest) -> Iterator[str]:
    """The ADC at 25 degrees; its directory in the iio class."""
    convert(guest, DIVIDER.volts(25.0))
    bus = f"/sys/bus/i2c/devices/i2c-{BUS}"
    guest.write(f"{bus}/new_device", f"ads1015 {ADDRESS}")
    yield guest.glob(f"/sys/bus/i2c/devices/{BUS}-{ADDRESS:04x}/iio:device*")[0]
    guest.write(f"{bus}/delete_device", f"{ADDRESS}")


def test_the_kernels_adc_is_read_as_volts(guest: Guest, adc: str) -> None:
    read = "from drivers.adc import KernelAdc; a = KernelAdc('ads1015', 0); print(a.read(), a.step_v, a.range_v)"
    python = ["setpriv", "--reuid=spectrophone", "--init-groups", f"{VENV}/bin/python", "-c", read]
    assert [float(word) for word in guest.run(*python).out.split()] == pytest.approx([1.65, 1e-3, 2.047])
    convert(guest, 3.3)
    assert guest.run(*python).out.split()[0] == "inf"
    guest.write(f"{adc}/in_voltage0_scale", "2")
    convert(guest, 0.825)
    assert [float(word) for word in guest.run(*python).out.split()] == pytest.approx([1.65, 2e-3, 4.094])


def test_an_open_thermistor_ends_what_is_driven(guest: Guest, adc: str) -> None:
    board = {
        "line": PWM_LINE,
        "pwm_chip": 1,
        "pwm_channel": 0,
        "clock_hz": 50_000_000,
        "direction": DIRECTION_LINE,
        "heats": "high",
        "adc": "ads1015",
        "adc_channel": 0,
        "supply_v": 3.3,
        "series_ohm": 10_000,
        "r25_ohm": 10_000,
        "beta_k": 3950,
        "safe": "off",
    }
    running = guest.start(
        "sh",
        "-c",
        'exec setpriv --reuid=spectrophone --init-groups "$0" -c "$1" "$2" >/run/tec',
        f"{VENV}/bin/python",
        RUN,
        json.dumps(board),
    )
    try:
        guest.run("timeout", "20", "sh", "-c", "until grep -q stable /run/tec; do sleep 0.05; done", timeout_s=30)
        assert guest.read(f"{PWM}/enable") == "1"
        assert 0 < int(guest.read(f"{PWM}/duty_cycle")) <= 0.5 * int(guest.read(f"{PWM}/period"))
        assert guest.level(DIRECTION_LINE) == 1, "25.0 C is too cold for 25.08: it heats"
        convert(guest, 3.3)
        guest.run("timeout", "20", "sh", "-c", "until grep -q fault /run/tec; do sleep 0.05; done", timeout_s=30)
        assert (guest.read(f"{PWM}/enable"), guest.level(PWM_LINE)) == ("0", 0)
        told = [json.loads(line) for line in guest.read("/run/tec").splitlines()]
        assert [state for state, _, _ in told] == ["settling", "stable", "fault"]
        assert told[1][1] == pytest.approx(25.0, abs=1e-3)
        assert told[2][2] == "the thermistor is open: beyond the ADC's range on a supply of 3.3 V"
    finally:
        running.signal(9)
        running.wait()
        guest.write("/sys/class/pwm/pwmchip1/unexport", "0")
