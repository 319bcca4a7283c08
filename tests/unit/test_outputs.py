"""The door to the hardware: answers, safety, and what may not be."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import booleans, integers, sampled_from

from drivers.gpio import SimulatedLine
from drivers.led import Led
from drivers.relay import Relay
from gateway.errors import CommandRefused, DeviceError
from gateway.interlock import CONDITIONS, Condition, Interlock, Relays, State
from gateway.outputs import START, Outputs
from gateway.types import Command

SECOND = 1_000_000_000


class Switch:
    """An output that remembers what happened to it."""

    verbs = ("on", "off")

    def __init__(self, target: str, log: list[str], broken: bool = False) -> None:
        self.target, self._log, self._broken, self._state = target, log, broken, "off"

    def apply(self, command: Command) -> None:
        if self._broken:
            raise DeviceError("the wire is broken")
        self._state = command.verb
        self._log.append(f"{self.target} {command.verb}")

    def read(self) -> str:
        return self._state

    def step(self, t_ns: int) -> None:
        pass

    def make_safe(self) -> None:
        self._state = "off"
        self._log.append(f"{self.target} safe")
        if self._broken:
            raise OSError("gone")

    def close(self) -> None:
        self._log.append(f"{self.target} closed")


def door(broken: bool = False, max_on_s: float | None = None) -> tuple[Outputs, list[str]]:
    log: list[str] = []
    return Outputs([Switch("relay/fan", log, broken), Switch("laser", log)], Interlock(max_on_s)), log


def test_commands_are_carried_out_and_read_back() -> None:
    outputs, _ = door()
    outcome = outputs.apply([Command("laser", "on"), Command("relay/fan", "on")], 0)
    assert [(r.done, r.state) for r in outcome.results] == [(True, "on"), (True, "on")]
    assert dict(outcome.states) == {"laser": "on", "relay/fan": "on"}


def test_it_tells_the_lasers_state_and_whether_a_wish_is_of_use() -> None:
    outputs, _ = door()
    outcome = outputs.apply([Command("laser", "on")], 0)
    assert (outcome.laser, outcome.barred) == (("lit", ""), "")
    outputs.lose(Condition.SOUND, "no sound")
    outcome = outputs.apply((), SECOND)
    assert (outcome.laser, outcome.barred) == (("waiting", "no sound"), "")
    outputs.lose(Condition.INTERLOCK, "the interlock is open")
    outcome = outputs.apply((), SECOND)
    assert (outcome.laser[0], outcome.barred) == ("tripped", "the interlock is open")
    outputs.restore(Condition.INTERLOCK)
    outcome = outputs.apply((), SECOND)
    assert (outcome.laser, outcome.barred) == (("tripped", "no sound"), "")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (Command("relay/fna", "on"), "there is no output 'relay/fna'. There are: relay/fan, laser"),
        (Command("relay/fan", "explode"), "relay/fan cannot be told 'explode'. It knows: on, off"),
    ],
)
def test_refusals_say_why(command: Command, reason: str) -> None:
    outputs, log = door()
    (result,) = outputs.apply([command], 0).results
    assert not result.done
    assert result.reason == reason
    assert log == []


def test_a_broken_output_harms_no_other() -> None:
    outputs, _ = door(broken=True)
    fan, laser = outputs.apply([Command("relay/fan", "on"), Command("laser", "on")], 0).results
    assert (fan.done, fan.reason) == (False, "the wire is broken")
    assert laser.done


def test_make_safe_takes_the_laser_first_and_nothing_stops_it() -> None:
    outputs, log = door(broken=True)
    outputs.apply([Command("laser", "on")], 0)
    outputs.make_safe()
    assert log == ["laser on", "laser safe", "relay/fan safe"]


def test_what_is_forbidden_stays_off_until_allowed() -> None:
    outputs, _ = door()
    outputs.apply([Command("laser", "on"), Command("relay/fan", "on")], 0)
    outputs.lose(Condition.SOUND, "no sound for 2.0 s")
    outcome = outputs.apply([Command("laser", "on")], SECOND)
    assert not outcome.results[0].done
    assert "no sound for 2.0 s" in outcome.results[0].reason
    assert dict(outcome.states) == {"laser": "off", "relay/fan": "off"}
    outputs.restore(Condition.SOUND)
    assert dict(outputs.apply((), 2 * SECOND).states) == {"laser": "on", "relay/fan": "on"}


def test_a_laser_switched_off_while_forbidden_stays_off() -> None:
    outputs, _ = door()
    outputs.apply([Command("laser", "on")], 0)
    outputs.lose(Condition.SOUND, "no sound")
    outputs.apply([Command("laser", "off")], SECOND)
    outputs.restore(Condition.SOUND)
    assert outputs.apply((), SECOND).states["laser"] == "off"


def test_max_on_s_ends_the_light_and_a_new_command_begins_it_anew() -> None:
    outputs, _ = door(max_on_s=10.0)
    outputs.apply([Command("laser", "on")], 0)
    assert outputs.apply((), 10 * SECOND - 1).states["laser"] == "on"
    assert outputs.apply((), 10 * SECOND).states["laser"] == "off"
    outputs.apply([Command("laser", "on")], 11 * SECOND)
    assert outputs.apply((), 20 * SECOND).states["laser"] == "on"
    assert outputs.apply((), 21 * SECOND).states["laser"] == "off"


def test_closing_is_safe_first() -> None:
    outputs, log = door()
    outputs.close()
    assert log == ["laser safe", "relay/fan safe", "relay/fan closed", "laser closed"]


def test_a_refusal_is_an_answer_even_for_a_full_inbox() -> None:
    from gateway.inbox import CommandInbox

    inbox = CommandInbox()
    for _ in range(256):
        inbox.put(Command("laser", "on"))
    with pytest.raises(CommandRefused):
        inbox.put(Command("laser", "on"))
    assert len(inbox.drain()) == 256
    assert inbox.drain() == ()


def test_an_output_that_fails_on_coming_back_stops_nobody() -> None:
    outputs, _ = door(broken=True)
    outputs.apply([Command("relay/fan", "on"), Command("laser", "on")], 0)
    outputs.lose(Condition.SOUND, "no sound")
    outputs.restore(Condition.SOUND)
    assert outputs.apply((), 0).states["laser"] == "on"


class Tuned(Switch):
    """A laser that can be tuned; tuning leaves its light alone."""

    verbs = ("on", "off", "tune")

    def apply(self, command: Command) -> None:
        if command.verb != "tune":
            super().apply(command)


def test_tuning_neither_renews_nor_ends_the_light_and_is_no_wish_for_it() -> None:
    outputs = Outputs([Tuned("laser", [])], Interlock(10.0))
    tune = Command("laser", "tune", {"frequency_hz": 2000.0})
    outputs.apply([Command("laser", "on")], 0)
    assert outputs.apply([tune], 9 * SECOND).states["laser"] == "on"
    outputs.lose(Condition.SOUND, "no sound")
    assert outputs.apply([tune], 9 * SECOND).states["laser"] == "off"
    outputs.restore(Condition.SOUND)
    assert outputs.apply((), 9 * SECOND).states["laser"] == "on"
    assert outputs.apply((), 10 * SECOND).states["laser"] == "off"


def test_what_trips_voids_what_relays_were_told() -> None:
    outputs, _ = door()
    outputs.apply([Command("laser", "on"), Command("relay/fan", "on")], 0)
    outputs.lose(Condition.STOP, "button stop is pressed")
    fan, off = outputs.apply([Command("relay/fan", "on"), Command("relay/fan", "off")], 0).results
    assert fan.reason == "relay/fan stays safe: button stop is pressed. Mend that, then tell it again"
    assert off.done
    outputs.restore(Condition.STOP)
    assert dict(outputs.apply((), 0).states) == {"laser": "off", "relay/fan": "off"}
    assert outputs.safety() == (State.TRIPPED, "button stop is pressed")
    outputs.apply([Command("laser", "on"), Command("relay/fan", "on")], 0)
    assert dict(outputs.apply((), 0).states) == {"laser": "on", "relay/fan": "on"}


def test_a_relay_may_act_on_missing_sound() -> None:
    outputs, _ = door()
    outputs.apply([Command("relay/fan", "on")], 0)
    outputs.lose(Condition.SOUND, "no sound")
    assert outputs.apply((), 0).states["relay/fan"] == "off"
    assert outputs.apply([Command("relay/fan", "on")], 0).results[0].done


def test_max_on_s_takes_the_relays_along() -> None:
    outputs, _ = door(max_on_s=10.0)
    outputs.apply([Command("laser", "on"), Command("relay/fan", "on")], 0)
    assert dict(outputs.apply((), 10 * SECOND).states) == {"laser": "off", "relay/fan": "off"}
    assert outputs.apply([Command("relay/fan", "on")], 11 * SECOND).results[0].done


def test_what_a_relay_refused_it_does_not_come_back_to() -> None:
    heat, cool = Relay("heat", SimulatedLine(False), "off"), Relay("cool", SimulatedLine(False), "off")
    heat.exclude(cool)
    outputs = Outputs([heat, cool])
    outputs.apply([], SECOND)
    told = [Command("relay/heat", "on"), Command("relay/cool", "on"), Command("relay/heat", "off")]
    assert [result.done for result in outputs.apply(told, SECOND).results] == [True, False, True]
    outputs.lose(Condition.LOOP, "no block")
    outputs.restore(Condition.LOOP)
    assert dict(outputs.apply([], 9 * SECOND).states) == {"relay/heat": "off", "relay/cool": "off"}


def test_an_answer_tells_what_is_still_to_come() -> None:
    outputs = Outputs([Relay("fan", SimulatedLine(False), "off", 2.0)])
    (result,) = outputs.apply([Command("relay/fan", "on")], SECOND).results
    assert (result.done, result.reason, result.state) == (True, "relay/fan goes on in 2.0 s", "off")
    assert dict(outputs.apply([], 2 * SECOND).states) == {"relay/fan": "on"}


def test_an_led_that_identifies_itself_comes_back_to_its_colour() -> None:
    outputs = Outputs([Led("status", {"red": SimulatedLine(False)}, "off")])
    outputs.apply([Command("led/status", "red"), Command("led/status", "identify")], SECOND)
    outputs.lose(Condition.LOOP, "no block")
    outputs.restore(Condition.LOOP)
    assert dict(outputs.apply([], 2 * SECOND).states) == {"led/status": "red"}


def test_when_the_loop_hangs_everything_is_safe_and_comes_back() -> None:
    log: list[str] = []
    outputs = Outputs([Switch("laser", log), Switch("led/status", log), Switch("relay/fan", log)])
    outputs.apply([Command(target, "on") for target in ("laser", "led/status", "relay/fan")], 0)
    outputs.lose(Condition.LOOP, "no block")
    assert set(outputs.apply((), 0).states.values()) == {"off"}
    outputs.restore(Condition.LOOP)
    assert set(outputs.apply((), 0).states.values()) == {"on"}


def test_a_laser_that_somebody_else_has_lit_is_darkened(caplog: pytest.LogCaptureFixture) -> None:
    laser = Switch("laser", [])
    outputs = Outputs([laser])
    laser.apply(Command("laser", "on"))
    assert outputs.apply((), 0).states["laser"] == "off"
    assert "the laser was lit by somebody else" in caplog.text


def test_a_laser_that_cannot_be_lit_is_no_longer_wanted() -> None:
    log: list[str] = []
    outputs = Outputs([Switch("laser", log, broken=True)])
    assert not outputs.apply([Command("laser", "on")], 0).results[0].done
    assert outputs.safety() == (State.DARK, "")
    assert log == ["laser safe"]


def test_at_the_start_it_is_no_warning_that_there_is_no_sound_yet(caplog: pytest.LogCaptureFixture) -> None:
    outputs, _ = door()
    outputs.lose(Condition.SOUND, "no sound has come yet")
    caplog.clear()
    with caplog.at_level("WARNING"):
        outputs.apply([Command("laser", "on", origin=START)], 0)
    assert caplog.text == ""
    outputs.restore(Condition.SOUND)
    assert outputs.lit()


TOLD = [each for each in Condition if each not in (Condition.FAULT, Condition.TEMPERATURE)]
"""What others tell; of these two the outputs know themselves."""


class Anything(RuleBasedStateMachine):
    """Any sequence of commands, losses, ticks, and of a laser that fails, is lit by others, or is made safe."""

    def __init__(self) -> None:
        super().__init__()
        self.laser, self.fan = Switch("laser", []), Switch("relay/fan", [])
        self.outputs = Outputs([self.fan, self.laser], Interlock(10.0))
        self.missing: set[Condition] = set()
        self.wanted, self.now = False, 0

    @rule(name=sampled_from(["laser", "relay/fan"]), verb=sampled_from(["on", "off"]), broken=booleans())
    def tell(self, name: str, verb: str, broken: bool) -> None:
        (self.laser if name == "laser" else self.fan)._broken = broken
        (result,) = self.outputs.apply([Command(name, verb)], self.now).results
        self.laser._broken = self.fan._broken = False
        if name == "laser":
            barred = any(CONDITIONS[condition].trips for condition in self.missing)
            self.wanted = verb == "on" and not barred and (result.done or bool(self.missing))

    @rule(condition=sampled_from(TOLD))
    def lose(self, condition: Condition) -> None:
        self.wanted &= condition in self.missing or not CONDITIONS[condition].trips
        if condition not in self.missing and CONDITIONS[condition].relays is not Relays.UNTOUCHED:
            self.outputs.lose(condition, str(condition))
            if not any(CONDITIONS[each].relays is not Relays.UNTOUCHED for each in self.missing):
                assert self.fan.read() == "off"
        else:
            self.outputs.lose(condition, str(condition))
        self.missing.add(condition)

    @rule(condition=sampled_from(TOLD))
    def restore(self, condition: Condition) -> None:
        self.missing.discard(condition)
        self.outputs.restore(condition)

    @rule(seconds=integers(0, 15))
    def tick(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.outputs.apply((), self.now)

    @rule()
    def somebody_else_lights_it(self) -> None:
        self.laser._state = "on"
        self.outputs.apply((), self.now)

    @rule()
    def make_safe(self) -> None:
        self.wanted = False
        self.outputs.make_safe()
        assert (self.laser.read(), self.fan.read()) == ("off", "off")

    @invariant()
    def the_laser_is_lit_only_if_wanted_and_everything_holds(self) -> None:
        if self.laser.read() == "on":
            assert self.wanted
            assert not self.missing

    @invariant()
    def a_barred_relay_is_safe(self) -> None:
        if any(CONDITIONS[condition].relays is Relays.BARRED for condition in self.missing):
            assert self.fan.read() == "off"


Anything.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestAnything = Anything.TestCase


class Failing(Switch):
    """A driver whose step finds that its hardware is gone."""

    gone = False

    def step(self, t_ns: int) -> None:
        if self.gone:
            raise DeviceError("the PWM is gone")


def test_a_laser_that_cannot_go_on_is_a_fault_until_it_can() -> None:
    laser = Failing("laser", [])
    outputs = Outputs([laser])
    outputs.apply([Command("laser", "on")], 0)
    laser.gone = True
    assert outputs.apply((), SECOND).states["laser"] == "off"
    assert outputs.safety() == (State.TRIPPED, "the PWM is gone")
    laser.gone = False
    outputs.apply((), 2 * SECOND)
    assert outputs.apply([Command("laser", "on")], 3 * SECOND).states["laser"] == "on"


def test_a_led_that_cannot_go_on_ends_nothing() -> None:
    led, laser = Failing("led/status", []), Switch("laser", [])
    led.gone = True
    outputs = Outputs([led, laser])
    assert outputs.apply([Command("laser", "on")], 0).states["laser"] == "on"


class Blinking(Switch):
    """An LED that goes on by itself."""

    def step(self, t_ns: int) -> None:
        self._state = "on"


def test_at_the_end_nothing_goes_on_by_itself() -> None:
    outputs = Outputs([Blinking("led/status", [])])
    assert outputs.apply((), 0).states["led/status"] == "on"
    outputs.make_safe()
    assert outputs.apply((), SECOND).states["led/status"] == "off"
