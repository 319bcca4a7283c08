"""The command: `python -m bench.precision`, `--help` for its options."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from bench.precision import amplitude, ours, rivals
from bench.precision.readings import Trial
from bench.precision.scenarios import SCENARIOS, SPAN_SIGMA, ZERO_SIGMA_PPM, Scenario, bend_per_ppm, records
from bench.precision.score import Uncertain, score
from bench.precision.table import Row, told, verdicts

SEED = 20261122


def main() -> None:
    """Measure and print."""
    options = _options()
    chosen = [one for one in SCENARIOS if not options.scenario or one.name.startswith(tuple(options.scenario))]
    rows = []
    for scenario in chosen:
        begin = time.perf_counter()
        rows.append(measured(scenario, options.trials, options.seed, alone=options.ours))
        print(f"{scenario.name}: {time.perf_counter() - begin:.1f} s", file=sys.stderr)
    if options.json:
        print(json.dumps([_data(row) for row in rows], indent=1))
        return
    print("\n".join(told(rows)))
    if "ulia" not in rivals.available():
        print(rivals.ULIA)
    if not options.scenario:
        print()
        amplitude.main()


def measured(scenario: Scenario, trials: int, seed: int, *, alone: bool = False) -> Row:
    """The scores of everyone in one scenario, of the gateway only if `alone`; the same seed gives the same row."""
    wanted = records(scenario, trials)
    entropy = [seed, *scenario.name.encode()]
    try:
        found = {"ours": ours.trials(scenario, wanted, np.random.SeedSequence(entropy))}
    except ours.NotYet as reason:
        return Row(scenario, {}, str(reason))
    uncertain = Uncertain(ZERO_SIGMA_PPM, SPAN_SIGMA, bend_per_ppm(scenario.world))
    scores = {
        "ours": score(found["ours"], scenario.must, scenario.may, uncertain, _wrongly_told(scenario, wanted, entropy))
    }
    if not alone:
        others = rivals.trials(scenario, wanted, np.random.SeedSequence(entropy))
        scores.update({name: score(given) for name, given in others.items()})
    return Row(scenario, scores)


def _wrongly_told(scenario: Scenario, wanted: int, entropy: list[int]) -> list[Trial] | None:
    """Readings for the coverage, where what the gateway is told is uncertain."""
    if not (scenario.sigma_k or scenario.sigma_power):
        return None
    return ours.trials(scenario, wanted, np.random.SeedSequence([*entropy, 1]), deviating=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.precision", description="Precision against the bound.")
    parser.add_argument("--trials", type=int, default=400, help="readings per scenario (400)")
    parser.add_argument("--scenario", action="append", help="only those whose names begin so: 01, 13; may be repeated")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another draw of all noise ({SEED})")
    parser.add_argument("--ours", action="store_true", help="the gateway alone, without the others beside it")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    return parser.parse_args()


def _data(row: Row) -> dict[str, object]:
    """A row for JSON."""
    if row.not_yet:
        return {"scenario": row.scenario.name, "not_yet": row.not_yet}
    scores = {name: dataclasses.asdict(one) for name, one in row.scores.items()}
    return {"scenario": row.scenario.name, "verdicts": verdicts(row), "scores": scores}


if __name__ == "__main__":
    main()
