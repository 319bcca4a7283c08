"""What the running gateway tells about itself: one small JSON file in the runtime directory, renewed once a second.

The directory lies in memory (/run, or the user's own), so the card is not worn; the file is replaced whole, so that a
reader never sees half of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway import health, jsonlines
from gateway.clock import Clock
from gateway.fresh import aged, record_s, stale
from gateway.types import Measurement, Outcome, Result, Tick

_EVERY_NS = 1_000_000_000
STALE_S = 5.0
"""A status older than this is that of a gateway that hangs or is gone."""


class StatusFile:
    """A sink that keeps the newest state in a file, readable by its owner and group."""

    def __init__(self, path: Path, clock: Clock, about: Callable[[], Mapping[str, Any]]) -> None:
        """`about` gives what else belongs in it: box, board, statistics of the loop, MQTT."""
        self._path = path
        self._clock = clock
        self._about = about
        self._next_ns = 0

    async def start(self) -> None:
        """See Sink."""
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _EVERY_NS
        new = self._path.with_suffix(".new")
        new.write_text(jsonlines.line(told(self._about(), tick, outcome, self._clock.utc_ns())), "utf-8")
        new.replace(self._path)

    async def close(self) -> None:
        """See Sink."""
        self._path.unlink(missing_ok=True)


def told(about: Mapping[str, Any], tick: Tick, outcome: Outcome, utc_ns: int) -> dict[str, Any]:
    """A status: `about`, and the newest result of every node with its age and whether it is stale, the alerts that are
    raised, the outputs. A measurement that is stale has no numbers.
    """
    results = list(tick.state.results.values())
    alerts = [jsonlines.of(alert, tick) for alert in tick.state.alerts.values()]
    return {
        **about,
        "utc_ns": utc_ns,
        "t_s": tick.t_ns / 1e9,
        "results": list(_results(results, tick)),
        "alerts": alerts,
        "outputs": dict(outcome.states),
    }


def _results(results: Sequence[Result], tick: Tick) -> Iterator[dict[str, Any]]:
    longest_s = record_s(results)
    for result in results:
        held = aged(result, tick.t_ns) if isinstance(result, Measurement) else result
        if (fields := jsonlines.of(held, tick)) is not None:
            age_s = (tick.t_ns - result.t_ns) / 1e9
            yield {**fields, "age_s": age_s, "stale": stale(result, tick.t_ns, longest_s)}


def read(directory: Path, utc_ns: int) -> list[dict[str, Any]]:
    """The status of every gateway that runs; `age_s` tells how old it is."""
    found = []
    for path in sorted(directory.glob("*.json")):
        try:
            status = json.loads(path.read_text("utf-8"))
            age_s = (utc_ns - status["utc_ns"]) / 1e9
            os.kill(status["pid"], 0)
        except ProcessLookupError:
            continue
        except PermissionError:
            pass  # it runs, as another user
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append({**status, "age_s": age_s})
    return found


def described(status: Mapping[str, Any]) -> str:
    """A status as people read it."""
    lines = [f"{status['box']} on board {status['board']}, version {status['version']}, process {status['pid']}"]
    if status["age_s"] > STALE_S:
        lines.append(f"  HANGS: nothing new for {status['age_s']:.0f} s")
    if reason := status.get("safe_mode"):
        lines.append(f"  SAFE MODE: {reason}. Laser dark, relays safe, no scripts, until it is told normal or restart")
    lines += [f"  CONFIGURATION: {fault}" for fault in status.get("configuration_faults", ())]
    for result in status["results"]:
        if result["kind"] == "measurement":
            value = "no value" if result["ppm"] is None else f"{result['ppm']:.2f} ± {result['sigma_ppm']:.2f} ppm"
            doubt = "" if result["valid"] else "  INVALID"
            flags = f"  [{', '.join(result['flags'])}]" if result["flags"] else ""
            lines.append(f"  {result['node']}: {value}{doubt}{flags}")
        elif result["kind"] == "peak":
            tone = "no tone" if result["frequency_hz"] is None else f"{result['frequency_hz']:.3f} Hz"
            lines.append(f"  {result['node']}: {tone}")
    lines += [f"  {alert['severity'].upper()} {alert['rule']} since {alert['t_s']:.0f} s" for alert in status["alerts"]]
    if words := _page(status.get("page", {})):
        lines.append(f"  page: {words}")
    if words := _climate(status.get("climate", {})):
        lines.append(f"  climate: {words}")
    if words := health.described(status.get("health", {})):
        lines.append(f"  machine: {words}")
    for action in status.get("actions", ()):
        lines.append(f"  {_action(action)}")
        lines += [f"    | {line}" for line in action.get("driver", {}).get("shows", {}).get("lines", ())]
    if level := (scripts := status.get("scripts", {})).get("isolation"):
        lines.append(f"  scripts: isolation {level}")
        lines += [f"    {lacking}" for lacking in scripts["lacking"]]
    for target, numbers in status.get("set_by_hand", {}).items():
        value, configured = numbers["value"], numbers["configured"]
        lines.append(f"  {target} is {value:g}, set by hand; the configuration says {configured:g}")
    if problem := status.get("journal", {}).get("problem"):
        lines.append(f"  journal: {problem}")
    if server := status.get("modbus"):
        fares = "port {port}, {clients} clients, {requests} requests, {refused} refused".format_map(server)
        lines.append(f"  modbus: {server['problem'] or fares}")
    if words := _history(status.get("history", {})):
        lines.append(f"  history: {words}")
    if why := status.get("laser_dark_because"):
        lines.append(f"  LASER {status['laser'].upper()}: {why}")
    lines.append("  " + ", ".join(f"{target} {state}" for target, state in status["outputs"].items()))
    lines.append(
        f"  {status['blocks']} blocks, {status['overruns']} overruns, {status['lost_frames']} frames lost, "
        f"{status['block_mean_ms']:.2f} ms a block (longest {status['block_longest_ms']:.1f}); MQTT {status['mqtt']}"
    )
    return "\n".join(lines)


def _page(page: Mapping[str, Any]) -> str:
    """Where the page is, and what its first visitor from elsewhere has to know."""
    if not page:
        return ""
    code = f". No password is set yet; the code for it is {page['code']}" if page["code"] else ""
    return f"{page['address']}{code}" + (f". {page['problem']}" if page["problem"] else "")


def _climate(climate: Mapping[str, Any]) -> str:
    """What is known of the gas, from where and how old it is, and which sensor fails."""
    shapes = {"temperature_c": "{:.2f} °C", "humidity_percent": "{:.1f} %", "pressure_pa": "{:.0f} Pa"}
    known = []
    for name, shape in shapes.items():
        if name in climate:
            told = climate[name]
            age = f", {told['age_s']:.0f} s old" if told["age_s"] >= 1.0 else ""
            known.append(f"{shape.format(told['value'])} ({told['from']}{age})")
    problems = [sensor["problem"] for sensor in climate.get("sensors", ()) if sensor["problem"]]
    return ". ".join([", ".join(known) or "not known", *problems]) if climate else ""


def _history(history: Mapping[str, Any]) -> str:
    """What of the journal the broker does not have yet, if that is worth a line."""
    if not history or not (history["problem"] or history["missed"] or history["queue_age_s"] >= 60.0):
        return ""
    words = f"{history['queue_depth']} rows wait for the broker, the oldest for {history['queue_age_s']:.0f} s"
    missed = f", {history['missed']} were thinned or dropped before" if history["missed"] else ""
    return f"{words}{missed}. {history['problem']}".rstrip(". ")


def _action(action: Mapping[str, Any]) -> str:
    """One action node in a line."""
    words = f"{action['node']}: {action['state']}, {action['delivered']} delivered"
    if level := action.get("driver", {}).get("isolation"):
        words += f", isolation {level}"
    if action["mean_ms"] is not None:
        words += f", {action['mean_ms']:.1f} ms a call (p95 {action['p95_ms']:.1f}, longest {action['max_ms']:.1f})"
    counts = [f"{action[name]} {name}" for name in ("errors", "refused", "dropped") if action[name]]
    words += f", {', '.join(counts)}" if counts else ""
    words += f", oldest waits {action['queue_age_s']:.0f} s" if action["queue_age_s"] >= 1.0 else ""
    return f"{words}. {action['problem']}" if action["problem"] else words
