"""Lines: the faults of chips, by bindings that show them, and the simulated twins. Levels, edges and owners that die
are proved on the kernel's own simulated chip, in tests/hil/test_lines.py.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpiod
import pytest

from drivers.gpio import Input, Line, SimulatedInput, SimulatedLine, find_chip
from gateway.errors import DeviceError


def failing(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Chips:
    """Stands in for the bindings: a chip for every file, called by the file's text, with two lines, whose acts fail as
    `faults` says."""

    LineSettings, line = gpiod.LineSettings, gpiod.line

    def __init__(self) -> None:
        self.faults: dict[str, Exception] = {}
        self.asked: list[tuple[str, Any, str]] = []
        self.holder = SimpleNamespace(used=False, consumer="")
        self.level = gpiod.line.Value.INACTIVE
        self.released = 0
        self.pipe = os.pipe()

    def Chip(self, path: str) -> Chips:  # noqa: N802
        text = Path(path).read_text()
        if text.startswith("!"):
            raise failing(int(text[1:]))
        self.label = text
        return self

    def __enter__(self) -> Chips:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def get_info(self) -> SimpleNamespace:
        return SimpleNamespace(label=self.label)

    def get_line_info(self, line: int) -> SimpleNamespace:
        return self.holder

    def request_lines(self, config: dict[int, Any], consumer: str) -> Chips:
        self.fail("request")
        ((_, settings),) = config.items()
        self.asked.append((self.label, settings, consumer))
        self.level = settings.output_value
        return self

    @property
    def fd(self) -> int:
        return self.pipe[0]

    def set_value(self, line: int, value: Enum) -> None:
        self.fail("set")
        self.level = value  # type: ignore[assignment]

    def get_value(self, line: int) -> Enum:
        self.fail("get")
        return self.level

    def read_edge_events(self) -> None:
        self.fail("events")

    def release(self) -> None:
        self.released += 1

    def fail(self, act: str) -> None:
        if act in self.faults:
            raise self.faults[act]


@pytest.fixture
def chips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    made = Chips()
    monkeypatch.setitem(sys.modules, "gpiod", made)
    (tmp_path / "gpiochip0").write_text("pinctrl-bcm2711")
    (tmp_path / "gpiochip1").write_text("raspberrypi-exp-gpio")
    yield made
    for end in made.pipe:
        os.close(end)


def test_a_chip_is_found_by_its_label(chips: Chips, tmp_path: Path) -> None:
    assert find_chip("raspberrypi-exp-gpio", tmp_path) == tmp_path / "gpiochip1"
    (tmp_path / "gpiochip4").write_text("pinctrl-bcm2711")
    assert find_chip("pinctrl-bcm2711", tmp_path) == tmp_path / "gpiochip0", "another name of the same"
    (tmp_path / "gpiochip0").write_text(f"!{errno.ENODEV}")
    assert find_chip("pinctrl-bcm2711", tmp_path) == tmp_path / "gpiochip4", "one that is just going"


def test_a_chip_that_is_not_there_names_those_that_are(chips: Chips, tmp_path: Path) -> None:
    there = r"This machine has: pinctrl-bcm2711, raspberrypi-exp-gpio"
    with pytest.raises(DeviceError, match=rf"there is no GPIO chip 'pinctrl-rp1'\. .*{there}"):
        find_chip("pinctrl-rp1", tmp_path)
    with pytest.raises(DeviceError, match=rf"the board file does not say on which GPIO chip .*{there}"):
        find_chip(None, tmp_path)


def test_a_machine_without_lines(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"there is no GPIO chip on this machine\. Choose board: sim"):
        Line("pinctrl-bcm2711", 17, True, False, chips=tmp_path)


def test_a_chip_that_may_not_be_opened(chips: Chips, tmp_path: Path) -> None:
    (tmp_path / "gpiochip0").write_text(f"!{errno.EACCES}")
    with pytest.raises(DeviceError, match=r"gpiochip0 may not be opened\. Put the gateway's user into the group gpio"):
        find_chip("pinctrl-bcm2711", tmp_path)
    assert find_chip("raspberrypi-exp-gpio", tmp_path) == tmp_path / "gpiochip1"


def test_without_the_bindings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", None)
    with pytest.raises(DeviceError, match=r"GPIO lines cannot be opened: .*gpiod.*pip install 'spectrophone\[pi\]'"):
        Line("pinctrl-bcm2711", 17, True, False, chips=tmp_path)


@pytest.mark.parametrize("active_high", [True, False])
@pytest.mark.parametrize("lit", [True, False])
def test_a_line_is_requested_with_its_first_level(chips: Chips, tmp_path: Path, active_high: bool, lit: bool) -> None:
    Line("pinctrl-bcm2711", 1, active_high, lit, chips=tmp_path).close()
    ((label, settings, consumer),) = chips.asked
    assert (label, consumer, chips.released) == ("pinctrl-bcm2711", "spectrophone", 1)
    assert settings.direction is gpiod.line.Direction.OUTPUT
    assert (settings.active_low, bool(settings.output_value)) == (not active_high, lit)


def test_an_input_is_requested_with_resistor_and_debounce(chips: Chips, tmp_path: Path) -> None:
    switch = Input("pinctrl-bcm2711", 1, False, "pull_up", 20, chips=tmp_path)
    ((_, settings, _),) = chips.asked
    assert settings.direction is gpiod.line.Direction.INPUT
    assert settings.edge_detection is gpiod.line.Edge.BOTH
    assert settings.bias is gpiod.line.Bias.PULL_UP
    assert settings.active_low
    assert settings.debounce_period.total_seconds() == 0.02
    assert not os.get_blocking(switch.fileno())
    switch.close()
    switch.close()
    assert (switch.fileno(), chips.released) == (-1, 1)
    with pytest.raises(DeviceError, match="GPIO line 1 is closed"):
        switch.get()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (failing(errno.EBUSY), "GPIO line 1 is in use already, by 'w1'. End that, or give this part another line"),
        (ValueError("line offset of out range"), "GPIO line 1 cannot be opened: line offset of out range. Look what"),
        (failing(errno.ENXIO), "GPIO line 1 cannot be opened: no such device or address. Look what"),
        (NotImplementedError("Operation not supported"), "GPIO line 1 cannot be opened: operation not supported"),
    ],
)
@pytest.mark.parametrize("part", [Line, Input])
def test_a_line_that_cannot_be_had(
    chips: Chips, tmp_path: Path, part: Callable[..., Any], error: Exception, told: str
) -> None:
    chips.faults["request"] = error
    chips.holder = SimpleNamespace(used="in use" in told, consumer="w1")
    with pytest.raises(DeviceError) as refused:
        part("pinctrl-bcm2711", 1, True, "none" if part is Input else False, chips=tmp_path)
    assert str(refused.value).startswith(told)


def test_a_chip_that_goes_away(chips: Chips, tmp_path: Path) -> None:
    line = Line("pinctrl-bcm2711", 1, True, False, chips=tmp_path)
    switch = Input("pinctrl-bcm2711", 0, True, "none", chips=tmp_path)
    chips.faults = {"set": failing(errno.ENODEV), "get": failing(errno.ENODEV)}
    gone = "no such device. Look whether its chip is there: gpioinfo"
    with pytest.raises(DeviceError, match=f"GPIO line 1 cannot be set: {gone}"):
        line.set(True)
    with pytest.raises(DeviceError, match=f"GPIO line 1 cannot be read: {gone}"):
        line.get()
    with pytest.raises(DeviceError, match=f"GPIO line 0 cannot be read: {gone}"):
        switch.get()
    chips.faults = {"events": failing(errno.ENODEV)}
    with pytest.raises(DeviceError, match=f"GPIO line 0 cannot be read: {gone}"):
        switch.get()
    chips.faults = {"events": BlockingIOError(errno.EAGAIN, "try again")}
    assert switch.get() is False, "no change is no fault"


def test_a_closed_line_is_dark_and_stays_it(chips: Chips, tmp_path: Path) -> None:
    line = Line("pinctrl-bcm2711", 1, True, True, chips=tmp_path)
    line.set(False)
    line.set(True)
    assert line.get()
    line.close()
    line.close()
    chips.faults["set"] = failing(errno.EBADF)
    line.set(True)
    assert (line.get(), chips.released) == (False, 1)


def test_a_simulated_line() -> None:
    line = SimulatedLine(True)
    assert line.get()
    line.set(False)
    assert not line.get()
    line.set(True)
    line.close()
    assert not line.get()


def test_a_simulated_input_tells_its_changes() -> None:
    switch = SimulatedInput(True)
    poll = select.poll()
    poll.register(switch.fileno(), select.POLLIN)
    assert (poll.poll(0), switch.get()) == ([], True)
    switch.set(True)
    assert poll.poll(0) == [], "no change"
    switch.set(False)
    switch.set(True)
    assert poll.poll(0)
    assert switch.get()
    assert poll.poll(0) == []
    switch.close()
    switch.close()
    assert switch.fileno() == -1
    with pytest.raises(DeviceError, match="closed"):
        switch.get()
