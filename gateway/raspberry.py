"""What is the same for every Raspberry Pi of a kind, whatever is plugged on and wired: the lines of its header.

Sources; [linux] is raspberrypi/linux:
  labels    drivers/pinctrl/bcm/pinctrl-bcm2835.c and drivers/pinctrl/pinctrl-rp1.c: the `label` of their gpio_chip
  PWM       arch/arm/boot/dts/overlays/pwm-overlay.dts: GPIO 12 and 13 by function 4, 18 and 19 by function 2; on the
            Pi 5 the legacy table of pinctrl-rp1.c translates the same numbers, and RP1's PWM0 has GPIO 12, 13, 18, 19
            as its channels 0, 1, 2, 3 (RP1 Peripherals, table of GPIO functions)
  clocks    [linux] pull request 6026 set all to 50 MHz; rp1.dtsi assigns RP1's PWM0 that, its crystal's. Elsewhere the
            PWM's clock is PLLD over a whole number, cut: 100 MHz from the Pi 4's 750 MHz are 107 MHz
            (Pioreactor/rpi_hardware_pwm, issue 5); the Pi 0 to 3 have 500 MHz
  devices   the PWM's register address in each device tree, which the kernel puts into the device's name
  pulls     BCM2835 ARM Peripherals, table 6-31, BCM2711 ARM Peripherals, table 94, RP1 Peripherals, table of pads:
            GPIO 0 to 8 are pulled up at reset, 9 to 27 down
  HAT       raspberrypi/hats, designguide.md: GPIO 0 and 1 are for the HAT's EEPROM and nothing else
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LAST_LINE = 27
"""The highest GPIO number on the 40-pin header."""
PULLED_UP = range(9)
"""Lines that are pulled up from power-on until somebody drives them; the others are pulled down."""
EEPROM = {0: "data of the HAT's EEPROM", 1: "clock of the HAT's EEPROM"}
I2C = {2: "I2C data", 3: "I2C clock"}
"""The I2C bus 1 of the header."""
CLOCK_HZ = 50_000_000
"""The PWM's clock that every model can have exactly."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of the hardware PWM, and the pin function by which it gets onto a line."""

    channel: int
    function: int


@dataclass(frozen=True, slots=True)
class Chip:
    """The chip behind the header of some models."""

    label: str
    models: tuple[str, ...]
    pwm_device: str
    """Name of the PWM's device, under which it is found in /sys/class/pwm whatever its number."""
    pll_hz: int | None
    """What the PWM's clock is a whole part of; None where it is CLOCK_HZ and nothing else."""
    pwm: Mapping[int, Channel]


_BCM = {12: Channel(0, 4), 13: Channel(1, 4), 18: Channel(0, 2), 19: Channel(1, 2)}
_RP1 = {12: Channel(0, 4), 13: Channel(1, 4), 18: Channel(2, 2), 19: Channel(3, 2)}

CHIPS = {
    chip.label: chip
    for chip in (
        Chip(
            "pinctrl-bcm2835",
            ("Raspberry Pi Zero 2", "Raspberry Pi 3", "Raspberry Pi Compute Module 3"),
            "3f20c000.pwm",
            500_000_000,
            _BCM,
        ),
        Chip(
            "pinctrl-bcm2711",
            ("Raspberry Pi 4", "Raspberry Pi Compute Module 4"),
            "fe20c000.pwm",
            750_000_000,
            _BCM,
        ),
        Chip(
            "pinctrl-rp1",
            ("Raspberry Pi 5", "Raspberry Pi Compute Module 5"),
            "1f00098000.pwm",
            None,
            _RP1,
        ),
    )
}
"""The chips by the label of their GPIO chip."""
