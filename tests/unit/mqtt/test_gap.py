"""Whole hours of what came late: the right ones, with the right numbers."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.entry import Entry
from gateway.mqtt.gap import HOUR_NS, Gap

MINUTE_NS = HOUR_NS // 60
START_NS = 500_000 * HOUR_NS


def entry(time_ns, ppm=400.0, node="co2", valid=True, dated=True):
    fields = {"ppm": ppm, "valid": valid, "time": "then" if dated else None}
    return Entry(time_ns, time_ns, "measurement", node, fields)


def test_hours_of_which_home_assistant_saw_a_part_are_left_alone():
    gap = Gap(START_NS + 20 * MINUTE_NS, START_NS + 3 * HOUR_NS + 10 * MINUTE_NS)
    gap.add(entry(START_NS + minute * MINUTE_NS, 400.0 + minute) for minute in range(20, 190))
    first, second = gap.hours()["co2"]
    assert (first.start_ns, second.start_ns) == (START_NS + HOUR_NS, START_NS + 2 * HOUR_NS)
    assert (first.mean, first.least, first.most, first.count) == (400.0 + 89.5, 460.0, 519.0, 60)


def test_what_is_not_valid_or_has_no_time_does_not_count():
    gap = Gap(START_NS, START_NS + HOUR_NS)
    odd = Entry(1, START_NS, "alert", "co2", {"time": "then"})
    gap.add([entry(START_NS, 1.0, valid=False), entry(START_NS, None), entry(START_NS, 3.0, dated=False), odd])
    assert gap.hours() == {}
    gap.add([entry(START_NS, 7.0)])
    assert [hour.mean for hour in gap.hours()["co2"]] == [7.0]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.floats(-1e4, 1e6), st.sampled_from(["co2", "ch4"]))),
    st.integers(0, 200),
    st.integers(0, 400),
)
def test_each_hour_is_the_statistics_of_its_measurements(told, since, until):
    gap = Gap(START_NS + since * MINUTE_NS, START_NS + until * MINUTE_NS)
    gap.add(entry(START_NS + minute * MINUTE_NS, ppm, node) for minute, ppm, node in told)
    wanted = defaultdict(list)
    for minute, ppm, node in told:
        hour = minute // 60
        if since <= 60 * hour and 60 * (hour + 1) <= until:
            wanted[node, hour].append(ppm)
    found = {(node, (h.start_ns - START_NS) // HOUR_NS): h for node, hours in gap.hours().items() for h in hours}
    assert found.keys() == wanted.keys()
    for place, values in wanted.items():
        hour = found[place]
        assert (hour.count, hour.least, hour.most) == (len(values), min(values), max(values))
        assert hour.mean == pytest.approx(sum(values) / len(values), rel=1e-9, abs=1e-9)
