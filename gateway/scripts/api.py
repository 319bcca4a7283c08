"""What a script sees of the gateway: the class to start from, and the calls it may make.

In an action both names, and `api` itself, are there without an import. The import is for editors, which complete and
check with it, and for tests of your own, where an API is made by hand and prints what the action says:

    from gateway.scripts.api import GatewayAPI, Readings
    from co2_alarm import Co2Alarm

    def test_alarm(capsys):
        readings = Readings(entries=[{"source_node_id": "co2", "concentration_ppm": 1200.0}])
        Co2Alarm(GatewayAPI({"limit_ppm": 1000}, readings=readings)).on_update({"concentration_ppm": 1200.0})
        assert "limit" in capsys.readouterr().out

Every value handed out is a copy: what a script does to it changes nothing anywhere. Reading costs microseconds: the
newest values come with each call of the script, and nobody is asked. This file needs nothing but Python.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any

Tell = Callable[[str, str, Any], bool]
"""Takes "log", level, message; "notification", severity, message; or "output", name, value. Whether it will be done."""

_LEVELS = {
    **{level: level for level in ("debug", "info", "warning", "error")},
    "trace": "debug",
    "warn": "warning",
    "critical": "error",
    "fatal": "error",
}
_SEVERITIES = {
    **{severity: severity for severity in ("info", "warning", "critical")},
    "debug": "info",
    "low": "info",
    "warn": "warning",
    "medium": "warning",
    "error": "critical",
    "high": "critical",
}


class CustomPythonAction:
    """The class to derive an action from; override what you need.

    class Co2Alarm(CustomPythonAction):
        def __init__(self, api):
            super().__init__(api)
            self.limit_ppm = api.get_node_parameter("limit_ppm", 1000)

        def on_update(self, computing_data):
            if (computing_data["concentration_ppm"] or 0) > self.limit_ppm:
                self.api.trigger_notification("the limit is exceeded", "warning")

    An action may also define `shutdown(self)`, which runs before it is replaced or the gateway ends. Each method may be
    `async def`. The object lives from call to call, so what it keeps in `self` stays.
    """

    def __init__(self, api: GatewayAPI) -> None:
        self.api = api

    def on_trigger(self, trigger_type: str, data: dict[str, Any]) -> bool:
        """Called on each alert. `data` has type, value, threshold, source_node_id, timestamp (UNIX seconds) and
        severity. Return True if the action did something about it.
        """
        return False

    def on_update(self, computing_data: dict[str, Any]) -> None:
        """Called at every update interval. `computing_data` has concentration_ppm, peak_frequency, peak_amplitude,
        uncertainty_ppm, timestamp and nodes; numbers that do not exist are None.
        """

    def get_status(self) -> dict[str, Any]:
        """What the status page shows of this action: plain data, quickly."""
        return {}


class Readings:
    """The newest values and the history that an API reads from.

    `entries` have the fields of a measurement (concentration_ppm, source_node_id, timestamp, peak_amplitude,
    peak_frequency, uncertainty_ppm, valid, metadata), oldest first; the newest `capacity` are kept. `statistics` are
    by node.
    """

    def __init__(
        self,
        capacity: int = 100,
        entries: Iterable[Mapping[str, Any]] = (),
        statistics: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.history: deque[Mapping[str, Any]] = deque(maxlen=capacity)
        self.newest: dict[str, Mapping[str, Any]] = {}
        self.statistics: Mapping[str, Mapping[str, Any]] = {}
        self.take(entries, statistics or {})

    def take(self, entries: Iterable[Mapping[str, Any]], statistics: Mapping[str, Mapping[str, Any]]) -> None:
        """Put newer entries in front, and these statistics in place of the last."""
        for entry in entries:
            self.history.appendleft(entry)
            self.newest[entry.get("source_node_id", "")] = entry
        self.statistics = statistics

    def number(self, node_id: str, field: str) -> float | None:
        """A field of the newest entry of a node; None if it has none, or one that must not be used."""
        entry = self.newest.get(node_id) if node_id else None
        if entry is None or entry.get("valid") is False or entry.get(field) is None:
            return None
        return float(entry[field])


class GatewayAPI:
    """What an action can ask and do. A node that is unknown, or "", gives None.

    To make one by hand, in a test of yours, give as much as the test needs: `config` is python_config, `parameters`
    what the node has beside it. Without `tell`, what the action says is printed.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        monitored: Collection[str] = (),
        outputs: Collection[str] = (),
        readings: Readings | None = None,
        tell: Tell | None = None,
    ) -> None:
        self._config: dict[str, Any] = {**(parameters or {}), **(config or {})}
        self._monitored = tuple(monitored)
        self._outputs = frozenset(outputs)
        self._readings = readings or Readings()
        self._tell = tell or _printed

    def get_concentration_data(self, node_id: str) -> float | None:
        """The newest concentration of a concentration node, ppm; None while there is no valid one."""
        return self._readings.number(node_id, "concentration_ppm")

    def get_peak_frequency(self, node_id: str) -> float | None:
        """The newest frequency, Hz, of a peak_finder or lock_in, or of the one that a concentration was computed from;
        None while there is no valid one.
        """
        return self._readings.number(node_id, "peak_frequency")

    def get_peak_amplitude(self, node_id: str) -> float | None:
        """The newest amplitude, in parts of full scale, of the same nodes; None while there is no valid one."""
        return self._readings.number(node_id, "peak_amplitude")

    def get_node_statistics(self, node_id: str) -> dict[str, Any] | None:
        """How a node fares, counts and times in milliseconds, as in the status of the gateway."""
        found = self._readings.statistics.get(node_id)
        return None if found is None else _copied(found)

    def get_node_config(self) -> dict[str, Any]:
        """python_config, with the node's own parameters (thresholds included) beneath it: where both have a name,
        python_config's value is given.
        """
        return {name: _copied(value) for name, value in self._config.items()}

    def get_node_parameter(self, name: str, default: Any = None) -> Any:
        """One value of get_node_config(), or `default` where the configuration does not have it."""
        return _copied(self._config[name]) if name in self._config else default

    def get_monitored_node_ids(self) -> list[str]:
        """The nodes that this action watches, as configured."""
        return list(self._monitored)

    def get_history_count(self) -> int:
        """How many entries the history holds now; buffer_capacity is the most."""
        return len(self._readings.history)

    def get_recent_entries(self, count: int) -> list[dict[str, Any]]:
        """The newest `count` entries of the monitored nodes, newest first, or as many as there are.

        Each has the fields of a measurement: concentration_ppm, source_node_id, timestamp (UNIX seconds),
        peak_amplitude, peak_frequency, uncertainty_ppm, valid; and in metadata what else the node said of it.
        """
        return [_copied(entry) for entry in islice(tuple(self._readings.history), max(0, count))]

    def log_message(self, level: str, message: object) -> None:
        """Put a line into the gateway's log. `level` is "debug", "info", "warning" or "error"; another one counts as
        "info". At most 20 lines a second are kept in the long run, of at most 2048 characters.
        """
        self._tell("log", _LEVELS.get(str(level).lower(), "info"), str(message))

    def trigger_notification(self, message: object, severity: str = "info") -> bool:
        """Notify the people who watch the box. `severity` is "info", "warning" or "critical"; another one counts as
        "warning". False if it was one too many: six a minute are let through in the long run.
        """
        return self._tell("notification", _SEVERITIES.get(str(severity).lower(), "warning"), str(message))

    def set_output(self, name: str, value: bool | float | str) -> bool:
        """Switch a relay or LED: `api.set_output("relay/fan", True)`, `api.set_output("led/status", "red")`.

        False if the node's `outputs` do not list the name, or if it was one too many: five a second are let through in
        the long run. True says that the gateway will try; rules and interlocks still have the last word. Raises
        TypeError for any other value, ValueError for a number that is not finite.
        """
        if not isinstance(value, bool | int | float | str):
            kind = type(value).__name__
            raise TypeError(f"set_output({name!r}) takes True, False, a number or a str, not {kind}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"set_output({name!r}) takes no {value}: give a number that is finite")
        return name in self._outputs and self._tell("output", name, value)


RustPhotoacousticAPI = GatewayAPI
"""The old name of GatewayAPI."""


def _copied(value: Any) -> Any:
    """A copy of plain data, all the way down."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _printed(what: str, how: str, said: Any) -> bool:
    print(f"{what} {how}: {said}")  # noqa: T201
    return True
