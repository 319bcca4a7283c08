"""What registers and bits hold now, made of the newest tick when somebody asks.

Before there is something to show nobody is shown a zero: the request is refused as busy. A gas has something to show
from its first measurement on, valid or not, and everything else from the first measurement of any gas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from pymodbus.constants import ExcCodes

from gateway.fresh import aged, stale
from gateway.modbus import registers
from gateway.modbus.registers import ALARM, BOX, GAS, SEVERITIES, STATUS_BITS, STRIDE, THRESHOLD, Block, Value
from gateway.modbus.wire import Refused
from gateway.mqtt.face import Face, OutputFace
from gateway.types import Climate, Measurement, Outcome, Snapshot, Tick

THRESHOLDS = "threshold/"
_NOTHING = Tick(0, 0, None, (), (), (), Snapshot())
Row = tuple[Block, Callable[[], Mapping[str, Value]]]


class Picture:
    """The box `face` in registers and bits; `climate` tells the gas's, as it is now."""

    def __init__(self, face: Face, order: registers.WordOrder, climate: Callable[[], Climate | None]) -> None:
        self._face, self._order, self._climate = face, order, climate
        self._gases = [gas.node for gas in face.gases]
        self._rules = [rule.name for rule in face.rules]
        self._thresholds = [output for output in face.outputs if output.target.startswith(THRESHOLDS)]
        self._rows = dict(self._laid_out())
        self._bits = dict(self._wired())
        self._counts = dict.fromkeys(self._gases, 0)
        self._heartbeat = 0
        self._tick, self._outcome = _NOTHING, Outcome()
        self._made: dict[int, list[int]] = {}

    def take(self, tick: Tick, outcome: Outcome) -> None:
        """What a block of sound brought."""
        self._tick, self._outcome, self._made = tick, outcome, {}
        self._heartbeat += 1
        for result in tick.results:
            if result.node in self._counts:
                self._counts[result.node] += 1

    def words(self, address: int, count: int) -> list[int]:
        """So many registers. Raises Refused where one is none, or has nothing to show yet."""
        base = address - address % STRIDE
        if base not in self._rows or address - base + count > self._rows[base][0].words:
            raise Refused(ExcCodes.ILLEGAL_ADDRESS)
        if base not in self._made:
            block, tell = self._rows[base]
            self._made[base] = registers.words(block, tell(), self._order)
        return self._made[base][address - base : address - base + count]

    def bits(self, address: int, count: int) -> list[bool]:
        """So many bits. Raises Refused as words() does."""
        if not all(each in self._bits for each in range(address, address + count)):
            raise Refused(ExcCodes.ILLEGAL_ADDRESS)
        return [self._bits[each]() for each in range(address, address + count)]

    def threshold(self, address: int, values: Sequence[int]) -> tuple[OutputFace, float]:
        """The threshold that these registers, all of them, are the value of, and the number. Raises Refused."""
        index, offset = divmod(address - THRESHOLD.base, STRIDE)
        if not 0 <= index < len(self._thresholds) or offset or len(values) != THRESHOLD.items[0].words:
            raise Refused(ExcCodes.ILLEGAL_ADDRESS)
        return self._thresholds[index], registers.number(values, self._order)

    def _laid_out(self) -> Iterator[tuple[int, Row]]:
        """Every block by its first register; what does not fit below the next kind of block is not shown."""
        yield BOX.base, (BOX, self._box)
        for block, after, instances in (
            (GAS, ALARM.base, [partial(self._gas, node) for node in self._gases]),
            (ALARM, THRESHOLD.base, [partial(self._alarm, rule) for rule in self._rules]),
            (THRESHOLD, 2**16, [partial(self._threshold, output) for output in self._thresholds]),
        ):
            for base, tell in zip(range(block.base, after - STRIDE + 1, STRIDE), instances, strict=False):
                yield base, (block, tell)

    def _wired(self) -> Iterator[tuple[int, Callable[[], bool]]]:
        """Every bit."""
        for number in range(len(STATUS_BITS)):
            yield number, partial(self._status_bit, number)
        for first, after, bits in (
            (registers.VALID_BIT, registers.ALARM_BIT, [partial(self._valid, node) for node in self._gases]),
            (registers.ALARM_BIT, 2**16, [partial(self._raised, rule) for rule in self._rules]),
        ):
            yield from zip(range(first, after), bits, strict=False)

    def _status(self) -> tuple[bool, ...]:
        """STATUS_BITS."""
        self._measurements()
        states = self._outcome.states
        return (
            all(self._is_valid(node) for node in self._gases),
            states.get("laser") == "on",
            states.get("gateway") == "safe mode",
            bool(self._tick.state.alerts),
        )

    def _status_bit(self, number: int) -> bool:
        return self._status()[number]

    def _valid(self, node: str) -> bool:
        return self._measurement(node).valid

    def _raised(self, rule: str) -> bool:
        self._measurements()
        return rule in self._tick.state.alerts

    def _measurements(self) -> Mapping[str, Measurement]:
        """The newest of each gas. Raises Refused where there is none at all."""
        results = self._tick.state.results
        found = {node: result for node in self._gases if isinstance(result := results.get(node), Measurement)}
        if not found:
            raise Refused(ExcCodes.DEVICE_BUSY)
        return {node: aged(measurement, self._tick.t_ns) for node, measurement in found.items()}

    def _measurement(self, node: str) -> Measurement:
        """As it holds now. Raises Refused where there is none yet."""
        found = self._measurements().get(node)
        if found is None:
            raise Refused(ExcCodes.DEVICE_BUSY)
        return found

    def _is_valid(self, node: str) -> bool:
        found = self._measurements().get(node)
        return found is not None and found.valid

    def _box(self) -> Mapping[str, Value]:
        status = sum(1 << number for number, is_set in enumerate(self._status()) if is_set)
        climate = self._climate() or Climate()
        return {
            "map_version": registers.VERSION,
            "heartbeat": self._heartbeat,
            "status": status,
            "gases": len(self._gases),
            "alarms": len(self._rules),
            "thresholds": len(self._thresholds),
            "temperature": climate.temperature_c,
            "humidity": climate.humidity_percent,
            "pressure": climate.pressure_pa,
            "box": self._face.box,
            "software": self._face.version,
        }

    def _gas(self, node: str) -> Mapping[str, Value]:
        held = self._measurement(node)
        tone = None if stale(held.source, self._tick.t_ns) else held.source
        return {
            "valid": int(held.valid),
            "count": self._counts[node],
            "flags": registers.flags_word(held.flags),
            "value": held.value if held.valid else None,
            "sigma": held.sigma if held.valid else None,
            "u95": held.u95 if held.valid else None,
            "lod": held.lod if held.valid else None,
            "smoothed": held.smoothed if held.valid else None,
            "age": (self._tick.t_ns - held.t_ns) / 1e9,
            "frequency": None if tone is None else tone.frequency_hz,
            "snr": None if tone is None else tone.snr_db,
            "amplitude": None if tone is None else tone.amplitude,
            "node": node,
        }

    def _alarm(self, rule: str) -> Mapping[str, Value]:
        raised = self._raised(rule)
        severity = 1 + SEVERITIES.index(self._tick.state.alerts[rule].severity) if raised else 0
        return {"raised": int(raised), "severity": severity, "rule": rule}

    def _threshold(self, output: OutputFace) -> Mapping[str, Value]:
        self._measurements()
        state = self._outcome.states.get(output.target, "unknown")
        return {
            "value": None if state == "unknown" else float(state),
            "least": None if output.span is None else output.span.least,
            "most": None if output.span is None else output.span.most,
            "threshold": output.target.removeprefix(THRESHOLDS),
        }
