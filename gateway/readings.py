"""Sinks that print: live readings for people, JSON lines for programs."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway import jsonlines
from gateway.lines import LineWriter
from gateway.types import Alert, LockInResult, Measurement, Outcome, Tick


class JsonReadings:
    """Prints every result and alert as a JSON line."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    async def start(self) -> None:
        """See Sink."""

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        for fields in jsonlines.objects(tick, live=True):
            self._writer.put(jsonlines.line(fields))

    async def close(self) -> None:
        """See Sink."""


class Readings:
    """Prints a line per measurement, alert, refused command and change of an output."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer
        self._states: dict[str, str] = {}

    async def start(self) -> None:
        """See Sink."""

    def offer(self, tick: Tick, outcome: Outcome) -> None:
        """See Sink."""
        time = _clock_time(tick)
        for result in tick.results:
            if isinstance(result, Measurement):
                self._writer.put(f"{time}  {measurement_line(result)}")
        for alert in tick.alerts:
            self._writer.put(f"{time}  {alert_line(alert)}")
        for answer in outcome.results:
            if not answer.done:
                self._writer.put(f"{time}  {answer.command.target}: refused, {answer.reason}")
        for target, state in outcome.states.items():
            if self._states.get(target) != state:
                self._writer.put(f"{time}  {target} is {state}")
        self._states = dict(outcome.states)

    async def close(self) -> None:
        """See Sink."""


def measurement_line(measurement: Measurement) -> str:
    """A measurement as people read it: value, uncertainty, signal, flags."""
    source = measurement.source
    signal = ""
    if source.frequency_hz is not None and source.amplitude is not None and source.snr_db is not None:
        x = source.in_phase if isinstance(source, LockInResult) else source.amplitude
        signal = f"  signal {x:+.6f} FS at {source.frequency_hz:.3f} Hz, SNR {source.snr_db:.0f} dB"
    flags = f"  [{', '.join(sorted(measurement.flags))}]" if measurement.flags else ""
    if measurement.value is None:
        return f"{measurement.node}  no value{flags}"
    value = f"{measurement.value:9.2f} ± {measurement.sigma:.2f} {measurement.unit}"
    doubt = "" if measurement.valid else "  INVALID"
    return f"{measurement.node}  {value}{doubt}{signal}{flags}"


def alert_line(alert: Alert) -> str:
    """An alert as people read it."""
    if alert.state == "told":
        return f"{alert.severity.upper()} {alert.source}: {alert.message}"
    value = "" if alert.value is None else f" at {alert.value:g}"
    return f"{alert.severity.upper()} {alert.rule} {alert.state}{value} (threshold {alert.threshold:g})"


def _clock_time(tick: Tick) -> str:
    if tick.utc_ns is None:
        return f"{tick.t_ns / 1e9:10.1f} s"
    return datetime.fromtimestamp(tick.utc_ns / 1e9, UTC).astimezone().strftime("%H:%M:%S")
