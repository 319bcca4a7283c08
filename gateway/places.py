"""Where the gateway keeps files: what lives as long as it runs, and what outlasts it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def directory(environ: Mapping[str, str]) -> Path:
    """What lives as long as the gateway, status and safe states: systemd's runtime directory, /run as root, else the
    user's own.
    """
    if given := environ.get("RUNTIME_DIRECTORY"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/run/spectrophone")
    user = environ.get("XDG_RUNTIME_DIR")
    return Path(user) / "spectrophone" if user else Path(tempfile.gettempdir()) / f"spectrophone-{os.geteuid()}"


def state_directory(environ: Mapping[str, str]) -> Path:
    """Where is kept what outlasts a restart: systemd's state directory, /var/lib as root, else the user's own."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/spectrophone")
    home = environ.get("XDG_STATE_HOME")
    return Path(home or Path.home() / ".local" / "state") / "spectrophone"
