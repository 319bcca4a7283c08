"""Each piece of the assembler gives programs that the kernel's rules take and that answer right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scripts.confine import bpf
from tests.support.bpf import Filter

YES, NO = 1, 2
WORDS = st.integers(0, 2**32 - 1)
LONGS = st.integers(0, 2**64 - 1)


def padded(result: int, length: int) -> bpf.Code:
    """A piece of this length that ends in the result."""
    return (*(bpf.Instruction(bpf.LOAD, 0) for _ in range(length - 1)), *bpf.verdict(result))


@given(WORDS, st.lists(WORDS, min_size=1, max_size=40), st.sampled_from([1, 254, 255, 256, 700]), st.booleans())
def test_ask(word: int, values: list[int], length: int, known: bool) -> None:
    asked = values[word % len(values)] if known else word
    code = bpf.load(bpf.NUMBER, bpf.ask(bpf.EQUAL, values, padded(YES, length), padded(NO, 701 - length)))
    assert Filter(bpf.assemble(code)).run(asked, 0) == (YES if asked in values else NO)


@given(st.integers(0, 5), LONGS, LONGS, st.lists(WORDS, min_size=1, max_size=5), st.booleans())
def test_masked_looks_at_both_halves(argument: int, value: int, mask: int, lows: list[int], known: bool) -> None:
    values = [low & mask for low in lows]
    arguments = [(2**64 - 1) ^ value] * 6
    arguments[argument] = values[0] | (value & ~mask) if known else value
    code = bpf.masked(argument, mask, values, bpf.verdict(YES), bpf.verdict(NO))
    expected = YES if arguments[argument] & mask in values else NO
    assert Filter(bpf.assemble(code)).run(0, 0, arguments) == expected
    assert not known or expected == YES


def test_masked_refuses_values_that_differ_in_the_high_word() -> None:
    with pytest.raises(ValueError, match="high words"):
        bpf.masked(0, 2**64 - 1, (0, 1 << 32), bpf.verdict(YES), bpf.verdict(NO))


@given(st.sets(st.integers(1, 2000), max_size=600), st.lists(st.integers(0, 2100), min_size=1, max_size=20))
def test_search_finds_the_range_in_log2_steps(starts: set[int], numbers: list[int]) -> None:
    ordered = [0, *sorted(starts)]
    program = Filter(bpf.assemble(bpf.load(bpf.NUMBER, bpf.search([(start, bpf.verdict(start)) for start in ordered]))))
    for number in numbers:
        found, steps = program.trace(number.to_bytes(4, "little") + bytes(60))
        assert found == max(start for start in ordered if start <= number)
        assert steps <= 2 + 2 * len(ordered).bit_length()


def test_a_program_has_a_limit() -> None:
    assert len(bpf.assemble(padded(YES, 4096))) == 8 * 4096
    for length in (0, 4097):
        with pytest.raises(ValueError, match=str(length)):
            bpf.assemble(padded(YES, length) if length else ())
