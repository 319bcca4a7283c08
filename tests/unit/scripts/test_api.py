"""Every call of the API, on readings made by hand; with News of a real entry in test_worker.py."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.scripts.api import CustomPythonAction, GatewayAPI, Readings, RustPhotoacousticAPI

CO2: dict[str, Any] = {
    "concentration_ppm": 612.5,
    "source_node_id": "co2",
    "timestamp": 1_700_000_000,
    "peak_amplitude": 0.01,
    "peak_frequency": 2044,
    "uncertainty_ppm": 3.0,
    "valid": True,
    "metadata": {"flags": ["tone"]},
}


def newer(**fields: Any) -> dict[str, Any]:
    return {**CO2, "timestamp": 1_700_000_001, **fields}


def test_the_newest_values_of_a_node() -> None:
    api = GatewayAPI(readings=Readings(entries=[CO2, newer(concentration_ppm=613.5)]))
    assert api.get_concentration_data("co2") == 613.5
    assert api.get_peak_frequency("co2") == 2044.0
    assert isinstance(api.get_peak_frequency("co2"), float)
    assert api.get_peak_amplitude("co2") == 0.01


@pytest.mark.parametrize("node", ["", "other"])
def test_an_unknown_node_gives_none(node: str) -> None:
    api = GatewayAPI(readings=Readings(entries=[CO2, newer(source_node_id="")]))
    assert api.get_concentration_data(node) is None
    assert api.get_peak_frequency(node) is None
    assert api.get_peak_amplitude(node) is None
    assert api.get_node_statistics(node) is None


@pytest.mark.parametrize("newest", [newer(valid=False), newer(concentration_ppm=None)])
def test_a_value_that_must_not_be_used_or_is_not_there_is_none(newest: dict[str, Any]) -> None:
    assert GatewayAPI(readings=Readings(entries=[CO2, newest])).get_concentration_data("co2") is None


def test_the_history_is_newest_first_and_bounded() -> None:
    entries = [newer(timestamp=second) for second in range(5)]
    api = GatewayAPI(readings=Readings(3, entries))
    assert api.get_history_count() == 3
    assert [entry["timestamp"] for entry in api.get_recent_entries(2)] == [4, 3]
    assert [entry["timestamp"] for entry in api.get_recent_entries(100)] == [4, 3, 2]
    assert api.get_recent_entries(0) == api.get_recent_entries(-1) == []


def test_what_is_handed_out_are_copies() -> None:
    config = {"servers": [{"host": "a"}]}
    statistics = {"co2": {"calls": 1, "times": [1.0]}}
    api = GatewayAPI(config, monitored=["co2"], readings=Readings(entries=[CO2], statistics=statistics))
    api.get_recent_entries(1)[0]["metadata"]["flags"].clear()
    api.get_node_config()["servers"][0]["host"] = "b"
    api.get_node_parameter("servers").clear()
    api.get_monitored_node_ids().clear()
    found = api.get_node_statistics("co2")
    assert found is not None
    found["times"].clear()
    assert api.get_recent_entries(1) == [CO2]
    assert api.get_node_config() == {"servers": [{"host": "a"}]}
    assert api.get_monitored_node_ids() == ["co2"]
    assert api.get_node_statistics("co2") == {"calls": 1, "times": [1.0]}


def test_python_config_lies_over_the_parameters_of_the_node() -> None:
    api = GatewayAPI({"limit": 5, "to": None}, {"limit": 4, "concentration_threshold": 1000.0})
    assert api.get_node_config() == {"limit": 5, "to": None, "concentration_threshold": 1000.0}
    assert api.get_node_parameter("limit", 1) == 5
    assert api.get_node_parameter("concentration_threshold") == 1000.0
    assert api.get_node_parameter("to", "somebody") is None
    assert api.get_node_parameter("absent", "default") == "default"
    assert api.get_node_parameter("absent") is None


@pytest.fixture
def told() -> list[tuple[str, str, Any]]:
    return []


@pytest.fixture
def speaking(told: list[tuple[str, str, Any]]) -> GatewayAPI:
    """An API whose gateway does what is said, up to twice."""

    def tell(what: str, how: str, said: Any) -> bool:
        told.append((what, how, said))
        return len(told) <= 2

    return GatewayAPI(outputs=["relay/fan"], tell=tell)


@pytest.mark.parametrize(
    ("level", "kept"),
    [("debug", "debug"), ("WARNING", "warning"), ("warn", "warning"), ("critical", "error"), ("odd", "info")],
)
def test_a_log_line_has_one_of_four_levels(
    speaking: GatewayAPI, told: list[tuple[str, str, Any]], level: str, kept: str
) -> None:
    speaking.log_message(level, 5)
    assert told == [("log", kept, "5")]


@pytest.mark.parametrize(
    ("severity", "kept"), [("info", "info"), ("High", "critical"), ("warn", "warning"), ("odd", "warning")]
)
def test_a_notification_has_one_of_three_severities(
    speaking: GatewayAPI, told: list[tuple[str, str, Any]], severity: str, kept: str
) -> None:
    assert speaking.trigger_notification("the filter is full", severity) is True
    assert told == [("notification", kept, "the filter is full")]


def test_outputs_are_those_listed(speaking: GatewayAPI, told: list[tuple[str, str, Any]]) -> None:
    assert speaking.set_output("relay/fan", True) is True
    assert speaking.set_output("relay/heater", True) is False
    assert told == [("output", "relay/fan", True)]


def test_one_too_many_is_false(speaking: GatewayAPI) -> None:
    assert [speaking.set_output("relay/fan", 0.5) for _ in range(3)] == [True, True, False]
    assert speaking.trigger_notification("too late") is False


@pytest.mark.parametrize("value", [None, [True], {"on": True}, b"on"])
def test_an_output_takes_plain_values_only(speaking: GatewayAPI, value: Any) -> None:
    with pytest.raises(TypeError, match="takes True, False, a number or a str"):
        speaking.set_output("relay/fan", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_output_takes_finite_numbers_only(speaking: GatewayAPI, value: float) -> None:
    with pytest.raises(ValueError, match="give a number that is finite"):
        speaking.set_output("relay/fan", value)


def test_an_api_made_by_hand_prints_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    api = GatewayAPI(outputs=["led/status"])
    api.log_message("info", "it begins")
    assert api.trigger_notification("help", "critical")
    assert api.set_output("led/status", "red")
    assert capsys.readouterr().out == "log info: it begins\nnotification critical: help\noutput led/status: red\n"


def test_an_action_does_nothing_until_it_is_derived_from() -> None:
    api = GatewayAPI()
    action = CustomPythonAction(api)
    action.on_update({})
    assert action.api is api
    assert action.on_trigger("concentration", {}) is False
    assert action.get_status() == {}


def test_the_old_name_is_the_same_class() -> None:
    assert RustPhotoacousticAPI is GatewayAPI
