"""Frames between the gateway and its workers: a machine of values without I/O, and the two judges of plain data.

A frame is four bytes of length, big-endian, and so many bytes of MessagePack: one message of messages.py, nothing after
it. Nothing on the wire can run code.

A worker may send anything. `judge` walks over the bytes before anything is built of them, because building is
where it hurts: MessagePack can say dict keys whose hashes all collide (64 KiB of them hold the interpreter for half a
second), nesting without end, NaN, dates and types of its own. Then msgspec decodes strictly into the types. Both are
bounded: a frame of `FROM_WORKER_LIMIT` bytes and `MOST_VALUES` values costs milliseconds at the very worst. Who reads
the socket takes no more than `LONGEST_READ` bytes a turn, and so gives way to others however much there is.

`plain` is the worker's own judge. It sees Python objects, so it can say what is wrong and where, and calls nothing that
a customer can have defined.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any, Generic, TypeVar

import msgspec

from gateway.scripts import errors
from gateway.scripts.messages import LONGEST_VALUE, Message, escaped

HEADER = 4
LONGEST_READ = 16 * 1024
MOST_VALUES = 8192
"""How many values, containers counted, one frame or one Plain may hold."""
_AROUND = 16
"""Values of our own around a Plain in a message; the containers of our own around it are one."""
DEEPEST = 32
"""How many lists and dicts of a Plain may stand in one another."""
_INT = 1 << 63
_MARK = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

M = TypeVar("M")


class Violation(Exception):
    """The other side has broken the protocol; `reason` says how, in one line. The connection is of no more use."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unfit(ValueError):
    """A value that cannot be sent; the text is for the customer, and says where and what to do."""


def frame(message: Message) -> bytes:
    """The message as a frame. Raises Unfit if it is longer than frames of its direction may be, or no Unicode."""
    name = type(message).__name__
    try:
        body = msgspec.msgpack.encode(message)
    except UnicodeEncodeError:
        raise Unfit(f"{name} holds half a surrogate pair: decode the bytes with errors='replace'") from None
    if len(body) > message.limit:
        raise Unfit(f"{name} has {len(body)} bytes, more than {message.limit}: make it smaller")
    return len(body).to_bytes(HEADER, "big") + body


class Receiver(Generic[M]):
    """Turns the bytes of one direction into messages, however they are cut.

    `messages` is the union that may come. `limit` is the longest frame in bytes; a longer one is refused by its length
    alone. What a `trusted` sender (the gateway, in the worker's eyes) sends is not judged before it is decoded.
    """

    def __init__(self, messages: Any, limit: int, trusted: bool = False) -> None:
        self._decoder = _decoder(messages)
        self._limit = limit
        self._trusted = trusted
        self._buffer = bytearray()
        self._violation: Violation | None = None

    @property
    def partial(self) -> bool:
        """Whether a frame has begun that is not whole: the end of the stream would cut it."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[M]:
        """The messages that became whole with `data`. Raises Violation, at once and from then on.

        The messages before a fault in the same `data` are lost: they are the word of one who breaks the protocol.
        """
        if self._violation is not None:
            raise self._violation
        self._buffer += data
        try:
            return self._whole()
        except Violation as violation:
            self._violation = violation
            self._buffer.clear()
            raise

    def _whole(self) -> list[M]:
        messages = []
        start = 0
        while len(self._buffer) >= start + HEADER:
            length = int.from_bytes(self._buffer[start : start + HEADER], "big")
            if length > self._limit:
                raise Violation(f"a frame of {length} bytes, more than {self._limit}")
            end = start + HEADER + length
            if len(self._buffer) < end:
                break
            messages.append(self._decode(bytes(self._buffer[start + HEADER : end])))
            start = end
        del self._buffer[:start]
        return messages

    def _decode(self, body: bytes) -> M:
        if not self._trusted:
            judge(body)
        try:
            message: M = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Violation(f"a frame that is no message: {escaped(str(error), 200)}") from None
        return message


@functools.cache
def _decoder(messages: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(messages)


_SIZES = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 0),  # nil, false, true
    **dict.fromkeys((0xCC, 0xD0), 1),
    **dict.fromkeys((0xCD, 0xD1), 2),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), 4),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 8),
}
"""Bytes behind the first one, of what is neither text nor container. Absent: 0xC1, bytes and types of its own."""
_LENGTHS = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""Bytes of the length of str, array and map."""
_LARGEST = bytes([0x7F]) + bytes([0xFF]) * 7


def judge(data: bytes) -> None:
    """Raise Violation unless `data` is one value of MessagePack, made of what a Plain is made of.

    Whether text is UTF-8 is left to the decoder. Source: msgpack/spec.md, "Formats".
    """
    at, values = 0, 1
    left, is_map = 1, False  # values still to come in this container; keys count
    above: list[tuple[int, bool]] = []
    while left or above:
        if not left:
            left, is_map = above.pop()
            continue
        if at >= len(data):
            raise Violation("a frame whose message is cut off")
        kind, at, length = _head(data, at)
        if is_map and not left % 2 and kind != "str":
            raise Violation("a dict key that is no str")
        left -= 1
        if kind == "array" or kind == "map":
            above.append((left, is_map))
            left, is_map = (2 * length, True) if kind == "map" else (length, False)
            values += length
            if values > MOST_VALUES + _AROUND or len(above) > DEEPEST + 1:
                raise Violation(f"a message of more than {MOST_VALUES} values, or more than {DEEPEST} deep")
        else:
            at += length
    if at != len(data):
        raise Violation("bytes after the message in a frame" if at < len(data) else "a frame whose message is cut off")


def _head(data: bytes, at: int) -> tuple[str, int, int]:
    """Kind of the value at `at`, where its contents begin, and how many bytes, elements or pairs these are."""
    byte = data[at]
    at += 1
    if byte <= 0x7F or byte >= 0xE0:
        return "scalar", at, 0
    if byte <= 0xBF:
        kind = "map" if byte <= 0x8F else "array" if byte <= 0x9F else "str"
        return kind, at, byte & (31 if kind == "str" else 15)
    if byte in _LENGTHS:
        first = at + _LENGTHS[byte]
        kind = "str" if byte <= 0xDB else "array" if byte <= 0xDD else "map"
        return kind, first, int.from_bytes(data[at:first], "big")
    if byte not in _SIZES:
        raise Violation(f"a value of a kind that no message has (0x{byte:02x})")
    size = _SIZES[byte]
    body = data[at : at + size]
    if byte == 0xCF and body > _LARGEST:
        raise Violation("an int of more than 64 bits")
    if byte in (0xCA, 0xCB) and _endless(body):
        raise Violation("a float that is not finite")
    return "scalar", at, size


def _endless(body: bytes) -> bool:
    """Whether an IEEE 754 number has all bits of its exponent set: infinite or NaN."""
    bits = int.from_bytes(body, "big")
    mask = 0x7FF << 52 if len(body) == 8 else 0xFF << 23
    return bits & mask == mask


def plain(value: object, where: str) -> Any:
    """A copy of `value` that is plain through and through: lists for tuples, everything else as it was.

    `where` begins the message, such as "on_measurement returned". Raises Unfit: "on_measurement returned numpy.float64
    at $.mean: convert it with float()". Nothing of the customer's is called: no method, no property, no metaclass.
    """
    copy = _Plain(where).copy(value, "$", ())
    size = len(msgspec.msgpack.encode(copy))
    if size > LONGEST_VALUE:
        raise Unfit(f"{where} {size} bytes, more than {LONGEST_VALUE}: make it smaller")
    return copy


class _Plain:
    """One walk over one value."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._values = 1
        self._characters = 0

    def copy(self, value: Any, path: str, above: tuple[int, ...]) -> Any:
        """`value` in plain types; `above` are the identities of the containers around it."""
        kind = type(value)
        if kind is str:
            return self._text(value, path)
        if kind is float and not math.isfinite(value):
            raise self._unfit(f"{value} at {path}", "give None where there is no number")
        if kind is int and not -_INT <= value < _INT:
            raise self._unfit(f"an int of {value.bit_length()} bits at {path}", "make it a float or a str")
        if value is None or kind is bool or kind is int or kind is float:
            return value
        if kind is dict or kind is list or kind is tuple:
            return self._container(value, path, above)
        raise self._unfit(*_strange(kind, path))

    def _container(self, value: Any, path: str, above: tuple[int, ...]) -> Any:
        if id(value) in above:
            raise self._unfit(f"something that contains itself at {path}", "leave that out")
        if len(above) == DEEPEST:
            raise self._unfit(f"lists and dicts more than {DEEPEST} deep at {path}", "make it flatter")
        self._values += len(value)
        if self._values > MOST_VALUES:
            raise self._unfit(f"more than {MOST_VALUES} values", "return less, or a summary")
        above = (*above, id(value))
        if type(value) is not dict:
            return [self.copy(item, f"{path}[{index}]", above) for index, item in enumerate(tuple(value))]
        return {self._key(key, path): self.copy(item, _under(path, key), above) for key, item in tuple(value.items())}

    def _key(self, key: object, path: str) -> str:
        if type(key) is not str:
            raise self._unfit(f"a dict with {_shown(type(key))} as a key at {path}", "make all keys str")
        return self._text(key, f"a key of {path}")

    def _text(self, text: str, path: str) -> str:
        self._characters += len(text)
        if self._characters > LONGEST_VALUE:
            raise self._unfit(f"more than {LONGEST_VALUE} characters", "make it smaller")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise self._unfit(
                    f"a str with half a surrogate pair at {path}", "decode the bytes with errors='replace'"
                ) from None
        return text

    def _unfit(self, what: str, remedy: str) -> Unfit:
        return Unfit(f"{self._where} {what}: {remedy}")


def _under(path: str, key: object) -> str:
    if type(key) is not str:
        return path
    return f"{path}.{key}" if len(key) <= 40 and _MARK.match(key) else f'{path}["{escaped(key, 40)}"]'


_REMEDIES = {
    "bytes": "convert it with .decode()",
    "bytearray": "convert it with .decode()",
    "set": "convert it with sorted()",
    "frozenset": "convert it with sorted()",
    "datetime.datetime": "convert it with .isoformat()",
    "datetime.date": "convert it with .isoformat()",
    "datetime.time": "convert it with .isoformat()",
    "datetime.timedelta": "convert it with .total_seconds()",
    "decimal.Decimal": "convert it with float()",
    "fractions.Fraction": "convert it with float()",
    "uuid.UUID": "convert it with str()",
    "numpy.ndarray": "convert it with .tolist()",
    "numpy.datetime64": "convert it with str()",
    "numpy.str_": "convert it with str()",
    "coroutine": "make the function async, or await it",
    "function": "call it",
    "method": "call it",
    "builtin_function_or_method": "call it",
    "complex": "return its real and imaginary part, or abs()",
}
_CONVERSIONS = ("bool", "int", "float", "str", "dict", "list", "tuple")
_NUMPY = {"bool": "bool", "int": "int", "uint": "int", "float": "float", "long": "float"}


def _strange(kind: type, path: str) -> tuple[str, str]:
    """What stands there, and how it becomes plain."""
    return f"{_shown(kind)} at {path}", _remedy(kind)


def _remedy(kind: type) -> str:
    line = _slot(kind, "__mro__")
    names = [_named(base) for base in line]
    if names[0] in _REMEDIES:
        return _REMEDIES[names[0]]
    if names[0].startswith("numpy."):
        for start, conversion in _NUMPY.items():
            if names[0].startswith(f"numpy.{start}"):
                return f"convert it with {conversion}()"
    if "enum.Enum" in names:
        return "give its .value"
    for conversion in _CONVERSIONS:
        if conversion in names:
            return f"convert it with {conversion}()"
    own = [_slot(base, "__dict__") for base in line]
    if any("__dataclass_fields__" in known for known in own):
        return "convert it with dataclasses.asdict()"
    if any("__next__" in known for known in own):
        return "convert it with list()"
    return "use None, bool, int, float, str, list and dict"


def _shown(kind: type) -> str:
    """The type's name as people know it: a script's own as the script has it."""
    return escaped(errors.kind(kind), 80)


def _named(kind: type) -> str:
    """The type's name, with its module but for builtins."""
    name, module = _slot(kind, "__name__"), _slot(kind, "__module__")
    if type(name) is not str or type(module) is not str:
        return "an object"
    return escaped(name if module == "builtins" else f"{module}.{name}", 80)


def _slot(kind: type, name: str) -> Any:
    """What the interpreter itself keeps of a type, whatever its metaclass answers."""
    return type.__dict__[name].__get__(kind)
