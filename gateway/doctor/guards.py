"""Who makes the box safe when the gateway cannot: the hardware's watchdog, systemd, and what it runs after a crash."""

from __future__ import annotations

import re

from gateway.doctor.finding import CannotTellError, Said, missing, ok, warning
from gateway.doctor.place import UNIT, Place

_SECTION = "its section [Service]"


def watchdog(place: Place) -> Said:
    """The hardware's watchdog, and whether systemd feeds it."""
    found = sorted(place.root.glob("sys/class/watchdog/watchdog[0-9]*"))
    if not found and not (place.root / "dev/watchdog").exists():
        return missing("there is no hardware watchdog", "Write dtparam=watchdog=on into config.txt, and restart the Pi")
    name = place.text(f"sys/class/watchdog/{found[0].name}/identity") if found else ""
    name = name or "a hardware watchdog"
    fed = (place.ask(["systemctl", "show", "--property=RuntimeWatchdogUSec", "--value"]) or "").strip()
    if not fed:
        raise CannotTellError(f"{name} is there, and systemd does not say whether it feeds it")
    if fed in ("0", "infinity"):
        remedy = (
            "Write RuntimeWatchdogSec=15 under [Manager] into /etc/systemd/system.conf.d/watchdog.conf, and run "
            "systemctl daemon-reexec"
        )
        return missing(f"{name} is there, and nobody feeds it: a machine that hangs stays hung", remedy)
    return ok(f"{name}, fed by systemd: a machine that hangs restarts after {fed}")


def unit(place: Place) -> Said:
    """The gateway's systemd unit: watched, and safe after a crash."""
    if not place.unit:
        return warning("systemd does not run here: nobody restarts the gateway", "Run it under systemd on a box")
    if place.unit.get("LoadState") != "loaded":
        remedy = (
            "Write one with ExecStart=spectrophone run, Type=notify, WatchdogSec=5, ExecStopPost=+spectrophone safe"
        )
        return missing(f"there is no unit {UNIT}: nothing starts the gateway, or makes it safe after a crash", remedy)
    lacking = []
    if "safe" not in place.unit.get("ExecStopPost", ""):
        lacking.append("ExecStopPost=+spectrophone safe")
    if place.unit.get("Type") != "notify":
        lacking.append("Type=notify")
    if not (watched := _watched(place)):
        lacking.append("WatchdogSec=5")
    if lacking:
        remedy = f"Write {' and '.join(lacking)} into {_SECTION}, then systemctl daemon-reload"
        return missing(f"{UNIT} lacks {', '.join(lacking)}", remedy)
    if place.unit.get("UnitFileState") not in ("enabled", "enabled-runtime"):
        return warning(f"{UNIT} is not enabled: a restart leaves the box without", f"Run: systemctl enable {UNIT}")
    found = f"{UNIT} is {place.unit.get('ActiveState', 'known')}"
    return ok(f"{found}, with watchdog ({watched}) and spectrophone safe behind it")


def _watched(place: Place) -> str:
    """After how long systemd ends a gateway that hangs, "" for never. Of a unit that was never started systemd says
    "infinity" whatever stands in it, so it is read.
    """
    told = place.unit.get("WatchdogUSec", "")
    if told not in ("", "0", "infinity"):
        return told
    said = re.findall(r"^WatchdogSec=(.*)$", place.ask(["systemctl", "cat", UNIT]) or "", re.MULTILINE)
    return "" if not said or said[-1].strip() in ("", "0", "infinity") else said[-1].strip()
