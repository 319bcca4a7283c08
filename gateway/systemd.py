"""What systemd is told: that the gateway is ready, what it does, that it lives.

The protocol is sd_notify(3): datagrams of `NAME=value` lines to the socket named by NOTIFY_SOCKET, "@" standing for the
abstract namespace. Without systemd there is no such socket, and nothing is told.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

from gateway.clock import Clock
from gateway.types import Measurement, Outcome, Tick

_EVERY_NS = 5_000_000_000


class Systemd:
    """The unit's own line to systemd. Never waits, never raises: systemd that does not listen is no fault of ours."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        """`environ`: NOTIFY_SOCKET, and WATCHDOG_USEC, the time after which systemd ends a gateway that does not say
        that it lives.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog = environ.get("WATCHDOG_USEC", "")
        self._every_ns = int(watchdog) * 1000 // 4 if watchdog.isdecimal() else None
        self._clock, self._next_ns = clock, 0

    @property
    def there(self) -> bool:
        """Whether systemd has started the gateway, and starts it again."""
        return bool(self._address)

    def ready(self) -> None:
        """The loop begins."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The gateway ends."""
        self._tell("STOPPING=1")

    def status(self, words: str) -> None:
        """What `systemctl status` shows."""
        self._tell(f"STATUS={words}")

    def alive(self) -> None:
        """All is well; told as often as systemd's watchdog wants it, four times in its time."""
        now_ns = self._clock.monotonic_ns()
        if self._every_ns is not None and now_ns >= self._next_ns:
            self._next_ns = now_ns + self._every_ns
            self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto(message.encode(), self._address)


class StatusText:
    """A sink that tells systemd how the gateway fares, in a line: every gas, the laser, and why it is dark."""

    def __init__(self, systemd: Systemd) -> None:
        self._systemd = systemd
        self._next_ns = 0

    async def start(self) -> None:
        """See Sink."""

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        if tick.t_ns >= self._next_ns:
            self._next_ns = tick.t_ns + _EVERY_NS
            self._systemd.status(described(tick, outcome))

    async def close(self) -> None:
        """See Sink."""


def described(tick: Tick, outcome: Outcome) -> str:
    """How the gateway fares, in a line: `co2 412.30 ± 0.10 ppm; laser lit`."""
    gases = [_value(result) for result in tick.state.results.values() if isinstance(result, Measurement)]
    state, why = outcome.laser
    laser = f"laser {state}" if state else ""
    reason = outcome.barred or why
    alerts = f"alerts: {', '.join(tick.state.alerts)}" if tick.state.alerts else ""
    told = [*(gases or ["no value yet"]), f"{laser}, {reason}" if laser and reason else laser, alerts]
    return "; ".join(" ".join(words.split()) for words in told if words)


def _value(measurement: Measurement) -> str:
    if measurement.value is None or not measurement.valid:
        return f"{measurement.node} no valid value ({', '.join(sorted(measurement.flags)) or 'not valid'})"
    return f"{measurement.node} {measurement.value:.2f} ± {measurement.sigma:.2f} {measurement.unit}"
