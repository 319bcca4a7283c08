"""The kernel's side of seccomp, for tests: checks a program of classic BPF and runs it over one system call.

Written after Documentation/networking/filter.rst and `seccomp_check_filter` (kernel/seccomp.c), not after our
assembler.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_SIZE = 64
_LD_W_ABS, _ALU_AND_K, _JMP_JA, _RET_K = 0x20, 0x54, 0x05, 0x06
_CONDITIONS = {0x15: int.__eq__, 0x25: int.__gt__, 0x35: int.__ge__, 0x45: lambda a, k: bool(a & k)}


def data(number: int, audit: int, arguments: Sequence[int] = ()) -> bytes:
    """struct seccomp_data of a call, on a little-endian machine; missing arguments are 0."""
    six = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    return struct.pack("<IIQ6Q", number & 0xFFFFFFFF, audit, 0, *(value & (1 << 64) - 1 for value in six))


class Filter:
    """A program that the kernel would load. Raises AssertionError if it would not."""

    def __init__(self, program: bytes) -> None:
        self._code = list(struct.iter_unpack("=HBBI", program))
        assert 0 < len(self._code) <= 4096
        for at, (code, yes, no, k) in enumerate(self._code):
            if code == _LD_W_ABS:
                assert k % 4 == 0
                assert k < _SIZE
            elif code == _JMP_JA:
                assert at + 1 + k < len(self._code)
            elif code in _CONDITIONS:
                assert at + 1 + max(yes, no) < len(self._code)
            else:
                assert code in (_ALU_AND_K, _RET_K), f"instruction {at} is {code:#x}"
        assert self._code[-1][0] == _RET_K

    def __len__(self) -> int:
        return len(self._code)

    def run(self, number: int, audit: int, arguments: Sequence[int] = ()) -> int:
        """The verdict on one system call."""
        return self.trace(data(number, audit, arguments))[0]

    def trace(self, call: bytes) -> tuple[int, int]:
        """The verdict on a struct seccomp_data, and after how many instructions."""
        at = steps = accumulator = 0
        while True:
            code, yes, no, k = self._code[at]
            at, steps = at + 1, steps + 1
            if code == _RET_K:
                return k, steps
            if code == _LD_W_ABS:
                accumulator = struct.unpack_from("<I", call, k)[0]
            elif code == _ALU_AND_K:
                accumulator &= k
            elif code == _JMP_JA:
                at += k
            else:
                at += yes if _CONDITIONS[code](accumulator, k) else no
