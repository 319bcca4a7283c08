"""A phasor with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phasor:
    """`value`: complex peak amplitude, full scale; `sigma`: one standard deviation of its real (or imaginary) part,
    with `dof` degrees of freedom.
    """

    value: complex
    sigma: float
    dof: int
