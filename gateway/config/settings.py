"""The base of every group of settings: frozen, no unknown options, each check in the field's declaration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A group of settings. Declare each option once, with default, bounds and description:

        order: int = Field(4, ge=1, le=16, description="order of the low-pass prototype")

    The check, its message, the JSON Schema and the reference page all come from that line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
