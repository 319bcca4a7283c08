"""The numbers that people may set while the gateway runs: thresholds of rules and of action nodes, integration times.

What is set is a changed configuration, and goes the way of a saved one (gateway/tuning.py). Bounds are those that the
configuration has for the same number, so that what is in bounds can be built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gateway.actions.settings import ActionSettings
from gateway.alarms import Alarm
from gateway.config.config import Config
from gateway.config.settings import Settings
from gateway.errors import CommandRefused
from gateway.nodes.lock_in import LockInSettings
from gateway.nodes.peak_finder import PeakFinderSettings
from gateway.rules import name_of, with_threshold
from gateway.types import Command, Trigger

THRESHOLD, INTEGRATION = "threshold/", "integration/"
_THRESHOLDS: Mapping[Trigger, tuple[float, float, str]] = MappingProxyType(
    {
        "concentration": (0.0, 1_000_000.0, "ppm"),
        "amplitude": (0.0, 1.0, "full scale"),
        "frequency_deviation": (0.001, 100_000.0, "Hz"),
        "data_timeout": (0.1, 86_400.0, "s"),
    }
)


_OF_ACTIONS: Mapping[Trigger, str] = MappingProxyType(
    {
        "concentration": "concentration_threshold",
        "amplitude": "amplitude_threshold",
        "frequency_deviation": "frequency_deviation_hz",
        "data_timeout": "data_timeout_s",
    }
)
"""The options of an action node that are thresholds."""


@dataclass(frozen=True, slots=True)
class Dial:
    """A number: the target that it is set by, its bounds and unit, and what the configuration says. `alarm`: whose
    threshold it is; for an action node that of its first source, which all of them have.
    """

    target: str
    low: float
    high: float
    unit: str
    configured: float
    alarm: str = ""

    def checked(self, value: object) -> float:
        """A value in bounds. Raises CommandRefused."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise CommandRefused(f"{self.target} is a number", f"It may be {self.bounds}")
        if not self.low <= value <= self.high:
            raise CommandRefused(f"{self.target} cannot be {value:g} {self.unit}", f"It may be {self.bounds}")
        return float(value)

    @property
    def bounds(self) -> str:
        """In words."""
        return f"{self.low:g} to {self.high:g} {self.unit}"


def dials(config: Config, alarms: Sequence[Alarm]) -> tuple[Dial, ...]:
    """Every number that can be set; `alarms` are those of the configuration's rules and action nodes, in this order."""
    found: dict[str, Dial] = {}
    for alarm in alarms:
        if alarm.type in _THRESHOLDS:
            target = f"{THRESHOLD}{_name(alarm)}"
            found.setdefault(target, Dial(target, *_THRESHOLDS[alarm.type], alarm.threshold, alarm.rule))
    return (*found.values(), *_integrations(config))


def _name(alarm: Alarm) -> str:
    """A rule's; of the alarm NODE/TYPE/SOURCE of an action node NODE_TYPE, which counts for all its sources."""
    node, _, rest = alarm.rule.partition("/")
    return f"{node}_{alarm.type}" if rest else alarm.rule


def _integrations(config: Config) -> Iterator[Dial]:
    longest_s = math.inf if config.mqtt is None else config.mqtt.expire_s / 2
    for node in config.processing.default_graph.nodes:
        if isinstance(node.parameters, (LockInSettings, PeakFinderSettings)):
            low, high = _bounds(node.parameters)
            if isinstance(node.parameters, PeakFinderSettings):
                low = max(low, math.ceil(1e3 * node.parameters.shortest_s) / 1e3)
            high = max(low, min(high, longest_s))
            yield Dial(f"{INTEGRATION}{node.id}", low, high, "s", node.parameters.integration_s)


def _bounds(settings: Settings) -> tuple[float, float]:
    """Those of integration_s in the configuration."""
    limits = type(settings).model_fields["integration_s"].metadata
    (low,) = [limit.ge for limit in limits if hasattr(limit, "ge")]
    (high,) = [limit.le for limit in limits if hasattr(limit, "le")]
    return float(low), float(high)


def turned(config: Config, set_: Mapping[str, float]) -> Config:
    """The configuration with numbers set: by target, in bounds. What names nothing in it changes nothing."""
    if not set_:
        return config
    rules, others = [], dict(set_)
    for rule in config.rules:
        value = others.pop(f"{THRESHOLD}{name_of(rule)}", None)
        rules.append(rule if value is None else with_threshold(rule, value))
    graph = config.processing.default_graph
    graph = graph.model_copy(update={"nodes": tuple(_turned(node, others) for node in graph.nodes)})
    processing = config.processing.model_copy(update={"default_graph": graph})
    return config.model_copy(update={"rules": tuple(rules), "processing": processing})


def _turned(node: Any, set_: Mapping[str, float]) -> Any:
    """A node with its numbers set."""
    options = {f"{INTEGRATION}{node.id}": "integration_s"}
    if isinstance(node.parameters, ActionSettings):
        options = {f"{THRESHOLD}{node.id}_{kind}": option for kind, option in _OF_ACTIONS.items()}
    changed = {option: set_[target] for target, option in options.items() if target in set_}
    return node.model_copy(update={"parameters": node.parameters.model_copy(update=changed)}) if changed else node


class DialOutput:
    """A number as an output: "set" with `value`; its state is what the running computation goes by."""

    verbs: tuple[str, ...] = ("set",)

    def __init__(self, dial: Dial, turn: Callable[[Dial, float, str], None], now: Callable[[], float | None]) -> None:
        """`turn` is told the number and who sets it; `now` tells what holds, None where rule or node is gone."""
        self.target = dial.target
        self._dial, self._turn, self._now = dial, turn, now

    def apply(self, command: Command) -> str:
        """See Output."""
        self._turn(self._dial, self._dial.checked(command.args.get("value")), command.origin)
        return "it holds from the next record on, until the configuration changes it or the gateway begins anew"

    def read(self) -> str:
        """See Output."""
        value = self._now()
        return "unknown" if value is None else f"{value:.10g}"

    def step(self, t_ns: int) -> None:
        """See gateway.ports.Output."""

    def make_safe(self) -> None:
        """See Output: a number does no harm."""

    def close(self) -> None:
        """See Output."""
