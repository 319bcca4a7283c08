"""A real Home Assistant and a real gateway meet at a real broker: every entity is there, alive, and obeys.

Started by tests/ha/run, inside a network and a mount of its own, as root; arguments: names of scenes, all if there are
none. Each line printed is a thing that was seen to happen, with the seconds it took. A scene ends with the first that
does not; the others go on, and the exit status is 1. Home Assistant's own log is read as well: it tells only there what
it refused of a discovery message.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.ha import gap, scenes
from tests.ha.home import Failure
from tests.ha.matrix import matrix, outage, verdict
from tests.ha.stage import Stage, stage

Scene = Callable[[Stage], None]


def killed(there: Stage) -> None:
    """The matrix with a broker that forgets, everything killed; and the broker away for long."""
    verdict([*matrix(there, kill=True), outage(there)])


def ended(there: Stage) -> None:
    """The matrix with a broker that remembers, everything asked to end."""
    verdict(matrix(there, kill=False))


FORGETFUL: Mapping[str, Scene] = {
    "shows": scenes.shows,
    "obeys": scenes.obeys,
    "tunes": scenes.tunes,
    "lives": scenes.lives,
    "interlock": scenes.heeds_interlock,
    "retained": scenes.refuses_retained,
    "stale": scenes.nothing_stale,
    "ghosts": scenes.no_ghosts,
    "gap": gap.fills_a_gap,
    "killed": killed,
}
"""Scenes with a broker without persistence."""
REMEMBERING: Mapping[str, Scene] = {"ended": ended}
"""Scenes with a broker that has it."""
UNTOUCHED = ("starts", "shows", "obeys", "tunes", "lives", "interlock", "retained")
"""Scenes before which no broker was broken off, so that Home Assistant has nothing at all to complain of."""


def main(wanted: list[str]) -> int:
    """0 if all is well."""
    faults: list[str] = []
    for persistence, known in ((False, FORGETFUL), (True, REMEMBERING)):
        chosen = {name: scene for name, scene in known.items() if not wanted or name in wanted}
        if chosen:
            faults += _play(chosen, persistence)
    print("\n".join(["", *(f"FAIL  {fault}" for fault in faults)]) if faults else "all is well", flush=True)
    return 1 if faults else 0


def _play(chosen: Mapping[str, Scene], persistence: bool) -> list[str]:
    """All scenes on one stage, in order; the faults."""
    faults = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(os.environ["CHROOT"])
        with stage(root, os.environ["HA"], Path(name), persistence) as there:
            broken_off = False
            for title, scene in {"starts": scenes.starts, **chosen}.items():
                print(f"-- {title}", flush=True)
                before = len(there.home.complaints(True))
                broken_off |= title not in UNTOUCHED
                try:
                    scene(there)
                except Failure as failure:
                    faults.append(f"{title}: {failure}")
                    print(f"FAIL  {failure}\n{there.box.said()}", flush=True)
                    broken_off = True
                    there.settle()
                if said := there.home.complaints(broken_off)[before:]:
                    faults.append(f"{title}: Home Assistant complains:\n" + "\n".join(said))
                    print(f"FAIL  {faults[-1]}", flush=True)
                else:
                    print("ok    Home Assistant's log has no complaint about MQTT or the box", flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
