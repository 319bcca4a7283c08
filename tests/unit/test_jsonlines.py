"""The JSON lines are a contract: the fields of the reference, strict JSON, and a page that is up to date."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from gateway import jsonlines
from gateway.types import (
    NO_FLAGS,
    Alert,
    Flag,
    LevelResult,
    LockInResult,
    Measurement,
    PeakResult,
    Result,
    Snapshot,
    Tick,
)

LOCK = LockInResult("lock", 10**9, 2012.5, 0.1, -0.01, 1e-4, 32, 1.0)
BROKEN = LockInResult("lock", 10**9, 2012.5, math.nan, math.nan, math.nan, 0, 0.4, frozenset({Flag.LOST_SAMPLES}))
RESULTS: list[Result] = [
    LOCK,
    BROKEN,
    PeakResult("peak", 10**9, 2012.4, 0.01, 0.1, 1e-4, 32, 1.0, True),
    PeakResult("peak", 10**9, None, None, None, math.nan, 0, 1.0, False, frozenset({Flag.LOW_SIGNAL})),
    LevelResult("level", 10**9, 0.1, 0.5),
    Measurement("co2", 10**9, 412.0, 1.0, 2.04, 32, 3.0, True, NO_FLAGS, LOCK),
    Measurement("co2", 10**9, None, None, None, 0, None, False, BROKEN.flags, BROKEN),
]
ALERT = Alert("high", "concentration", "warning", "raised", 1001.0, 1000.0, "co2", 10**9)


def tick(*results: Result, utc_ns: int | None = 1_790_000_000_123_000_000) -> Tick:
    return Tick(0, 10**9, utc_ns, tuple(results), (ALERT,), (), Snapshot())


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("live", [True, False])
def test_objects_have_the_fields_of_the_reference(result: Result, live: bool) -> None:
    for fields in jsonlines.objects(tick(result), live=live):
        about = ["kind", *(["time"] if live else []), "t_s"]
        assert list(fields) == [*about, *jsonlines.FIELDS[fields["kind"]]]
        assert fields["t_s"] == 1.0
        if live:
            assert fields["time"] == "2026-09-21T14:13:20.123Z"


@pytest.mark.parametrize("result", RESULTS)
def test_lines_are_strict_json(result: Result) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    for fields in jsonlines.objects(tick(result), live=True):
        line = jsonlines.line(fields)
        assert "\n" not in line
        assert json.loads(line, parse_constant=refuse)["kind"] == fields["kind"]


def test_nobody_knows_the_time_of_an_undated_recording() -> None:
    (fields,) = (f for f in jsonlines.objects(tick(LOCK, utc_ns=None), live=True) if f["kind"] == "lock_in")
    assert fields["time"] is None


def test_every_flag_is_explained() -> None:
    assert set(jsonlines.FLAGS) == set(Flag)


def test_the_page_is_up_to_date() -> None:
    assert Path("docs/json-lines.md").read_text("utf-8") == jsonlines.reference(), "run make docs"
