"""All action nodes together: those that run a customer's script can be kept from running."""

from __future__ import annotations

import asyncio

import pytest

from gateway.actions.actions import Actions
from gateway.errors import CommandRefused
from tests.unit.actions.support import Bench, Target, settings, settle


class Fenced(Bench):
    """A bench where nodes of priority "critical" stand for those that run a script."""

    def __init__(self, *, restrained: bool) -> None:
        self.script, self.server = Target(), Target()
        super().__init__(
            script=({"severity": "critical"}, self.script, False), server=({"severity": "info"}, self.server, True)
        )
        told = {name: action.settings for name, action in self.nodes.items()}
        self.actions = Actions(told, self.journal, self.made, None, lambda each: each.severity == "critical")
        self.actions.restrain(restrained)


def test_before_the_start_a_script_is_not_even_begun() -> None:
    async def scene() -> None:
        async with Fenced(restrained=True) as bench:
            bench.tick(1.0)
            await settle()
            assert (bench.script.started, bench.script.took) == (0, [])
            assert len(bench.server.took) == 1
            bench.actions.restrain(False)
            await settle()
            bench.tick(2.0)
            await settle()
            assert bench.script.started == 1
            assert len(bench.script.took) == 1
            assert bench.server.started == 1, "nobody else has noticed"

    asyncio.run(scene())


def test_a_running_script_is_ended_and_no_changed_configuration_brings_it_back() -> None:
    async def scene() -> None:
        async with Fenced(restrained=False) as bench:
            bench.tick(1.0)
            await settle()
            assert len(bench.script.took) == 1
            bench.actions.restrain(True)
            await settle()
            assert bench.script.closed == 1
            changed = {"script": settings(severity="critical", hold_off_s=3.0), "server": settings(severity="info")}
            bench.actions.configure(changed)
            await settle()
            assert [action["node"] for action in bench.actions.status()] == ["server"]
            with pytest.raises(CommandRefused, match="There are: server"):
                bench.actions.reset("script")
            bench.actions.restrain(False)
            await settle()
            assert bench.nodes["script"].settings.hold_off_s == 3.0

    asyncio.run(scene())
