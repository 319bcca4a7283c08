"""The service that judges a new system: it stays if the box measures with it, else the old one is started again.

"Measures" is what the Ansible role calls so (/opt/spectrophone/measuring). A box that did not measure before the update
either, because its interlock is open for instance, need only have a gateway that runs.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import card
import slots
from card import CARD, SYSTEM

PATIENCE_S = 300
STATE = SYSTEM / "update.json"


def main() -> None:
    """Judge, and tell on the card what came of the last update."""
    slot = slots.running(Path("/proc/cmdline").read_text())
    on_trial = slots.parse((CARD / "autoboot.txt").read_text()).tried(slot)
    state: dict[str, Any] = json.loads(STATE.read_text()) if STATE.exists() else {}
    if not on_trial:
        if state.get("slot") == slots.other(slot) and not state.get("settled"):
            settle(
                slot,
                state,
                f"{state.get('why') or 'the new system did not start, or lost its power'}; back at the old one",
            )
        return
    good, reason = judge(state)
    if good:
        with card.writable():
            slots.write(CARD / "autoboot.txt", slots.Autoboot(slot, slots.other(slot)))
        settle(slot, state, "it has proved itself and stays")
        return
    card.put(STATE, json.dumps({**state, "why": reason}).encode())
    with card.writable():
        slots.write(CARD / "autoboot.txt", slots.Autoboot(slots.other(slot), slot))
    print(f"this system does not stay: {reason}", flush=True)
    subprocess.run(["systemctl", "--no-block", "reboot"], check=True)


def judge(state: dict[str, Any]) -> tuple[bool, str]:
    """Whether the box is as good as before the update, and why not. A system without a gateway is not."""
    try:
        done = subprocess.run(["/opt/spectrophone/measuring", str(PATIENCE_S)], stdout=subprocess.PIPE, text=True)
        runs = subprocess.run([card.GATEWAY, "status", "--json"], stdout=subprocess.DEVNULL).returncode == 0
    except OSError as error:
        return False, str(error)
    return done.returncode == 0 or (runs and not state.get("measured", True)), done.stdout.strip()


def settle(slot: str, state: dict[str, Any], words: str) -> None:
    """Remember the outcome, and tell it on the card."""
    outcome = f"Update to {state.get('version', 'another image')}: {words}."
    card.put(STATE, json.dumps({**state, "settled": True, "outcome": outcome}).encode())
    told: dict[str, list[str]] = json.loads((SYSTEM / "settings.json").read_text())["told"]
    card.tell(slot, [line for name in sorted(told) for line in told[name]], outcome)
    print(outcome, flush=True)


if __name__ == "__main__":
    main()
