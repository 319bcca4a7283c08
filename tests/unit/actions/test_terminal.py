"""A text display behind a pseudo-terminal: what is written, and that nothing is waited for."""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.actions.terminal import CLEAR, HOME, Terminal
from gateway.clock import RealClock
from gateway.errors import LinkError

CLEARED = CLEAR + HOME


@pytest.fixture
def pty() -> Iterator[tuple[int, int, Path]]:
    """The two ends of a pseudo-terminal, and the path of the display's; nothing is changed on its way."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    yield master, slave, Path(os.ttyname(slave))
    for end in (master, slave):
        os.close(end)


def received(master: int) -> bytes:
    """All that has arrived."""
    data = b""
    try:
        while part := os.read(master, 65536):
            data += part
    except BlockingIOError:
        return data
    return data


def test_rows_are_written_over_each_other_and_cleared_at_the_end(pty: tuple[int, int, Path]) -> None:
    master, _, path = pty
    terminal = Terminal(path, 16, 3)
    assert terminal.show(["co2", "412 ± 4 ppm"]) == ""
    blank = " " * 16
    assert received(master).decode() == f"{CLEARED.decode()}{'co2':16}\r\n{'412 ± 4 ppm':16}\r\n{blank}"
    assert terminal.show(["stale"]) == ""
    assert received(master).decode() == f"{HOME.decode()}{'stale':16}\r\n{blank}\r\n{blank}"
    for _ in range(2):
        asyncio.run(terminal.close(RealClock()))
        assert received(master) in (CLEARED, b"")
    assert terminal.show([]) == ""
    assert received(master).startswith(CLEARED)
    asyncio.run(terminal.close(RealClock()))


def test_a_display_that_nobody_reads_does_not_keep_us(pty: tuple[int, int, Path]) -> None:
    master, _, path = pty
    terminal = Terminal(path, 80, 25)
    fault = next(fault for _ in range(1000) if (fault := terminal.show(["full"])))
    assert fault.startswith(f"{path} ")
    while "takes nothing" not in fault:
        fault = terminal.show(["full"])
    received(master)
    assert terminal.show(["back"]) == ""
    assert received(master).startswith(CLEARED + b"back")
    while not terminal.show(["full"]):
        pass
    asyncio.run(terminal.close(RealClock()))


def test_a_stopped_display_does_not_keep_us(pty: tuple[int, int, Path]) -> None:
    master, slave, path = pty
    terminal = Terminal(path, 20, 4)
    termios.tcflow(slave, termios.TCOOFF)
    assert terminal.show(["x"]) == f"{path} takes nothing: is it switched off, or stopped by Ctrl-S?"
    termios.tcflow(slave, termios.TCOON)
    assert terminal.show(["x"]) == ""
    termios.tcflow(slave, termios.TCOOFF)
    asyncio.run(terminal.close(RealClock()))
    assert received(master).startswith(CLEARED + b"x")


def test_a_display_that_is_unplugged_and_comes_back(pty: tuple[int, int, Path], tmp_path: Path) -> None:
    master, _, path = pty
    link = tmp_path / "ttyUSB0"
    terminal = Terminal(link, 20, 4)
    terminal.check()
    assert terminal.show(["x"]) == f"{link} cannot be written: No such file or directory"
    gone, other = os.openpty()
    link.symlink_to(os.ttyname(other))
    assert terminal.show(["x"]) == ""
    os.close(gone)
    assert terminal.show(["x"]) == f"{link} cannot be written: Input/output error"
    os.close(other)
    link.unlink()
    link.symlink_to(path)
    assert terminal.show(["x"]) == ""
    assert received(master).startswith(CLEARED + b"x")
    asyncio.run(terminal.close(RealClock()))


def test_what_is_no_terminal_is_not_written_to(tmp_path: Path) -> None:
    file = tmp_path / "file"
    terminal = Terminal(file, 20, 4)
    file.touch()
    with pytest.raises(LinkError, match="is no terminal"):
        terminal.check()
    assert terminal.show(["x"]) == f"{file} is no terminal"
    assert file.read_bytes() == b""
