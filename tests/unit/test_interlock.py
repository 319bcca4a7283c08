"""Whether the laser may be lit: the table is whole, and no way leads to light while a condition is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import integers, sampled_from

from gateway.errors import CommandRefused
from gateway.interlock import CONDITIONS, TABLE, Condition, Event, Interlock, Relays, State, reference

SECOND = 1_000_000_000


def test_the_tables_are_whole() -> None:
    assert set(CONDITIONS) == set(Condition)
    assert set(TABLE) == set(State)
    assert all(set(row) == set(Event) for row in TABLE.values())


def test_what_the_loss_of_a_condition_does() -> None:
    assert {condition for condition, meaning in CONDITIONS.items() if meaning.trips} == {
        Condition.INTERLOCK,
        Condition.STOP,
        Condition.FAULT,
        Condition.SAFE_MODE,
    }
    assert {str(condition): meaning.relays.name for condition, meaning in CONDITIONS.items()} == {
        "configuration": "SAFE",
        "interlock": "BARRED",
        "stop": "BARRED",
        "loop": "SAFE",
        "sound": "SAFE",
        "temperature": "UNTOUCHED",
        "guardian": "UNTOUCHED",
        "fault": "SAFE",
        "safe_mode": "BARRED",
    }


def test_a_wish_is_refused_while_somebody_has_to_do_something() -> None:
    refusing = set()
    for condition in Condition:
        interlock = Interlock()
        interlock.lose(condition, "why")
        assert interlock.refuses in ("", "why")
        refusing |= {condition} if interlock.refuses else set()
        interlock.restore(condition)
        assert interlock.refuses == ""
    assert refusing == {condition for condition, meaning in CONDITIONS.items() if meaning.trips} | {
        Condition.CONFIGURATION
    }


def test_light_comes_only_of_being_told_or_of_a_condition_that_holds_again() -> None:
    ways = {(state, event) for state, row in TABLE.items() for event, after in row.items() if after is State.LIT}
    stays = {(State.LIT, Event.ON), (State.LIT, Event.HELD)}
    assert ways - stays == {
        (State.DARK, Event.ON),
        (State.TRIPPED, Event.ON),
        (State.WAITING, Event.ON),
        (State.WAITING, Event.HELD),
    }


@pytest.mark.parametrize("condition", [each for each in Condition if not CONDITIONS[each].trips])
def test_light_comes_back_by_itself(condition: Condition) -> None:
    interlock = Interlock()
    interlock.on(0)
    assert interlock.lose(condition, "gone")
    assert (interlock.state, interlock.why) == (State.WAITING, "gone")
    with pytest.raises(CommandRefused, match=r"the laser stays off: gone\. It is lit when that is over"):
        interlock.on(0)
    assert interlock.restore(condition)
    assert (interlock.state, interlock.why) == (State.LIT, "")


@pytest.mark.parametrize("condition", [each for each in Condition if CONDITIONS[each].trips])
def test_what_trips_stays_dark_until_told(condition: Condition) -> None:
    interlock = Interlock()
    interlock.on(0)
    interlock.lose(condition, "opened")
    assert (interlock.state, interlock.why) == (State.TRIPPED, "opened")
    with pytest.raises(CommandRefused, match=r"the laser stays off: opened\. Mend that, then tell it to be on again"):
        interlock.on(0)
    interlock.restore(condition)
    assert (interlock.state, interlock.why) == (State.TRIPPED, "opened")
    interlock.on(0)
    assert interlock.lit


def test_off_is_off_whatever_holds() -> None:
    interlock = Interlock()
    for condition in Condition:
        interlock.lose(condition, str(condition))
    interlock.off()
    for condition in Condition:
        interlock.restore(condition)
    assert (interlock.state, interlock.why) == (State.DARK, "")


def test_only_the_last_condition_brings_light() -> None:
    interlock = Interlock()
    interlock.on(0)
    interlock.lose(Condition.SOUND, "no sound")
    interlock.lose(Condition.LOOP, "hangs")
    interlock.restore(Condition.SOUND)
    assert (interlock.state, interlock.why) == (State.WAITING, "hangs")
    interlock.restore(Condition.LOOP)
    assert interlock.lit


def test_what_is_lost_twice_is_no_news_but_the_newest_reason_is_told() -> None:
    interlock = Interlock()
    interlock.on(0)
    assert interlock.lose(Condition.SOUND, "no sound for 2 s")
    assert not interlock.lose(Condition.SOUND, "no sound for 3 s")
    assert interlock.why == "no sound for 3 s"
    assert interlock.restore(Condition.SOUND)
    assert not interlock.restore(Condition.SOUND)


def test_max_on_s_trips_once_and_counts_from_the_newest_command() -> None:
    interlock = Interlock(10.0)
    assert not interlock.overdue(100 * SECOND)
    interlock.on(0)
    interlock.on(5 * SECOND)
    assert not interlock.overdue(15 * SECOND - 1)
    assert interlock.overdue(15 * SECOND)
    assert (interlock.state, interlock.why) == (State.TRIPPED, "it was lit for max_on_s, 10 s")
    assert not interlock.overdue(16 * SECOND)


def test_relays_are_barred_by_what_says_so_and_by_nothing_else() -> None:
    for condition, meaning in CONDITIONS.items():
        interlock = Interlock()
        interlock.lose(condition, "why")
        assert interlock.barred == ("why" if meaning.relays is Relays.BARRED else "")
        assert interlock.relays_safe == (meaning.relays is not Relays.UNTOUCHED)


def test_the_page_is_made_of_the_tables() -> None:
    assert Path("docs/interlock.md").read_text("utf-8") == reference(), "run make docs"


class Any(RuleBasedStateMachine):
    """Any sequence of commands, losses and times. What light means is said here anew, without the table: it was wanted
    after everything that trips, and every condition holds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.interlock = Interlock(10.0)
        self.missing: set[Condition] = set()
        self.wanted = False
        self.now = self.told = 0

    @rule()
    def on(self) -> None:
        self.told = self.now
        self.wanted = not any(CONDITIONS[condition].trips for condition in self.missing)
        try:
            self.interlock.on(self.now)
        except CommandRefused:
            assert self.missing

    @rule()
    def off(self) -> None:
        self.wanted = False
        self.interlock.off()

    @rule(condition=sampled_from(list(Condition)))
    def lose(self, condition: Condition) -> None:
        if condition not in self.missing and CONDITIONS[condition].trips:
            self.wanted = False
        self.missing.add(condition)
        self.interlock.lose(condition, str(condition))

    @rule(condition=sampled_from(list(Condition)))
    def restore(self, condition: Condition) -> None:
        self.missing.discard(condition)
        self.interlock.restore(condition)

    @rule(seconds=integers(0, 15))
    def tick(self, seconds: int) -> None:
        self.now += seconds * SECOND
        if self.wanted and not self.missing and self.now - self.told >= 10 * SECOND:
            self.wanted = False
        self.interlock.overdue(self.now)

    @invariant()
    def is_lit_exactly_when_wanted_and_everything_holds(self) -> None:
        assert self.interlock.lit == (self.wanted and not self.missing)

    @invariant()
    def says_why_it_is_dark(self) -> None:
        assert bool(self.interlock.why) == (self.interlock.state in (State.WAITING, State.TRIPPED))


Any.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestAnySequence = Any.TestCase
