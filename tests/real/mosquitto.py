"""A real mosquitto for a test, with users, TLS and access lists as wanted; and a listener."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.servers.authority import Authority

HOST = "127.0.0.1"
DEADLINE_S = 30.0


def program(name: str) -> str:
    """Where it is installed; the suite fails with the line that installs it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is missing: apt install mosquitto mosquitto-clients"
    return found


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def until(done: Callable[[], Any], what: str = "it", seconds: float = DEADLINE_S) -> Any:
    """What `done` returns once that is true; fails when it stays false for that long."""
    for _ in range(round(seconds / 0.02)):
        if value := done():
            return value
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")


class Mosquitto:
    """A broker that can be killed and started again on the same port."""

    def __init__(self, directory: Path, *lines: str, users: dict[str, str] | None = None, port: int = 0) -> None:
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._conf = directory / "mosquitto.conf"
        self._log = directory / "mosquitto.log"
        conf = [f"listener {self.port} {HOST}", "persistence false", "log_dest stderr", *lines]
        if os.geteuid() == 0:
            conf.append("user root")
        if users is None:
            conf.append("allow_anonymous true")
        else:
            file = directory / "passwords"
            file.touch(mode=0o600)
            for user, password in users.items():
                subprocess.run([program("mosquitto_passwd"), "-b", file, user, password], check=True)
            conf += ["allow_anonymous false", f"password_file {file}"]
        self._conf.write_text("\n".join(conf) + "\n")

    def start(self) -> None:
        """Start, and return when it listens."""
        with self._log.open("ab") as said:
            command = [program("mosquitto"), "-c", str(self._conf)]
            self._process = subprocess.Popen(command, stdout=said, stderr=said)
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            assert self._process.poll() is None, self._log.read_text()
            with socket.socket() as probe:
                if probe.connect_ex((HOST, self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> None:
        """End it as its service would: what it is to keep it writes down."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Listener:
    """A client of the test's own: keeps what comes, newest by topic and all in order, and publishes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.messages: list[MQTTMessage] = []
        self.ready = False

    def newest(self, topic: str) -> MQTTMessage | None:
        """The last message of that topic."""
        return next((m for m in reversed(self.messages) if m.topic == topic), None)

    def payload(self, topic: str) -> bytes | None:
        """The last payload of that topic."""
        message = self.newest(topic)
        return None if message is None else bytes(message.payload)

    def publish(self, topic: str, payload: str | bytes, retain: bool = False, **properties: Any) -> None:
        """Send, and wait until the broker has it."""
        extra = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in properties.items():
            setattr(extra, name, value)
        self._client.publish(topic, payload, 1, retain, extra).wait_for_publish(DEADLINE_S)


@contextmanager
def listening(port: int, *topics: str, user: tuple[str, str] | None = None) -> Iterator[Listener]:
    """A Listener on the broker at `port`; it reconnects by itself when the broker comes back."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.reconnect_delay_set(1, 1)
    if user is not None:
        client.username_pw_set(*user)
    listener = Listener(client)
    filters = [(topic, 1) for topic in topics or ("#",)]
    client.on_connect = lambda *_: client.subscribe(filters)
    client.on_subscribe = lambda *_: setattr(listener, "ready", True)
    client.on_message = lambda _client, _data, message: listener.messages.append(message)
    client.connect(HOST, port, clean_start=True)
    client.loop_start()
    end = time.monotonic() + DEADLINE_S
    while not listener.ready and time.monotonic() < end:
        time.sleep(0.01)
    assert listener.ready
    try:
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()


def tls_lines(authority: Authority, name: str = HOST) -> list[str]:
    """Lines of mosquitto.conf for a server of that name."""
    certificate, key = authority.issue(name, (name,))
    return [f"cafile {authority.file}", f"certfile {certificate}", f"keyfile {key}"]
