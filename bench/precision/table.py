"""The verdicts and the tables. Targets: issue 3, "It is done when"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.precision.scenarios import Scenario
from bench.precision.score import Estimate, Score, headline

CLEAN_EFFICIENCY, EFFICIENCY, HEADLINE = 0.95, 0.80, 0.95
BIAS_PPM, BIAS = 0.05, 5e-4
COVERAGE = (0.93, 0.98)
FALSE_FLAGS = 1e-3


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario: the score of every estimator by name ("ours" first), or why the gateway cannot run it yet."""

    scenario: Scenario
    scores: Mapping[str, Score]
    not_yet: str = ""


def verdicts(row: Row) -> dict[str, str]:
    """For each target "ok", "?" (missed by less than two standard errors) or "FAIL"."""
    ours = row.scores["ours"]
    if not ours.valid:
        return {"valid": "FAIL"}
    efficiency, bias, coverage = ours.efficiency, ours.bias_ppm, ours.coverage
    least = CLEAN_EFFICIENCY if row.scenario.clean else EFFICIENCY
    most_bias = max(BIAS_PPM, BIAS * ours.largest_ppm)
    outside = max(COVERAGE[0] - coverage.value, coverage.value - COVERAGE[1])
    return {
        "efficiency": _verdict(least - efficiency.value, efficiency.error),
        "bias": _verdict(abs(bias.value) - most_bias, bias.error),
        "coverage": _verdict(outside, coverage.error),
        "missed flags": "FAIL" if ours.missed else "ok",
        "false flags": _false(ours.false, ours.readings),
    }


def _verdict(beyond: float, error: float) -> str:
    return "ok" if beyond <= 0.0 else "?" if beyond <= 2.0 * error else "FAIL"


def _false(count: int, readings: int) -> str:
    """More than so rare an event allows: Poisson's standard deviation, and one that may come at any time."""
    mean = FALSE_FLAGS * readings
    return "ok" if count <= mean else "?" if count <= mean + 2.0 * mean**0.5 + 1.0 else "FAIL"


def told(rows: Sequence[Row]) -> Iterator[str]:
    """Everything, in lines."""
    yield "ours: the gateway's whole path. bias and efficiency against the Cramer-Rao bound, luck of the draw taken out"
    yield (
        f"{'scenario':26} {'bias ppm':>17} {'RMSE':>7} {'bound':>6} {'efficiency':>14} {'coverage of 95 %':>17}"
        f" {'u95':>6} {'missed':>7} {'false':>6} {'valid':>10}"
    )
    yield from (_ours(row) for row in rows)
    measured = [row for row in rows if not row.not_yet]
    others = list(dict.fromkeys(name for row in measured for name in row.scores))
    if not measured:
        return
    yield ""
    yield "side by side: bias ppm / RMSE ppm / efficiency"
    yield f"{'scenario':26}" + "".join(f"{name:>26}" for name in others)
    yield from (f"{row.scenario.name:26}" + "".join(f"{_cell(row.scores[n]):>26}" for n in others) for row in measured)
    for label, pick in (("geometric mean of min(1, eff.)", headline), ("worst efficiency", min)):
        cells = (pick([_efficiency(row.scores[name]) for row in measured]) for name in others)
        yield f"{label:30}" + "".join(f"{cell:>{22 if i == 0 else 26}.4f}" for i, cell in enumerate(cells))
    yield ""
    yield from _summary(rows)


def _ours(row: Row) -> str:
    if row.not_yet:
        return f"{row.scenario.name:26} not yet: {row.not_yet}"
    ours = row.scores["ours"]
    flags = ", ".join(f"{flag} {count}" for flag, count in ours.flags.items())
    failed = ", ".join(f"{verdict}: {what}" for what, verdict in verdicts(row).items() if verdict != "ok")
    return (
        f"{row.scenario.name:26} {_with_error(ours.bias_ppm, 4):>17} {ours.rmse_ppm:7.3f} {ours.bound_ppm:6.3f}"
        f" {_with_error(ours.efficiency, 3):>14} {_percent(ours.coverage):>17} {ours.u95_ppm:6.2f} {ours.missed:7}"
        f" {ours.false:6} {ours.valid:5}/{ours.readings:<5} {failed or 'ok'}{f'  ({flags})' if flags else ''}"
    )


def _cell(score: Score) -> str:
    return f"{score.bias_ppm.value:+.2f} / {score.rmse_ppm:.2f} / {_efficiency(score):.4f}"


def _efficiency(score: Score) -> float:
    """Zero where there was no valid reading."""
    return score.efficiency.value if score.valid else 0.0


def _with_error(estimate: Estimate, digits: int) -> str:
    return f"{estimate.value:.{digits}f} ± {estimate.error:.{digits}f}"


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} ± {100 * estimate.error:.1f} %"


def _summary(rows: Sequence[Row]) -> Iterator[str]:
    measured = [row for row in rows if not row.not_yet]
    found = [(row.scenario.name, what, verdict) for row in measured for what, verdict in verdicts(row).items()]
    mean = headline([_efficiency(row.scores["ours"]) for row in measured])
    found.append(("all", f"geometric mean {mean:.4f} of {HEADLINE}", "ok" if mean >= HEADLINE else "FAIL"))
    false, readings = (sum(getattr(row.scores["ours"], name) for row in measured) for name in ("false", "readings"))
    found.append(("all", f"false flags {false} of {readings} readings", _false(false, readings)))
    count = {verdict: sum(found == verdict for *_, found in found) for verdict in ("ok", "?", "FAIL")}
    yield f"geometric mean of ours {mean:.4f}, readings with a false flag {false} of {readings}"
    yield f"targets: {count['ok']} met, {count['?']} within two standard errors (?), {count['FAIL']} missed (FAIL)"
    yield f"scenarios: {len(measured)} measured, {len(rows) - len(measured)} not yet possible"
    for name in dict.fromkeys(name for name, _, verdict in found if verdict == "FAIL"):
        yield f"  FAIL {name}: " + ", ".join(what for one, what, verdict in found if (one, verdict) == (name, "FAIL"))
