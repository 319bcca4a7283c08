"""The whole computation, from a block of sound to what it means: graph -> results -> state -> alarms -> rules ->
Tick. A node that follows the cell's resonance says where the laser should go; here that becomes a command.

Pure: no clock, no files, no waiting. The same blocks give the same ticks, live or from a recording, whatever their
length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from types import MappingProxyType

from gateway.alarms import Alarm, Alarms
from gateway.config.settings import Settings
from gateway.graph import Graph
from gateway.rules import ParsedRule
from gateway.state import lasting, renew, restore, text_of
from gateway.types import TELL, Alert, Command, Flag, ResonanceResult, Result, SampleBlock, Snapshot, Tick


class Path:
    """The graph, the rules and all alarms of one configuration, with the newest state."""

    STATE = ("state",)

    def __init__(self, graph: Graph, rules: Sequence[ParsedRule], alarms: Sequence[Alarm] = ()) -> None:
        """`alarms` are those beside the rules': of action nodes."""
        self._graph = graph
        self._rules = {rule.alarm.rule: rule for rule in rules}
        self._alarms = Alarms([*(rule.alarm for rule in rules), *alarms])
        self.state = Snapshot()

    def threshold(self, rule: str) -> float | None:
        """What the rule compares with now; None where there is no such rule."""
        return self._alarms.threshold(rule)

    def settings(self, node: str) -> Settings | None:
        """What a node goes by now; None where there is no such node."""
        return self._graph.settings(node)

    def save(self) -> str:
        """The state of the computation as text, from which restore() goes on as if nothing had been between."""
        return text_of({**self._graph.parts(), "alarms": self._alarms, "path": self}, self._fingerprint())

    def restore(self, text: str) -> None:
        """Go on from a state that a path of the same nodes and rules saved. Raises StateError for any other."""
        restore({**self._graph.parts(), "alarms": self._alarms, "path": self}, text, self._fingerprint())

    def keep(self) -> str:
        """What this stream has learnt and outlasts it, as text."""
        return text_of(lasting(self._graph.parts()), self._fingerprint())

    def renew(self, text: str, gap_s: float) -> None:
        """Begin a stream with what one of the same nodes and rules kept, `gap_s` before. Raises StateError for any
        other.
        """
        renew(lasting(self._graph.parts()), text, self._fingerprint(), gap_s)

    def _fingerprint(self) -> str:
        return hashlib.sha256(f"{self._graph.plan()} {self._alarms.plan()}".encode()).hexdigest()

    def tick(self, block: SampleBlock, commands: Sequence[Command]) -> Tick:
        """What `block` brings; `commands` came in from outside and go on to the outputs, behind them those that
        tune the laser and those of the rules.
        """
        for command in commands:
            if command.target == "path":
                self._replace(command.args["path"])
        results = self._graph.process(block)
        told = tuple(_told(command, block.end_ns) for command in commands if command.target == TELL)
        alerts = (*self._alarms.step(results, block.end_ns), *told)
        self.state = _newer(self.state, results, alerts)
        ours = [] if Flag.SWEEPING in block.flags else [*_tunings(results)]
        ours += [command for a in alerts if a.rule in self._rules for command in self._rules[a.rule].commands(a)]
        return Tick(
            block.index,
            block.end_ns,
            None if block.utc_ns is None else block.utc_ns + block.end_ns - block.t_ns,
            results,
            alerts,
            (*(command for command in commands if command.target not in ("path", TELL)), *ours),
            self.state,
            block.lost_frames,
        )

    def _replace(self, new: Path) -> None:
        """Go on with the nodes and rules of `new`, keeping what has not changed."""
        new._alarms.adopt(self._alarms)
        self._graph = new._graph.adopt(self._graph)
        self._rules, self._alarms = new._rules, new._alarms
        alerts = {rule: alert for rule, alert in self.state.alerts.items() if rule in self._alarms}
        self.state = Snapshot(self.state.results, MappingProxyType(alerts))


def _told(command: Command, t_ns: int) -> Alert:
    """What a script, or somebody else, has to say, as an alert that is neither raised nor cleared."""
    node, args = command.origin.partition(":")[2], command.args
    return Alert(f"{node}/told", "custom", args["severity"], "told", None, None, node, t_ns, args["message"])


def _tunings(results: Sequence[Result]) -> Iterator[Command]:
    """What the laser is told so that it follows the resonance."""
    for result in results:
        if isinstance(result, ResonanceResult) and result.tune_hz is not None:
            yield Command("laser", "tune", MappingProxyType({"frequency_hz": result.tune_hz}), origin="track")


def _newer(state: Snapshot, results: Sequence[Result], alerts: Sequence[Alert]) -> Snapshot:
    """The snapshot after these; the same one where nothing is new."""
    if not results and not alerts:
        return state
    raised = dict(state.alerts)
    for alert in alerts:
        if alert.state == "raised":
            raised[alert.rule] = alert
        elif alert.state == "cleared":
            raised.pop(alert.rule, None)
    newest = {**state.results, **{result.node: result for result in results}}
    return Snapshot(MappingProxyType(newest), MappingProxyType(raised))
