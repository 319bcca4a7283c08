"""What the broker's access list keeps from us, as far as it can be known. No I/O; time is a parameter.

With MQTT 5 a broker says which message it refuses, and most say it of a subscription. With 3.1.1 it acknowledges and
drops; and mosquitto's access file grants every subscription and then delivers nothing, in either version. So a message
of our own to a command topic is sent after every connect, which must come back. Where we may not write there, MQTT 5
says so, and nothing is known about commands; with 3.1.1 it could be either, and the sentence says that.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config.sections import Mqtt
from gateway.mqtt import reasons
from gateway.mqtt.topics import Topics

_S = 1_000_000_000
PATIENCE_NS = 5 * _S
AGAIN_NS = 60 * _S
"""How long a message to ourselves may take, and when the next one is sent."""
NAMED = 3
"""Topics that are named in a sentence."""


class Access:
    """The refusals of one connection."""

    def __init__(self, settings: Mqtt, topics: Topics) -> None:
        self.problem: str | None = None
        """In a sentence; None if nothing is known to be refused. Renewed once a second."""
        self._settings = settings
        self._topics = topics
        self._v5 = True
        self._refused: dict[str, str] = {}
        self._unheard: tuple[str, ...] = ()
        self._echoed = self._late = False
        self._asked_ns: int | None = None
        self._next_ns = 0

    def begin(self, now_ns: int, *, v5: bool) -> None:
        """A new connection. There is time for all refusals before they are told together."""
        self.problem, self._v5 = None, v5
        self._refused, self._unheard = {}, ()
        self._echoed = self._late = False
        self._asked_ns = None
        self._next_ns = now_ns + 2 * _S

    def ask(self, now_ns: int) -> bool:
        """Whether to send the message to ourselves now; it counts as sent."""
        if self._echoed or (self._asked_ns is not None and now_ns - self._asked_ns < AGAIN_NS):
            return False
        self._asked_ns = now_ns
        return True

    def echoed(self) -> None:
        """It came back."""
        self._echoed, self._late = True, False

    def answered(self, topic: str, refusal: str) -> None:
        """The broker's word on a message to that topic; "" where it took it."""
        if not refusal:
            self._refused.pop(topic, None)
        elif topic == self._topics.echo:
            self.echoed()  # it cannot come back, which says nothing about commands
        else:
            self._refused[topic] = refusal

    def subscribed(self, refused: Sequence[str]) -> None:
        """The broker's word on our subscriptions: those that it refused."""
        self._unheard = tuple(refused)

    def look(self, now_ns: int) -> None:
        """Renew the problem."""
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _S
        if self._asked_ns is not None and now_ns - self._asked_ns > PATIENCE_NS:
            self._late = not self._echoed
        self.problem = self._sentence()

    def _sentence(self) -> str | None:
        where, everything = f"the MQTT broker {reasons.place(self._settings)}", f"{self._topics.root}/#"
        who = reasons.user(self._settings)
        if self._refused:
            topics = sorted(self._refused)
            more = f" and {len(topics) - NAMED} more" if len(topics) > NAMED else ""
            below = all(topic.startswith(f"{self._topics.root}/") for topic in topics)
            what = everything if below else f"{everything} and {self._settings.discovery_prefix}/#"
            said = f"{where} refuses {', '.join(topics[:NAMED])}{more}: {self._refused[topics[0]]}"
            return f"{said}. Allow {who} to write {what} in its access list"
        if self._unheard:
            said = f"{where} refuses our subscription to {', '.join(self._unheard)}: what is sent there does not come"
            return f"{said}. Allow {who} to read that in its access list"
        if not self._late:
            return None
        return reasons.unheard(self._settings, self._topics, v5=self._v5)
