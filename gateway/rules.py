"""From a rule as people write it to an alarm and the commands it gives.

`when`: "NODE above VALUE [for 10s]", "NODE below VALUE [for 10s]", "NODE frequency off by HZ [for 10s]", "NODE silent
for 30s". `do`: "relay NAME on", "led NAME red", "laser off". When the alarm clears, the opposite is done, unless
`on_clear` says something else; the opposite of "laser off" is nothing: a rule does not light the laser behind
people's backs. An LED that shows something by itself does so again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.alarms import Alarm
from gateway.config.sections import Condition, Rule
from gateway.types import Alert, Command, Trigger

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_FOR = rf"(?: +for +(?P<for>{_NUMBER}) *(?P<unit>ms|s|min|h))?"
_LEVEL = re.compile(rf"(?P<node>\S+) +(?P<side>above|below) +(?P<value>{_NUMBER}){_FOR}")
_FREQUENCY = re.compile(rf"(?P<node>\S+) +frequency +off +by +(?P<value>{_NUMBER}){_FOR}")
_SILENT = re.compile(rf"(?P<node>\S+) +silent{_FOR}")
_UNIT_NS = {"ms": 1e6, "s": 1e9, "min": 6e10, "h": 3.6e12}

_WATCHED: dict[str, Trigger] = {
    "concentration": "concentration",
    "lock_in": "amplitude",
    "peak_finder": "amplitude",
    "level": "amplitude",
}
"""The trigger type of a threshold on each kind of node that gives a value."""


class RuleFault(Exception):
    """A rule that cannot be: the option, what is wrong, what would be right."""

    def __init__(self, option: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{option}: {message}. {remedy}")
        self.option, self.message, self.remedy = option, message, remedy


@dataclass(frozen=True, slots=True)
class ParsedRule:
    """An alarm, and the commands for its two changes."""

    alarm: Alarm
    raised: tuple[Command, ...]
    cleared: tuple[Command, ...]

    def commands(self, alert: Alert) -> tuple[Command, ...]:
        """What to do about a change of this rule's alarm."""
        return self.raised if alert.state == "raised" else self.cleared


def parse(rule: Rule, kinds: Mapping[str, str], verbs: Mapping[str, Sequence[str]], laser_hz: float) -> ParsedRule:
    """The rule in a form that runs. Raises RuleFault.

    `kinds` names the kind of each node, `verbs` what each output target can be told; `laser_hz` is the frequency from
    which deviations are counted.
    """
    name = name_of(rule)
    alarm = alarm_of(rule, name, kinds, laser_hz)
    origin = f"rule:{name}"
    raised = tuple(_command("do", text, verbs, origin) for text in rule.do)
    if rule.on_clear is None:
        cleared = tuple(opposite for command in raised if (opposite := _opposite(command, verbs)))
    else:
        cleared = tuple(_command("on_clear", text, verbs, origin) for text in rule.on_clear)
    return ParsedRule(alarm, raised, cleared)


def name_of(rule: Condition) -> str:
    """Its name, or one made from what it says."""
    return rule.name or re.sub(r"[^A-Za-z0-9_-]+", "_", rule.when).strip("_")[:64]


def with_threshold(rule: Rule, value: float) -> Rule:
    """The rule with another threshold: of silence, its time in seconds. Its name stays, whatever it was made of."""
    text = rule.when.strip()
    match = _LEVEL.fullmatch(text) or _FREQUENCY.fullmatch(text)
    if match:
        when = f"{text[: match.start('value')]}{value:.12g}{text[match.end('value') :]}"
    elif silent := _SILENT.fullmatch(text):
        when = f"{silent['node']} silent for {value:.12g}s"
    else:
        raise ValueError(f"'{rule.when}' is not a condition")
    return rule.model_copy(update={"name": name_of(rule), "when": when})


def alarm_of(rule: Condition, name: str, kinds: Mapping[str, str], laser_hz: float) -> Alarm:
    """The alarm, called `name`, that a condition describes. Raises RuleFault."""
    text = rule.when.strip()
    level, frequency, silent = _LEVEL.fullmatch(text), _FREQUENCY.fullmatch(text), _SILENT.fullmatch(text)
    match = level or frequency or silent
    if match is None:
        remedy = 'Write "NODE above 1000 for 10s", "NODE below 5", "NODE frequency off by 20" or "NODE silent for 30s"'
        raise RuleFault("when", f"'{rule.when}' is not a condition", remedy)
    node = match["node"]
    if node not in kinds:
        raise RuleFault(
            "when", f"there is no node '{node}'", _nearest(node, [k for k in kinds if kinds[k] in _WATCHED])
        )
    quantity = _WATCHED.get(kinds[node])
    if quantity is None:
        raise RuleFault(
            "when",
            f"'{node}' is a {kinds[node]} and gives no value",
            "Watch a concentration or a peak_finder",
        )
    duration_ns = round(float(match["for"]) * _UNIT_NS[match["unit"]]) if match["for"] else 0
    if frequency and kinds[node] != "peak_finder":
        raise RuleFault(
            "when",
            f"'{node}' is a {kinds[node]}; only a peak_finder finds a frequency",
            "Watch a peak_finder",
        )
    if silent and duration_ns <= 0:
        raise RuleFault("when", "silence needs a time", f'Write "{node} silent for 30s"')
    if silent:
        return Alarm(name, node, "data_timeout", "above", duration_ns / 1e9, duration_ns,
                     hold_off_ns=round(rule.hold_off_s * 1e9), severity=rule.severity, silence=True)  # fmt: skip
    return Alarm(
        name,
        node,
        "frequency_deviation" if frequency else quantity,
        "below" if level and level["side"] == "below" else "above",
        float(match["value"]),
        duration_ns,
        rule.hysteresis,
        round(rule.hold_off_s * 1e9),
        rule.severity,
        laser_hz if frequency else None,
    )


def _command(option: str, text: str, verbs: Mapping[str, Sequence[str]], origin: str) -> Command:
    words = text.split()
    if len(words) not in (2, 3):
        raise RuleFault(option, f"'{text}' is not a command", 'Write "relay fan on", "led status red" or "laser off"')
    target, verb = "/".join(words[:-1]), words[-1]
    if target not in verbs or verbs[target] == ("set",):
        known = [known for known in verbs if verbs[known] != ("set",)]
        raise RuleFault(
            option, f"there is no output '{' '.join(words[:-1])}'", _nearest(target, known).replace("/", " ")
        )
    if verb not in verbs[target]:
        raise RuleFault(
            option, f"{' '.join(words[:-1])} cannot be told '{verb}'", f"It knows: {', '.join(verbs[target])}"
        )
    return Command(target, verb, origin=origin)


def _opposite(command: Command, verbs: Mapping[str, Sequence[str]]) -> Command | None:
    if command.verb in ("identify", "auto") or (command.target, command.verb) == ("laser", "off"):
        return None
    back = "on" if command.verb == "off" else "off"
    return Command(command.target, "auto" if "auto" in verbs[command.target] else back, origin=command.origin)


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(known) or 'none'}"
