"""LEDs: colours, patterns by ticks, what they show by themselves."""

from __future__ import annotations

import pytest

from drivers.gpio import SimulatedLine
from drivers.led import IDENTIFY_NS, PATTERNS, Led, Shown, led_verbs
from gateway.errors import CommandRefused, DeviceError
from gateway.types import Command

TICK_NS = 100_000_000
RGB = ("red", "green", "blue")


def parts(*colours: str, lit: bool = False) -> dict[str, SimulatedLine]:
    return {colour: SimulatedLine(lit) for colour in colours or ("line",)}


def say(led: Led, verb: str) -> str:
    led.apply(Command(led.target, verb))
    return led.read()


def seen(led: Led, line: SimulatedLine, ticks: int, first: int = 1, tick_ns: int = TICK_NS) -> str:
    """What a line does over some ticks: # lit, . dark."""
    levels = []
    for tick in range(first, first + ticks):
        led.step(tick * tick_ns)
        levels.append("#" if line.get() else ".")
    return "".join(levels)


def test_three_colours_show_every_mixture() -> None:
    lines = parts(*RGB)
    led = Led("status", lines, "off")
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
    blinking = {"blink", *(f"blink_{colour}" for colour in levels if colour != "off")}
    assert set(led.verbs) == {*levels, *blinking, "on", "identify"}
    assert led.verbs == led_verbs(lines)
    for colour, lit in levels.items():
        assert say(led, colour) == colour
        assert tuple(line.get() for line in lines.values()) == lit
    assert say(led, "on") == "white"
    led.close()
    led.close()


def test_fewer_parts() -> None:
    single = Led("alarm", parts(lit=True), "on")
    assert (single.target, single.verbs) == ("led/alarm", ("on", "off", "blink", "identify"))
    assert single.read() == "on"
    assert say(single, "off") == "off"
    single.make_safe()
    assert single.read() == "on"
    double = Led("status", parts("red", "green"), "off")
    assert [verb for verb in double.verbs if "blink" not in verb] == ["on", "off", "red", "green", "yellow", "identify"]
    assert say(double, "on") == "yellow"
    double.close()
    assert double.read() == "off"


@pytest.mark.parametrize(("lines", "verb"), [((), "red"), (("red",), "blue"), (("red",), "auto"), ((), "blink_red")])
def test_unknown_verbs_are_refused(lines: tuple[str, ...], verb: str) -> None:
    led = Led("alarm", parts(*lines), "off")
    with pytest.raises(CommandRefused, match=rf"led/alarm cannot {verb}\. It knows on, off"):
        say(led, verb)
    assert led.read() == "off"


def test_blinking_goes_on_with_the_ticks() -> None:
    lines = parts(*RGB)
    led = Led("status", lines, "off")
    assert say(led, "blink_red") == "blink_red"
    assert seen(led, lines["red"], 16) == "###....####....#"
    assert led.read() == "blink_red"
    assert not lines["green"].get()
    assert say(led, "blink") == "blink_white"
    assert say(led, "red") == "red"
    assert seen(led, lines["red"], 9, 20) == "#########"


def test_a_pattern_keeps_its_times_whatever_the_ticks() -> None:
    for tick_ms in (10, 20, 50, 100, 200):
        line = parts()
        led = Led("alarm", line, "off", lambda: ("on", "double"))
        led.step(0)
        each = 200 // tick_ms
        once = "#" * each + "." * each + "#" * each + "." * (5 * each)
        assert seen(led, line["line"], 2 * len(once), 1, tick_ms * 1_000_000) == (once + once)[1:] + "#"


@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "steady"])
def test_every_pattern_still_blinks_at_a_tick_a_second(pattern: str) -> None:
    line = parts()
    led = Led("alarm", line, "off", lambda: ("on", pattern))
    assert seen(led, line["line"], 8, tick_ns=1_000_000_000) == "#.#.#.#."


def test_identify_is_over_after_ten_seconds() -> None:
    lines = parts(*RGB)
    led = Led("status", lines, "off")
    led.step(0)
    say(led, "blue")
    assert say(led, "identify") == "identify"
    ticks = IDENTIFY_NS // TICK_NS
    assert seen(led, lines["red"], ticks - 1) == ".#" * (ticks // 2 - 1) + "."
    assert led.read() == "identify"
    led.step(IDENTIFY_NS)
    assert led.read() == "blue"
    say(led, "identify")
    assert say(led, "green") == "green", "a command ends it"


def test_what_it_shows_by_itself_and_what_it_is_told() -> None:
    shown: list[Shown] = [("green", "slow")]
    lines = parts(*RGB)
    led = Led("status", lines, "off", lambda: shown[-1])
    assert led.verbs[-1] == "auto"
    assert led.read() == "off", "before the first tick"
    led.step(0)
    assert led.read() == "slow_green"
    assert say(led, "red") == "red"
    led.step(TICK_NS)
    assert led.read() == "red"
    assert say(led, "auto") == "slow_green"
    shown.append(("yellow", "steady"))
    led.step(2 * TICK_NS)
    assert led.read() == "yellow"
    say(led, "identify")
    led.make_safe()
    assert led.read() == "off"
    led.step(3 * TICK_NS)
    assert led.read() == "yellow", "the box still has something to say"
    shown.append(("off", "steady"))
    led.step(4 * TICK_NS)
    assert led.read() == "off"


def test_the_safe_state_ends_a_pattern_at_any_moment() -> None:
    for ticks in range(1, 12):
        line = parts(lit=True)
        led = Led("alarm", line, "on")
        say(led, "blink")
        seen(led, line["line"], ticks)
        led.make_safe()
        assert (led.read(), seen(led, line["line"], 9, ticks + 1)) == ("on", "#########")


@pytest.mark.parametrize(
    ("colours", "colour", "lit"),
    [
        (("red", "green"), "white", {"red", "green"}),
        (("red", "blue"), "yellow", {"red"}),
        (("red", "blue"), "green", {"red", "blue"}),
        (("line",), "red", {"line"}),
        (("line",), "off", set()),
    ],
)
def test_a_colour_that_it_has_not(colours: tuple[str, ...], colour: str, lit: set[str]) -> None:
    lines = parts(*colours)
    led = Led("status", lines, "off", lambda: (colour, "steady"))
    led.step(0)
    assert {part for part, line in lines.items() if line.get()} == lit


def test_the_state_is_read_from_the_lines() -> None:
    lines = parts(*RGB)
    led = Led("status", lines, "off")
    say(led, "blink_red")
    lines["blue"].set(True)
    assert led.read() == "magenta"


def test_a_line_that_fails_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class BrokenLine(SimulatedLine):
        """A line whose chip is gone: no chip that is there can be made to show it."""

        def set(self, lit: bool) -> None:
            raise DeviceError("GPIO line 5 cannot be set: no such device")

    led = Led("alarm", {"line": BrokenLine(False)}, "off", lambda: ("on", "blink"))
    for tick in range(1, 30):
        led.step(tick * TICK_NS)
    assert caplog.messages == ["led/alarm: GPIO line 5 cannot be set: no such device"]
    with pytest.raises(DeviceError, match="no such device"):
        led.make_safe()
