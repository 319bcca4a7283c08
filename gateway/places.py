"""Where the gateway keeps files: what lives as long as it runs, and what outlasts it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

RUNTIME, STATE = Path("/run/spectrophone"), Path("/var/lib/spectrophone")
"""The directories of the box's service."""


def directory(environ: Mapping[str, str]) -> Path:
    """What lives as long as the gateway, status and safe states: systemd's runtime directory; that of the box's service
    as root or as the service's user; else the user's own.
    """
    if given := environ.get("RUNTIME_DIRECTORY"):
        return Path(given)
    if os.geteuid() == 0 or os.access(RUNTIME, os.W_OK):
        return RUNTIME
    user = environ.get("XDG_RUNTIME_DIR")
    return Path(user) / "spectrophone" if user else Path(tempfile.gettempdir()) / f"spectrophone-{os.geteuid()}"


def state_directory(environ: Mapping[str, str]) -> Path:
    """Where is kept what outlasts a restart: systemd's state directory; that of the box's service as root or as the
    service's user; else the user's own.
    """
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given)
    if os.geteuid() == 0 or os.access(STATE, os.W_OK):
        return STATE
    home = environ.get("XDG_STATE_HOME")
    return Path(home or Path.home() / ".local" / "state") / "spectrophone"
