"""What stands on a display: values, alerts, and never an old number or a cut one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actions.shown import Layout, Picture, Shown
from gateway.journal.entry import Entry

SECOND = 1_000_000_000
UTC_NS = 1_790_000_000 * SECOND
SMALL = Layout(20, 4)


def measured(number: int = 1, node: str = "co2", **changed: Any) -> Entry:
    fields = {"kind": "measurement", "node": node, "ppm": 412.3149, "sigma_ppm": 0.42, "valid": True, "flags": []}
    return Entry(number, UTC_NS, "measurement", node, {**fields, **changed})


def alerted(number: int = 2, **changed: Any) -> Entry:
    fields = {
        "kind": "alert", "rule": "show/concentration/co2", "type": "concentration", "severity": "warning",
        "state": "raised", "value": 1010.2, "threshold": 1000.0, "source": "co2", **changed,
    }  # fmt: skip
    return Entry(number, UTC_NS, "alert", fields["source"], fields)


def seen(*entries: Entry, layout: Layout = SMALL, later_s: float = 0.0) -> Shown:
    picture = Picture(layout, 30 * SECOND)
    for entry in entries:
        picture.take(entry, SECOND, UTC_NS)
    return picture.shown(SECOND + round(later_s * SECOND))


def test_a_value_its_uncertainty_and_an_alert() -> None:
    assert seen(measured()) == Shown("ok", ("co2", "412.31 ± 0.42 ppm"), "2026-09-21T14:13:20.000Z")
    assert seen(measured(), layout=Layout(40, 4)).lines == ("co2 412.31 ± 0.42 ppm",)
    assert seen(measured(), alerted()).lines == ("co2", "412.31 ± 0.42 ppm", "WARNING > 1000 ppm")
    assert seen() == Shown("invalid", ("no value yet",), None)


@pytest.mark.parametrize(
    ("sigma", "text"),
    [(0.42, "412.31 ± 0.42 ppm"), (0.042, "412.315 ± 0.042 ppm"), (4.2, "412.3 ± 4.2 ppm"), (42.0, "412 ± 42 ppm"),
     (420.0, "412 ± 420 ppm"), (4.2e-9, "412.314900 ppm"), (0.0, "412.314900 ppm")],
)  # fmt: skip
def test_the_digits_end_with_the_uncertaintys_second(sigma: float, text: str) -> None:
    assert " ".join(seen(measured(sigma_ppm=sigma)).lines) == f"co2 {text}"


def test_decimals_as_wished_and_without_a_plus_minus() -> None:
    assert seen(measured(), layout=Layout(20, 4, 1)).lines == ("co2 412.3 ± 0.4 ppm",)
    assert seen(measured(), layout=Layout(20, 4, None, "+-")).lines == ("co2", "412.31 +- 0.42 ppm")


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("peak", {"frequency_hz": 2012.4567, "sigma_frequency_hz": 0.012, "valid": True}, "n 2012.457 ± 0.012 Hz"),
        ("lock_in", {"amplitude": 0.01234, "sigma": 0.00012}, "n 0.01234 ± 0.00012"),
        ("level", {"rms": 0.1234}, "n 0.123"),
        ("peak", {"frequency_hz": None, "sigma_frequency_hz": None, "valid": False}, "n no value"),
        ("lock_in", {"amplitude": 0.01234, "sigma": 0.00012, "flags": ["impulse", "laser_off"]},
         "n no value: laser_off"),
    ],
)  # fmt: skip
def test_results_of_every_kind(kind: str, fields: dict[str, Any], text: str) -> None:
    shown = seen(Entry(1, UTC_NS, kind, "n", {"kind": kind, "flags": [], **fields}), layout=Layout(40, 4))
    assert shown.lines == (text,)
    assert shown.state == ("invalid" if "no value" in text else "ok")


def test_an_invalid_value_is_not_shown() -> None:
    shown = seen(measured(1), measured(2, valid=False, flags=["extrapolated", "laser_off"]))
    assert (shown.state, shown.lines) == ("invalid", ("co2", "no value: laser_off"))


def test_an_old_value_is_not_shown() -> None:
    assert seen(measured(), later_s=30.0).state == "ok"
    shown = seen(measured(), later_s=30.1)
    assert (shown.state, shown.lines) == ("invalid", ("co2 stale",))
    assert shown.time == "2026-09-21T14:13:20.000Z"


def test_age_counts_from_the_measurement_and_not_from_its_coming() -> None:
    picture = Picture(Layout(20, 4), 30 * SECOND)
    picture.take(measured(), 0, UTC_NS + 29 * SECOND)
    assert picture.shown(SECOND).state == "ok"
    assert picture.shown(2 * SECOND).lines == ("co2 stale",)


def test_what_comes_again_does_not_replace_what_is_newer() -> None:
    assert "413" in seen(measured(5, ppm=413.0), measured(4)).lines[1]


def test_the_state_is_the_worst() -> None:
    info = alerted(2, rule="a", severity="info")
    warning, critical = alerted(3, rule="b"), alerted(4, rule="c", severity="critical", threshold=2000.0, value=1.0)
    invalid = measured(5, valid=False)
    assert seen(measured(), info).state == "info"
    assert seen(invalid, info).state == "invalid"
    assert seen(invalid, warning).state == "warning"
    shown = seen(measured(), info, warning, critical)
    assert (shown.state, shown.lines[1]) == ("critical", "CRITICAL < 2000 ppm")
    assert seen(critical).state == "critical"
    assert seen(measured(), warning, alerted(6, rule="b", state="cleared")).state == "ok"
    assert seen(measured(), alerted(6, rule="b", state="cleared")).state == "ok"


def test_an_alert_without_a_value_is_of_silence() -> None:
    late = alerted(type="data_timeout", value=None, threshold=30.0)
    assert seen(measured(), late).lines[2] == "WARNING silent 30 s"
    assert seen(measured(), late, layout=Layout(40, 4)).lines[1] == "co2 WARNING silent 30 s"


def test_many_values_share_the_rows_and_the_worst_alert_has_one() -> None:
    many = [measured(n, f"room_{n}_concentration") for n in range(1, 7)]
    assert seen(*many[:3]).lines == ("412.31 ± 0.42 ppm",) * 3
    assert seen(*many[:3], layout=Layout(26, 4)).lines[0] == "room_1_c 412.31 ± 0.42 ppm"
    alerts = (alerted(7, rule="a"), alerted(8, rule="b", severity="critical"))
    assert seen(*many, *alerts).lines == (*["412.31 ± 0.42 ppm"] * 3, "CRITICAL > 1000 ppm")
    assert seen(many[0], alerts[0], layout=Layout(20, 1)).lines == ("WARNING > 1000 ppm",)


@given(
    st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(16, 60), st.integers(1, 8), st.integers(0, 5),
    st.text("abc_", min_size=1, max_size=64), st.integers(0, 3),
)  # fmt: skip
def test_it_fits_and_no_number_is_cut(
    ppm: float, sigma: float, columns: int, lines: int, nodes: int, name: str, alerts: int
) -> None:
    entries = [measured(n, f"{name}{n}", ppm=ppm, sigma_ppm=sigma) for n in range(1, nodes + 1)]
    shown = seen(*entries, *(alerted(9, rule=str(n)) for n in range(alerts)), layout=Layout(columns, lines))
    assert 1 <= len(shown.lines) <= lines
    assert all(len(line) <= columns for line in shown.lines)
    assert any("WARNING" in line for line in shown.lines) == bool(alerts)
    for line in shown.lines:
        numbers = [word for word in line.split() if re.fullmatch(r"-?\d+(\.\d+)?", word)]
        if numbers and "WARNING" not in line:
            decimals = len(numbers[0].partition(".")[2])
            assert numbers[0] == f"{ppm:.{decimals}f}"
