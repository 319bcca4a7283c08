"""Programs of classic BPF, as seccomp runs them over each system call.

Such a program sees `struct seccomp_data` (linux/seccomp.h): number and architecture of the call, 32 bits each, and its
six arguments of 64 bits, of which an instruction loads one half. Jumps go forward only and, with a condition, at most
255 instructions far (linux/filter.h, `struct sock_filter`); a program has at most 4096.

There are no labels here. A piece of code ends in a verdict on every way through it, so pieces are put together by a
question whose answers are the pieces: `ask(..., yes, no)` lays them behind the jump, and takes a long jump over the
first one if it is longer than 255. What is built this way cannot jump to a wrong place or run over its end.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

LOAD, AND, JUMP, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
"""The instructions used: BPF_LD|W|ABS, ALU|AND|K, JMP|JA, JMP|JEQ|K, JMP|JGE|K, RET|K."""
NUMBER, ARCHITECTURE = 0, 4
"""Where struct seccomp_data has the number of the call and the AUDIT_ARCH constant."""
KILL, ERROR, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
"""Verdicts: SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ERRNO (plus the errno), SECCOMP_RET_ALLOW."""
_FAR = 255
_LONGEST = 4096
_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Instruction:
    """One `struct sock_filter`: go on `yes` or `no` instructions further (conditions), with the constant `k`."""

    code: int
    k: int
    yes: int = 0
    no: int = 0


Code = tuple[Instruction, ...]
"""A piece that ends in a verdict, whichever way through it is taken."""


def verdict(action: int) -> Code:
    """The end: what the kernel shall do with the call."""
    return (Instruction(RETURN, action),)


def load(offset: int, then: Code) -> Code:
    """`then`, with the word at this offset of struct seccomp_data in the accumulator."""
    return (Instruction(LOAD, offset), *then)


def halves(argument: int) -> tuple[int, int]:
    """Offsets of the low and the high word of an argument, 0 to 5, on a little-endian machine."""
    return 16 + 8 * argument, 20 + 8 * argument


def ask(question: int, values: Sequence[int], yes: Code, no: Code) -> Code:
    """Is the accumulator EQUAL to one of the values (or AT_LEAST one of them)? Up to 255 values, at least one."""
    count = len(values)
    over = () if len(yes) <= _FAR else (Instruction(JUMP, len(yes)),)
    last = Instruction(question, values[-1], yes=len(over), no=0 if over else len(yes))
    ahead = (Instruction(question, value, yes=count - 1 - i + len(over)) for i, value in enumerate(values[:-1]))
    return (*ahead, last, *over, *yes, *no)


def masked(argument: int, mask: int, values: Sequence[int], yes: Code, no: Code) -> Code:
    """Is the 64-bit argument, after AND with the mask, one of the values? They share their high word."""
    low, high = halves(argument)
    low_mask, high_mask = mask & _WORD, mask >> 32
    code = _word(low, low_mask, [value & _WORD for value in values], yes, no)
    if not high_mask:
        return code
    tops = {value >> 32 for value in values}
    if len(tops) != 1:
        raise ValueError(f"the values {values} differ in their high words")
    return _word(high, high_mask, sorted(tops), code, no)


def search(starts: Sequence[tuple[int, Code]]) -> Code:
    """The piece in whose range the accumulator is, by a balanced search. Starts rise from 0; a range ends where the
    next one starts.
    """
    if len(starts) == 1:
        return starts[0][1]
    middle = len(starts) // 2
    return ask(AT_LEAST, (starts[middle][0],), search(starts[middle:]), search(starts[:middle]))


def assemble(code: Code) -> bytes:
    """The array of struct sock_filter. Raises ValueError for a program longer than the kernel takes."""
    if not 0 < len(code) <= _LONGEST:
        raise ValueError(f"a program of {len(code)} instructions; the kernel takes {_LONGEST}")
    return b"".join(struct.pack("=HBBI", each.code, each.yes, each.no, each.k) for each in code)


def _word(offset: int, mask: int, values: Sequence[int], yes: Code, no: Code) -> Code:
    question = ask(EQUAL, values, yes, no)
    return load(offset, question if mask == _WORD else (Instruction(AND, mask), *question))
