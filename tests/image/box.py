"""The modules that run on an image's box, which are no package: they lie beside each other in one directory there."""

import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
IMAGE = PROJECT / "image"
BOX = IMAGE / "files/usr/lib/spectrophone"
for directory in (IMAGE, BOX):
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))

import card  # noqa: E402
import describe  # noqa: E402
import settings  # noqa: E402
import slots  # noqa: E402
import system_yaml  # noqa: E402
import trial  # noqa: E402
import update  # noqa: E402

__all__ = ["BOX", "IMAGE", "PROJECT", "card", "describe", "settings", "slots", "system_yaml", "trial", "update"]
