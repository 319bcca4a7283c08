"""What Prometheus reads at /metrics, made of a status (gateway/status.py), the same that `spectrophone status` shows.

FAMILIES is the whole list; docs/metrics.md is made of it. Names follow prometheus.io/docs/practices/naming: base units
in the name, counters end in _total. A concentration is in ppm, which is what everybody reads it in.

A number that is not valid, or unknown, is not there at all: `spectrophone_concentration_valid` says so in its place. So
no graph goes on with an old value, and no query has to know about NaN. Labels are names from the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder

from gateway.interlock import State
from gateway.types import Flag

Status = Mapping[str, Any]
Found = tuple[str, tuple[str, ...], float]
"""A family's name, the values of its labels, and the number."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name without `spectrophone_`, what kind it is, its labels, what it means."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str

    @property
    def full_name(self) -> str:
        """As Prometheus knows it."""
        return f"spectrophone_{self.name}"


_NODE = ("node",)
FAMILIES: tuple[Family, ...] = (
    Family("info", "gauge", ("box", "board", "version"), "Which box this is; always 1."),
    Family("concentration_ppm", "gauge", _NODE, "Concentration, parts per million; absent while it is not valid."),
    Family("concentration_sigma_ppm", "gauge", _NODE, "Its standard uncertainty; absent while it is not valid."),
    Family("concentration_u95_ppm", "gauge", _NODE, "Its expanded uncertainty, 95 %; absent while it is not valid."),
    Family("concentration_smoothed_ppm", "gauge", _NODE, "Concentration, smoothed; absent while it is not valid."),
    Family("concentration_lod_ppm", "gauge", _NODE, "Limit of detection, three sigma; absent while it is not valid."),
    Family("concentration_valid", "gauge", _NODE, "Whether the newest measurement is valid: 1 or 0."),
    Family("concentration_age_seconds", "gauge", _NODE, "Time since the newest measurement's record ended."),
    Family("flag", "gauge", ("node", "flag"), "Whether the newest measurement has this flag: 1 or 0."),
    Family("signal_amplitude_ratio", "gauge", _NODE, "Amplitude of the tone, part of full scale; absent where stale."),
    Family("signal_snr_decibels", "gauge", _NODE, "Signal-to-noise ratio of the tone; absent where stale."),
    Family("signal_frequency_hertz", "gauge", _NODE, "Frequency of the tone; absent where there is none, or stale."),
    Family(
        "resonance_frequency_hertz", "gauge", _NODE, "Where the cell's resonance is believed to be; absent where stale."
    ),
    Family("climate_temperature_celsius", "gauge", (), "Temperature of the gas."),
    Family("climate_humidity_ratio", "gauge", (), "Relative humidity of the gas, 0 to 1."),
    Family("climate_pressure_pascals", "gauge", (), "Pressure of the gas."),
    Family("alert_raised", "gauge", ("rule",), "Whether the rule's alert is raised: 1 or 0."),
    Family("output_on", "gauge", ("target",), "Whether an output or switch is on, read back: 1 or 0."),
    Family("laser_state", "gauge", ("state",), "1 for the state that the laser is in, 0 for the others."),
    Family("safe_mode", "gauge", (), "Whether the gateway is in safe mode: 1 or 0."),
    Family("configuration_faults", "gauge", (), "Faults of the configuration file, as it is now."),
    Family("blocks_total", "counter", (), "Blocks of sound since the start."),
    Family("block_duration_seconds", "histogram", (), "Time that a block took from path to sinks."),
    Family("block_lateness_seconds", "histogram", (), "How much later than it could have been a block was taken up."),
    Family("block_overruns_total", "counter", (), "Blocks that took longer than they last."),
    Family("lost_frames_total", "counter", (), "Frames of sound that were lost."),
    Family("action_up", "gauge", ("action",), "Whether an action node has no problem: 1 or 0."),
    Family("action_calls_total", "counter", ("action",), "Calls of its driver."),
    Family("action_errors_total", "counter", ("action",), "Calls that failed."),
    Family("action_delivered_total", "counter", ("action",), "Entries that its target has."),
    Family("action_refused_total", "counter", ("action",), "Entries that its target will never take."),
    Family("action_dropped_total", "counter", ("action",), "Entries that nobody will deliver."),
    Family("action_duration_p95_seconds", "gauge", ("action",), "95 % of its newest 1000 calls took no longer."),
    Family("action_queue_age_seconds", "gauge", ("action",), "How long the oldest entry waits for its target."),
    Family("mqtt_connected", "gauge", (), "Whether the broker is connected: 1 or 0."),
    Family("mqtt_reconnects_total", "counter", (), "Connections after the first."),
    Family("mqtt_sent_total", "counter", (), "Messages sent."),
    Family("mqtt_dropped_total", "counter", (), "Events that the broker will never get."),
    Family("mqtt_waiting_messages", "gauge", (), "Messages that wait to be sent."),
    Family("mqtt_history_entries", "gauge", (), "Entries of the journal that wait for the broker."),
    Family("mqtt_history_age_seconds", "gauge", (), "How long the oldest of them waits."),
    Family("modbus_up", "gauge", (), "Whether the Modbus server listens: 1 or 0."),
    Family("modbus_clients", "gauge", (), "Connections to it."),
    Family("modbus_requests_total", "counter", (), "Requests that it has answered."),
    Family("modbus_refused_total", "counter", (), "Those of them that it has refused."),
    Family("journal_up", "gauge", (), "Whether the journal's file has no problem: 1 or 0."),
    Family("journal_entries_total", "counter", (), "Entries since the start."),
    Family("journal_lost_total", "counter", (), "Entries that could not be written before they were too many."),
    Family("journal_waiting_entries", "gauge", (), "Entries that are not on the disk yet."),
    Family("journal_size_bytes", "gauge", (), "Size of the journal's file."),
    Family("journal_commit_age_seconds", "gauge", (), "Time since it was written last."),
    Family("cpu_temperature_celsius", "gauge", (), "Temperature of the processor."),
    Family("machine_memory_used_ratio", "gauge", (), "Part of the machine's memory in use, 0 to 1."),
    Family("machine_load", "gauge", (), "Processes that wanted to run, mean of a minute."),
    Family("machine_throttled", "gauge", (), "Whether voltage or heat slow the processor down, or did: 1 or 0."),
    Family("disk_free_bytes", "gauge", (), "What is free where the state is kept."),
    Family("clock_synchronised", "gauge", (), "Whether the time of day is known to be right: 1 or 0."),
    Family("wifi_signal_dbm", "gauge", (), "Strength of the Wi-Fi signal, decibels above a milliwatt."),
    Family("last_calibration_timestamp_seconds", "gauge", (), "When the newest calibration file was made."),
    Family("scripts_isolation", "gauge", ("level",), "1 for the level at which customers' scripts are fenced in."),
)


def exposition(status: Status, accept: str = "") -> tuple[bytes, str]:
    """The page for a status, and its content type: the text format, or OpenMetrics where the request's Accept header
    asks for it. Beside FAMILIES it has what the library tells of this process: memory, CPU, files, start.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(status))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected:
    """A status as a collector."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client: families without a sample are left out."""
        found: dict[str, list[Found]] = {}
        for each in _found(self._status):
            found.setdefault(each[0], []).append(each)
        for family in FAMILIES:
            metric = Metric(family.full_name.removesuffix("_total"), family.help, family.kind)
            if family.kind == "histogram":
                _spread(metric, self._status.get(_HISTOGRAMS[family.name]))
            for _, labels, value in found.get(family.name, ()):
                metric.add_sample(family.full_name, dict(zip(family.labels, labels, strict=True)), value)
            if metric.samples:
                yield metric


_HISTOGRAMS = {"block_duration_seconds": "block_seconds", "block_lateness_seconds": "late_seconds"}


def _spread(metric: Metric, told: Mapping[str, Any] | None) -> None:
    """The samples of a histogram: how many times were up to each bound, all of them, and their sum."""
    if told is None:
        return
    bounds = [*map(str, told["bounds_s"]), "+Inf"]
    for bound, count in zip(bounds, accumulate(told["counts"]), strict=True):
        metric.add_sample(f"{metric.name}_bucket", {"le": bound}, count)
    metric.add_sample(f"{metric.name}_count", {}, sum(told["counts"]))
    metric.add_sample(f"{metric.name}_sum", {}, told["sum_s"])


def _found(status: Status) -> Iterator[Found]:
    """Every number that is known."""
    yield "info", (status["box"], status["board"], status["version"]), 1.0
    for result in status["results"]:
        yield from _result(result)
    yield from _climate(status["climate"])
    raised = {alert["rule"] for alert in status["alerts"]}
    for rule in dict.fromkeys((*status["rules"], *sorted(raised))):
        yield "alert_raised", (rule,), float(rule in raised)
    for target, state in status["outputs"].items():
        if state in ("on", "off"):
            yield "output_on", (target,), float(state == "on")
    if "laser" in status["outputs"]:
        for each in State:
            yield "laser_state", (each,), float(each == status["laser"])
    yield "safe_mode", (), float(bool(status["safe_mode"]))
    yield "configuration_faults", (), float(len(status["configuration_faults"]))
    counts = {"blocks_total": "blocks", "block_overruns_total": "overruns", "lost_frames_total": "lost_frames"}
    yield from _picked(status, counts)
    for action in status["actions"]:
        yield from _action(action)
    yield from _mqtt(status["link"], status["history"])
    yield from _modbus(status["modbus"])
    yield from _journal(status["journal"])
    yield from _health(status["health"])
    if level := status["scripts"].get("isolation"):
        yield "scripts_isolation", (level,), 1.0


def _result(result: Status) -> Iterator[Found]:
    """A node's newest result."""
    labels = (result["node"],)
    match result["kind"]:
        case "measurement":
            valid = result["valid"]
            for name in ("ppm", "sigma_ppm", "u95_ppm", "smoothed_ppm", "lod_ppm"):
                if valid and result[name] is not None:
                    yield f"concentration_{name}", labels, result[name]
            yield "concentration_valid", labels, float(valid)
            yield "concentration_age_seconds", labels, result["age_s"]
            for flag in Flag:
                yield "flag", (*labels, flag), float(flag in result["flags"])
        case "lock_in" | "peak" if not result["stale"]:
            names = {"amplitude_ratio": "amplitude", "snr_decibels": "snr_db", "frequency_hertz": "frequency_hz"}
            yield from _picked(result, {f"signal_{name}": key for name, key in names.items()}, labels)
        case "resonance" if not result["stale"]:
            yield from _picked(result, {"resonance_frequency_hertz": "f0_hz"}, labels)


def _climate(climate: Status) -> Iterator[Found]:
    scales = {
        "temperature_c": ("climate_temperature_celsius", 1.0),
        "humidity_percent": ("climate_humidity_ratio", 0.01),
        "pressure_pa": ("climate_pressure_pascals", 1.0),
    }
    for quantity, (name, scale) in scales.items():
        if quantity in climate:
            yield name, (), climate[quantity]["value"] * scale


def _action(action: Status) -> Iterator[Found]:
    labels = (action["node"],)
    yield "action_up", labels, float(not action["problem"])
    counts = ("calls", "errors", "delivered", "refused", "dropped")
    yield from _picked(action, {f"action_{name}_total": name for name in counts}, labels)
    yield from _picked(action, {"action_queue_age_seconds": "queue_age_s"}, labels)
    yield from _picked(action, {"action_duration_p95_seconds": "p95_ms"}, labels, 1e-3)


def _mqtt(link: Status, history: Status) -> Iterator[Found]:
    counts = ("reconnects", "sent", "dropped")
    yield from _picked(link, {f"mqtt_{name}_total": name for name in counts})
    yield from _picked(link, {"mqtt_connected": "connected", "mqtt_waiting_messages": "waiting"})
    yield from _picked(history, {"mqtt_history_entries": "queue_depth", "mqtt_history_age_seconds": "queue_age_s"})


def _modbus(server: Status) -> Iterator[Found]:
    counts = ("requests", "refused")
    yield from _picked(server, {f"modbus_{name}_total": name for name in counts})
    yield from _picked(server, {"modbus_clients": "clients"})
    if server:
        yield "modbus_up", (), float(not server["problem"])


def _journal(journal: Status) -> Iterator[Found]:
    yield from _picked(journal, {"journal_entries_total": "entries", "journal_lost_total": "lost"})
    yield from _picked(journal, {"journal_waiting_entries": "waiting", "journal_size_bytes": "size_bytes"})
    yield from _picked(journal, {"journal_commit_age_seconds": "committed_s_ago"})
    if journal["file"] is not None:
        yield "journal_up", (), float(not journal["problem"])


def _health(health: Status) -> Iterator[Found]:
    """Empty before the first look."""
    same = {"cpu_temperature_celsius": "cpu_temperature_c", "machine_load": "load", "wifi_signal_dbm": "wifi_dbm"}
    yield from _picked(health, {**same, "clock_synchronised": "clock_synchronised"})
    yield from _picked(health, {"machine_memory_used_ratio": "memory_percent"}, scale=0.01)
    yield from _picked(health, {"disk_free_bytes": "disk_free_mb"}, scale=1e6)
    if (troubles := health.get("throttled")) is not None:
        yield "machine_throttled", (), float(bool(troubles))
    if made := health.get("last_calibration"):
        yield "last_calibration_timestamp_seconds", (), datetime.fromisoformat(made).timestamp()


def _picked(of: Status, names: Mapping[str, str], labels: Sequence[str] = (), scale: float = 1.0) -> Iterator[Found]:
    """Families by the keys of `of` that they are the number of, those that are there and known."""
    for name, key in names.items():
        if (value := of.get(key)) is not None:
            yield name, tuple(labels), float(value) * scale


_INTRODUCTION = """\
# Metrics

With a `web:` section in the configuration the gateway serves its metrics at `/metrics`, for Prometheus and whatever
reads its format. A token of scope `read` lets a machine in: `spectrophone web token prometheus --scope read` makes one.

```yaml
scrape_configs:
  - job_name: spectrophone
    scrape_interval: 10s
    authorization: {credentials_file: /etc/prometheus/spectrophone.token}
    static_configs: [{targets: ["box-1.local:8080", "box-2.local:8080"]}]
```

A number that is not valid is not there: no graph goes on with an old one, and `spectrophone_concentration_valid` says
0. So an alert on a concentration wants a second one, on `spectrophone_concentration_valid == 0`, and a third, on
`up == 0`. Labels are names from the configuration: `node`, `rule`, `action`, `target`. Counters begin anew with the
gateway, those of actions also when somebody resets them.

[grafana.json](grafana.json) is a dashboard of all that. In Grafana: Dashboards, New, Import; or as a file where Grafana
is provisioned from. It asks for the data source, and for boxes by `instance`.

This page is made from the code by `make docs`.
"""
_END = """
Beside these there are `process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_cpu_seconds_total`,
`process_open_fds`, `process_max_fds` and `process_start_time_seconds`, of the gateway's process.
"""


def reference() -> str:
    """docs/metrics.md."""
    lines = [_INTRODUCTION, "| metric | kind | labels | meaning |", "|---|---|---|---|"]
    rows = ((f"`{each.full_name}`", each.kind, ", ".join(each.labels), each.help) for each in FAMILIES)
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, _END])
