"""The table of checks, and going through it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.config.redact import redact
from gateway.doctor import firmware, guards, lines, machine, network, running, sensors, software, sound, walls
from gateway.doctor.finding import CannotTellError, Finding, Said, missing, needless
from gateway.doctor.place import Place
from gateway.errors import SpectrophoneError

log = logging.getLogger("spectrophone.doctor")

PATIENCE_S = 30.0
"""No check takes longer; what hangs in the kernel is left hanging."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check: `about` is what it looks at, in words; with `hardware` it is not needed on a simulated board."""

    group: str
    name: str
    about: str
    look: Callable[[Place], Said]
    hardware: bool = False


CHECKS: tuple[Check, ...] = (
    Check("software", "Python", "the interpreter's version", software.python),
    Check("software", "user", "whether this is the gateway's user, whose rights count", software.user),
    Check("software", "libraries", "every library in its version, and those that the board needs", software.libraries),
    Check("software", "configuration", "how many faults it has, and the first", software.configuration),
    Check("software", "secrets", "who may read secrets.yaml and the TLS key", software.secrets),
    Check("board", "board", "which is taken, why, and whether this machine is one", firmware.board),
    Check("board", "config.txt", "whether it has what `board config-txt` prints", firmware.config_file, True),
    Check("sound", "sound card", "whether the card that the device names is there", sound.card),
    Check("sound", "microphone", "whether it opens as configured; level of a second of sound", sound.microphone),
    Check("lines", "GPIO chip", "by its label, and whether it may be opened", lines.chip, True),
    Check("lines", "GPIO lines", "free, or held by whom", lines.lines, True),
    Check("lines", "PWM", "chip, channel, clock and permission; free, or held by whom", lines.pwm, True),
    Check("lines", "interlock and stop", "whether they let the laser be lit now", lines.switches, True),
    Check("sensors", "climate", "each sensor, asked once", sensors.climate, True),
    Check("sensors", "TEC", "the ADC's voltage, and the thermistor behind it", sensors.tec, True),
    Check("safety", "systemd unit", "WatchdogSec, and ExecStopPost that makes the box safe", guards.unit, True),
    Check("safety", "hardware watchdog", "there, and fed by systemd", guards.watchdog, True),
    Check(
        "safety",
        "strict_gpiod",
        "whether the kernel lets go of a dead process's lines",
        firmware.lines_of_the_dead,
        True,
    ),
    Check("scripts", "isolation", "the level that scripts get here, found out by doing", walls.isolation),
    Check("scripts", "control groups", "of the kernel, and delegated by systemd", walls.control_groups),
    Check("machine", "clock", "whether the time of day is known", machine.clock),
    Check("machine", "disk", "room and permission where the state is kept; signs of wear", machine.disk),
    Check("machine", "journal", "readable, and within its bounds", machine.journal),
    Check("machine", "memory", "what is left for the gateway", machine.memory),
    Check("machine", "heat", "the processor's temperature", machine.heat),
    Check("machine", "power", "voltage and throttling, now and since the start", machine.power),
    Check(
        "network", "MQTT broker", "name, connection, certificate, login, right to publish and to listen", network.broker
    ),
    Check("gateway", "gateway", "whether one runs here, and how it fares", running.gateway),
)
"""In the order in which a person would mend."""


def findings(place: Place, checks: Sequence[Check] = CHECKS, patience_s: float = PATIENCE_S) -> Iterator[Finding]:
    """What each check finds, as soon as it has. Never raises; secrets are blacked out."""
    for check in checks:
        said = _bounded(check, place, patience_s)
        secrets = place.checked.secrets
        found, remedy = redact(said.found, secrets), redact(said.remedy, secrets)
        yield Finding(check.group, check.name, said.state, " ".join(found.split()), " ".join(remedy.split()))


def _bounded(check: Check, place: Place, patience_s: float) -> Said:
    """The check in a thread of its own, which a driver of the kernel may hold for ever."""
    answers = [Said("unknown", f"no answer within {patience_s:g} s", "Try again; dmesg may tell what hangs")]
    thread = threading.Thread(target=lambda: answers.append(_said(check, place)), name=check.name, daemon=True)
    thread.start()
    thread.join(patience_s)
    return answers[-1]


def _said(check: Check, place: Place) -> Said:
    try:
        if check.hardware and place.board.simulated:
            return needless(f"board {place.board.name} is simulated")
        return check.look(place)
    except CannotTellError as why:
        return Said("unknown", str(why))
    except SpectrophoneError as error:
        return missing(error.message, error.remedy)
    except Exception as error:
        log.debug("check %s failed", check.name, exc_info=True)
        return Said("unknown", f"the check failed: {type(error).__name__}: {error}", "Please report this")
