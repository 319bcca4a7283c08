"""What Home Assistant is told of the box, and when that has changed: the device message, mended where it would be
refused, and what has to be taken back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.config.sections import HomeAssistantSection, Mqtt
from gateway.mqtt import codec, discovery
from gateway.mqtt.classes import version
from gateway.mqtt.entities import decimals_without
from gateway.mqtt.face import Face
from gateway.mqtt.lint import mend
from gateway.mqtt.picture import Message
from gateway.mqtt.precision import Precision
from gateway.mqtt.registry import Registry
from gateway.mqtt.topics import Topics
from gateway.types import Measurement, Tick

log = logging.getLogger("spectrophone.mqtt")


class Announcer:
    """Announces the box `face` to the Home Assistants that `section` describes."""

    def __init__(
        self,
        settings: Mqtt,
        section: HomeAssistantSection,
        face: Face,
        topics: Topics,
        registry: Registry,
        keep: Callable[[str], None],
    ) -> None:
        """`keep` is given the registry's text whenever that has changed, before anything is sent."""
        self.face = face
        self._settings = settings
        self._oldest = version(section.min_version)
        self._topics = topics
        self._registry = registry
        self._keep = keep
        self._kept = registry.text()
        unknown = {gas.node: decimals_without(face.gas, gas.unit) for gas in face.gases}
        self._precision = Precision(unknown | registry.decimals)
        self._told: list[str] = []

    def take(self, tick: Tick) -> bool:
        """Whether a tick's values want another announcement, because they show how precise they are."""
        settled = [self._precision.take(result) for result in tick.results if isinstance(result, Measurement)]
        return any(settled) and self._settings.discovery

    def messages(self, *, born: bool = False) -> list[Message]:
        """All that is to be sent now, in order; `born`: Home Assistant has just started."""
        registry = self._registry
        registry.decimals = {gas.node: self._precision.decimals[gas.node] for gas in self.face.gases}
        topic = discovery.topic(self._settings.discovery_prefix, self.face) if self._settings.discovery else ""
        payload = self._payload() if topic else {"cmps": {}}
        steps = registry.announce(topic, payload, retained(self.face, self._topics), born=born)
        if (text := registry.text()) != self._kept:
            self._kept = text
            self._keep(text)
        return [Message(topic, b"" if body is None else codec.dump(body)) for topic, body in steps]

    def _payload(self) -> dict[str, object]:
        whole = discovery.payload(
            self.face, self._topics, self._settings.expire_s, self._oldest, self._precision.decimals
        )
        payload, faults = mend(whole, self._oldest)
        if faults != self._told:
            self._told = faults
            log.error("Home Assistant is not told of what it would refuse: %s. Report this", "; ".join(faults))
        return payload


def retained(face: Face, topics: Topics) -> set[str]:
    """Where the box keeps something at the broker that does not expire."""
    kept = {topics.status, topics.info, topics.problem}
    kept |= {topics.state(output.target) for output in face.outputs}
    kept |= {topics.alarm_state(rule.name) for rule in face.rules}
    return kept | ({topics.laser_ready, topics.laser_state} if face.output("laser") else set())
