"""The life of the connection, as a value machine: what happened goes in, what to do comes out. No socket, no
clock.

Order after every connect: subscribe, `status` online, `info`, discovery, and one second later every state and
value, because Home Assistant loses what comes sooner after a discovery message. When Home Assistant itself
starts (its birth message), discovery and then the states are sent again after a random 0 to 3 s, at most once
in 10 s.

While the broker is away only the newest of each value is kept. Tries to connect go on for ever, after a
random time between zero and a bound that doubles from 1 to 10 s ("full jitter": a street of boxes does not
come back in step). A connection that broke within ten seconds does not count as success, so that two clients
of one name do not fight at full speed.

When nothing else waits the journal's history goes out, a message at a time (history.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from gateway.config.sections import HomeAssistantSection, Mqtt
from gateway.journal.entry import Entry
from gateway.mqtt import codec
from gateway.mqtt.access import Access
from gateway.mqtt.announce import Announcer
from gateway.mqtt.commands import Arrival, decode
from gateway.mqtt.face import Face
from gateway.mqtt.history import History
from gateway.mqtt.outbox import Outbox
from gateway.mqtt.picture import Message, Picture
from gateway.mqtt.registry import Registry
from gateway.mqtt.topics import Topics
from gateway.reports import Reports
from gateway.types import Command, CommandResult, Outcome, Tick

_S = 1_000_000_000
SETTLE_NS = _S
BIRTH_SPREAD_S = 3.0
BIRTH_PAUSE_NS = 10 * _S
STEADY_NS = 10 * _S
LONGEST_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Connect:
    """Dial the broker, with MQTT 5 or else 3.1.1."""

    v5: bool


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Ask for these topics; retained messages are not wanted."""

    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """Send this, and with QoS 1 give `token` back when the broker has it. `expiry_s` needs MQTT 5."""

    token: int
    topic: str
    payload: bytes
    retain: bool
    expiry_s: int | None = None
    correlation: bytes | None = None
    qos: int = 1


@dataclass(frozen=True, slots=True)
class Hand:
    """Put this command into the inbox."""

    command: Command


Action = Connect | Subscribe | Publish | Hand


class Session:
    """The connection of the box `face` to the broker of `settings`. Every input returns what to do, in
    order."""

    def __init__(
        self,
        settings: Mqtt,
        face: Face,
        rng: np.random.Generator,
        *,
        home: HomeAssistantSection | None = None,
        reports: Reports = lambda: MappingProxyType({}),
        registry: Registry | None = None,
        keep: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`home` says what Home Assistants there are, `reports` gives what is told beside the measurement, `registry`
        is what was announced before, and `keep` is given its text when that has changed.
        """
        self.topics = Topics(settings.base_topic, face.box)
        self.access = Access(settings, self.topics)
        """What the broker refuses."""
        self._problem: str | None = "not connected yet"
        self.connected = False
        self._connections = self._sent = 0
        self._settings = settings
        self._face = face
        self._rng = rng
        self._picture = Picture(face, self.topics, settings.expire_s, reports)
        home, registry = home or HomeAssistantSection(), registry or Registry()
        self._announcer = Announcer(settings, home, face, self.topics, registry, keep)
        self._outbox = Outbox()
        self.history = History(face.box, self.topics, settings.history_rows_per_s)
        """What the journal has for the broker."""
        self._birth_topic = f"{settings.discovery_prefix}/status"
        self._v5 = settings.protocol != "3.1.1"
        self._complaints: tuple[str, ...] = ()
        self._failures = 0
        self._connected_ns = 0
        self._dial_ns: int | None = None
        self._release_ns: int | None = None
        self._birth_ns: int | None = None
        self._next_birth_ns = 0

    @property
    def problem(self) -> str | None:
        """Why values do not arrive at the broker, or commands here, for people; None while they do."""
        return self.access.problem if self._problem is None else self._problem

    @property
    def v5(self) -> bool:
        """Whether MQTT 5 is spoken, or tried."""
        return self._v5

    def counts(self) -> Mapping[str, Any]:
        """How the connection fares, since the start."""
        return {
            "connected": self.connected,
            "reconnects": max(0, self._connections - 1),
            "sent": self._sent,
            "waiting": self._outbox.waiting,
            "dropped": self._outbox.dropped,
        }

    @property
    def in_flight(self) -> int:
        """How many messages the broker has not acknowledged yet."""
        return self._outbox.in_flight

    @property
    def dropped(self) -> int:
        """Events lost because the broker was away too long."""
        return self._outbox.dropped

    @property
    def due_ns(self) -> int | None:
        """When `timer` has something to do, if nothing else happens before."""
        return min((t for t in (self._dial_ns, self._release_ns, self._birth_ns) if t is not None), default=None)

    def start(self) -> list[Action]:
        """Begin."""
        return [Connect(self._v5)]

    def accepted(self, now_ns: int, window: int) -> list[Action]:
        """The broker took us, and `window` unacknowledged messages at once."""
        self.connected, self._problem, self._connected_ns = True, None, now_ns
        self.access.begin(now_ns, v5=self._v5)
        self._connections += 1
        self._outbox.open(window)
        self._dial_ns = self._birth_ns = None
        self._next_birth_ns = now_ns
        filters: tuple[str, ...] = self.topics.commands
        if self._settings.discovery:
            filters += (self._birth_topic,)
        self._outbox.announce(
            [
                Message(self.topics.status, b"online"),
                Message(self.topics.info, codec.info_payload(self._face)),
            ]
        )
        self._announce(now_ns)
        return [Subscribe(filters), *self._pump(now_ns)]

    def lost(self, now_ns: int, problem: str, *, unsupported: bool = False) -> list[Action]:
        """The connection broke, or could not be made; `unsupported`: the broker does not speak this MQTT."""
        if self.connected and now_ns - self._connected_ns > STEADY_NS:
            self._failures = 0
        was_connected, self.connected, self._problem = self.connected, False, problem
        self._release_ns = self._birth_ns = None
        self._outbox.held = True
        self.history.lost()
        if self._settings.protocol == "auto":
            if unsupported and self._v5:
                self._v5 = False
                return [Connect(False)]
            self._v5 = self._v5 or was_connected
        bound_s = min(LONGEST_WAIT_S, 2.0**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._dial_ns = now_ns + round(self._rng.uniform(0.0, bound_s) * _S)
        return []

    def message(self, now_ns: int, arrival: Arrival) -> list[Action]:
        """A message came."""
        if arrival.topic == self._birth_topic:
            if arrival.payload == b"online" and self._birth_ns is None:
                soon = now_ns + round(self._rng.uniform(0.0, BIRTH_SPREAD_S) * _S)
                self._birth_ns = max(soon, self._next_birth_ns)
            return []
        if arrival.topic == self.topics.echo:
            self.access.echoed()
            return []
        asked = decode(arrival, self._face, self.topics)
        if isinstance(asked, Command):
            return [Hand(asked)]
        return [] if asked is None else self.answer(now_ns, asked)

    def answer(self, now_ns: int, result: CommandResult) -> list[Action]:
        """A command was done or refused."""
        self._outbox.put_events(self._picture.answers(result))
        return self._pump(now_ns)

    def offer(self, now_ns: int, tick: Tick, outcome: Outcome) -> list[Action]:
        """What a block brought."""
        refused = self.access.problem
        self._picture.complaints = (*self._complaints, *([] if refused is None else [refused]))
        changed, events = self._picture.take(now_ns, tick, outcome)
        self._outbox.put_events(events)
        if self.connected:
            self._outbox.put(changed)
        if self._announcer.take(tick) and self.connected:
            self._announce(now_ns)
        return self.timer(now_ns)

    def show(self, now_ns: int, face: Face) -> list[Action]:
        """Go on as that box, of the same name: rules and action nodes have changed."""
        if face == self._face:
            return []
        self._face = self._announcer.face = face
        self._picture.show(face)
        if self.connected:
            self._outbox.announce([Message(self.topics.info, codec.info_payload(face))])
            self._announce(now_ns)
        return self._pump(now_ns)

    def complain(self, reasons: Sequence[str]) -> None:
        """What is wrong with the box itself, from the next block on; nothing if all is well."""
        self._complaints = tuple(reasons)

    def health(self, now_ns: int, facts: Mapping[str, Any]) -> list[Action]:
        """How the box fares."""
        message = self._picture.health(now_ns, {**facts, "reconnects": self.counts()["reconnects"]})
        if self.connected:
            self._outbox.put([message])
        return self._pump(now_ns)

    def log(self, payloads: list[bytes]) -> list[Action]:
        """Messages of the log, for whoever listens now."""
        return [Publish(0, self.topics.log, payload, retain=False, qos=0) for payload in payloads]

    def page(self, now_ns: int, entries: Sequence[Entry]) -> list[Action]:
        """The journal's next page, when `history` is through with the one before."""
        self.history.put(entries)
        return self._pump(now_ns)

    def acknowledged(self, now_ns: int, token: int, *, refused: bool = False) -> list[Action]:
        """The broker has the message of that token, or has `refused` it for good."""
        self._outbox.acknowledged(token)
        self.history.acknowledged(now_ns, token, refused=refused)
        return self._pump(now_ns)

    def timer(self, now_ns: int) -> list[Action]:
        """Time went on."""
        if self._dial_ns is not None and now_ns >= self._dial_ns:
            self._dial_ns = None
            return [Connect(self._v5)]
        if self._birth_ns is not None and now_ns >= self._birth_ns:
            self._birth_ns, self._next_birth_ns = None, now_ns + BIRTH_PAUSE_NS
            self._announce(now_ns, born=True)
        if self._release_ns is not None and now_ns >= self._release_ns:
            self._release_ns, self._outbox.held = None, False
            self._outbox.put(self._picture.all(now_ns))
        silence = self._picture.silence(now_ns)
        if silence is not None and self.connected:
            self._outbox.put([silence])
        return [*self._pump(now_ns), *self._ask(now_ns)]

    def _ask(self, now_ns: int) -> list[Action]:
        """The message to ourselves (access.py), once the first values have gone out."""
        self.access.look(now_ns)
        if not self.connected or self._outbox.held or not self.access.ask(now_ns):
            return []
        return [Publish(0, self.topics.echo, b"", retain=False)]

    def stop(self, now_ns: int) -> list[Action]:
        """Say goodbye: what events still wait, then offline."""
        self._outbox.held, self._release_ns, self._birth_ns, self._dial_ns = False, None, None, None
        actions = self._pump(now_ns)
        if self.connected:
            actions.append(Publish(0, self.topics.status, b"offline", retain=True))
        return actions

    def _announce(self, now_ns: int, *, born: bool = False) -> None:
        """Discovery, and a pause before anything else."""
        self._release_ns, self._outbox.held = now_ns, True
        self._outbox.announce(self._announcer.messages(born=born))
        if self._settings.discovery:
            self._release_ns = now_ns + SETTLE_NS

    def _pump(self, now_ns: int) -> list[Action]:
        if not self.connected:
            return []
        waiting = self.history.next(now_ns)
        self._outbox.put_history(waiting)
        taken = self._outbox.take(now_ns)
        self._sent += len(taken)
        for token, message in taken:
            if message is waiting:
                self.history.sent(now_ns, token)
        return [self._publish(now_ns, token, message) for token, message in taken]

    def _publish(self, now_ns: int, token: int, m: Message) -> Publish:
        """Without MQTT 5 a value cannot expire at the broker: it is not retained, and comes again at every
        birth."""
        if m.expires_ns is None:
            return Publish(token, m.topic, m.payload, m.retain, None, m.correlation if self._v5 else None)
        left_s = -(-(m.expires_ns - now_ns) // _S)
        return Publish(token, m.topic, m.payload, self._v5, left_s if self._v5 else None)
