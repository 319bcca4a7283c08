"""What a subscriber should see now: the newest message of every topic, built from ticks. No I/O; time is a
parameter.

Values expire after `expire_s`, so that no box ever shows an old number as fresh; states (outputs, alarms, the
problem) stay until they change. While nobody listens the newest of each is kept, and all of it is shown at
every reconnect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gateway.health import LIVES_S as HEALTH_S
from gateway.mqtt import codec
from gateway.mqtt.commands import ORIGIN, ReplyTo
from gateway.mqtt.face import Face
from gateway.mqtt.topics import Topics
from gateway.reports import EVERY_S, LIFE_S, Reports
from gateway.types import CommandResult, Measurement, Outcome, ResonanceResult, Tick

_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """Something to publish. `expires_ns` (monotonic) marks a value; `retain` is what a broker with MQTT 5 is
    asked for."""

    topic: str
    payload: bytes
    retain: bool = True
    expires_ns: int | None = None
    correlation: bytes | None = None


class Picture:
    """The newest message of every topic of the box `face`."""

    def __init__(
        self, face: Face, topics: Topics, expire_s: float, reports: Reports = lambda: MappingProxyType({})
    ) -> None:
        """`reports` gives what is told beside the measurement."""
        self._face = face
        self._topics = topics
        self._expire_ns = round(expire_s * 1e9)
        self._reports = reports
        self.complaints: tuple[str, ...] = ()
        """What is wrong with the box itself, whatever its values."""
        self._shown: dict[str, Message] = {}
        self._last_ns: int | None = None
        self._report_ns: int | None = None

    def show(self, face: Face) -> None:
        """Go on as that box; what it does not show is forgotten."""
        gone = {rule.name for rule in self._face.rules} - {rule.name for rule in face.rules}
        topics = {self._topics.alarm_state(rule) for rule in gone}
        gone_outputs = {o.target for o in self._face.outputs} - {o.target for o in face.outputs}
        topics |= {self._topics.state(target) for target in gone_outputs}
        topics |= {self._topics.action(node) for node in {*self._face.actions} - {*face.actions}}
        self._face, self._report_ns = face, None
        self._shown = {topic: message for topic, message in self._shown.items() if topic not in topics}

    def take(self, now_ns: int, tick: Tick, outcome: Outcome) -> tuple[list[Message], list[Message]]:
        """Bring the picture up to date: the messages that changed, and the events (alarms, answers)."""
        self._last_ns = now_ns
        changed = [self._value(now_ns, r, tick) for r in tick.results if isinstance(r, codec.Shown)]
        changed += self._told(now_ns)
        shown = {t: state for t, state in outcome.states.items() if self._face.output(t) is not None}
        states = {self._topics.state(t): self._output(t, state) for t, state in shown.items()}
        if self._face.output("laser") is not None:
            states[self._topics.laser_ready] = b"offline" if outcome.barred else b"online"
            states[self._topics.laser_state] = codec.laser_payload(*outcome.laser)
        states |= {self._topics.alarm_state(r.name): _on(r.name in tick.state.alerts) for r in self._face.rules}
        states[self._topics.problem] = codec.problem_payload(self._problems(tick))
        changed += [m for topic, payload in states.items() if (m := self._state(topic, payload)) is not None]
        box = self._face.box
        events = [Message(self._topics.alarm, codec.alert_payload(a, box, tick), False) for a in tick.alerts]
        for result in outcome.results:
            events += self.answers(result)
        return changed, events

    def answers(self, result: CommandResult) -> list[Message]:
        """What goes out about a command of ours: on the result topic, and where the asker wants it."""
        if result.command.origin != ORIGIN:
            return []
        payload = codec.answer_payload(result)
        answers = [Message(self._topics.result, payload, False)]
        if isinstance(reply := result.command.reply_to, ReplyTo):
            answers.append(Message(reply.topic, payload, False, correlation=reply.correlation))
        return answers

    def health(self, now_ns: int, facts: Mapping[str, Any]) -> Message:
        """How the box fares, once a minute (gateway.health)."""
        message = Message(self._topics.health, codec.dump(facts), expires_ns=now_ns + HEALTH_S * 1_000_000_000)
        self._shown[message.topic] = message
        return message

    def silence(self, now_ns: int) -> Message | None:
        """A problem, if no tick has come for longer than a value lives; None if there is nothing new to
        say."""
        if self._last_ns is None or now_ns - self._last_ns <= self._expire_ns:
            return None
        return self._state(self._topics.problem, codec.problem_payload(("the measurement stands still",)))

    def all(self, now_ns: int) -> list[Message]:
        """Everything that is not out of date."""
        return [m for m in self._shown.values() if m.expires_ns is None or m.expires_ns > now_ns]

    def _value(self, now_ns: int, result: codec.Shown, tick: Tick) -> Message:
        place = self._topics.signal
        if isinstance(result, Measurement):
            place = self._topics.measurement
        elif isinstance(result, ResonanceResult):
            place = self._topics.resonance
        payload = codec.result_payload(result, self._face.box, tick)
        return self._expiring(place(result.node), payload, now_ns + self._expire_ns)

    def _told(self, now_ns: int) -> list[Message]:
        """What is told beside it, now and then."""
        if self._report_ns is not None and now_ns < self._report_ns:
            return []
        self._report_ns = now_ns + round(EVERY_S * _S)
        expires_ns = now_ns + LIFE_S * _S
        return [
            self._expiring(self._topics.report(name), codec.report_payload(body), expires_ns)
            for name, body in self._reports().items()
        ]

    def _expiring(self, topic: str, payload: bytes, expires_ns: int) -> Message:
        self._shown[topic] = Message(topic, payload, expires_ns=expires_ns)
        return self._shown[topic]

    def _state(self, topic: str, payload: bytes) -> Message | None:
        old = self._shown.get(topic)
        if old is not None and old.payload == payload:
            return None
        self._shown[topic] = Message(topic, payload)
        return self._shown[topic]

    def _output(self, target: str, state: str) -> bytes:
        return codec.state_payload(self._face.output(target), state)

    def _problems(self, tick: Tick) -> tuple[str, ...]:
        problems = [*self.complaints]
        for gas in self._face.gases:
            newest = tick.state.results.get(gas.node)
            age_ns = tick.t_ns - (newest.t_ns if newest is not None else 0)
            if age_ns > self._expire_ns:
                problems.append(f"{gas.node}: no new value")
            elif isinstance(newest, Measurement) and not newest.valid:
                problems.append(f"{gas.node}: {', '.join(sorted(newest.flags)) or 'not valid'}")
        return tuple(problems)


def _on(raised: bool) -> bytes:
    return b"ON" if raised else b"OFF"
