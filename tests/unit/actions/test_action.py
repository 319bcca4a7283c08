"""Action nodes: what they are told, in which order, and what becomes of it when the target is away."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from gateway.actions.breaker import OPENS_AFTER
from gateway.actions.driver import Refused, Undelivered
from gateway.actions.queue import ALERTS, BATCH
from gateway.errors import CommandRefused, LinkError
from tests.unit.actions.support import Bench, Target, alert, ppm, settings, settle


def test_everything_arrives_once_and_in_order() -> None:
    async def main() -> None:
        target = Target()
        async with Bench(tell=({}, target, True)) as bench:
            for value in range(50):
                bench.tick(float(value))
                await settle(5)
            await settle()
            assert ppm(target.took) == list(map(float, range(50)))
            assert [entry.id for entry in target.took] == sorted({entry.id for entry in target.took})
            status = bench.nodes["tell"].status()
            assert (status["state"], status["delivered"], status["queue_age_s"]) == ("ok", 50, 0.0)

    asyncio.run(main())


def test_monitored_nodes_only() -> None:
    async def main() -> None:
        first, second = Target(), Target()
        nodes = {"a": ({}, first, True), "b": ({"monitored_nodes": ["peak", "other"]}, second, True)}
        async with Bench(**nodes) as bench:
            bench.tick(1.0)
            bench.tick(2.0, node="other")
            bench.tick(3.0, node="third")
            await settle()
            assert ppm(first.took) == [1.0]
            assert [(entry.kind, entry.subject) for entry in second.took] == [
                ("peak", "peak"),
                ("measurement", "other"),
                ("peak", "peak"),
                ("peak", "peak"),
            ]

    asyncio.run(main())


def test_its_own_alerts_and_those_of_rules_but_not_those_of_others() -> None:
    async def main() -> None:
        target = Target()
        async with Bench(a=({}, target, True)) as bench:
            told = ["a/concentration/co2", "b/concentration/co2", "high_co2"]
            bench.tick(alerts=[*(alert(rule) for rule in told), alert("high_other", "other")])
            await settle()
            assert [entry.fields["rule"] for entry in target.took] == ["a/concentration/co2", "high_co2"]

    asyncio.run(main())


def test_a_target_that_is_away_gets_everything_afterwards() -> None:
    async def main() -> None:
        target = Target()
        target.faults = [Undelivered("server:443 does not answer")] * (OPENS_AFTER + 3)
        async with Bench(tell=({}, target, True)) as bench:
            for value in range(20):
                bench.tick(float(value))
            await settle(400)
            assert ppm(target.took) == list(map(float, range(20)))
            assert target.offers[OPENS_AFTER : OPENS_AFTER + 4] == [1, 1, 1, 1], "half open: one entry is offered"
            status = bench.nodes["tell"].status()
            assert (status["errors"], status["problem"], status["circuit"]) == (OPENS_AFTER + 3, None, "closed")
            assert status["last_error"] == "server:443 does not answer"

    asyncio.run(main())


def test_while_it_is_away_the_status_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        class Away(Target):
            async def deliver(self, batch: Any) -> None:
                raise Undelivered("server:443 does not answer", 3600.0)

        async with Bench(tell=({}, Away(), True)) as bench:
            bench.clock.sleep_until = lambda ns: asyncio.sleep(0 if ns <= bench.clock.now_ns else 60)  # type: ignore[method-assign]
            bench.tick(1.0)
            await settle()
            bench.clock.advance(90.0)
            status = bench.nodes["tell"].status()
            assert (status["state"], status["problem"]) == ("waiting", "server:443 does not answer")
            assert status["queue_age_s"] == 90.0
            assert bench.actions.summary() == "tell: server:443 does not answer"

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert caplog.text.count("does not answer") == 1


def test_what_is_refused_is_counted_and_not_offered_again() -> None:
    async def main() -> None:
        target = Target()
        target.faults = [Refused("HTTP 404 from server:443")]
        async with Bench(tell=({}, target, True)) as bench:
            bench.tick(1.0)
            await settle()
            bench.tick(2.0)
            await settle()
            assert ppm(target.took) == [2.0]
            status = bench.nodes["tell"].status()
            assert (status["refused"], status["errors"], status["last_error"]) == (1, 1, "HTTP 404 from server:443")

    asyncio.run(main())


def test_a_fault_of_a_driver_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        target = Target()
        target.faults = [ZeroDivisionError()]
        async with Bench(tell=({}, target, True)) as bench:
            bench.tick(1.0)
            await settle()
            assert ppm(target.took) == [1.0]

    asyncio.run(main())
    assert "tell could not deliver" in caplog.text


def test_a_long_backlog_is_not_held_up_by_the_interval() -> None:
    async def main() -> None:
        target = Target()
        async with Bench(tell=({"update_interval_ms": 3_600_000}, target, True)) as bench:
            bench.tick(0.0)
            await settle()
            begin_ns = bench.clock.now_ns
            for value in range(2 * BATCH + 10):
                bench.tick(float(value))
            await settle(200)
            assert len(target.took) == 1 + 2 * BATCH + 10
            assert target.offers == [1, BATCH, BATCH, 10]
            assert bench.clock.now_ns - begin_ns == 3600 * 10**9, "one interval, not three"

    asyncio.run(main())


def test_an_alert_does_not_wait_for_the_interval() -> None:
    async def main() -> None:
        target = Target()
        async with Bench(tell=({"update_interval_ms": 3_600_000}, target, True)) as bench:
            bench.tick(0.0)
            await settle()
            bench.clock.sleep_until = lambda ns: asyncio.sleep(60)  # type: ignore[method-assign]
            bench.tick(1.0)
            await settle()
            assert ppm(target.took) == [0.0]
            bench.tick(2.0, alerts=[alert("tell/concentration/co2")])
            await settle()
            assert ppm(target.took) == [0.0, 1.0, 2.0]
            assert target.took[-1].kind == "alert"

    asyncio.run(main())


def test_the_newest_only_for_who_looks_now() -> None:
    async def main() -> None:
        target = Target()
        target.faults = [Undelivered("busy")]
        async with Bench(show=({"monitored_nodes": ["co2", "peak"]}, target, False)) as bench:
            for value in range(5):
                bench.tick(float(value), alerts=[alert("show/concentration/co2")] if value < 2 else [])
            await settle()
            assert ppm(target.took) == [4.0]
            assert [entry.kind for entry in target.took] == ["alert", "alert", "measurement", "peak"]
            assert bench.nodes["show"].status()["dropped"] == 8

    asyncio.run(main())


def test_alerts_that_wait_are_bounded() -> None:
    async def main() -> None:
        class Slow(Target):
            async def deliver(self, batch: Any) -> None:
                await asyncio.Event().wait()

        async with Bench(show=({}, Slow(), False)) as bench:
            for _ in range(ALERTS + 5):
                bench.tick(alerts=[alert("show/concentration/co2")])
            await settle()
            assert bench.nodes["show"].status()["dropped"] == 5

    asyncio.run(main())


def test_history_is_the_newest_first_and_bounded() -> None:
    async def main() -> None:
        async with Bench(tell=({"buffer_capacity": 3}, None, False)) as bench:
            for value in range(5):
                bench.tick(float(value), alerts=[alert("high")])
            node = bench.nodes["tell"]
            assert ppm(node.history.newest()) == [4.0, 3.0, 2.0]
            assert ppm(node.history.newest(2)) == [4.0, 3.0]
            assert node.history.newest(-1) == ()
            assert node.status()["state"] == "idle"
            node.reset()
            assert node.history.newest() == ()

    asyncio.run(main())


def test_a_driver_that_cannot_begin_stops_nobody() -> None:
    async def main() -> None:
        class Broken(Target):
            async def start(self) -> None:
                raise LinkError("there is no file ca.pem", "Put it there")

        good = Target()
        async with Bench(bad=({}, Broken(), True), good=({}, good, True)) as bench:
            bench.tick(1.0)
            await settle()
            assert ppm(good.took) == [1.0]
            status = bench.nodes["bad"].status()
            assert (status["state"], status["problem"]) == ("stopped", "there is no file ca.pem. Put it there")

    asyncio.run(main())


def test_new_settings_keep_cursor_history_and_driver() -> None:
    async def main() -> None:
        target = Target()
        async with Bench(tell=({"buffer_capacity": 3}, target, True)) as bench:
            for value in range(3):
                bench.tick(float(value))
            await settle()
            bench.actions.configure({"tell": settings(buffer_capacity=2, monitored_nodes=["co2", "other"])})
            await settle()
            bench.tick(3.0, node="other")
            await settle()
            assert ppm(target.took) == [0.0, 1.0, 2.0, 3.0]
            assert ppm(bench.nodes["tell"].history.newest()) == [3.0, 2.0]
            assert (target.started, target.closed) == (1, 0)

    asyncio.run(main())


def test_nodes_come_and_go_while_others_go_on() -> None:
    async def main() -> None:
        first = Target()
        async with Bench(a=({}, first, True)) as bench:
            bench.tick(1.0)
            await settle()
            bench.targets["b"] = second = Target(), True
            bench.actions.configure({"a": settings(), "b": settings()})
            await settle()
            bench.tick(2.0)
            await settle()
            bench.actions.configure({"b": settings()})
            await settle()
            bench.tick(3.0)
            await settle()
            assert (ppm(first.took), first.closed) == ([1.0, 2.0], 1)
            assert ppm(second[0].took) == [2.0, 3.0], "a new node begins with what comes from then on"

    asyncio.run(main())


def test_reset_of_one_of_all_and_of_none() -> None:
    async def main() -> None:
        async with Bench(a=({}, Target(), True), b=({}, Target(), True)) as bench:
            bench.tick(1.0)
            await settle()
            bench.actions.reset("a")
            counts = [bench.nodes[name].status()["delivered"] for name in "ab"]
            assert counts == [0, 1]
            bench.actions.reset(None)
            assert bench.nodes["b"].status()["delivered"] == 0
            with pytest.raises(CommandRefused, match=r"there is no action 'c'\. There are: a, b"):
                bench.actions.reset("c")

    asyncio.run(main())


def test_reset_tries_a_target_that_is_waited_for_at_once() -> None:
    async def main() -> None:
        target = Target()
        target.faults = [Undelivered("away", 3600.0)]
        async with Bench(tell=({}, target, True)) as bench:
            bench.clock.sleep_until = lambda ns: asyncio.sleep(0 if ns <= bench.clock.now_ns else 60)  # type: ignore[method-assign]
            bench.tick(1.0)
            await settle()
            assert target.took == []
            bench.clock.advance(2.0)
            bench.actions.reset("tell")
            await settle()
            assert ppm(target.took) == [1.0]

    asyncio.run(main())


def test_while_it_is_paused_everything_waits_and_then_goes_in_order() -> None:
    async def main() -> None:
        target = Target()
        async with Bench(tell=({}, target, True)) as bench:
            bench.tick(1.0)
            await settle()
            bench.nodes["tell"].pause()
            for value in (2.0, 3.0):
                bench.tick(value)
                bench.clock.advance(10)
                await settle()
            assert ppm(target.took) == [1.0]
            assert bench.nodes["tell"].status()["state"] == "paused"
            assert bench.nodes["tell"].status()["queue_age_s"] >= 10.0
            bench.nodes["tell"].resume()
            await settle()
            assert ppm(target.took) == [1.0, 2.0, 3.0]
            assert bench.nodes["tell"].status()["state"] == "ok"
            with pytest.raises(CommandRefused, match="tell is not paused"):
                bench.nodes["tell"].resume()

    asyncio.run(main())


def test_one_that_was_reset_while_it_is_paused_stays_so() -> None:
    async def main() -> None:
        target = Target()
        target.faults = [Undelivered("away") for _ in range(1000)]
        async with Bench(tell=({}, target, True)) as bench:
            bench.tick(1.0)
            await settle(10)
            bench.nodes["tell"].pause()
            target.faults.clear()
            bench.nodes["tell"].reset()
            bench.tick(2.0)
            bench.clock.advance(100)
            await settle()
            assert target.took == []
            bench.nodes["tell"].resume()
            await settle()
            assert ppm(target.took) == [1.0, 2.0]

    asyncio.run(main())


def test_what_cannot_be_paused_or_loaded_anew_says_so() -> None:
    async def main() -> None:
        async with Bench(tell=({}, Target(), True), idle=({}, None, True)) as bench:
            with pytest.raises(CommandRefused, match="idle has no driver"):
                bench.nodes["idle"].pause()
            with pytest.raises(CommandRefused, match="tell has no script"):
                bench.nodes["tell"].reload()
            with pytest.raises(CommandRefused, match="not said"):
                bench.actions.tell("pause", None)
            with pytest.raises(CommandRefused, match="There are: tell, idle"):
                bench.actions.tell("pause", "none")
            bench.actions.tell("pause", "tell")
            assert bench.nodes["tell"].status()["state"] == "paused"

    asyncio.run(main())
