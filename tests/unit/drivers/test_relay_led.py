from collections.abc import Iterator

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory

from drivers.led import GpioLed, SimulatedLed
from drivers.relay import GpioRelay, SimulatedRelay
from gateway.errors import CommandRefused, DeviceError
from gateway.types import Command


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    before = gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory = MockFactory()
    yield gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory.reset()
    gpiozero.Device.pin_factory = before


def say(output: GpioRelay | SimulatedRelay | GpioLed | SimulatedLed, verb: str) -> str:
    output.apply(Command(output.target, verb))
    return output.read()


@pytest.mark.parametrize("active_high", [True, False])
@pytest.mark.parametrize("safe", ["on", "off"])
def test_a_relay_begins_and_ends_safe(pins: MockFactory, active_high: bool, safe: str) -> None:
    relay = GpioRelay("fan", 17, active_high=active_high, safe=safe)  # type: ignore[arg-type]
    pin = pins.pin(17)
    level = active_high if safe == "on" else not active_high
    assert relay.target == "relay/fan"
    assert {bool(state.state) for state in pin.states[1:]} <= {level}, "another level before the first command"
    assert relay.read() == safe
    for verb in ("on", "off", "on"):
        assert say(relay, verb) == verb
        assert pin.state == (active_high if verb == "on" else not active_high)
    say(relay, "off" if safe == "on" else "on")
    relay.make_safe()
    assert relay.read() == safe
    say(relay, "off" if safe == "on" else "on")
    last_driven = []
    pin.close = lambda close=pin.close: (last_driven.append((pin.function, bool(pin.state))), close())
    relay.close()
    assert last_driven == [("output", level)]
    relay.close()
    relay.make_safe()


def test_the_state_is_read_from_the_pin(pins: MockFactory) -> None:
    relay = GpioRelay("fan", 17)
    pins.pin(17).state = True
    assert relay.read() == "on"


def test_a_line_is_given_out_once(pins: MockFactory) -> None:
    relay = GpioRelay("fan", 17)
    with pytest.raises(DeviceError, match="GPIO line 17 is in use already"):
        GpioRelay("pump", 17)
    relay.close()
    GpioRelay("pump", 17).close()


def test_an_led_whose_line_is_taken_leaves_none_open(pins: MockFactory) -> None:
    relay = GpioRelay("fan", 6)
    with pytest.raises(DeviceError, match="GPIO line 6"):
        GpioLed("status", {"red": 5, "green": 6})
    GpioRelay("pump", 5).close()
    relay.close()


def test_lines_need_a_raspberry_pi() -> None:
    assert gpiozero.Device.pin_factory is None
    with pytest.raises(DeviceError, match=r"GPIO line 17 cannot be opened.*spectrophone\[pi\]"):
        GpioRelay("fan", 17)


@pytest.mark.parametrize("safe", ["on", "off"])
def test_a_simulated_relay_behaves_alike(safe: str) -> None:
    relay = SimulatedRelay("fan", safe=safe)  # type: ignore[arg-type]
    assert (relay.target, relay.read(), relay.verbs) == ("relay/fan", safe, ("on", "off"))
    assert [say(relay, verb) for verb in ("on", "off")] == ["on", "off"]
    relay.make_safe()
    assert relay.read() == safe
    relay.close()
    relay.close()


@pytest.mark.parametrize("active_high", [True, False])
def test_a_three_colour_led_shows_every_mixture(pins: MockFactory, active_high: bool) -> None:
    led = GpioLed("status", {"red": 5, "green": 6, "blue": 13}, active_high=active_high)
    assert led.read() == "off"
    levels = {
        "red": (1, 0, 0),
        "green": (0, 1, 0),
        "blue": (0, 0, 1),
        "yellow": (1, 1, 0),
        "magenta": (1, 0, 1),
        "cyan": (0, 1, 1),
        "white": (1, 1, 1),
        "off": (0, 0, 0),
    }
    assert set(led.verbs) == {*levels, "on"}
    for colour, parts in levels.items():
        assert say(led, colour) == colour
        assert tuple(int(bool(pins.pin(n).state) == active_high) for n in (5, 6, 13)) == parts
    assert say(led, "on") == "white"
    led.close()
    led.close()


def test_leds_with_fewer_parts() -> None:
    single = SimulatedLed("alarm", safe="on")
    assert (single.target, single.verbs, single.read()) == ("led/alarm", ("on", "off"), "on")
    assert say(single, "off") == "off"
    single.make_safe()
    assert single.read() == "on"
    double = SimulatedLed("status", ("red", "green"))
    assert set(double.verbs) == {"on", "off", "red", "green", "yellow"}
    assert say(double, "on") == "yellow"
    double.close()
    assert double.read() == "off"


def test_a_single_gpio_led(pins: MockFactory) -> None:
    led = GpioLed("alarm", {"line": 22}, safe="on")
    assert led.read() == "on"
    assert say(led, "off") == "off"
    assert not pins.pin(22).state
    led.make_safe()
    assert pins.pin(22).state
    led.close()


@pytest.mark.parametrize(
    ("output", "verb"),
    [(SimulatedRelay("fan"), "red"), (SimulatedLed("alarm"), "red"), (SimulatedLed("status", ("red",)), "blue")],
)
def test_unknown_verbs_are_refused(output: SimulatedRelay | SimulatedLed, verb: str) -> None:
    with pytest.raises(CommandRefused, match=f"{output.target} cannot {verb}"):
        say(output, verb)
    assert output.read() == "off"
