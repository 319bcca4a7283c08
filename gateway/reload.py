"""A changed configuration or calibration file, applied between two blocks where that is safe.

Nodes and rules are exchanged in the running path; the simulated cell's ppm and the laser's temperature are set. A file
with a fault changes nothing and its faults are told. What cannot change while running is named, and waits for a
restart.

While the file does not say how the laser is to be driven (it cannot be read, or has a fault in a section that the
laser hangs on) there is no light: docs/decisions/0017-safety.md. A gateway that began in spite of faults
(gateway.configured.salvaged) has none until the file is mended, and then begins anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway import configured, design
from gateway.board import Board
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.config.redact import Secrets
from gateway.errors import Fault
from gateway.life import GATEWAY
from gateway.ports import Inbox
from gateway.tuning import Tuning
from gateway.types import Command

log = logging.getLogger("spectrophone.reload")

_EVERY_NS = 1_000_000_000
_AGAIN_NS = 30_000_000_000
"""When a file with faults is read again although it has not changed: it may be a secret that was missing."""
_DRIVING = ("board", "laser", "acquisition", "tec")
"""The sections that the laser hangs on."""
_FIXED = tuple(name for name in Config.model_fields if name not in ("tec", "cell", "processing", "rules"))
"""The sections of which nothing can change while running."""


class Reloader:
    """Looks at a configuration file, and at the calibrations that it names, once a second."""

    def __init__(
        self,
        file: Path,
        tuning: Tuning,
        board: Board,
        inbox: Inbox,
        secrets: Secrets,
        doubted: Callable[[str], None] = lambda why: None,
        applied: Callable[[Config], None] = lambda config: None,
        faults: Sequence[Fault] = (),
    ) -> None:
        """`tuning` has the configuration that the gateway runs by; `secrets` are those in it, those of the changed one
        are put to them. `doubted` is told why the file does not say how to drive the laser, or nothing when it does;
        `applied` is given what is followed from now on, on the event loop's thread. `faults` are those in spite of
        which the gateway has begun.
        """
        self.faults = tuple(str(fault) for fault in faults)
        """What is wrong with the file now; nothing if all is well."""
        self._salvaged = bool(faults)
        self._file, self._doubted, self._applied = file, doubted, applied
        self._tuning, self._config = tuning, tuning.file
        self._board = board
        self._inbox = inbox
        self._secrets = secrets
        self._seen = self._digest()
        self._missed = False

    async def watch(self, clock: Clock) -> None:
        """Look for ever. Reading and checking happen in another thread, so that no block waits for them."""
        again_ns = clock.monotonic_ns() + _AGAIN_NS
        while True:
            await clock.sleep_until(clock.monotonic_ns() + _EVERY_NS)
            again = bool(self.faults) and clock.monotonic_ns() >= again_ns
            digest = await asyncio.to_thread(self._digest)
            if digest is None and self._missed:
                self._doubted(f"the configuration cannot be read: {self._file}")
            self._missed = digest is None
            if digest is None or (digest == self._seen and not again):
                continue
            self._seen, again_ns = digest, clock.monotonic_ns() + _AGAIN_NS
            await asyncio.to_thread(self._follow)
            self._applied(self._tuning.file)

    def _follow(self) -> None:
        with self._tuning.lock:
            for command in self.changed():
                self._inbox.put(command)

    def changed(self) -> tuple[Command, ...]:
        """The commands that make the running gateway follow the file as it is now."""
        checked = configured.prepare(self._file)
        self._secrets.add(checked.secrets)
        before, self.faults = self.faults, tuple(str(fault) for fault in checked.faults)
        if checked.config is None:
            if self.faults != before:
                for fault in self.faults:
                    log.error("%s", fault)
                log.error("%s has %d faults; the gateway goes on as it was", self._file, len(self.faults))
            driving = [f for f in checked.faults if self._salvaged or not f.loc or f.loc[0] in _DRIVING]
            self._doubted(f"the configuration has a fault: {driving[0]}" if driving else "")
            return ()
        if self._salvaged:
            log.warning("%s has no fault any more; the gateway begins anew by it", self._file)
            return (Command(GATEWAY, "restart", origin="configuration"),)
        self._doubted("")
        old, new = self._config, checked.config
        same = design.shape(self._tuning.file) == design.shape(new)
        commands = list(self._tuning.follow(new)) if same else []
        if old.cell.ppm != new.cell.ppm and self._board.simulated:
            commands.append(Command("cell", "set", {"value": new.cell.ppm}, "configuration"))
        commands += _tec(old, new)
        if waiting := restarting(old, new, same=same):
            log.warning("%s: changes of %s wait for a restart", self._file, ", ".join(waiting))
        log.info("%s applied", self._file)
        self._config = new
        return tuple(commands)

    def _digest(self) -> bytes | None:
        """Of the configuration and its calibrations; None where one cannot be read just now."""
        try:
            files = (self._file, *design.calibration_files(self._config).values())
            return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).digest()
        except OSError:
            return None


def restarting(old: Config, new: Config, *, same: bool | None = None) -> list[str]:
    """The sections whose change waits for a restart; `same`: whether the nodes are, looked at if absent."""
    waiting = [name for name in _FIXED if getattr(old, name) != getattr(new, name)]
    if not (design.shape(old) == design.shape(new) if same is None else same):
        waiting.append("processing (nodes or connections)")
    if old.cell.model_copy(update={"ppm": new.cell.ppm}) != new.cell:
        waiting.append("cell")
    if old.tec is None or new.tec is None:
        waiting += ["tec"] if old.tec != new.tec else []
    elif old.tec.model_copy(update={"setpoint_c": new.tec.setpoint_c}) != new.tec:
        waiting.append("tec")
    return waiting


def _tec(old: Config, new: Config) -> list[Command]:
    """What the TEC is told: its set-point, where it has another."""
    if old.tec is None or new.tec is None or old.tec.setpoint_c == new.tec.setpoint_c:
        return []
    return [Command("tec", "set", {"value": new.tec.setpoint_c}, "configuration")]
