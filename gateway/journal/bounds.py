"""How the journal stays within its bounds: what is old becomes thinner, and is dropped at last.

A journal that is too large is thinned from its oldest end on: of what is older than the newest sixteenth of the time
that it covers one measurement in 10 s is left per node; if that is not enough, of what is older than the newest quarter
one a minute, then of the older half one in ten minutes; then the oldest entries go. So the newest weeks stay whole, and
years fit in. What is left are rows as they were measured, never averages; for each state of doubt (valid, flags) there
is one of its own. Alerts and commands stay until they are dropped. All of it goes in slices, since commits wait
meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.journal.store import Store

STAGES = ((10, 1 / 16), (60, 1 / 4), (600, 1 / 2))
"""One measurement in so many seconds, and how much of the time that is covered stays as it is."""
ROWS = 2000
PAGES = 128
"""What is looked at, or given back to the disk, in one slice."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """What a slice did: entries that were `thinned` out and `dropped`, and whether there may be `more` to do."""

    thinned: int = 0
    dropped: int = 0
    more: bool = False


def tidy(store: Store, max_bytes: int, oldest_ns: int) -> Tidied:
    """One slice of what must be done to bring `store` below `max_bytes`, with nothing older than `oldest_ns`
    (nanoseconds since 1970). Raises sqlite3.Error.
    """
    if dropped := store.drop(oldest_ns, ROWS):
        return Tidied(dropped=dropped, more=True)
    if store.size_bytes() > max_bytes:
        return _smaller(store)
    return Tidied(more=store.file_bytes() > max_bytes and store.give_back(PAGES))


def _smaller(store: Store) -> Tidied:
    first_ns, last_ns = store.measured_ns()
    for every_s, whole in STAGES:
        went = store.thin(every_s, last_ns - round(whole * (last_ns - first_ns)), ROWS)
        if went is not None:
            return Tidied(thinned=went, more=True)
    dropped = store.drop(None, ROWS)
    return Tidied(dropped=dropped, more=dropped > 0)
