"""How long a value is one: beyond that nobody shows its number, whoever asks and whatever became of its node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.nodes.concentration import LATE, LATE_S
from gateway.types import Flag, LockInResult, Measurement, PeakResult, Result


def record_s(results: Iterable[Result]) -> float:
    """How long the longest of their records is; a result without a record of its own comes with one of these."""
    return max((_record_s(result) or 0.0 for result in results), default=0.0)


def stale(result: Result, t_ns: int, longest_s: float = 0.0) -> bool:
    """Whether at stream time `t_ns` a result is older than LATE records and LATE_S seconds; `longest_s` is the record
    of one that has none of its own.
    """
    own_s = _record_s(result)
    return t_ns - result.t_ns >= 1e9 * max(LATE_S, LATE * (longest_s if own_s is None else own_s))


def aged(measurement: Measurement, t_ns: int) -> Measurement:
    """The measurement as it holds at stream time `t_ns`: itself, or where it is stale without its numbers, and flagged
    so.
    """
    if not stale(measurement, t_ns):
        return measurement
    return replace(
        measurement,
        value=None,
        sigma=None,
        u95=None,
        dof=0,
        lod=None,
        valid=False,
        flags=measurement.flags | {Flag.STALE},
        smoothed=None,
        sigma_smoothed=None,
    )


def _record_s(result: Result) -> float | None:
    match result:
        case Measurement():
            return result.source.integration_s
        case LockInResult() | PeakResult():
            return result.integration_s
    return None
