"""Action nodes out of their settings: what is wrong with them, what they watch, and the running parts."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gateway.actions.action import Action
from gateway.actions.actions import Actions
from gateway.actions.driver import Surroundings, Verbs
from gateway.actions.drivers import KINDS
from gateway.actions.history import History
from gateway.actions.settings import ActionSettings, Driver
from gateway.actions.statistics import Statistics
from gateway.actions.triggers import TriggerFault, alarms
from gateway.alarms import Alarm
from gateway.clock import Clock
from gateway.errors import Fault
from gateway.journal.journal import Journal
from gateway.ports import Inbox
from gateway.scripts.host import Scripts

Nodes = Mapping[str, ActionSettings]
"""The settings of the action nodes, by name."""


def faults(
    nodes: Mapping[str, ActionSettings], kinds: Mapping[str, str], laser_hz: float, verbs: Verbs
) -> Iterator[tuple[str, Fault]]:
    """What is wrong with an action node beyond its own settings: triggers that cannot be, and drivers whose library is
    not installed. The node, and the fault with its place in the node's parameters.
    """
    for name, settings in nodes.items():
        try:
            list(alarms(name, settings, kinds, laser_hz))
        except TriggerFault as wrong:
            fault = wrong.fault
            yield name, Fault(("triggers", wrong.index, fault.option), fault.message, fault.remedy)
        if settings.driven is not None:
            yield from ((name, fault) for fault in _driver_faults(settings.driven, verbs))


def read(nodes: Nodes) -> Iterator[tuple[str, Fault]]:
    """What is wrong with the files that action nodes name: scripts. It may take seconds."""
    for name, settings in nodes.items():
        if settings.driven is not None:
            yield from ((name, fault) for fault in KINDS[settings.driven.type].read(settings.driven.config))


def _driver_faults(driver: Driver, verbs: Verbs) -> Iterator[Fault]:
    kind = KINDS[driver.type]
    inside = () if isinstance(driver.config, ActionSettings) else ("driver", "config")
    if kind.module and importlib.util.find_spec(kind.module) is None:
        message = f"the driver '{driver.type}' needs {kind.module}, which is not installed"
        yield Fault(("driver", "type"), message, f"Run: pip install 'spectrophone[{kind.extra}]'")
    for option, message, remedy in kind.missing(driver.config, verbs):
        yield Fault((*inside, option), message, remedy)


def all_alarms(nodes: Mapping[str, ActionSettings], kinds: Mapping[str, str], laser_hz: float) -> tuple[Alarm, ...]:
    """The alarms of all action nodes that are free of faults."""
    return tuple(alarm for name, node in nodes.items() for alarm in alarms(name, node, kinds, laser_hz))


def build(
    nodes: Nodes, journal: Journal, clock: Clock, inbox: Inbox, box: str, rng: np.random.Generator, scripts: Scripts
) -> Actions:
    """The action nodes, ready to start."""

    def make(name: str, settings: ActionSettings, history: History | None = None) -> Action:
        history, statistics = History(settings.capacity) if history is None else history, Statistics()
        history.resize(settings.capacity)
        driver, durable = None, False
        if settings.driven is not None:
            kind = KINDS[settings.driven.type]
            parameters = parameters_of(settings)
            around = Surroundings(name, box, clock, inbox, history, statistics, parameters, scripts)
            driver, durable = kind.make(settings.driven.config, around), kind.durable
        return Action(
            name, settings, driver, durable=durable, journal=journal, clock=clock, rng=rng,
            history=history, statistics=statistics,
        )  # fmt: skip

    return Actions(nodes, journal, make, scripts, runs_code)


def runs_code(settings: ActionSettings) -> bool:
    """Whether a customer's script runs in an action node of these settings."""
    return settings.driven is not None and KINDS[settings.driven.type].code


def parameters_of(settings: ActionSettings) -> dict[str, Any]:
    """A node's own parameters as plain data, without what its driver has for itself."""
    return settings.model_dump(mode="json", include=set(ActionSettings.model_fields) | {"buffer_size"})
