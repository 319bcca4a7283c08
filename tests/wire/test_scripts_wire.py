"""The channel of the workers: every message whole, byte by byte and cut anywhere; and anything else is a Violation."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import enum
import math
import random
from collections import OrderedDict, deque
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scripts import messages as m
from gateway.scripts.rates import LOGS, NOTIFICATIONS, OUTPUTS, Bucket, Rate
from gateway.scripts.wire import DEEPEST, HEADER, MOST_VALUES, Receiver, Unfit, Violation, frame, judge, plain

RECORD = m.Record("ValueError", "no", 7, "mail.py", [(7, "on_update", "raise ValueError('no')")], "say yes")
STATUS = {"mean": 412.5, "n": 3, "ok": True, "none": None, "rows": [[1, "ä"], []], "deep": {"a": {"b": -1}}}
MESSAGES = {
    "gateway": (
        m.FromGateway,
        m.FROM_GATEWAY_LIMIT,
        [
            m.Load(
                b"x = 1\xff",
                "mail.py",
                "class",
                "Mail",
                m.Functions(on_alert="alarm"),
                {"to": ["a"]},
                {"limit": 4.5},
                "mail",
                ["co2"],
                ["json"],
                ["led"],
                100,
                True,
            ),
            m.News([{"t": 1, "ppm": 400.5}], {"co2": {"mean": 1.0}}),
            m.Call(2**53 - 1, "on_trigger", ["threshold", {"value": 1.5}]),
            m.Stop(),
        ],
    ),
    "worker": (
        m.FromWorker,
        m.FROM_WORKER_LIMIT,
        [
            m.Sealed({"level": "B", "seccomp": True}),
            m.Checked([m.Finding(3, 1, "import of 'os' is not allowed", "add it to allowed_imports", "error")]),
            m.Loaded(["on_update"], 0.004),
            m.Failed(RECORD),
            m.Result(1, STATUS, 12_000),
            m.Result(2, None),
            m.Fault(3, RECORD),
            m.Idle(3),
            m.Log("info", "sent ä"),
            m.Notify("CO2 is high", "critical"),
            m.Output("fan", True),
            m.Output("dimmer", 0.25),
            m.Output("led", "red"),
        ],
    ),
    "script": (
        m.FromScript,
        m.BROKER_LIMIT,
        [m.Connect(1, "smtp.example.com", 587, 10.0), m.Open(2, "/data/a.csv", 577)],
    ),
    "broker": (m.FromBroker, m.BROKER_LIMIT, [m.Granted(1), m.Denied(2, 13, "not listed under network")]),
}
DIRECTIONS = pytest.mark.parametrize("direction", MESSAGES)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
plains = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


def receiving(direction: str) -> Receiver[Any]:
    """The other end of a direction."""
    union, limit, _ = MESSAGES[direction]
    return Receiver(union, limit, trusted=direction in ("gateway", "broker"))


def worker() -> Receiver[m.FromWorker]:
    return Receiver(m.FromWorker, m.FROM_WORKER_LIMIT)


def dribble(receiver: Receiver[Any], stream: bytes) -> list[Any]:
    """What comes of the stream byte by byte."""
    return [message for byte in stream for message in receiver.feed(bytes([byte]))]


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(HEADER, "big") + body


def packed(*fields: Any) -> bytes:
    """A frame of an array of anything, as a lying worker would send it."""
    return framed(msgspec.msgpack.encode(fields))


# Messages


@DIRECTIONS
def test_every_message_comes_as_it_went_whole_and_byte_by_byte(direction: str) -> None:
    _, _, sent = MESSAGES[direction]
    stream = b"".join(frame(message) for message in sent)
    assert receiving(direction).feed(stream) == sent
    receiver = receiving(direction)
    assert dribble(receiver, stream) == sent
    assert not receiver.partial


@DIRECTIONS
def test_a_stream_may_be_cut_anywhere(direction: str) -> None:
    _, _, sent = MESSAGES[direction]
    stream = b"".join(frame(message) for message in sent)
    for cut in range(len(stream) + 1):
        receiver = receiving(direction)
        first = receiver.feed(stream[:cut])
        assert first == sent[: len(first)]
        assert first + receiver.feed(stream[cut:]) == sent


def test_all_messages_of_the_module_are_among_the_samples() -> None:
    samples = {type(message) for _, _, sent in MESSAGES.values() for message in sent}
    assert samples == set(m.Message.__args__)


@given(plains, st.integers(0, 2**53 - 1))
def test_any_plain_value_arrives_unchanged(value: Any, call: int) -> None:
    assert plain(value, "it returned") == value
    assert worker().feed(frame(m.Result(call, plain(value, "it returned")))) == [m.Result(call, value)]


def test_a_trusted_sender_may_send_what_a_worker_may_not() -> None:
    news = m.News([{"t": t} for t in range(MOST_VALUES)], {})
    assert Receiver(m.FromGateway, m.FROM_GATEWAY_LIMIT, trusted=True).feed(frame(news)) == [news]
    with pytest.raises(Violation):
        Receiver(m.FromGateway, m.FROM_GATEWAY_LIMIT).feed(frame(news))


def test_a_message_that_is_too_long_or_no_unicode_is_not_sent() -> None:
    with pytest.raises(Unfit, match=r"^Result has 70008 bytes, more than 66560: make it smaller$"):
        frame(m.Result(1, ["x" * 69_992]))
    with pytest.raises(Unfit, match="Log holds half a surrogate pair"):
        frame(m.Log("info", "\ud800"))


# Violations

LIES = {
    "too long": ((m.FROM_WORKER_LIMIT + 1).to_bytes(4, "big"), "a frame of 66561 bytes, more than 66560"),
    "as long as can be said": (b"\xff\xff\xff\xff", "more than 66560"),
    "empty": (framed(b""), "cut off"),
    "one byte of nothing": (framed(b"\xc1"), "0xc1"),
    "no array": (framed(msgspec.msgpack.encode({"a": 1})), "Expected `array`"),
    "an empty array": (packed(), "no message"),
    "unknown": (packed("Exec", "rm"), "Invalid value 'Exec'"),
    "of the other direction": (frame(m.Stop()), "Invalid value 'Stop'"),
    "too few": (packed("Idle"), "at least length 2"),
    "too many": (packed("Idle", 1, 1), "at most length 1, got 2"),
    "bytes behind": (framed(msgspec.msgpack.encode(["Idle", 1]) + b"\xc0"), "bytes after the message"),
    "cut off": (framed(msgspec.msgpack.encode(["Log", "info", "text"])[:-1]), "cut off"),
    "str for int": (packed("Idle", "1"), "Expected `int`"),
    "bool for int": (packed("Idle", True), "Expected `int`"),
    "float for int": (packed("Idle", 1.5), "Expected `int`"),
    "None for str": (packed("Log", "info", None), "Expected `str`"),
    "an id of 54 bits": (packed("Idle", 2**53), "int"),
    "a negative id": (packed("Idle", -1), "int"),
    "an unknown level": (packed("Log", "shout", "a"), "Invalid enum value"),
    "a severity of its own": (packed("Notify", "a", "worst"), "Invalid enum value"),
    "a long text": (packed("Log", "info", "x" * 2049), "length <= 2048"),
    "a long name": (packed("Output", "x" * 129, 1), "length <= 128"),
    "control characters": (packed("Log", "info", "a\x1b[2J"), "matching regex"),
    "a second line": (packed("Log", "info", "a\nb"), "matching regex"),
    "a line at the end": (packed("Log", "info", "a\n"), "matching regex"),
    "text from right to left": (packed("Log", "info", "a\u202eb"), "matching regex"),
    "a traceback without end": (packed("Failed", ["E", "m", 1, "f", [[1, "f", "t"]] * 21, ""]), "length <= 20"),
    "no UTF-8": (framed(b"\x93\xa3Log\xa4info\xa2\xff\xff"), "utf-8"),
    "half a surrogate pair": (framed(b"\x93\xa3Log\xa4info\xa3\xed\xa0\x80"), "utf-8"),
    "NaN": (packed("Output", "fan", math.nan), "not finite"),
    "infinite": (packed("Result", 1, [-math.inf]), "not finite"),
    "infinite in single precision": (framed(b"\x93\xa6Result\x01\xca\x7f\x80\x00\x00"), "not finite"),
    "an int of 65 bits": (packed("Result", 1, 2**63), "64 bits"),
    "bytes": (packed("Result", 1, b"x"), "0xc4"),
    "a date": (packed("Result", 1, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)), "0xd6"),
    "a type of its own": (packed("Result", 1, msgspec.msgpack.Ext(5, b"xy")), "0xd5"),
    "an int as key": (packed("Result", 1, {1: 2}), "key"),
    "None as key": (packed("Result", 1, {None: 2}), "key"),
    "an array as key": (framed(b"\x93\xa6Result\x01\x81\x91\x01\xc0"), "key"),
    "a long array": (framed(b"\x93\xa6Result\x01\xdd\xff\xff\xff\xff"), "8192 values"),
    "a long map": (framed(b"\x93\xa6Result\x01\xdf\xff\xff\xff\xff"), "8192 values"),
    "many values": (packed("Result", 1, [[None] * 90] * 91), "8192 values"),
    "a long str": (framed(b"\x93\xa6Result\x01\xdb\xff\xff\xff\xff"), "cut off"),
    "deep": (framed(b"\x93\xa6Result\x01" + b"\x91" * 33 + b"\xc0"), "32 deep"),
    "deeper than the stack": (framed(b"\x93\xa6Result\x01" + b"\x91" * 60_000 + b"\xc0"), "32 deep"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_a_violation_wherever_it_is_cut(lie: str) -> None:
    data, reason = LIES[lie]
    good = frame(m.Idle(1))
    with pytest.raises(Violation, match=reason):
        worker().feed(good + data + good)
    receiver = worker()
    with pytest.raises(Violation, match=reason):
        dribble(receiver, good + data)
    with pytest.raises(Violation, match=reason):
        receiver.feed(good)


def test_a_frame_that_is_too_long_is_refused_before_it_is_there() -> None:
    receiver = worker()
    assert receiver.feed(b"\x00\x10\x00") == []
    with pytest.raises(Violation, match="a frame of 1048576 bytes"):
        receiver.feed(b"\x00")
    assert not receiver.partial


def test_what_a_violation_quotes_is_one_short_line() -> None:
    with pytest.raises(Violation) as told:
        worker().feed(packed("\x1b[2J\n" + "x" * 5000))
    assert told.value.reason.isprintable()
    assert len(told.value.reason) < 250


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_violation(data: bytes) -> None:
    for stream in (data, framed(data)):
        with contextlib.suppress(Violation):
            assert all(isinstance(message, m.FromWorker) for message in worker().feed(stream))


def test_a_hundred_thousand_spoilt_frames_are_messages_or_violations() -> None:
    rng = random.Random(5)
    bodies = [frame(message)[HEADER:] for message in MESSAGES["worker"][2]]
    accepted = refused = 0
    for _ in range(100_000):
        body = bytearray(rng.choice(bodies))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(body))
            body[at : at + rng.choice((0, 1, 1, 1, 2))] = rng.randbytes(rng.choice((0, 1, 1, 1, 2)))
            body = body or bytearray(b"\x90")
        try:
            (message,) = worker().feed(framed(bytes(body)))
        except Violation:
            refused += 1
            continue
        accepted += 1
        if isinstance(message, m.Result):
            plain(message.value, "it returned")
    assert accepted > 1000
    assert refused > 50_000


@given(st.binary(max_size=60))
def test_what_the_judge_lets_through_is_plain(data: bytes) -> None:
    try:
        judge(data)
        value = msgspec.msgpack.decode(data)
    except (Violation, UnicodeDecodeError):
        return
    assert plain(value, "it returned") == value


# Plain values


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Word(str):
    __slots__ = ()


class Liar(type):
    """Its classes hang whoever asks them for their name, or compares them."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise AssertionError("the metaclass was asked")

    def __eq__(cls, other: object) -> bool:
        raise AssertionError("the metaclass was asked")

    def __hash__(cls) -> int:
        raise AssertionError("the metaclass was asked")

    def __getattribute__(cls, name: str) -> Any:
        raise AssertionError("the metaclass was asked")


class Hanging(metaclass=Liar):
    """Every way to look at it fails."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError("the object was asked")

    __str__ = __repr__ = __hash__ = __eq__ = __len__ = __iter__ = __format__ = __bool__ = __getattribute__  # type: ignore


@dataclasses.dataclass
class Point:
    x: int


def cycle() -> list[Any]:
    value: list[Any] = [1]
    value.append({"self": value})
    return value


def laughs() -> list[Any]:
    value: list[Any] = [1]
    for _ in range(30):
        value = [value] * 10
    return value


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


UNFIT = {
    "numpy's float": ({"mean": np.float64(1)}, "numpy.float64 at $.mean: convert it with float()"),
    "numpy's single": ([np.float32(1)], "numpy.float32 at $[0]: convert it with float()"),
    "numpy's int": ([{"n": np.int32(1)}], "numpy.int32 at $[0].n: convert it with int()"),
    "numpy's bool": (np.bool_(True), "at $: convert it with bool()"),
    "an array": ({"a b": np.zeros(3)}, 'numpy.ndarray at $["a b"]: convert it with .tolist()'),
    "NaN": ({"x": math.nan}, "nan at $.x: give None where there is no number"),
    "infinity": ([1, -math.inf], "-inf at $[1]: give None where there is no number"),
    "a huge int": (1 << 63, "an int of 64 bits at $: make it a float or a str"),
    "a hugest int": (-(1 << 1_000_000), "an int of 1000001 bits at $"),
    "bytes": (b"x", "bytes at $: convert it with .decode()"),
    "100 MB of bytes": (bytes(100_000_000), "bytes at $: convert it with .decode()"),
    "a set": ({1}, "set at $: convert it with sorted()"),
    "a date": (datetime.date(2026, 1, 1), "datetime.date at $: convert it with .isoformat()"),
    "a decimal": (decimal.Decimal(1), "decimal.Decimal at $: convert it with float()"),
    "a str of its own": (Word("x"), "Word at $: convert it with str()"),
    "a dict of its own": (OrderedDict(a=1), "collections.OrderedDict at $: convert it with dict()"),
    "an enum": (Colour.RED, "Colour at $: give its .value"),
    "an enum of ints": (Level.LOW, "Level at $: give its .value"),
    "a dataclass": (Point(1), "Point at $: convert it with dataclasses.asdict()"),
    "a generator": ((n for n in ()), "generator at $: convert it with list()"),
    "a deque": (deque(), "collections.deque at $: use None, bool, int"),
    "a function": (nested, "function at $: call it"),
    "a class": (Point, "type at $: use None"),
    "what hangs": ([Hanging()], "Hanging at $[0]: use None"),
    "a key that hangs": ({1: 2}, "a dict with int as a key at $: make all keys str"),
    "itself": (cycle(), "something that contains itself at $[1].self: leave that out"),
    "depth": (nested(33), "more than 32 deep at $[0][0]"),
    "a depth beyond the stack": (nested(100_000), "more than 32 deep"),
    "breadth": ([None] * 8192, "more than 8192 values"),
    "breadth in depth": (laughs(), "more than 8192 values"),
    "a long text": ("x" * 65_537, "more than 65536 characters"),
    "long texts": (["x" * 40_000] * 2, "more than 65536 characters"),
    "many bytes": ("ä" * 40_000, "80005 bytes, more than 65536: make it smaller"),
    "half a surrogate pair": (["\ud800"], "a str with half a surrogate pair at $[0]: decode the bytes with"),
    "half a surrogate pair as key": ({"\ud800": 1}, "half a surrogate pair at a key of $"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_what_is_not_plain_is_named_with_its_place_and_what_to_do(unfit: str) -> None:
    value, expected = UNFIT[unfit]
    with pytest.raises(Unfit) as told:
        plain(value, "on_measurement returned")
    text = str(told.value)
    assert text.startswith("on_measurement returned ")
    assert expected in text, text
    assert text.isprintable()


def test_the_message_of_the_specification() -> None:
    with pytest.raises(Unfit) as told:
        plain({"mean": np.float64(1)}, "on_measurement returned")
    assert str(told.value) == "on_measurement returned numpy.float64 at $.mean: convert it with float()"


def test_names_that_a_customer_chose_cannot_break_the_line() -> None:
    kind = type("a\n\x1b[2J" + "x" * 500, (), {"__module__": "m"})
    other = type("b", (), {"__module__": 5})
    with pytest.raises(Unfit, match=r"^it returned m\.a\\n\\x1b\[2Jx+\.\.\. at \$: use None"):
        plain(kind(), "it returned")
    with pytest.raises(Unfit, match=r"^it returned b at"):
        plain(other(), "it returned")
    with pytest.raises(Unfit, match=r'int of 65 bits at \$\["\\n\\u202ex+\.\.\."\]'):
        plain({"\n\u202e" + "x" * 500: 1 << 64}, "it returned")


def test_a_plain_value_is_a_copy_with_lists_for_tuples() -> None:
    given = {"rows": [(1, 2), ()], "text": "ä"}
    copy = plain(given, "it returned")
    assert copy == {"rows": [[1, 2], []], "text": "ä"}
    given["rows"].append(3)
    assert copy["rows"] == [[1, 2], []]


def test_the_same_value_may_stand_in_two_places() -> None:
    part = [1]
    assert plain([part, part], "it returned") == [[1], [1]]


@pytest.mark.parametrize(
    "value", [nested(DEEPEST), [None] * (MOST_VALUES - 1), "x" * 65_533, -(1 << 63), (1 << 63) - 1]
)
def test_what_is_just_plain_enough_arrives(value: Any) -> None:
    (message,) = worker().feed(frame(m.Result(1, plain(value, "it returned"))))
    assert message == m.Result(1, value)


# Texts


@given(st.text(st.characters(), max_size=300), st.integers(10, 200))
def test_escaped_text_is_what_the_types_accept(text: str, longest: int) -> None:
    shown = m.escaped(text, longest)
    assert len(shown) <= longest
    assert worker().feed(frame(m.Log("info", shown))) == [m.Log("info", shown)]


def test_escaped_says_what_was_there() -> None:
    assert m.escaped("a\r\n\x1b[1m\u202e\ud800 ä") == r"a\r\n\x1b[1m\u202e\ud800 ä"
    assert m.escaped("x" * 3000) == "x" * 2045 + "..."


# Rates


def test_a_bucket_gives_its_burst_then_its_rate_and_counts_the_others() -> None:
    bucket = Bucket(Rate(20.0, 100))
    assert [bucket.take(0) for _ in range(103)] == [True] * 100 + [False] * 3
    assert bucket.untold() == 3
    assert bucket.untold() == 0
    assert [bucket.take(100_000_000) for _ in range(3)] == [True, True, False]
    assert bucket.take(50_000_000) is False, "time that runs backwards gives nothing"
    assert bucket.suppressed == 5
    assert sum(bucket.take(10**15) for _ in range(200)) == 100


@pytest.mark.parametrize(("rate", "in_a_minute"), [(LOGS, 100 + 1200), (NOTIFICATIONS, 6 + 6), (OUTPUTS, 10 + 300)])
def test_a_flood_of_a_minute_is_cut_to_burst_and_rate(rate: Rate, in_a_minute: int) -> None:
    bucket = Bucket(rate)
    taken = sum(bucket.take(ms * 1_000_000) for ms in range(60_001))
    assert abs(taken - in_a_minute) <= 1
    assert bucket.suppressed == 60_001 - taken
