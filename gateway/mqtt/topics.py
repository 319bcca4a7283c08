"""The topics of a box. All lie under BASE/BOX; commands come in on TARGET/set, and TARGET shows what became
of them.

status                 online, offline (retained, last will)
info                   what this box is (retained)
measurement/NODE       a concentration (expires)
signal/NODE            a lock-in or peak result (expires)
resonance/NODE         where the cell's resonance is (expires)
climate                the gas's temperature, humidity and pressure (expires)
laser, relay/NAME ...  an output's state, read back (retained)
laser/set ...          a command
echo/set               a message of the box to itself, which tells whether commands come
laser_state            dark, waiting, lit or tripped, and why (retained)
laser_ready            online while the laser may be switched, else offline (retained)
tec_temperature        the laser's temperature, where something measures it (expires)
calibration            how far a reading of zero or span gas is, and what it gave (retained)
actions                ok, or what is wrong with the first action node that does not deliver (retained)
action/NODE            how an action node fares (expires)
alarm                  an alarm is raised or cleared (event)
alarm_state/RULE       ON while the alarm is raised (retained)
history/NODE           batches of all measurements and alerts of a node, each with its own time (not retained)
problem                ON while values are missing or invalid, and why (retained)
health                 how the box fares: memory, heat, disk, Wi-Fi, clock, overruns (expires)
log                    warnings and worse of the gateway's log (event)
result                 what became of a command (event)
"""

from __future__ import annotations

_SET = "/set"
_SHOWN = frozenset(
    {
        *("status", "info", "alarm", "problem", "result", "health", "log"),
        *("laser_ready", "laser_state", "climate", "tec_temperature"),
    }
)


class Topics:
    """Names of the topics of box `box` under `base`."""

    def __init__(self, base: str, box: str) -> None:
        self.root = f"{base.rstrip('/')}/{box}"
        self.status = f"{self.root}/status"
        self.info = f"{self.root}/info"
        self.alarm = f"{self.root}/alarm"
        self.problem = f"{self.root}/problem"
        self.result = f"{self.root}/result"
        self.echo = f"{self.root}/echo{_SET}"
        self.health = f"{self.root}/health"
        self.log = f"{self.root}/log"
        self.laser_ready = f"{self.root}/laser_ready"
        self.laser_state = f"{self.root}/laser_state"
        self.climate = f"{self.root}/climate"
        self.tec_temperature = f"{self.root}/tec_temperature"
        self.commands = (f"{self.root}/+/set", f"{self.root}/+/+/set")
        """The filters under which commands come."""

    def measurement(self, node: str) -> str:
        """Where the concentrations of `node` go."""
        return f"{self.root}/measurement/{node}"

    def signal(self, node: str) -> str:
        """Where the lock-in or peak results of `node` go."""
        return f"{self.root}/signal/{node}"

    def history(self, node: str) -> str:
        """Where all measurements and alerts of `node` go, in batches."""
        return f"{self.root}/history/{node}"

    def resonance(self, node: str) -> str:
        """Where it is told where `node` believes the resonance to be."""
        return f"{self.root}/resonance/{node}"

    def action(self, node: str) -> str:
        """Where it is told how the action node `node` fares."""
        return f"{self.root}/action/{node}"

    def report(self, name: str) -> str:
        """Where a report of that name goes (gateway/reports.py)."""
        return f"{self.root}/{name}"

    def alarm_state(self, rule: str) -> str:
        """Where it is seen whether `rule` is raised."""
        return f"{self.root}/alarm_state/{rule}"

    def state(self, target: str) -> str:
        """Where the state of an output goes."""
        return f"{self.root}/{target}"

    def command(self, target: str) -> str:
        """Where commands for an output come in."""
        return f"{self.root}/{target}{_SET}"

    def parse_set(self, topic: str) -> str | None:
        """The target of a command topic of this box; None for any other topic."""
        if not topic.startswith(f"{self.root}/") or not topic.endswith(_SET):
            return None
        return topic[len(self.root) + 1 : -len(_SET)] or None

    def is_shown(self, target: str) -> bool:
        """Whether `target` is something that the box tells, but does not take commands for."""
        first, _, rest = target.partition("/")
        if rest:
            return first in ("measurement", "signal", "resonance", "history", "alarm_state", "action")
        return first in _SHOWN

    def may_answer(self, topic: str) -> bool:
        """Whether an answer may go to `topic`: a plain topic that is neither the broker's own nor this
        box's."""
        if not topic or topic.startswith("$") or any(c in topic for c in "+#\0"):
            return False
        return not f"{topic}/".startswith(f"{self.root}/")
