"""What `check` says of action nodes beyond their own options."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import configured
from gateway.actions.drivers import DRIVERS, KINDS


def said(directory: Path, **parameters: Any) -> list[str]:
    """The faults of a configuration with one action node behind the built-in graph."""
    nodes = [
        {"id": "input", "type": "input"},
        {"id": "lock", "type": "lock_in"},
        {"id": "co2", "type": "concentration", "parameters": {"source": "lock", "polynomial_coefficients": [0, 1]}},
        {"id": "tell", "node_type": "action_universal", "parameters": {"monitored_nodes": ["co2"], **parameters}},
    ]
    file = directory / "box.yaml"
    file.write_text(yaml.safe_dump({"board": "sim", "processing": {"default_graph": {"nodes": nodes}}}))
    return [f"{fault.option.rpartition('parameters.')[2]}: {fault.message}. {fault.remedy}" for fault in
            configured.prepare(file, {}).faults]  # fmt: skip


CONFIGS: dict[str, dict[str, Any]] = {
    "redis": {"connection_string": "redis://127.0.0.1"},
    "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
}


@pytest.mark.parametrize("name", [name for name, kind in DRIVERS.items() if kind.extra])
def test_a_driver_whose_extra_is_not_installed_is_refused_with_the_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = {"type": name, "config": CONFIGS[name]}
    assert said(tmp_path, driver=driver) == []
    find = importlib.util.find_spec
    missing = DRIVERS[name].module
    monkeypatch.setattr(importlib.util, "find_spec", lambda module, *more: None if module == missing else find(module))
    (fault,) = said(tmp_path, driver=driver)
    assert fault == (
        f"driver.type: the driver '{name}' needs {missing}, which is not installed. "
        f"Run: pip install 'spectrophone[{name}]'"
    )


def test_names_of_the_rust_original_that_mean_something_else_are_faults(tmp_path: Path) -> None:
    web = {"callback_url": "https://example.org/", "auth_header": "X-Key", "auth_token": "secret", "retry_count": 3}
    (fault,) = said(tmp_path, driver={"type": "https_callback", "config": web})
    assert fault.startswith("driver.config.retry_count: unknown option 'retry_count'.")
    (fault,) = said(tmp_path, amplitude_threshold=60)
    assert fault.startswith("amplitude_threshold: ")


def test_a_trigger_is_named_by_its_place(tmp_path: Path) -> None:
    (fault,) = said(tmp_path, triggers=[{"when": "co2 above 5"}, {"when": "lock above 5"}])
    assert fault == ("triggers[1].when: 'lock' is not among the monitored_nodes. Add it there, or write a rule")


def test_nodes_that_are_not_there_and_led_that_the_board_has_not(tmp_path: Path) -> None:
    (fault,) = said(tmp_path, monitored_nodes=["c02"])
    assert fault.startswith("monitored_nodes: no node is called 'c02'. Did you mean 'co2'?")
    (fault,) = said(tmp_path, driver={"type": "display", "config": {"led": "alarm"}})
    assert fault == "driver.config.led: the board has no LED 'alarm'. It has: status"
    driver = {"type": "isolated_python", "config": {"script_path": str(tmp_path / "none.py")}}
    (fault,) = said(tmp_path, driver=driver)
    assert fault.startswith(f"driver.config.script_path: there is no file {tmp_path}/none.py")


def test_which_drivers_run_a_customers_script_and_rest_in_safe_mode() -> None:
    assert {name for name, kind in KINDS.items() if kind.code} == {"python", "isolated_python", "python_action"}
