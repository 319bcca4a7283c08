"""The hours that Home Assistant missed, as its long-term statistics keep them: mean, least and most of each hour.

Only hours that lie wholly in the gap count: of the others Home Assistant saw a part, and keeps what it made of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.journal.entry import Entry, is_dated

HOUR_NS = 3_600_000_000_000


@dataclass(slots=True)
class Hour:
    """The valid measurements of an hour that begins at `start_ns` (nanoseconds since 1970), in ppm."""

    start_ns: int
    count: int = 0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")

    @property
    def mean(self) -> float:
        """Their arithmetic mean."""
        return self.total / self.count

    def add(self, ppm: float) -> None:
        """One more."""
        self.count += 1
        self.total += ppm
        self.least, self.most = min(self.least, ppm), max(self.most, ppm)


class Gap:
    """What was measured while nobody took it, from `since_ns` to `until_ns` (nanoseconds since 1970)."""

    def __init__(self, since_ns: int, until_ns: int) -> None:
        self.first_ns = -(-since_ns // HOUR_NS) * HOUR_NS
        self.end_ns = until_ns // HOUR_NS * HOUR_NS
        self._hours: dict[tuple[str, int], Hour] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Count the measurements among them that are valid and lie in whole hours of the gap."""
        for entry in entries:
            ppm = entry.fields["ppm"] if entry.kind == "measurement" and entry.fields["valid"] else None
            if ppm is None or not is_dated(entry) or not self.first_ns <= entry.time_ns < self.end_ns:
                continue
            start_ns = entry.time_ns // HOUR_NS * HOUR_NS
            self._hours.setdefault((entry.subject, start_ns), Hour(start_ns)).add(ppm)

    def hours(self) -> Mapping[str, list[Hour]]:
        """The hours in which there was something, by node, oldest first."""
        found: dict[str, list[Hour]] = {}
        for node, start_ns in sorted(self._hours):
            found.setdefault(node, []).append(self._hours[node, start_ns])
        return found
