"""The journal behind the broker's cursor: everything once, from where it stood, and what waits is counted."""

from __future__ import annotations

import asyncio

import pytest

from gateway.config.sections import JournalSection
from gateway.journal.journal import Journal
from gateway.mqtt.backlog import CURSOR, PAGE, UNDATED_NS, Backlog
from gateway.mqtt.gap import HOUR_NS
from gateway.types import Outcome, iso_utc
from tests.support.clock import FakeClock
from tests.unit.journal.samples import SECOND_NS, UTC_NS, alert, measurement, outcome, tick

SECTION = JournalSection(commit_s=600.0)


class Taker:
    """Takes pages; holds the next back while `away`."""

    def __init__(self) -> None:
        self.pages = []
        self.there = asyncio.Event()

    async def __call__(self, page):
        await self.there.wait()
        self.pages.append(list(page))

    @property
    def ids(self):
        return [entry.id for page in self.pages for entry in page]


async def offered(journal, backlog, seconds, first=0):
    """So many seconds of measurements, with an alert and a command now and then."""
    for second in range(first, first + seconds):
        t_ns = second * SECOND_NS
        alerts = (alert(t_ns),) if second % 10 == 3 else ()
        done = outcome() if second % 10 == 5 else Outcome()
        journal.offer(tick(t_ns, (measurement(t_ns),), alerts), done)
        backlog.offer()
        await asyncio.sleep(0)


async def turns(count=50):
    for _ in range(count):
        await asyncio.sleep(0.002)


def played(scene):
    asyncio.run(scene)


def test_all_that_came_is_delivered_in_order_and_ticked_off(tmp_path):
    async def scene():
        clock = FakeClock()
        journal = Journal(tmp_path / "j", SECTION, clock)
        await journal.start()
        backlog, taker = Backlog(journal, clock), Taker()
        running = asyncio.create_task(backlog.run(taker))
        await turns(5)
        await offered(journal, backlog, 1000)
        assert backlog.status()["queue_depth"] == 1100
        clock.advance(1000)
        assert backlog.status()["queue_age_s"] >= 1000
        taker.there.set()
        await turns()
        assert len(taker.ids) == 1100
        assert taker.ids == sorted(taker.ids)
        assert max(map(len, taker.pages)) <= PAGE
        assert {entry.kind for page in taker.pages for entry in page} == {"measurement", "alert"}
        assert backlog.status() == {"queue_depth": 0, "queue_age_s": 0.0, "missed": 0}
        assert journal.cursor(CURSOR) == journal.newest
        running.cancel()
        await journal.close()

    played(scene())


def test_a_new_gateway_goes_on_where_the_broker_was(tmp_path):
    async def scene():
        clock = FakeClock()
        seen = []
        for life in range(3):
            journal = Journal(tmp_path / "j", SECTION, clock)
            await journal.start()
            backlog, taker = Backlog(journal, clock), Taker()
            running = asyncio.create_task(backlog.run(taker))
            await turns(20)
            assert backlog.status()["queue_depth"] == (220 if life == 2 else 0)
            if life != 1:
                taker.there.set()
            await offered(journal, backlog, 200, first=life * 200)
            await turns()
            seen += taker.pages
            running.cancel()
            await journal.close()
        times = [e.time_ns for page in seen for e in page if e.kind == "measurement"]
        assert len(times) == 600
        assert times == sorted(times)

    played(scene())


def test_what_was_lost_before_it_could_be_delivered_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.journal.journal.RING", 16)
    monkeypatch.setattr("gateway.journal.journal.MOST", 100)

    async def scene():
        clock = FakeClock()
        (tmp_path / "j").mkdir()  # where its file should be: it cannot be written
        journal = Journal(tmp_path / "j", SECTION, clock)
        await journal.start()
        backlog, taker = Backlog(journal, clock), Taker()
        running = asyncio.create_task(backlog.run(taker))
        await turns(5)
        await offered(journal, backlog, 1000)
        taker.there.set()
        await turns()
        status = backlog.status()
        assert status["queue_depth"] == 0
        assert status["missed"] > 0
        assert status["missed"] + len(taker.ids) == 1100
        running.cancel()
        await journal.close()

    played(scene())


@pytest.mark.parametrize("answered", [True, False])
def test_without_a_clock_entries_wait_for_their_time_but_not_for_ever(tmp_path, answered):
    async def scene():
        clock = FakeClock()
        clock.believed = False
        journal = Journal(tmp_path / "j", SECTION, clock)
        await journal.start()
        backlog, taker = Backlog(journal, clock), Taker()
        taker.there.set()
        journal.offer(tick(SECOND_NS, (measurement(SECOND_NS),), utc_ns=None), Outcome())
        backlog.offer()
        journal.reached(CURSOR, 0)
        waits = []
        clock.sleep_until = lambda until_ns: slept(clock, until_ns, waits)
        running = asyncio.create_task(backlog.run(taker))
        await turns(10)
        assert not taker.pages
        assert len(waits) == 1
        if answered:
            clock.set(UTC_NS)
            journal.offer(tick(2 * SECOND_NS, utc_ns=UTC_NS), Outcome())
            await turns(5)
        else:
            clock.advance(UNDATED_NS / 1e9)
        waits[0].set()
        await turns(10)
        running.cancel()
        await journal.close()
        return taker.pages[0][0].fields["time"]

    assert asyncio.run(scene()) == (iso_utc(UTC_NS) if answered else None)


async def slept(clock, until_ns, waits):
    """A sleep that ends when the test says so."""
    waits.append(asyncio.Event())
    await waits[-1].wait()
    clock.now_ns = max(clock.now_ns, until_ns)


def test_a_gap_of_hours_is_told_when_all_of_it_has_arrived(tmp_path):
    async def scene():
        clock, gaps = FakeClock(utc_ns=HOUR_NS * 500_000 + 3 * SECOND_NS), []
        journal = Journal(tmp_path / "j", SECTION, clock)
        await journal.start()
        backlog, taker = Backlog(journal, clock, gaps.append), Taker()
        running = asyncio.create_task(backlog.run(taker))
        taker.there.set()
        await turns(5)

        async def measured(minutes):
            for _ in range(minutes):
                now_ns = clock.monotonic_ns()
                journal.offer(tick(now_ns, (measurement(now_ns),), utc_ns=clock.utc_ns() - now_ns), Outcome())
                backlog.offer()
                await asyncio.sleep(0)
                clock.advance(60.0)

        await measured(30)
        await turns(20)
        assert taker.pages
        assert not gaps
        taker.there.clear()
        await measured(30 * 60)
        await turns(20)
        assert not gaps
        taker.there.set()
        await turns()
        (gap,) = gaps
        hours = gap.hours()["co2"]
        assert [hour.start_ns // HOUR_NS - 500_000 for hour in hours] == list(range(1, 30))
        assert {hour.count for hour in hours} == {60}
        await measured(200)
        await turns()
        assert len(gaps) == 1
        running.cancel()
        await journal.close()

    asyncio.run(scene())
