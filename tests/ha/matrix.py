"""Every order of restarts: of gateway, broker and Home Assistant, one, two or all three are stopped and started again.

What is restarted together is stopped together, and then started in that order, each when the one before is up: the
broker listens, Home Assistant says that it runs, the gateway's process is there. The gas changes while they are away.
From the moment when the last is up it is measured how long it takes until every entity is current, and for how long
Home Assistant still shows the gas of before. With persistence every part is asked to end; without, all are killed.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import permutations

from tests.ha.home import NO_ANSWER, Failure
from tests.ha.stage import GAS, HIGH_PPM, LOW_PPM, TOLERANCE, Stage, now, number

GOAL_S = 15.0
PATIENCE_S = 90.0
AWAY_S = 60.0
STEP_S = 0.1
PARTS = ("gateway", "broker", "Home Assistant")
ORDERS = tuple(order for count in (1, 2, 3) for order in permutations(PARTS, count))


@dataclass(frozen=True, slots=True)
class Row:
    """What a restart led to: seconds until all was current (None: never), until the old gas was shown last (0: never),
    and what was wrong at the goal's time or, if it never came right, at last."""

    order: tuple[str, ...]
    current_s: float | None
    old_s: float
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        took = "never" if self.current_s is None else f"{self.current_s:.1f}"
        old = f"{self.old_s:.1f}" if self.old_s else "-"
        return f"| {', '.join(self.order)} | {took} | {old} | {'; '.join(self.wrong[:3])} |"


def matrix(stage: Stage, kill: bool) -> list[Row]:
    """All orders; each row is printed as it comes."""
    print("| restarted, in this order | all current after (s) | old gas shown for (s) | wrong after 15 s |", flush=True)
    print("|---|---|---|---|", flush=True)
    rows = []
    for order in ORDERS:
        rows.append(_row(stage, order, kill))
        print(rows[-1], flush=True)
    return rows


def verdict(rows: list[Row]) -> None:
    """Failure if something never came back, or the slowest; the margin to the goal on a line."""
    if lost := [row for row in rows if row.current_s is None]:
        raise Failure(f"not everything came back: {'; '.join(', '.join(row.order) for row in lost)}")
    slowest = max(rows, key=lambda row: row.current_s or 0.0)
    took_s = slowest.current_s or 0.0
    print(f"ok    {len(rows)} orders, the slowest {', '.join(slowest.order)}: {took_s:.1f} s of {GOAL_S:.0f} s")


def outage(stage: Stage) -> Row:
    """The broker alone, away for a minute: everybody's tries to connect have become rare by then."""
    old_ppm = stage.box.ppm
    stage.broker.kill()
    stage.box.write(_other(old_ppm))
    time.sleep(AWAY_S)
    stage.broker.start()
    row = _measured(stage, (f"broker, away for {AWAY_S:.0f} s",), old_ppm)
    print(row, flush=True)
    return row


def _row(stage: Stage, order: tuple[str, ...], kill: bool) -> Row:
    old_ppm = stage.box.ppm
    for part in order:
        _stop(stage, part, kill)
    stage.box.write(_other(old_ppm))
    for part in order:
        _start(stage, part)
    return _measured(stage, order, old_ppm)


def _other(ppm: int) -> int:
    return LOW_PPM if ppm == HIGH_PPM else HIGH_PPM


def _measured(stage: Stage, order: tuple[str, ...], old_ppm: int) -> Row:
    """From now on: until when something is wrong, and how long the old gas is shown."""
    up, start = now(), time.monotonic()
    old_s = 0.0
    wrong: tuple[str, ...] = ("nothing answers",)
    late: tuple[str, ...] = ()
    while (passed_s := time.monotonic() - start) < PATIENCE_S:
        try:
            wrong = tuple(stage.wrong(up))
            shown = number(stage.home.states(), stage.entity(f"gas_{GAS}"))
        except NO_ANSWER:
            continue
        passed_s = time.monotonic() - start
        if not wrong:
            return Row(order, passed_s, old_s, late)
        old_s = passed_s if math.isclose(shown, old_ppm, rel_tol=TOLERANCE) else old_s
        late = late or (wrong if passed_s > GOAL_S else ())
        time.sleep(STEP_S)
    return Row(order, None, old_s, wrong)


def _stop(stage: Stage, part: str, kill: bool) -> None:
    match part:
        case "gateway":
            stage.box.stop(kill)
        case "broker" if kill:
            stage.broker.kill()
        case "broker":
            stage.broker.terminate()
        case _:
            stage.home.stop(kill)


def _start(stage: Stage, part: str) -> None:
    match part:
        case "gateway":
            stage.box.start()
        case "broker":
            stage.broker.start()
        case _:
            stage.home.start(quiet=True)
