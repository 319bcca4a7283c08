"""What waits to go out while connected. Bounded in every direction: one message a topic, a window of
unacknowledged ones, and a queue of events (alarms, answers) that drops its oldest and counts them.
Announcements go first, then events, then values, then the journal's history; an event leaves only when the
broker has acknowledged it, so that a break in between sends it again.
"""

from __future__ import annotations

from collections import deque

from gateway.mqtt.picture import Message

WINDOW = 20
EVENTS = 256


class Outbox:
    """Messages waiting, and messages sent but not yet acknowledged (by token)."""

    def __init__(self) -> None:
        self.held = True
        """While held, only announcements go out."""
        self.dropped = 0
        """Events lost because nobody took them for too long."""
        self._window = WINDOW
        self._token = 0
        self._announcements: deque[Message] = deque()
        self._events: deque[Message] = deque()
        self._values: dict[str, Message] = {}
        self._history: Message | None = None
        self._sent_events: dict[int, Message] = {}
        self._sent: set[int] = set()

    @property
    def in_flight(self) -> int:
        """How many messages are sent but not acknowledged."""
        return len(self._sent)

    @property
    def waiting(self) -> int:
        """How many messages are not sent yet."""
        return len(self._announcements) + len(self._events) + len(self._values) + (self._history is not None)

    def open(self, window: int) -> None:
        """A new connection, whose broker takes `window` unacknowledged messages at once."""
        self._window = max(1, min(WINDOW, window))
        self._announcements.clear()
        self._values.clear()
        self._history = None
        for message in reversed(self._sent_events.values()):
            self._events.appendleft(message)
        self._sent_events.clear()
        self._sent.clear()

    def announce(self, messages: list[Message]) -> None:
        """Messages that go before all others, in order."""
        self._announcements.extend(messages)

    def put(self, messages: list[Message]) -> None:
        """Values and states: the newest of a topic replaces one that still waits."""
        for message in messages:
            self._values[message.topic] = message

    def put_events(self, messages: list[Message]) -> None:
        """Events, each of which counts."""
        self._events.extend(messages)
        while len(self._events) > EVENTS:
            self._events.popleft()
            self.dropped += 1

    def put_history(self, message: Message | None) -> None:
        """The message that goes when nothing else waits, if there is one."""
        self._history = message

    def acknowledged(self, token: int) -> None:
        """The broker has it."""
        self._sent.discard(token)
        self._sent_events.pop(token, None)

    def take(self, now_ns: int) -> list[tuple[int, Message]]:
        """What may go out now, each with its token. Values that are out of date are dropped."""
        taken: list[tuple[int, Message]] = []
        while len(self._sent) < self._window and (message := self._next()) is not None:
            if message.expires_ns is None or message.expires_ns > now_ns:
                taken.append((self._token, message))
            else:
                self._sent.discard(self._token)
        return taken

    def _next(self) -> Message | None:
        self._token += 1
        if self._announcements:
            message = self._announcements.popleft()
        elif self.held:
            return None
        elif self._events:
            message = self._sent_events[self._token] = self._events.popleft()
        elif self._values:
            message = self._values.pop(next(iter(self._values)))
        elif self._history is not None:
            message, self._history = self._history, None
        else:
            return None
        self._sent.add(self._token)
        return message
