"""Every kind of driver there is: a new one is a file, and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.actions import display, https_callback, isolated_python, kafka_driver, python, redis_driver
from gateway.actions.driver import DriverKind
from gateway.actions.settings import with_drivers
from gateway.config.settings import Settings

DRIVERS: Mapping[str, DriverKind] = {
    "https_callback": https_callback.KIND,
    "redis": redis_driver.KIND,
    "kafka": kafka_driver.KIND,
    "python": python.KIND,
    "isolated_python": isolated_python.KIND,
    "display": display.KIND,
}

KINDS: Mapping[str, DriverKind] = {**DRIVERS, "python_action": python.ACTION}
"""The same, and those that are a kind of action node by themselves."""

SETTINGS: Mapping[str, type[Settings]] = {
    "universal_action": with_drivers(DRIVERS),
    "python_action": python.PythonActionSettings,
}
"""The kinds of action node, with their settings."""
