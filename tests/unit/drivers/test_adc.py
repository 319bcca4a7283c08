"""The kernel's ADC in a tree of files like that of ti-ads1015, and reading it in a thread."""

from __future__ import annotations

import asyncio
import math
import threading
from pathlib import Path

import pytest

from drivers.adc import Asked, KernelAdc
from gateway.errors import DeviceError
from tests.support.until import until


def device(root: Path, number: int = 0, name: str = "ads1015", **files: str) -> Path:
    """An ADS1015 at its widest range but one, +-4.096 V in 12 bits: 2 mV a step."""
    place = root / f"iio:device{number}"
    (place / "scan_elements").mkdir(parents=True)
    told = {
        "name": name,
        "in_voltage0_raw": "825",
        "in_voltage0_scale": "2.000000000",
        "scan_elements/in_voltage0_type": "le:s12/16>>4",
        **files,
    }
    for file, text in told.items():
        (place / file).write_text(f"{text}\n")
    return place


def test_raw_times_scale_is_the_voltage(tmp_path: Path) -> None:
    device(tmp_path, 0, "bme280")
    place = device(tmp_path, 1)
    adc = KernelAdc("ads1015", 0, tmp_path)
    assert adc.read() == pytest.approx(1.65)
    assert adc.step_v == pytest.approx(2e-3)
    assert adc.range_v == pytest.approx(4.094)
    (place / "in_voltage0_raw").write_text("-3\n")
    assert adc.read() == pytest.approx(-6e-3)


@pytest.mark.parametrize(("kind", "highest"), [("le:s12/16>>4", 2047), ("be:s16/16>>0", 32767), ("be:u12/16>>0", 4095)])
def test_the_highest_code_is_no_voltage(tmp_path: Path, kind: str, highest: int) -> None:
    place = device(tmp_path, **{"scan_elements/in_voltage0_type": kind, "in_voltage0_raw": str(highest)})
    adc = KernelAdc("ads1015", 0, tmp_path)
    assert adc.read() == math.inf
    (place / "in_voltage0_raw").write_text(f"{highest - 1}\n")
    assert adc.read() == pytest.approx((highest - 1) * 2e-3)


def test_one_scale_for_all_inputs_will_do(tmp_path: Path) -> None:
    place = device(tmp_path, in_voltage_scale="0.125")
    (place / "in_voltage0_scale").unlink()
    assert KernelAdc("ads1015", 0, tmp_path).read() == pytest.approx(825 * 0.125e-3)


def test_a_label_tells_two_of_a_kind_apart(tmp_path: Path) -> None:
    device(tmp_path, 0, in_voltage0_raw="1")
    device(tmp_path, 1, label="laser", in_voltage0_raw="2")
    assert KernelAdc("laser", 0, tmp_path).read() == pytest.approx(4e-3)
    with pytest.raises(DeviceError, match=r"'ads1015' is there more than once: iio:device0, iio:device1.*label"):
        KernelAdc("ads1015", 0, tmp_path)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no ADC 'ads1015' under .*dtoverlay=ads1115"):
        KernelAdc("ads1015", 0, tmp_path)
    device(tmp_path)
    with pytest.raises(DeviceError, match="input 3 of ADC 'ads1015' tells no voltage"):
        KernelAdc("ads1015", 3, tmp_path)


def test_a_reading_that_fails_is_told(tmp_path: Path) -> None:
    place = device(tmp_path)
    adc = KernelAdc("ads1015", 0, tmp_path)
    (place / "in_voltage0_raw").write_text("\n")
    with pytest.raises(DeviceError, match="input 0 of ADC 'ads1015' cannot be read"):
        adc.read()
    (place / "in_voltage0_raw").unlink()
    with pytest.raises(DeviceError, match="cannot be read: No such file or directory"):
        adc.read()


def test_it_reads_in_a_thread_once_for_each_time_it_is_asked() -> None:
    answers = iter([1.5, DeviceError("the bus is stuck"), 1.6])

    def read() -> float:
        answer = next(answers)
        if isinstance(answer, DeviceError):
            raise answer
        return answer

    asked = Asked(read)
    assert asked.newest()[0] == 0
    assert isinstance(asked.newest()[1], DeviceError)
    for number, expected in ((1, 1.5), (2, "the bus is stuck"), (3, 1.6)):
        asked.ask(0)
        asyncio.run(until(lambda number=number: asked.newest()[0] == number))
        assert str(asked.newest()[1]) == str(expected)
    asked.close()
    asked.close()


def test_nobody_waits_for_a_bus_that_is_stuck() -> None:
    free, busy = threading.Event(), threading.Event()

    def read() -> float:
        busy.set()
        assert free.wait(10)
        return 1.0

    asked = Asked(read)
    asked.ask(0)
    assert busy.wait(10)
    asked.ask(1)
    asked.close()
    assert asked.newest()[0] == 0
    free.set()
    asyncio.run(until(lambda: asked.newest()[0] == 1))
