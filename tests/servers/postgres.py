"""A real PostgreSQL for a test: TLS and a password on loopback, everything it writes in one directory.

PostgreSQL refuses to run as root. Under root it runs as the package's user `postgres`, who keeps the one capability to
pass through directories of root's, so that its data can lie in the test's own temporary directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

from tests.real.mosquitto import free_port
from tests.servers.authority import Authority
from tests.servers.process import DEADLINE_S, HOST, Process, program, wait_until

AS_POSTGRES = ("--reuid", "postgres", "--regid", "postgres", "--clear-groups",
               "--inh-caps", "+dac_override", "--ambient-caps", "+dac_override")  # fmt: skip

ACCESS = f"hostssl all all {HOST}/32 scram-sha-256\n"

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
fsync = off
autovacuum = off
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
"""


class PostgreSQL:
    """A server with one database that belongs to one ordinary user; can be stopped or killed, and started again on the
    same port with what it had committed. `directory` must exist; a new one is made in it."""

    user, password, database = "spectrophone", "right horse", "measurements"
    host = HOST

    def __init__(self, directory: Path, authority: Authority) -> None:
        self.port = free_port()
        self.ca = authority.file
        self._home = directory / "postgres"
        self._data = self._home / "data"
        self._setpriv = AS_POSTGRES if os.geteuid() == 0 else ()
        self._home.mkdir(mode=0o700)
        self._environ = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
        self._create_cluster(authority)
        command: list[str | Path] = [_program("postgres"), "-D", self._data]
        self._process = Process(command, self._home / "log", self._environ, setpriv=self._setpriv)

    @property
    def dsn(self) -> str:
        """Address, user, password and verified TLS, as one connection URL."""
        return self._dsn(self.user, self.database)

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the ordinary user; the rows, when it gives any. psycopg.Error when it fails."""
        return _run(self.dsn, sql, *values)

    def start(self) -> None:
        """Start, and return when it takes statements."""
        self._process.start(self._answers)

    def stop(self) -> None:
        """End it in order, as `systemctl stop` does; clients are cut off."""
        self._process.end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9; returns when its other processes, which watch the first, are gone too."""
        pid_file = self._data / "postmaster.pid"
        segment = pid_file.read_text().splitlines()[6].split()[1]
        self._process.end(signal.SIGKILL)
        wait_until(
            lambda: _attached(segment) == 0, lambda: f"processes of PostgreSQL did not end: {self._process.said()}"
        )
        subprocess.run([program("ipcrm", "util-linux"), "-m", segment], check=True)

    def __enter__(self) -> PostgreSQL:
        self.start()
        try:
            administrator = self._dsn("postgres", "postgres")
            _run(administrator, f"CREATE ROLE {self.user} LOGIN PASSWORD '{self.password}'")
            _run(administrator, f"CREATE DATABASE {self.database} OWNER {self.user}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end(signal.SIGQUIT)

    def _create_cluster(self, authority: Authority) -> None:
        password = self._home / "password"
        password.write_text(f"{self.password}\n")
        self._own(self._home, password)
        options = ["--no-sync", "--encoding=UTF8", "--locale=C", "--wal-segsize=1", "--auth=scram-sha-256"]
        files = ["--pgdata", self._data, "--username=postgres", "--pwfile", password]
        command = ["setpriv", *self._setpriv, "--", _program("initdb"), *options, *files]
        made = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_S, env=self._environ, check=False
        )
        assert made.returncode == 0, made.stdout + made.stderr
        for source, name in zip(authority.issue("postgres"), ("server.pem", "server.key"), strict=True):
            shutil.copyfile(source, self._data / name)
            (self._data / name).chmod(0o600)
            self._own(self._data / name)
        (self._data / "pg_hba.conf").write_text(ACCESS)
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS.format(port=self.port))

    def _own(self, *paths: Path) -> None:
        for path in paths if self._setpriv else ():
            shutil.chown(path, "postgres", "postgres")

    def _dsn(self, user: str, database: str) -> str:
        options = urlencode({"sslmode": "verify-full", "sslrootcert": self.ca, "connect_timeout": round(DEADLINE_S)})
        password = self.password.replace(" ", "%20")
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{database}?{options}"

    def _answers(self) -> bool:
        try:
            _run(self._dsn("postgres", "postgres"), "SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def _run(dsn: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(sql.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def _program(name: str) -> str:
    """Debian keeps each version's programs in a directory of its own; the newest."""
    versions = sorted(Path("/usr/lib/postgresql").glob("[0-9]*"), key=lambda version: float(version.name), reverse=True)
    return program(name, "postgresql", *(version / "bin" for version in versions))


def _attached(segment: str) -> int:
    """How many processes hold this System V shared memory, by which PostgreSQL knows that its data are in use."""
    lines = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    return next((int(line[6]) for line in lines if line[1] == segment), 0)
