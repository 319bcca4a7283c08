"""Relays: safe states, intervals, exclusions, read-back."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from drivers.gpio import SimulatedInput, SimulatedLine
from drivers.relay import SETTLED_NS, OnOff, Relay
from gateway.errors import CommandRefused, DeviceError
from gateway.types import Command

SECOND = 1_000_000_000


def relay(name: str = "fan", safe: OnOff = "off", interval_s: float = 0.0, contact: Any = None) -> Relay:
    return Relay(name, SimulatedLine(safe == "on"), safe, interval_s, contact)


def say(output: Relay, verb: str) -> str | None:
    return output.apply(Command(output.target, verb))


class BrokenLine(SimulatedLine):
    """A line whose chip is gone, from when `broken` is set: no chip that is there can be made to show it."""

    broken = False

    def set(self, lit: bool) -> None:
        if self.broken:
            raise DeviceError("GPIO line 17 cannot be set: no such device")
        super().set(lit)


@pytest.mark.parametrize("safe", ["on", "off"])
def test_it_begins_and_ends_safe(safe: OnOff) -> None:
    line = SimulatedLine(safe == "on")
    fan = Relay("fan", line, safe)
    assert (fan.target, fan.verbs, fan.read()) == ("relay/fan", ("on", "off"), safe)
    for verb in ("on", "off", "on", "off"):
        assert say(fan, verb) is None
        assert (fan.read(), line.get()) == (verb, verb == "on")
        fan.make_safe()
        assert fan.read() == safe
    fan.close()
    fan.close()


def test_another_verb_is_refused() -> None:
    fan = relay()
    with pytest.raises(CommandRefused, match=r"relay/fan cannot red\. It knows on and off"):
        say(fan, "red")
    assert fan.read() == "off"


def test_a_switching_waits_for_its_interval_and_the_newest_wish_wins() -> None:
    fan = relay(interval_s=10.0)
    fan.step(10 * SECOND)
    assert say(fan, "on") is None
    fan.step(13 * SECOND)
    assert say(fan, "off") == "relay/fan goes off in 7.0 s"
    assert fan.read() == "on"
    assert say(fan, "on") is None, "it is on already"
    fan.step(20 * SECOND)
    assert fan.read() == "on"
    assert say(fan, "off") is None
    fan.step(25 * SECOND)
    assert say(fan, "on") == "relay/fan goes on in 5.0 s"
    fan.step(30 * SECOND - 1)
    assert fan.read() == "off"
    fan.step(30 * SECOND)
    assert fan.read() == "on"


def test_the_begin_counts_as_a_switching() -> None:
    fan = relay(interval_s=2.0)
    assert say(fan, "on") == "relay/fan goes on in 2.0 s"
    fan.step(2 * SECOND - 1)
    assert fan.read() == "off"
    fan.step(2 * SECOND)
    assert fan.read() == "on"


def test_the_safe_state_waits_for_nothing_and_forgets_what_waited() -> None:
    fan = relay(safe="on", interval_s=60.0)
    fan.step(60 * SECOND)
    say(fan, "off")
    fan.make_safe()
    assert fan.read() == "on"
    assert say(fan, "off") == "relay/fan goes off in 60.0 s"
    fan.make_safe()
    fan.step(500 * SECOND)
    assert fan.read() == "on"


def test_two_that_exclude_each_other_are_never_on_together() -> None:
    up, down = relay("up"), relay("down")
    up.exclude(down)
    for each in (up, down):
        each.step(SECOND)
    say(up, "on")
    with pytest.raises(CommandRefused, match=r"relay/down may not be on together with relay/up\. Switch relay/up off"):
        say(down, "on")
    say(up, "off")
    assert say(down, "on") == "relay/down goes on when relay/up has gone off"
    with pytest.raises(CommandRefused, match="relay/up may not be on together with relay/down"):
        say(up, "on")
    for t_ns, state in ((SECOND + SETTLED_NS - 1, "off"), (SECOND + SETTLED_NS, "on")):
        up.step(t_ns)
        down.step(t_ns)
        assert (up.read(), down.read()) == ("off", state)


def test_a_safe_state_that_is_on_switches_off_what_it_excludes_first() -> None:
    seen: list[tuple[str, bool]] = []

    class Seen(SimulatedLine):
        name = ""

        def set(self, lit: bool) -> None:
            seen.append((self.name, lit))
            super().set(lit)

    lines = Seen(True), Seen(False)
    lines[0].name, lines[1].name = "vent", "heat"
    vent, heat = Relay("vent", lines[0], "on"), Relay("heat", lines[1], "off")
    vent.exclude(heat)
    say(vent, "off")
    for each in (vent, heat):
        each.step(SECOND)
    say(heat, "on")
    seen.clear()
    vent.make_safe()
    assert seen == [("heat", False), ("vent", True)]
    heat.step(9 * SECOND)
    assert (vent.read(), heat.read()) == ("on", "off")


def test_a_contact_that_does_not_follow_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    contact = SimulatedInput(False)
    fan, other = relay(contact=contact), relay("other")
    fan.exclude(other)
    other.step(SECOND)
    fan.step(SECOND)
    say(fan, "on")
    fan.step(SECOND + SETTLED_NS)
    assert fan.read() == "on", "a contact takes its time"
    contact.set(True)
    fan.step(2 * SECOND)
    say(fan, "off")
    fan.step(2 * SECOND + SETTLED_NS)
    assert (fan.read(), caplog.messages) == ("off", [])
    for t_ns in (2 * SECOND + SETTLED_NS + 1, 9 * SECOND):
        fan.step(t_ns)
        other.step(t_ns)
        assert fan.read() == "stuck"
    assert caplog.messages == ["relay/fan is stuck: it is driven off, but its contact says on"]
    with pytest.raises(CommandRefused, match=r"relay/other stays off: relay/fan is stuck\. Mend that one"):
        say(other, "on")
    contact.set(False)
    fan.step(10 * SECOND)
    assert (fan.read(), caplog.messages[1:]) == ("off", ["relay/fan is no longer stuck"])
    assert say(other, "on") is None
    fan.close()
    assert contact.fileno() == -1


def test_a_line_that_is_held_by_something_else_is_stuck() -> None:
    line = SimulatedLine(False)
    fan = Relay("fan", line, "off")
    line.set(True)
    fan.step(SETTLED_NS)
    assert fan.read() == "on", "what the line says"
    fan.step(SETTLED_NS + 1)
    assert fan.read() == "stuck"


def test_a_contact_that_cannot_be_read_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    contact = SimulatedInput(False)
    fan = relay(contact=contact)
    contact.close()
    for t_ns in (SECOND, 2 * SECOND):
        fan.step(t_ns)
        assert fan.read() == "unknown"
    assert caplog.messages == ["relay/fan is unknown: the simulated input is closed"]


def test_a_line_that_fails_while_a_switching_waits_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    line = BrokenLine(False)
    fan = Relay("fan", line, "off", 1.0)
    say(fan, "on")
    line.broken = True
    for t_ns in (SECOND, 2 * SECOND):
        fan.step(t_ns)
    assert caplog.messages == ["relay/fan does not go on: GPIO line 17 cannot be set: no such device"]
    assert caplog.records[0].levelno == logging.ERROR
    with pytest.raises(DeviceError, match="no such device"):
        say(fan, "on")
    line.broken = False
    fan.step(3 * SECOND)
    assert fan.read() == "off", "a wish that failed is over"
    assert say(fan, "on") is None


class Group(RuleBasedStateMachine):
    """Two relays that exclude each other and one that excludes nobody, told anything at any time."""

    @initialize(interval_s=st.sampled_from([0.0, 0.3, 5.0]))
    def begin(self, interval_s: float) -> None:
        self.relays = [relay("up", "on", interval_s), relay("down", "off", interval_s), relay("fan", "off", interval_s)]
        self.relays[0].exclude(self.relays[1])
        self.interval_ns = round(interval_s * 1e9)
        self.now_ns = 0
        self.switched: dict[int, tuple[int, str]] = {k: (0, r.read()) for k, r in enumerate(self.relays)}

    @rule(which=st.integers(0, 2), verb=st.sampled_from(["on", "off"]))
    def told(self, which: int, verb: str) -> None:
        try:
            say(self.relays[which], verb)
        except CommandRefused:
            assert which < 2
            assert verb == "on"
        self.check(hurried=False)

    @rule(ms=st.sampled_from([1, 100, 250, 1000, 7000]))
    def step(self, ms: int) -> None:
        self.now_ns += ms * 1_000_000
        for each in self.relays:
            each.step(self.now_ns)
            self.check(hurried=False)

    @rule(which=st.integers(0, 2))
    def safe(self, which: int) -> None:
        self.relays[which].make_safe()
        assert self.relays[which].read() == self.relays[which].safe
        self.check(hurried=True)

    def check(self, *, hurried: bool) -> None:
        """After each act: every switching kept its distance, unless it was for safety's sake."""
        for which, each in enumerate(self.relays):
            before_ns, state = self.switched[which]
            if each.read() != state:
                assert hurried or self.now_ns - before_ns >= self.interval_ns
                self.switched[which] = self.now_ns, each.read()

    @invariant()
    def never_together(self) -> None:
        assert [each.read() for each in self.relays[:2]] != ["on", "on"]


TestGroup = Group.TestCase
