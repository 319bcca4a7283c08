"""docs/modbus.md, from the tables in registers.py."""

from __future__ import annotations

from gateway.jsonlines import FLAGS
from gateway.modbus.registers import ALARM_BIT, BLOCKS, FLAG_BITS, STATUS_BITS, STRIDE, VALID_BIT, VERSION, Block, Item

_INTRODUCTION = f"""\
# Modbus TCP

A section in the configuration, and the box answers control systems on Modbus TCP:

```yaml
modbus: {{listen: 0.0.0.0, port: 5020, unit: 1, writes: off, word_order: big}}
```

`modbus: {{}}` listens on this machine only. It needs `pip install 'spectrophone[modbus]'`. Modbus knows no password and
no encryption: whoever reaches the port may read, and with `writes: thresholds` change the thresholds of alarms. Give it
a network of its own, or a firewall. Modbus's own port, 502, takes root or, in the unit,
`AmbientCapabilities=CAP_NET_BIND_SERVICE`.

This is version {VERSION} of the map. Within a version nothing moves; new items come behind the others of their block.

## Requests

| function | reads or writes |
|---|---|
| 1, 2 | bits, the same with either |
| 3, 4 | registers, the same with either |
| 16 | the two registers of a threshold's value, with `writes: thresholds` |
| 43 / 14 | identification: vendor, product, version, box |

Registers and bits count from 0, as they stand in the message: where a tool counts input registers from 30001, register
1004 is 31005. One request reads out of one block. A float32 is IEEE 754 in two registers, the more significant one
first; `word_order: little` turns them round, also those of a uint32. A text is ASCII, two letters a register, filled up
with zeros. The unit is the configured one; 0 and 255 are answered, too.

A request that is refused is answered with an exception:

| code | why |
|---|---|
| 1 | there is no such function here, or nothing may be written |
| 2 | there is no such register or bit; or, of a write, it is not all of a threshold's value |
| 3 | the request is not in order, or the number is out of bounds |
| 4 | the threshold cannot be set just now: the log says why |
| 6 | nothing has been measured yet, or too many commands wait: ask again |
| 11 | the unit is another one |

## What a value is worth

Before the first measurement there is no value, and no zero in its place: the request is refused with 6. After it a
value that is not valid, or older than three records and two seconds, is NaN, as are its uncertainties; `valid` is 0 and
`flags` say why. So who does not look at `valid` sees NaN, and no old number.

At most 16 connections are served, and each a hundred times a second. Beyond that the one that has been silent longest,
of the machine that has the most, is closed. So is one that asks nothing for five minutes.

## Registers

Gases, alarms and thresholds stand in the order of the configuration, as it was when the gateway began: nodes that tell
a concentration, rules, and the targets `threshold/NAME` of [commands.md](commands.md). A new rule behind the others
moves nothing. Their names can be read.
"""
_WRITING = """\
A threshold that is written goes the way of any command ([commands.md](commands.md)): it is bounded, logged, in the
journal with its origin `modbus:ADDRESS`, holds from the next record on until the configuration changes it or the
gateway begins anew, and is answered when it is done.
"""


def reference() -> str:
    """docs/modbus.md."""
    lines = [_INTRODUCTION]
    for block in BLOCKS:
        lines += [f"### {block.title}", "", "| register | item | form | unit | meaning |", "|---|---|---|---|---|"]
        lines += [_row(block, item) for item in block.items]
        lines += ["", f"The next {block.each}'s are {STRIDE} further on.", ""] if block.each else [""]
    lines += [_WRITING, "## Bits", "", "| bit | set if |", "|---|---|"]
    lines += [f"| {number} | {meaning} |" for number, meaning in enumerate(STATUS_BITS)]
    lines.append(f"| {VALID_BIT} + n | gas n, counted from 0, has a valid value |")
    lines.append(f"| {ALARM_BIT} + n | alarm n is raised |")
    lines += ["", "## Flags", "", "| value | flag | meaning |", "|---|---|---|"]
    lines += [f"| {1 << number} | {flag} | {FLAGS[flag]} |" for number, flag in enumerate(FLAG_BITS)]
    return "\n".join([*lines, ""])


def _row(block: Block, item: Item) -> str:
    first = block.address(item.name)
    place = f"{first}" if item.words == 1 else f"{first} to {first + item.words - 1}"
    meaning = f"{item.meaning}; may be written" if item.writable else item.meaning
    return f"| {place} | {item.name} | {item.kind} | {item.unit} | {meaning} |"
