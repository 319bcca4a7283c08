"""The settings of action nodes: whom they watch, when they raise an alert, and how they hand on what they have."""

from __future__ import annotations

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model

from gateway.actions.driver import DriverKind
from gateway.config.sections import Condition, Name
from gateway.config.settings import Settings

WATCHED = ("concentration", "peak_finder", "lock_in", "level")
"""Kinds of node that give what an action can watch."""
Severity = Literal["info", "warning", "critical"]


class ActionSettings(Settings, ABC):
    """Settings that all action nodes share. Each alert is raised by the node's own values, once, and cleared once."""

    sources: ClassVar[dict[str, tuple[str, ...]]] = {"monitored_nodes": WATCHED}

    monitored_nodes: tuple[Name, ...] = Field(
        min_length=1, description="nodes whose results are handed on and watched; all others are none of its business"
    )
    update_interval_ms: int = Field(
        1000, ge=10, le=3_600_000, description="how often the driver is called, with all that is new since"
    )
    concentration_threshold: float | None = Field(
        None, ge=0, le=1_000_000, description="ppm above which a monitored concentration raises an alert"
    )
    concentration_hysteresis: float | None = Field(
        None, ge=0, description="ppm by which it must come back; six of its standard deviations if absent"
    )
    amplitude_threshold: float | None = Field(
        None, gt=0, le=1, description="full scale above which a monitored amplitude raises an alert"
    )
    amplitude_hysteresis: float | None = Field(
        None, ge=0, le=1, description="by how much it must come back; six of its standard deviations if absent"
    )
    frequency_deviation_hz: float | None = Field(
        None, gt=0, description="deviation of a peak_finder's tone from the laser that raises an alert"
    )
    data_timeout_s: float | None = Field(
        None, gt=0, le=86_400, description="time without a valid value of a monitored node that raises an alert"
    )
    alert_after_s: float = Field(
        0.0, ge=0, le=86_400, description="how long a value must stay beyond its threshold before the alert is raised"
    )
    hold_off_s: float = Field(0.0, ge=0, le=86_400, description="shortest time between clearing and raising again")
    severity: Severity = Field("warning", description="how bad these alerts are")
    triggers: tuple[Condition, ...] = Field(
        (), description="further conditions of monitored nodes, written as those of rules; their alerts are custom"
    )

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Results that the history holds."""

    @property
    @abstractmethod
    def driven(self) -> Driver | None:
        """The driver that these settings name."""

    def drives_anew(self, before: ActionSettings) -> bool:
        """Whether it takes another driver to go on with these settings after others."""
        return self.driven != before.driven


class Driver(Settings):
    """A driver: its type and its own options."""

    type: str = Field(description="what kind of target")
    config: Settings = Field(description="the driver's options")


class UniversalActionSettings(ActionSettings):
    """Settings of a universal_action node."""

    buffer_capacity: int = Field(100, ge=1, le=100_000, description="results that its history holds")

    driver: Driver | None = Field(None, description="where it all goes; without one there are alerts and a history")

    @property
    def capacity(self) -> int:
        """See ActionSettings."""
        return self.buffer_capacity

    @property
    def driven(self) -> Driver | None:
        """See ActionSettings."""
        return self.driver

    def drives_anew(self, before: ActionSettings) -> bool:
        """See ActionSettings. A script is told all parameters of its node."""
        script = self.driver is not None and self.driver.type == "python"
        return self.driven != before.driven or (script and self != before)


def with_drivers(kinds: Mapping[str, DriverKind]) -> type[UniversalActionSettings]:
    """The settings of universal_action with the drivers that there are."""
    models = [_model(name, kind.settings) for name, kind in kinds.items()]
    union: Any = functools.reduce(operator.or_, models)
    if len(models) > 1:
        union = Annotated[union, Field(discriminator="type")]
    about = UniversalActionSettings.model_fields["driver"].description
    return create_model(
        "UniversalActionSettings",
        __base__=UniversalActionSettings,
        __doc__=UniversalActionSettings.__doc__,
        driver=(union | None, Field(None, description=about)),
    )


def _model(name: str, settings: type[Settings]) -> type[Driver]:
    complete = not any(info.is_required() for info in settings.model_fields.values())
    about = "the driver's options"
    config = Field(default_factory=settings, description=about) if complete else Field(description=about)
    word: Any = Literal[name]
    return create_model(
        f"{''.join(part.capitalize() for part in name.split('_'))}Driver",
        __base__=Driver,
        __doc__=settings.__doc__,
        type=(word, Field(description="what kind of target")),
        config=(settings, config),
    )
