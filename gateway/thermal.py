"""The laser's temperature as configured: which TEC regulates it, real or simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from drivers.adc import Asked, KernelAdc
from drivers.bridge import PwmBridge
from drivers.gpio import Line
from drivers.peltier import SimulatedPlant
from drivers.pid import Gains
from drivers.pwm import KernelPwm
from drivers.tec import MARGIN_K, Regulation, Tec
from drivers.thermistor import Thermistor
from gateway.board import Board, TecLine
from gateway.config.config import Config
from gateway.config.sections import Laser, TecSection
from gateway.errors import DeviceError, Fault

TOLD = ("on", "off")
"""What rules and people tell it; "set" comes from the configuration."""
HEAT_PER_LIGHT = 20.0
"""Watts of heat in the simulated laser per watt of light: 5 % of what goes in comes out as light, as in many a DFB
laser of the middle infrared."""
COARSE = 7.0
"""Half the tolerance holds a whole step of the ADC, which is sqrt(12) of its standard uncertainty."""
SIMULATED = Thermistor(3.3, 10_000.0, 10_000.0, 3950.0)
SIMULATED_DUTY_MAX = 0.4
"""2 V of the simulated bridge's 5: the module bears 3.75."""


def tec_faults(config: Config, board: Board) -> Iterator[Fault]:
    """A TEC that the board does not have, and limits that leave no room."""
    tec = config.tec
    if tec is None:
        return
    if board.tec is None and not board.simulated:
        message = f"the board '{board.name}' has no TEC"
        yield Fault(("tec",), message, "Take the section out, or describe the TEC in the board file")
    low, high = tec.min_c + MARGIN_K, tec.max_c - MARGIN_K
    if low > high:
        message = f"{tec.min_c:g} to {tec.max_c:g} C leave no room for a set-point, {MARGIN_K:g} K inside both"
        yield Fault(("tec", "max_c"), message, f"Give at least {tec.min_c + 2 * MARGIN_K:g}")
    elif not low <= tec.setpoint_c <= high:
        message = f"{tec.setpoint_c:g} C is not {MARGIN_K:g} K inside min_c and max_c"
        yield Fault(("tec", "setpoint_c"), message, f"Give {low:g} to {high:g}, or move min_c or max_c")


def open_tec(config: Config, board: Board, lit: Callable[[], bool]) -> Tec | None:
    """The TEC, off; None where the configuration has no `tec`. `lit` tells a simulated one whether the laser heats.
    Raises DeviceError.
    """
    if config.tec is None:
        return None
    if board.simulated:
        heat_w = _heat_w(config.laser)
        plant = SimulatedPlant(SIMULATED, lambda: heat_w if lit() else 0.0, seed=config.cell.seed)
        return Tec(plant, plant, SIMULATED, regulation(config.tec), SIMULATED_DUTY_MAX)
    if board.tec is None:
        raise DeviceError(f"the board '{board.name}' has no TEC", "Take `tec` out of the configuration")
    return open_line(config.tec, board.gpiochip, board.tec)


def open_line(tec: TecSection, gpiochip: str | None, line: TecLine) -> Tec:
    """The TEC that the board file describes, off. Raises DeviceError."""
    thermistor = Thermistor(line.supply_v, line.series_ohm, line.r25_ohm, line.beta_k)
    adc = KernelAdc(line.adc, line.adc_channel)
    _judge(tec, line.adc, adc, thermistor)
    with ExitStack() as opened:
        pwm = KernelPwm(line.pwm_chip, line.pwm_channel, line.clock_hz)
        opened.callback(pwm.close)
        direction = Line(gpiochip, line.direction, line.heats == "high", False)
        opened.callback(direction.close)
        regulated = Tec(PwmBridge(pwm, direction), Asked(adc.read), thermistor, regulation(tec), line.duty_max)
        opened.pop_all()
    return regulated


def _judge(tec: TecSection, name: str, adc: KernelAdc, thermistor: Thermistor) -> None:
    """Raises DeviceError where the ADC does not reach far enough, or its steps are too coarse."""
    coldest_v = thermistor.volts(tec.min_c)
    if adc.range_v <= coldest_v:
        message = f"ADC '{name}' reads up to {adc.range_v:.2f} V, and at min_c the thermistor has {coldest_v:.2f} V"
        raise DeviceError(
            message, "Give its input a larger range in config.txt: dtoverlay=ads1115,cha_enable,cha_gain=1"
        )
    uncertainty_k = thermistor.uncertainty_k(tec.setpoint_c, adc.step_v)
    if uncertainty_k > tec.tolerance_k / COARSE:
        message = (
            f"a temperature from ADC '{name}' is uncertain by {uncertainty_k:.3f} K, a step of it, at the set-point"
        )
        raise DeviceError(message, f"Give tec.tolerance_k at least {COARSE * uncertainty_k:.2f}, or take a finer ADC")


def regulation(tec: TecSection) -> Regulation:
    """What the section asks for."""
    gains = Gains(tec.kp, tec.ki, tec.kd)
    return Regulation(tec.setpoint_c, tec.tolerance_k, tec.settle_s, tec.min_c, tec.max_c, gains)


def _heat_w(laser: Laser) -> float:
    """Mean heat of the laser while it is lit."""
    return HEAT_PER_LIGHT * laser.power_w * laser.duty
