"""Every attack of scripts/*.script at every level of this machine, with the static check and import guard on and off.

What must hold is the same for all: the attack ends in the words that it expects, one line of them; the script can be
called again, on a fresh worker if need be; the event loop has gone on ticking and an ordinary script been called;
nothing outside is changed, reached or left over; and the secret is in nothing that comes out.
"""

from __future__ import annotations

import asyncio
import functools
import re
from unittest import mock

import pytest

from gateway.scripts import host, process
from gateway.scripts.messages import LONGEST_TEXT, escaped
from tests.hostile.runner import Attack, Outcome, attack, attacks, ordinary_scripts
from tests.hostile.stage import Stage, staged
from tests.hostile.walls import PLACES, USERS

ATTACKS = {one.node: one for one in attacks()}
LEVELS = [level for user, level in PLACES if user == USERS[0]]
WORDS = {
    "nothing": r"returned (None|\[\]|False)$",
    "stopped": r"was stopped",
    "refused": r"PermissionError|FileNotFoundError|NotADirectoryError|NotImplementedError|OSError|gaierror",
}
"""What the scripts' words for an end stand for."""
WITHOUT_WALLS = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from gateway.scripts import zygote; "
    "zygote.confine = lambda plan, base: zygote.Report(plan.level, (), zygote.os.getpid()); zygote.main()"
)

on_every_stage = pytest.mark.parametrize(
    ("level", "checks"),
    [pytest.param(level, on, id=f"{level}-{'on' if on else 'off'}") for level in LEVELS for on in (False, True)],
)


@functools.cache
def played(level: str, checks: bool) -> tuple[Stage, dict[str, Outcome], dict[str, str]]:
    """All attacks at this level, and the ordinary scripts among them."""

    async def play() -> tuple[Stage, dict[str, Outcome], dict[str, str]]:
        async with staged(level, checks) as stage, asyncio.TaskGroup() as group:
            ordinary = group.create_task(ordinary_scripts(stage))
            tasks = {name: group.create_task(attack(stage, one)) for name, one in ATTACKS.items()}
        return stage, {name: task.result() for name, task in tasks.items()}, ordinary.result()

    return asyncio.run(play())


def expected(one: Attack) -> str:
    """How it ends, as a regular expression."""
    return "|".join(WORDS.get(word, word) for word in one.ends.split("|"))


def test_there_are_many_attacks_and_each_says_what_it_tries() -> None:
    assert len(ATTACKS) >= 250
    assert all(one.tries.endswith(".") and one.ends for one in ATTACKS.values())
    assert "C" in LEVELS


@on_every_stage
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_and_harms_nothing(level: str, checks: bool, name: str) -> None:
    stage, outcomes, _ = played(level, checks)
    one, outcome = ATTACKS[name], outcomes[name]
    assert re.search(expected(one), outcome.said), (one.tries, one.ends, outcome.said, outcome.log)
    assert outcome.said == escaped(outcome.said, 2 * LONGEST_TEXT), "more than one line of plain text"
    assert all(line == escaped(line, 2 * LONGEST_TEXT) for line in outcome.log)
    if one.family != "loading":
        assert outcome.after == "returned 'calm'"
    assert outcome.ticks > 0
    assert stage.secret not in outcome.everything
    assert outcome.changed == ()


@on_every_stage
def test_nothing_is_reached_or_left_over(level: str, checks: bool) -> None:
    stage, _, _ = played(level, checks)
    assert stage.reached == []
    assert stage.leaks == []
    assert stage.ordinary > 10


@on_every_stage
def test_ordinary_scripts_work_among_them(level: str, checks: bool) -> None:
    stage, _, ordinary = played(level, checks)
    wrong = {name: said for name, said in ordinary.items() if not said.startswith("returned ")}
    if level == "C":  # where a customer's own library cannot be loaded
        assert {name.split()[0] for name in wrong} == {"optional_and_other_base"}
        wrong = {name: said for name, said in wrong.items() if "need level B" not in said}
    assert wrong == {}
    assert len({name.split()[0] for name in ordinary}) >= 13
    assert stage.mails == 1


def test_without_walls_the_same_attacks_succeed() -> None:
    """So that what is tested above can fail."""
    chosen = [one for one in ATTACKS.values() if one.family == "walks"]

    async def play() -> tuple[Stage, list[Outcome]]:
        async with staged("B", False) as stage:
            return stage, await asyncio.gather(*(attack(stage, one) for one in chosen))

    with (
        mock.patch.object(host, "_PROGRAM", WITHOUT_WALLS),
        mock.patch.object(process.probe, "verify", return_value=[]),
    ):
        stage, outcomes = asyncio.run(play())
    told = [one.node for one, outcome in zip(chosen, outcomes, strict=True) if stage.secret in outcome.everything]
    assert len(told) >= 20
