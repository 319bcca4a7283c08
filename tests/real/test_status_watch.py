"""`spectrophone status --watch` on a real terminal, while a gateway begins, measures, ends and begins anew."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.gateway import command, eventually, gateway
from tests.real.page import token_of

CONFIG = """\
box: {id: lab}
board: sim
cell: {ppm: 400, seed: 5}
web: {port: 0, tls: generated}
"""


class Terminal:
    """A terminal of 120 by 40 on which a command runs: what stands on it."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self._end = end
        self._text = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def shows(self) -> str:
        """What was drawn last."""
        return re.sub(r"\x1b\[[?\d]*[A-Za-z]", "", self._text.rpartition("\x1b[H")[2])

    def wait(self, words: str) -> str:
        """What stands there once it has these words."""
        return eventually(lambda: words in (shown := self.shows()) and shown, words)  # type: ignore[no-any-return]

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; the exit status, and all that was written."""
        os.write(self._end, b"\x03")
        status = self.process.wait(20)
        self._reader.join()
        return status, self._text

    def _read(self) -> None:
        try:
            while data := os.read(self._end, 65536):
                self._text += data.decode()
        except OSError:  # the other end is closed
            return


@contextmanager
def terminal(directory: Path, *arguments: str) -> Iterator[Terminal]:
    """`spectrophone ARGUMENTS` on a terminal."""
    end, other = pty.openpty()
    environ = {**os.environ, "RUNTIME_DIRECTORY": str(directory), "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "gateway", *arguments],
        env=environ, stdin=other, stdout=other, stderr=other, start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )  # fmt: skip
    os.close(other)
    try:
        yield Terminal(process, end)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(end)


def piped(directory: Path, lines: int) -> list[int]:
    """The numbers of blocks in so many JSON lines, to a reader that then goes away."""
    environ = {**os.environ, "RUNTIME_DIRECTORY": str(directory)}
    words = [sys.executable, "-W", "error", "-m", "gateway", "status", "--watch", "--json"]
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        blocks = [json.loads(watching.stdout.readline())["blocks"] for _ in range(lines)]
        watching.stdout.close()
        assert watching.wait(20) == 0
        assert watching.stderr.read() == ""
    return blocks


def asked_over_the_network(place: Path) -> None:
    """The status of a box by the address of its page alone, as from another machine."""
    address = json.loads((place / "lab.json").read_text())["page"]["address"]
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()

    def asked(*more: str) -> subprocess.CompletedProcess[str]:
        return command(elsewhere, "status", "--json", "--url", address, *more)

    known = ("--ca", str(place / "lab.web.pem"))
    told = asked(*known, "--token", token_of(place / "lab.access.json"))
    assert told.returncode == 0, told.stderr
    (status,) = map(json.loads, told.stdout.splitlines())
    assert (status["kind"], status["box"]) == ("status", "lab")
    unproved = asked()
    assert unproved.returncode == 2
    assert f"the certificate of {address} is signed by itself. Name it in --ca" in unproved.stderr


def test_a_gateway_is_watched_through_its_end_and_its_beginning(tmp_path: Path) -> None:
    config = tmp_path / "lab.yaml"
    config.write_text(CONFIG)
    with terminal(tmp_path, "status", "--watch") as screen:
        screen.wait("no gateway runs here. Waiting for one")
        with gateway(tmp_path, "run", "--config", str(config)) as box:
            shown = screen.wait(" ppm")
            assert re.search(r"co2_concentration: (399|400)\.\d\d ± 0\.\d\d ppm", shown)
            assert box.stop(signal.SIGTERM) == 0
        assert " ppm" not in screen.wait("lab has ended. Waiting for lab")
        with gateway(tmp_path, "run", "--config", str(config)) as box:
            screen.wait(" ppm")
            blocks = piped(tmp_path, 3)
            assert blocks == sorted(blocks)
            assert blocks[-1] > blocks[0]
            asked_over_the_network(tmp_path)
            assert box.stop() == 0
        screen.wait("lab has ended")
        status, written = screen.interrupt()
    assert status == 0
    assert written.endswith("\x1b[?25h")
    assert "Traceback" not in written
