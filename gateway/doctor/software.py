"""Python, libraries, configuration and its secrets."""

from __future__ import annotations

import importlib
import os
import platform
import pwd
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Set
from importlib import metadata
from pathlib import Path

from gateway.design import VERSION
from gateway.doctor.finding import Said, missing, needless, ok, warning
from gateway.doctor.place import Place

OLDEST = (3, 11)
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?\s*>=\s*([\d.]+)")
_EXTRA = re.compile(r"extra\s*==\s*['\"](\w+)['\"]")
_NATIVE = {"alsaaudio": "apt install libasound2", "soundfile": "pip install --force-reinstall soundfile"}
"""Libraries that load another one, and what brings it."""


def python(place: Place) -> Said:
    """The interpreter."""
    found = f"Python {platform.python_version()} in {sys.prefix}, spectrophone {VERSION}"
    if sys.version_info[:2] < OLDEST:
        return missing(found, "Install Python 3.11 or newer, and spectrophone in it")
    return ok(found)


def user(place: Place) -> Said:
    """Whether this is the user that the gateway runs as, since rights are part of what is looked at."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    if place.unit.get("LoadState") != "loaded":
        return ok(name)
    wanted = place.unit.get("User") or "root"
    if wanted not in (name, str(os.geteuid())):
        found = f"rights are looked at as {name}, and the gateway runs as {wanted}"
        return warning(found, f"Run: sudo -u {wanted} spectrophone doctor")
    return ok(f"{name}, as the gateway")


def libraries(place: Place) -> Said:
    """What spectrophone needs of others, and what its board needs beyond that."""
    extras = set() if place.board.simulated else {"pi"}
    laser = place.board.laser
    spared = set() if laser and laser.by == "gpiozero" else {"lgpio"}
    required = metadata.requires("spectrophone") or []
    lacking = list(lacking_of(required, extras, spared, _version))
    if lacking:
        names = "spectrophone[pi]" if extras else "spectrophone"
        return missing("; ".join(lacking), f"Run: pip install --upgrade '{names}'")
    for name, remedy in _NATIVE.items():
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            return missing(f"{name} cannot be loaded: {error}", f"Run: {remedy}")
    versions = ", ".join(f"{name} {_version(name)}" for name in ("numpy", "scipy", "paho-mqtt", "pyalsaaudio"))
    return ok(f"all there: {versions} and others" + (", with extra pi" if extras else ""))


def lacking_of(
    required: Iterable[str], extras: Set[str], spared: Set[str], version: Callable[[str], str | None]
) -> Iterator[str]:
    """Which requirements, such as `numpy>=2.0` or `gpiod>=2.2; extra == 'pi'`, do not hold, each in words."""
    for line in required:
        wanted, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if wanted is None or wanted[1] in spared or (extra is not None and extra[1] not in extras):
            continue
        there = version(wanted[1])
        if there is None:
            yield f"{wanted[1]} is not installed"
        elif _numbers(there) < _numbers(wanted[2]):
            yield f"{wanted[1]} is {there}, and {wanted[2]} or newer is needed"


def configuration(place: Place) -> Said:
    """The configuration's faults."""
    faults = place.checked.faults
    if not faults:
        return ok(f"{place.file}: no faults" if place.file else "none given: the built-in one, which has no faults")
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults, of which the first"
    command = f"spectrophone check {place.file}" if place.file else "spectrophone board detect"
    return missing(f"{count}: {faults[0]}", f"Mend it, and see them all with: {command}")


def secrets(place: Place) -> Said:
    """Who may read passwords and keys."""
    files = [] if place.file is None else [place.file.with_name("secrets.yaml")]
    config = place.checked.config
    if config and config.mqtt and config.mqtt.tls and config.mqtt.tls.key:
        files.append(config.mqtt.tls.key)
    there = [file for file in files if file.exists()]
    if not there:
        return needless("no file of secrets, no key")
    open_ones = [file for file in there if _mode(file) & (stat.S_IRWXO | stat.S_IWGRP)]
    if open_ones:
        names = " ".join(map(str, open_ones))
        return warning(f"others on this machine may read or change {names}", f"Run: chmod 640 {names}")
    return ok(f"only owner and group may read {', '.join(map(str, there))}")


def _mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """2.1.0rc1 as (2, 1, 0)."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
