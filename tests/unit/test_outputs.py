"""The door to the hardware: answers, safety, and what may not be."""

from __future__ import annotations

import pytest

from gateway.errors import CommandRefused, DeviceError
from gateway.outputs import Outputs
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
    return Outputs([Switch("relay/fan", log, broken), Switch("laser", log)], max_on_s), log


def test_commands_are_carried_out_and_read_back() -> None:
    outputs, _ = door()
    outcome = outputs.apply([Command("laser", "on"), Command("relay/fan", "on")], 0)
    assert [(r.done, r.state) for r in outcome.results] == [(True, "on"), (True, "on")]
    assert dict(outcome.states) == {"laser": "on", "relay/fan": "on"}


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
    outputs.forbid("no sound for 2.0 s")
    outcome = outputs.apply([Command("laser", "on")], SECOND)
    assert not outcome.results[0].done
    assert "no sound for 2.0 s" in outcome.results[0].reason
    assert dict(outcome.states) == {"laser": "off", "relay/fan": "off"}
    outputs.allow()
    assert dict(outputs.apply((), 2 * SECOND).states) == {"laser": "on", "relay/fan": "on"}


def test_a_laser_switched_off_while_forbidden_stays_off() -> None:
    outputs, _ = door()
    outputs.apply([Command("laser", "on")], 0)
    outputs.forbid("no sound")
    outputs.apply([Command("laser", "off")], SECOND)
    outputs.allow()
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
    outputs.forbid("no sound")
    outputs.allow()
    assert outputs.apply((), 0).states["laser"] == "on"


class Tuned(Switch):
    """A laser that can be tuned; tuning leaves its light alone."""

    verbs = ("on", "off", "tune")

    def apply(self, command: Command) -> None:
        if command.verb != "tune":
            super().apply(command)


def test_tuning_neither_renews_nor_ends_the_light_and_is_no_wish_for_it() -> None:
    outputs = Outputs([Tuned("laser", [])], max_on_s=10.0)
    tune = Command("laser", "tune", {"frequency_hz": 2000.0})
    outputs.apply([Command("laser", "on")], 0)
    assert outputs.apply([tune], 9 * SECOND).states["laser"] == "on"
    outputs.forbid("no sound")
    assert outputs.apply([tune], 9 * SECOND).states["laser"] == "off"
    outputs.allow()
    assert outputs.apply((), 9 * SECOND).states["laser"] == "on"
    assert outputs.apply((), 10 * SECOND).states["laser"] == "off"
