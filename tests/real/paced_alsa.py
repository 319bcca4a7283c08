"""A real ALSA capture device without a sound card: PulseAudio reads a FIFO, ALSA's pulse plugin captures from
it.

The pace is the writer's: `feed` writes frames at wall-clock speed. Everything lives in one directory and ends
with the `paced_device` context. Needs the Debian packages pulseaudio and libasound2-plugins.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEVICE = "spectrophone_test"
NO_CLOCK, WHOLE_NUMBERS = "spectrophone_null", "spectrophone_linear"
CONFIGURATION = f"""\
</usr/share/alsa/alsa.conf>
pcm.{DEVICE} {{
    type pulse
    device "paced"
    hint {{ show on description "paced test sound" }}
}}
pcm.{NO_CLOCK} {{ type null }}
pcm.{WHOLE_NUMBERS} {{
    type linear
    slave {{ pcm "null" format S16_LE }}
}}
"""
PULSE_SAMPLES = {"S16_LE": "s16le", "S32_LE": "s32le", "FLOAT_LE": "float32le"}
BYTES = {"S16_LE": 2, "S32_LE": 4, "FLOAT_LE": 4}


@dataclass(frozen=True)
class Paced:
    """A running device: its ALSA name, the environment in which ALSA finds it, its server."""

    device: str
    environment: dict[str, str]
    server: subprocess.Popen[bytes]
    fifo: Path
    frame_bytes: int
    rate_hz: int


@contextmanager
def paced_device(
    directory: Path, rate_hz: int = 48_000, sample_format: str = "S16_LE", channels: int = 2
) -> Iterator[Paced]:
    """Start the device in `directory`; at the end nothing of it is left running.

    `sample_format` is that of the FIFO. PulseAudio's pipe source ends the server with frames of 3 or 6 bytes
    (its reads are no multiple of them), so 24-bit words are fed as S32_LE; every format can be captured from
    it.
    """
    fifo = directory / "sound.fifo"
    source = (
        f"module-pipe-source source_name=paced file={fifo} rate={rate_hz} channels={channels}"
        f" format={PULSE_SAMPLES[sample_format]}"
    )
    with sound_server(directory, CONFIGURATION, source) as (environment, server):
        _wait_for(fifo.is_fifo, server, directory / "pulse.log")
        yield Paced(DEVICE, environment, server, fifo, BYTES[sample_format] * channels, rate_hz)


@contextmanager
def sound_server(
    directory: Path, configuration: str, module: str
) -> Iterator[tuple[dict[str, str], subprocess.Popen[bytes]]]:
    """A PulseAudio with that module, alone in `directory`: the environment in which ALSA, configured so, finds it."""
    if not shutil.which("pulseaudio"):
        raise RuntimeError("pulseaudio is missing: sudo apt-get install pulseaudio libasound2-plugins")
    file, socket, home = directory / "asound.conf", directory / "pulse.sock", directory / "home"
    file.write_text(configuration)
    home.mkdir()
    own = {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "ALSA_CONFIG_PATH": str(file),
        "PULSE_SERVER": f"unix:{socket}",
    }
    modules = (f"module-native-protocol-unix auth-anonymous=1 socket={socket}", module)
    arguments = [
        "pulseaudio",
        "-n",
        "--daemonize=no",
        "--exit-idle-time=-1",
        "--disable-shm=yes",
        "--use-pid-file=no",
    ]
    arguments += [part for module in modules for part in ("-L", module)]
    with (directory / "pulse.log").open("wb") as log:
        server = subprocess.Popen(arguments, env={**os.environ, **own}, stdout=log, stderr=log)
    try:
        _wait_for(socket.is_socket, server, directory / "pulse.log")
        yield {**os.environ, **own}, server
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(there: Callable[[], bool], server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30.0
    while not there():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"pulseaudio did not start: {log.read_text()}")
        time.sleep(0.02)


@contextmanager
def feed(paced: Paced, sound: bytes) -> Iterator[None]:
    """Play `sound` again and again into the device at wall-clock pace, until the context ends."""
    stop = threading.Event()
    thread = threading.Thread(target=_feed, args=(paced, sound, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _feed(paced: Paced, sound: bytes, stop: threading.Event) -> None:
    step = paced.rate_hz // 100 * paced.frame_bytes
    fifo = os.open(paced.fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        start, done, at = time.monotonic(), 0, 0
        while not stop.is_set():
            piece = sound[at : at + step]
            try:
                written = os.write(fifo, piece)
            except BlockingIOError:
                written = 0
            at = (at + written) % len(sound)
            done += written
            ahead = start + done / (paced.rate_hz * paced.frame_bytes) - time.monotonic()
            stop.wait(max(0.002 if written < len(piece) else 0.0, ahead))
    finally:
        os.close(fifo)


@contextmanager
def python(paced: Paced, program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program with the device in its environment: alsa-lib reads its configuration once a
    process."""
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    process = subprocess.Popen(
        command, env=paced.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
