"""docs/actions.md, made from the code: what action nodes do, what leaves the box, and every driver's options."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from gateway import jsonlines
from gateway.actions.drivers import DRIVERS
from gateway.actions.payload import SCHEMA, payload
from gateway.config.reference import table
from gateway.journal.entry import Entry
from gateway.types import (
    NO_FLAGS,
    Alert,
    Command,
    CommandResult,
    Flag,
    LevelResult,
    LockInResult,
    Measurement,
    PeakResult,
    Result,
    Snapshot,
    Tick,
)

_INTRODUCTION = """\
# Action nodes

A `universal_action` tells others what the box measures. It stands in the graph, passes the sound on unchanged, and
watches its `monitored_nodes` only; its options are in [configuration.md](configuration.md), those of its drivers below.

    - id: redis_stream
      type: universal_action
      parameters:
        monitored_nodes: [co2_concentration]
        update_interval_ms: 1000
        concentration_threshold: 800
        driver: {type: redis, config: {connection_string: "redis://127.0.0.1:6379"}}

- Once per `update_interval_ms` the driver gets everything that is new: no measurement is left out, however long the
  interval. An alert goes at once.
- Each threshold raises an alert once, and clears it once, when the value has come back by the hysteresis; without one,
  by six of its own standard deviations, so that noise does not repeat it. `triggers` takes further conditions, written
  as those of rules ("co2_concentration below 350 for 1 min"). `data_timeout_s` counts from the last valid value,
  whatever the cause: no sound, laser off, a value that is not valid.
- Alerts of a node are called NODE/TYPE/SOURCE, or NODE/NAME. Its driver gets them, and those of rules that watch its
  monitored nodes; alerts of other action nodes it does not.
- A target that is away loses nothing: the journal keeps a cursor per node, and delivers in order, with the times of the
  measurements, once the target is back. Attempts are spaced by back-off with full jitter up to 30 s; after five
  failures in a row a single entry is offered first. What a target refuses for good (HTTP 4xx but 408, 425 and 429) is
  counted, told, and not offered again; it stays in the journal (`spectrophone export`).
- Delivery is at least once: after a cut an entry may come twice, with the same `key`. A consumer that remembers the
  keys of the last batch can drop repeats. Kafka's producer is idempotent and repeats nothing while the gateway runs.
- A new node begins with what is measured from then on. Saving the configuration applies changed options between two
  batches, and lets nodes come and go; the cursor stays.
- `spectrophone status` shows each node: state, queue age, calls and their times, errors, what was refused or dropped.
  `{"do": "reset", "node": "redis_stream"}` on the MQTT topic BASE/BOX/actions/set begins its statistics anew and
  tries its target at once.

## What is delivered

Every payload is a JSON object: `schema`, which is "SCHEMA"; `box`; `key`, the same for every repeat of an entry and
for no other; and the fields of its kind in [json-lines.md](json-lines.md). Keys are BOX-NUMBER, and the numbers of a
box grow. Fields may be added under the same schema; one that changes its meaning, or goes, raises the number.
"""


_CONSUMER = """\
## A consumer

Each drops repeats by the key; this one reads a Redis stream of one box, whose keys grow:

```python
import json

import redis


def follow(url, stream, use, seen=0, last="0"):
    \"""Call `use` with every payload, once; keep `seen` and `last` with what you make of them.\"""
    client = redis.Redis.from_url(url, decode_responses=True)
    while True:
        for _, found in client.xread({stream: last}, count=500, block=5000):
            for last, fields in found:
                number = int(fields["key"].rpartition("-")[2])
                if number > seen:
                    seen = number
                    use(json.loads(fields["payload"]))
```

For Kafka see [fleet.md](fleet.md). An HTTPS server gets one POST a batch, `{"schema": ..., "box": ..., "entries":
[...]}`, with the header Idempotency-Key, FIRSTKEY..LASTKEY: the same for a batch that comes again.
"""


def reference() -> str:
    """The page."""
    parts = [_INTRODUCTION.replace("SCHEMA", SCHEMA)]
    for entry in _examples():
        text = json.dumps(payload(entry, "lab-42"), indent=2, ensure_ascii=False)
        parts.append(f"### {entry.kind}\n\n```json\n{text}\n```\n")
    parts.append("## Drivers\n")
    for name, kind in DRIVERS.items():
        parts.append(f"### {name}\n\n{(sys.modules[kind.make.__module__].__doc__ or '').strip()}\n")
        if kind.extra:
            parts.append(f"Needs `pip install 'spectrophone[{kind.extra}]'`.\n")
        how = "everything, in order, out of the journal" if kind.durable else "the newest of each node, and every alert"
        parts.append(f"Gets {how}.\n")
        parts += table(kind.settings)
    parts.append(_CONSUMER)
    return "\n".join(parts)


def _examples() -> Iterator[Entry]:
    """One entry of each kind, as a box makes them."""
    t_ns, first = 3_600_000_000_000, 1_790_000_000_000_000
    lock = LockInResult("co2_lock_in", t_ns, 2012.5, 0.024412, -0.000021, 1.2e-6, 30, 1.0)
    peak = PeakResult("co2_peak_finder", t_ns, 2012.4996, 0.0021, 0.024409, 2.9e-6, 30, 1.0, True)
    level = LevelResult("level", t_ns, 0.0031, 0.041, frozenset({Flag.IMPULSE}))
    co2 = Measurement("co2_concentration", t_ns, 1003.1, 0.4, 0.82, 30, 1.2, True, NO_FLAGS, lock, "ppm", 1002.7, 0.2)
    rule = "redis_stream/concentration/co2_concentration"
    alert = Alert(rule, "concentration", "warning", "raised", 1003.1, 800.0, "co2_concentration", t_ns)
    tick = Tick(36_000, t_ns, 1_790_000_000_123_000_000, (co2, lock, peak, level), (alert,), (), Snapshot())
    items: tuple[Result | Alert, ...] = (co2, alert, peak, lock, level)
    for number, item in enumerate(items):
        fields = jsonlines.of(item, tick)
        if fields is not None:
            yield Entry(first + number, tick.utc_ns or 0, fields["kind"], "", fields)
    answer = CommandResult(Command("relay/fan", "on", origin="rule:high"), True, "", "on")
    yield Entry(first + 5, tick.utc_ns or 0, "command", "relay/fan", jsonlines.command(answer, tick))
