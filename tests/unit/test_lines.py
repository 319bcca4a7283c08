"""Lines to a reader that is slow, or gone."""

from __future__ import annotations

import io
import os
import threading

from gateway.lines import LineWriter


def test_lines_come_in_order() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream)
    for number in range(1000):
        writer.put(str(number))
    writer.close()
    assert stream.getvalue().split() == [str(number) for number in range(1000)]


def test_a_slow_reader_never_holds_the_writer_up_and_is_told_what_it_missed() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read) as reader:
        writer = LineWriter(stream)
        for number in range(30_000):  # far more than pipe and queue hold: put() would hang if it waited
            writer.put(f"{number:0100d}")
        seen: list[str] = []
        drained = threading.Thread(target=lambda: seen.extend(reader))
        drained.start()
        while not writer._queue.empty():
            threading.Event().wait(0.01)
        writer.put("the end")
        writer.close()
        stream.close()
        drained.join()
    assert seen[-1] == "the end\n"
    assert "lines were dropped" in seen[-2]
    assert len(seen) < 30_000


def test_a_reader_that_is_gone_is_noticed() -> None:
    read, write = os.pipe()
    os.close(read)
    gone = threading.Event()
    stream = os.fdopen(write, "w")
    writer = LineWriter(stream, gone.set)
    writer.put("anybody there?")
    assert gone.wait(10.0)
    writer.close()
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    stream.close()
