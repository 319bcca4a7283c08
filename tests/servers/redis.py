"""A real redis-server for a test: every write is on the disk before it is answered, so that it can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import redis

from tests.servers.authority import Authority

HOST = "127.0.0.1"
DEADLINE_S = 30.0


class RedisServer:
    """A server on a loopback port that can be held, killed, and started again with its data."""

    def __init__(
        self, directory: Path, *lines: str, password: str | None = None, authority: Authority | None = None
    ) -> None:
        """`lines` go into its configuration; with `authority` it speaks TLS only."""
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._conf, self._log = directory / "redis.conf", directory / "redis.log"
        self._reach: dict[str, Any] = {"host": HOST, "port": self.port, "password": password}
        conf = [f"bind {HOST}", "daemonize no", 'save ""', "appendonly yes", "appendfsync always", f"dir {directory}"]
        if authority is None:
            conf.append(f"port {self.port}")
        else:
            certificate, key = authority.issue("redis")
            conf += ["port 0", f"tls-port {self.port}", "tls-auth-clients optional"]
            conf += [f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {authority.file}"]
            self._reach |= {"ssl": True, "ssl_ca_certs": str(authority.file)}
        if password is not None:
            conf.append(f"requirepass {password}")
        self._conf.touch(mode=0o600)
        self._conf.write_text("\n".join([*conf, *lines]) + "\n")

    def start(self) -> None:
        """Start, and return when it has read its data and answers."""
        found = shutil.which("redis-server", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        assert found, "redis-server is missing: apt-get install redis-server"
        with self._log.open("ab") as said:
            self._process = subprocess.Popen([found, str(self._conf)], stdout=said, stderr=said)
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            assert self._process.poll() is None, self._log.read_text()
            try:
                with self.client() as client:
                    client.ping()
                return
            except (redis.ConnectionError, redis.TimeoutError):
                time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def client(self) -> redis.Redis:
        """A consumer's connection; everything that it reads is text."""
        return redis.Redis(**self._reach, decode_responses=True)

    def hold(self) -> None:
        """It is there and does nothing, until `resume`."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `hold`."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, held or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
