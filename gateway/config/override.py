"""What the command line changes in a configuration, checked like the configuration itself."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from gateway.config.config import Config
from gateway.errors import UsageError


def overridden(config: Config, *, device: str | None = None, ppm: float | None = None) -> Config:
    """The configuration with another microphone or another simulated concentration. Raises UsageError."""
    if device is not None:
        config = _with(config, "acquisition", "--microphone", device=device)
    if ppm is not None:
        config = _with(config, "cell", "--ppm", ppm=ppm)
    return config


def _with(config: Config, section: str, option: str, **values: Any) -> Config:
    settings = getattr(config, section)
    try:
        changed = type(settings).model_validate({**settings.model_dump(exclude_unset=True), **values})
    except ValidationError as error:
        ((name, value),) = values.items()
        reason = error.errors()[0]["msg"]
        raise UsageError(f"{option} {value}: not a value for {section}.{name}", reason) from None
    return config.model_copy(update={section: changed})
