"""How customers' scripts are fenced in here."""

from __future__ import annotations

import getpass
import os

from gateway.doctor.finding import Said, missing, ok, warning
from gateway.doctor.place import Place
from gateway.scripts.confine import probe
from gateway.scripts.confine.cgroup import CONTROLLERS

_WALLS = {
    "A": "namespaces, Landlock, seccomp",
    "B": "namespaces, seccomp",
    "L": "Landlock, seccomp",
    "C": "seccomp only",
    "D": "none holds",
}
"""What stands at each level, strongest first."""


def isolation(place: Place) -> Said:
    """The level that scripts get, found out by doing, against the least that is configured."""
    section = place.config.scripts
    return judged(probe.probe(), section.level, section.min_isolation)


def judged(found: probe.Capabilities, wanted: str, least: str) -> Said:
    """What that level means where `wanted` ("auto": the best) is configured, and at least `least`."""
    level = found.level if wanted == "auto" else wanted
    words = f"level {level} ({_WALLS[level]}) as user {_user()}"
    lacking = "; ".join(found.notes)
    order = list(_WALLS)
    if order.index(level) < order.index(found.level):
        return missing(f"{words} is configured, and this machine reaches {found.level}", "Write scripts.level: auto")
    if order.index(level) > order.index(least):
        return missing(f"{words}, and scripts.min_isolation is {least}: no script runs", lacking or "Lower that")
    if level == "C":
        return warning(words, lacking or "Write scripts.level: auto")
    return ok(words + (f"; beyond it {lacking}" if lacking else ""))


def control_groups(place: Place) -> Said:
    """Whether the kernel counts memory and CPU of scripts, and systemd leaves that to the gateway."""
    there = place.text("sys/fs/cgroup/cgroup.controllers").split()
    lacking = [name for name in CONTROLLERS if name not in there]
    if not there:
        return warning(
            "there is no cgroup v2: a script's memory is bounded by its own limits only",
            "Write systemd.unified_cgroup_hierarchy=1 into the kernel's command line, or ask who runs the container",
        )
    if lacking:
        remedy = (
            "Write cgroup_enable=memory into cmdline.txt, and restart" if "memory" in lacking else "Use another kernel"
        )
        return warning(f"the kernel has no control of {', '.join(lacking)} by cgroup", remedy)
    if place.unit.get("LoadState") != "loaded":
        return ok(f"the kernel has {', '.join(CONTROLLERS)}; without a unit nobody delegates them to the gateway")
    told = place.gateway.get("scripts", {}).get("control_groups") if place.gateway else None
    if told:
        return ok(f"the running gateway's scripts have {', '.join(told)}")
    if place.unit.get("Delegate") != "yes" or place.unit.get("ProtectControlGroups") == "yes":
        remedy = f"Write Delegate={' '.join(CONTROLLERS)} and ProtectControlGroups=no in its unit"
        return warning("systemd does not delegate control groups to the gateway", remedy)
    return ok(f"delegated: {place.unit.get('DelegateControllers') or 'all'}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())
