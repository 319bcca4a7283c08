"""What the gateway and a worker say to each other. On the wire each is an array: its name, then its fields in order.

Four directions, four unions; a socket carries one pair of them:

    FromGateway, FromWorker     the worker's channel: load, call, and what became of it
    FromScript, FromBroker      the broker's channel: connections and files; the descriptor travels beside `Granted`

Nothing that a worker says is believed. Lengths, ranges and characters are part of the types here, and whatever does not
fit is a Violation in wire.py. Texts are one line without control characters (`escaped`), so that they can go to a log
or a terminal as they are. A `Plain` is what JSON can say: None, bool, int of 64 bits, finite float, str, list, and dict
with str as keys; wire.py judges it, on both sides.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

Plain = Any
"""None, bool, int, float, str, list of Plain, or dict of str and Plain; see wire.plain and wire.judge."""

LONGEST_SOURCE = 256 * 1024
"""Bytes of a script."""
LONGEST_VALUE = 64 * 1024
"""Bytes of an encoded Plain that a worker hands over."""
LONGEST_TEXT = 2048
"""Characters of a message, cut by `escaped`."""
FROM_WORKER_LIMIT = LONGEST_VALUE + 1024
"""Bytes of a frame from a worker, without its length."""
FROM_GATEWAY_LIMIT = 2 * 1024 * 1024
"""Bytes of a frame to a worker: its script, or the history with a call."""
BROKER_LIMIT = 8 * 1024
"""Bytes of a frame on the broker's channel, either way."""

_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb"
_ESCAPED = re.compile(f"[{_UNPRINTABLE}]")

Id = Annotated[int, Meta(ge=0, lt=2**53)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]
Seconds = Annotated[float, Meta(ge=0, le=1e6)]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT, pattern=rf"\A[^{_UNPRINTABLE}]*\Z")]
Name = Annotated[str, Meta(max_length=128, pattern=rf"\A[^{_UNPRINTABLE}]*\Z")]
Frame = tuple[Count, Name, Text]
"""One line of a traceback: number in the file, function, the line itself."""


def escaped(text: str, longest: int = LONGEST_TEXT) -> str:
    r"""`text` as one line of at most `longest` characters; control characters become \n, \x1b, \u202e and the like.

    It gives what the types Text (2048) and Name (128) accept. `text` must be a str itself, not a subclass: nothing of
    a customer's is called here.
    """
    shown = _ESCAPED.sub(lambda match: match[0].encode("unicode_escape").decode(), text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


class _ToWorker(Struct, array_like=True, forbid_unknown_fields=True, frozen=True, tag=True):
    """An array of the class's name and the fields; one field too many is refused. `limit`: bytes of a frame."""

    limit: ClassVar[int] = FROM_GATEWAY_LIMIT


class _FromWorker(Struct, array_like=True, forbid_unknown_fields=True, frozen=True, tag=True):
    """The same from a worker."""

    limit: ClassVar[int] = FROM_WORKER_LIMIT


class _Broker(Struct, array_like=True, forbid_unknown_fields=True, frozen=True, tag=True):
    """The same on the broker's channel."""

    limit: ClassVar[int] = BROKER_LIMIT


class Functions(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What the functions of a script in module style are called."""

    initialize: str = "initialize"
    on_measurement: str = "on_measurement"
    on_alert: str = "on_alert"
    get_status: str = "get_status"
    shutdown: str = "shutdown"


class Record(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One fault of a script as it ran: an exception of type `type`.

    `line` and `file` are the customer's own, 0 and "" where there is none. `frames` is the traceback with our frames
    cut off, outermost first. `hint` says what to do, if we know.
    """

    type: Name
    message: Text
    line: Count = 0
    file: Text = ""
    frames: Annotated[list[Frame], Meta(max_length=20)] = []
    hint: Text = ""


class Finding(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What the static check found: an `error` keeps a script from being loaded. `line` and `column` count from 1."""

    line: Count
    column: Count
    message: Text
    remedy: Text
    severity: Literal["error", "warning"]

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy} (line {self.line})"


class Load(_ToWorker, frozen=True):
    """Load this script: once, and first. `checks` False leaves the static check and the import guard out.

    `path` is what tracebacks call the file. `config` is python_config, `parameters` the node's own; `outputs` are the
    names that set_output takes.
    """

    source: bytes
    path: str
    style: Literal["class", "module"]
    class_name: str
    functions: Functions
    config: dict[str, Any]
    parameters: dict[str, Any]
    node: str
    monitored: list[str]
    allowed_imports: list[str]
    outputs: list[str]
    history_capacity: int
    checks: bool


class News(_ToWorker, frozen=True):
    """What has become newer since the last News; it goes before the call that shall see it.

    `entries` are rows for the history, oldest first; `statistics` is the newest, by node.
    """

    entries: list[dict[str, Any]]
    statistics: dict[str, Any]


class Call(_ToWorker, frozen=True):
    """Call the hook `hook` ("on_measurement", "on_trigger", ...) with `args`; Result or Fault answers, then Idle."""

    id: Id
    hook: str
    args: list[Any]


class Stop(_ToWorker, frozen=True):
    """Leave: the worker exits without calling anything more of the customer's."""


class Sealed(_FromWorker, frozen=True):
    """The worker has locked itself in; `report` says which layers took. The customer's code has not begun."""

    report: Plain


class Checked(_FromWorker, frozen=True):
    """What the static check found, before Loaded or Failed; one message for every 20 findings, none for none."""

    findings: Annotated[list[Finding], Meta(max_length=20)]


class Loaded(_FromWorker, frozen=True):
    """The script is loaded, and defines these hooks; `seconds` is what loading took."""

    hooks: Annotated[list[Name], Meta(max_length=16)]
    seconds: Seconds


class Failed(_FromWorker, frozen=True):
    """The script could not be loaded."""

    record: Record


class Result(_FromWorker, frozen=True):
    """What the call returned; `cpu_ns` is the worker's own word for the CPU time of it."""

    id: Id
    value: Plain
    cpu_ns: Annotated[int, Meta(ge=0)] | None = None


class Fault(_FromWorker, frozen=True):
    """The call raised, or returned what is not plain."""

    id: Id
    record: Record


class Idle(_FromWorker, frozen=True):
    """The runner has come back from the call and waits for the next one."""

    id: Id


class Log(_FromWorker, frozen=True):
    """log_message, and each line that the script prints."""

    level: Literal["debug", "info", "warning", "error"]
    text: Text


class Notify(_FromWorker, frozen=True):
    """trigger_notification."""

    message: Text
    severity: Literal["info", "warning", "critical"]


class Output(_FromWorker, frozen=True):
    """set_output; whether the node's `outputs` allow it is for the gateway to say."""

    name: Name
    value: bool | float | Name


class Connect(_Broker, frozen=True):
    """Connect to host and port over TCP and hand the socket over."""

    id: Id
    host: Annotated[Name, Meta(min_length=1)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    timeout: Annotated[float, Meta(gt=0, le=60)]


class Open(_Broker, frozen=True):
    """Open `path` with the flags of open(2) and hand the file over."""

    id: Id
    path: Annotated[Text, Meta(min_length=1)]
    flags: Count


class Granted(_Broker, frozen=True):
    """Yes: the descriptor comes with this frame."""

    id: Id


class Denied(_Broker, frozen=True):
    """No: `errno` as the system would give it, `message` with the option that would allow it."""

    id: Id
    errno: Count
    message: Text


FromGateway = Load | News | Call | Stop
FromWorker = Sealed | Checked | Loaded | Failed | Result | Fault | Idle | Log | Notify | Output
FromScript = Connect | Open
FromBroker = Granted | Denied
Message = FromGateway | FromWorker | FromScript | FromBroker
