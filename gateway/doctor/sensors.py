"""What tells of the gas and of the laser's temperature."""

from __future__ import annotations

from drivers.adc import KernelAdc
from drivers.sensor import KernelSensor
from drivers.thermistor import Thermistor
from gateway.doctor.finding import Said, missing, needless, ok, warning
from gateway.doctor.place import Place

_SHOWN = {"temperature_c": "{:.1f} C", "humidity_percent": "{:.0f} %", "pressure_pa": "{:.0f} Pa"}


def climate(place: Place) -> Said:
    """The board's sensors, each asked once."""
    section, sensors = place.config.climate, place.board.climate
    if section.sensor == "off":
        return needless("climate.sensor is off")
    if not sensors:
        return needless("the board has no sensor of the gas")
    told: list[str] = []
    faults: list[str] = []
    for sensor in sensors:
        said = KernelSensor(sensor.kind, sensor.name, place.root / "sys").read()
        if said.values:
            values = " ".join(_SHOWN[quantity].format(value) for quantity, value in said.values.items())
            told.append(f"{sensor.name}: {values}")
        faults += said.faults.values()
    if not faults:
        return ok("; ".join(told))
    found, _, remedy = faults[0].partition(". ")
    if told:
        return warning(f"{found}; {'; '.join(told)}", remedy)
    return missing(found, remedy)


def tec(place: Place) -> Said:
    """The ADC and the thermistor of the laser's TEC."""
    wired = place.board.tec
    if place.config.tec is None or wired is None:
        return needless("no TEC is configured")
    adc = KernelAdc(wired.adc, wired.adc_channel, place.root / "sys/bus/iio/devices")
    volts = adc.read()
    thermistor = Thermistor(wired.supply_v, wired.series_ohm, wired.r25_ohm, wired.beta_k)
    about = f"ADC {wired.adc}, input {wired.adc_channel}: {volts:.3f} V"
    if fault := thermistor.fault(volts):
        return missing(
            f"{about}, as of a thermistor that is {fault}", "Look at its cable, and at supply_v and series_ohm"
        )
    celsius = thermistor.celsius(volts)
    found = f"{about}, {celsius:.2f} C"
    if not place.config.tec.min_c < celsius < place.config.tec.max_c:
        return warning(f"{found}, outside of tec.min_c and tec.max_c", "Let the laser come to room temperature first")
    return ok(found)
