"""Machines that are not there: a directory of files as a kernel has them, a configuration, and what programs say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway import configured
from gateway.detect import detect
from gateway.doctor.place import Place
from tests.support.clock import FakeClock

PI4 = "Raspberry Pi 4 Model B Rev 1.4"
ZERO = " 0 [Zero           ]: RPi_Codec_Zero - RPi Codec Zero\n                      RPi Codec Zero\n"
UNIT = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "MainPID": "0",
    "Type": "notify",
    "WatchdogUSec": "5s",
    "ExecStopPost": "{ path=/usr/bin/spectrophone ; argv[]=/usr/bin/spectrophone safe ; ignore_errors=no }",
    "Delegate": "yes",
    "DelegateControllers": "cpu memory pids",
}
"""What systemd says of a good unit."""
STATUS: dict[str, Any] = {
    "box": "lab-42", "board": "rpi4-codec-zero", "pid": 4711, "age_s": 0.5, "laser": "lit", "laser_dark_because": "",
    "blocks": 100, "overruns": 0, "lost_frames": 0, "mqtt": "connected", "journal": {}, "actions": [], "results": [],
}  # fmt: skip
"""What a gateway that fares well tells of itself."""


def machine(root: Path, text: str = "board: sim\n", files: Mapping[str, str] | None = None, **changes: Any) -> Place:
    """The machine with these `files` below `root`, and the configuration `text`; `changes` are fields of Place."""
    for path, content in (files or {}).items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    root.mkdir(exist_ok=True)
    config = root / "gateway.yaml"
    config.write_text(text)
    state = root / "state"
    state.mkdir(exist_ok=True)
    place = Place(
        config,
        configured.prepare(config, {}),
        detect(root),
        FakeClock(),
        {"STATE_DIRECTORY": str(state)},
        root,
        ask=silent,
    )
    return dataclasses.replace(place, **changes)


def pi4(
    root: Path, text: str = "board: rpi4-codec-zero\n", files: Mapping[str, str] | None = None, **changes: Any
) -> Place:
    """A Raspberry Pi 4 with its Codec Zero."""
    own = {"proc/device-tree/model": f"{PI4}\0", "proc/asound/cards": ZERO}
    return machine(root, text, {**own, **(files or {})}, **changes)


def silent(command: Sequence[str]) -> str | None:
    """No program of the system is there."""
    return None
