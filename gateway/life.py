"""The gateway's own life: begin anew, safe mode, and the memory of starts that ended in a crash.

In safe mode the laser is dark, relays stay in their safe states and no customer's script runs; everything else goes on,
so that somebody far away can still look and tell. Who ends it says "normal", or lets the gateway begin anew. It begins
by itself where the gateway has crashed three times in a row, each time before it had measured for a minute: whatever it
is that ends it, a script or the light, is left out then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.errors import CommandRefused, SpectrophoneError
from gateway.ports import Output
from gateway.types import Command, Outcome, Tick

log = logging.getLogger("spectrophone.life")

GATEWAY, IDENTIFY = "gateway", "identify"
ASKED = ("restart", "safe_mode", "normal")
CRASHES = 3
"""So many in a row lead to safe mode."""
WELL_S = 60.0
"""Who has measured for so long has not crashed at its start."""


class Restart(SpectrophoneError):
    """The gateway has ended in order, and wants to be started again: EX_TEMPFAIL of sysexits.h."""

    exit_status = 75


class Life:
    """The gateway as an output, and as the switch that forbids light in safe mode (gateway.ports.Switch)."""

    target = GATEWAY
    verbs: tuple[str, ...] = ASKED

    def __init__(self, supervised: bool, end: Callable[[], None], restrain: Callable[[bool], None]) -> None:
        """`supervised`: somebody starts a gateway that has ended; `end` makes this one end, soon and in order;
        `restrain` is told whether scripts are kept from running.
        """
        self.restarting = False
        self.safe_because = ""
        """Why the gateway is in safe mode; nothing where it is not."""
        self._supervised, self._end, self._restrain = supervised, end, restrain

    def safe_mode(self, reason: str) -> None:
        """Go into safe mode."""
        log.error("safe mode: %s. The laser stays dark, relays stay safe and no script runs", reason)
        self.safe_because = reason
        self._restrain(True)

    def apply(self, command: Command) -> str | None:
        """See Output."""
        if command.verb == "restart":
            if not self._supervised:
                message = "nobody would start the gateway again: it does not run as a service of systemd"
                raise CommandRefused(message, "Start it anew by hand, or as a service")
            log.warning("told to begin anew by %s", command.origin or "somebody")
            self.restarting = True
            self._end()
            return "the outputs are made safe, and the gateway begins anew"
        if command.verb == "safe_mode":
            self.safe_mode(f"told by {command.origin or 'somebody'}")
            return None
        if not self.safe_because:
            return None
        log.warning("safe mode is over, told by %s", command.origin or "somebody")
        self.safe_because = ""
        self._restrain(False)
        return "the laser stays dark until it is told to be on"

    def read(self) -> str:
        """See Output."""
        return "safe mode" if self.safe_because else "running"

    def step(self, t_ns: int) -> None:
        """See gateway.ports.Output."""

    def make_safe(self) -> None:
        """See Output: it switches nothing by itself."""

    def fileno(self) -> int:
        """See gateway.ports.Switch: who asks ten times a second is soon enough."""
        return -1

    def opened(self) -> str:
        """See gateway.ports.Switch."""
        return f"the gateway is in safe mode: {self.safe_because}" if self.safe_because else ""

    def close(self) -> None:
        """See Output and gateway.ports.Switch."""


class Starts:
    """A sink that keeps in a file how many starts in a row have ended in a crash, and goes into safe mode at the third.

    A start counts from its beginning, until it has measured for WELL_S or has ended in order: nobody writes down a
    crash. Starts of another boot of the machine do not count: a power cut is no crash, and cannot be told from one.
    """

    def __init__(self, file: Path, life: Life, boot: str) -> None:
        """`boot` tells this boot of the machine from others: gateway.clock.Clock.boot."""
        self._file, self._life, self._boot = file, life, boot
        self._before = 0
        self._counted = False

    async def start(self) -> None:
        """See Sink. Before the actions start."""
        try:
            count, boot = self._file.read_text("utf-8").split()
            self._before = int(count) if boot == self._boot else 0
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("%s: nobody knows how the gateway ended before: %s", self._file, error)
        self._counted = True
        self._write(self._before + 1)
        if self._before >= CRASHES:
            self._life.safe_mode(f"it has crashed {self._before} times, each within {WELL_S:g} s of its start")

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        if self._counted and tick.t_ns >= WELL_S * 1e9:
            self.forget()

    async def close(self) -> None:
        """See Sink."""

    def forget(self) -> None:
        """All is well: no crash before this counts any more."""
        self._counted = False
        self._file.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """This start ended for a reason that people can mend, a microphone that is missing: it is no crash."""
        if self._counted:
            self._counted = False
            self._write(self._before)

    def _write(self, count: int) -> None:
        try:
            self._file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._file.write_text(f"{count} {self._boot}\n", "utf-8")
        except OSError as error:
            log.warning("%s: starts cannot be counted: %s", self._file, error.strerror or error)


class Identify:
    """All LEDs as one output, so that a box is found among many: the flashing that nothing else shows."""

    target = IDENTIFY
    verbs: tuple[str, ...] = (IDENTIFY,)

    def __init__(self, leds: Sequence[Output]) -> None:
        self._leds = tuple(leds)

    def apply(self, command: Command) -> None:
        """See Output. Each LED is told, whatever another says. Raises what the last one that fails has raised."""
        failed: SpectrophoneError | None = None
        for led in self._leds:
            try:
                led.apply(command)
            except SpectrophoneError as error:
                failed = error
        if failed is not None:
            raise failed

    def read(self) -> str:
        """See Output."""
        return IDENTIFY if any(led.read() == IDENTIFY for led in self._leds) else "idle"

    def step(self, t_ns: int) -> None:
        """See gateway.ports.Output: the LEDs have their own."""

    def make_safe(self) -> None:
        """See Output: the LEDs have their own."""

    def close(self) -> None:
        """See Output: the LEDs have their own."""
