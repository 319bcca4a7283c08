"""Action driver `redis`: entries into a stream, onto a channel, or under keys that expire.

A batch is one transaction (MULTI ... EXEC) on one connection: the server takes all of it or nothing. What it took may
come again where its answer was lost, as it was and in the same order; a consumer drops an entry whose `key` it has
seen before.

- `stream`: XADD to the one stream `channel_or_prefix`, so that the order holds across kinds. The fields are `key`,
  `kind`, `node` (what it is of), `time` and `payload`, the JSON object. The stream is cut at about `max_len` entries,
  by a command of its own: the length that XADD's MAXLEN leaves in the server's log made it cut too much when it read
  back a log whose end a crash had torn (seen with 7.0.15).
- `pub_sub`: PUBLISH of the JSON object to the channel `channel_or_prefix`, a message per entry. Redis keeps none of
  them: a subscriber that is away misses what comes.
- `key_value`: SET of the newest JSON object, under PREFIX:NODE, PREFIX:alert:RULE and PREFIX:command:TARGET. The key is
  gone `expiry_seconds` after it was set, save that of an alert that is raised: it stays until the alert is cleared.

A user of the server needs `+multi +exec`, `+xadd +xtrim`, `+publish` or `+set`, and `+select` for another database.

The connection is the library's, for its handshake and parser; its pool, time-outs and retries are not used. Whatever
goes wrong, a connection is never used again: an answer that is still under way would be taken for the next one's.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import itertools
import re
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from gateway import tls
from gateway.actions.driver import DriverKind, Refused, Surroundings, Undelivered
from gateway.actions.payload import key, text
from gateway.config.redact import redact, secrets_in
from gateway.config.sections import Tls
from gateway.config.settings import Settings
from gateway.journal.entry import Entry

if TYPE_CHECKING:
    from redis.asyncio import Connection

PORT = 6379
LONGEST = 200
"""Characters of a server's own words that a reason holds."""

SLICE = 50
"""Commands after which the event loop may see to others."""

Command = tuple[str | int, ...]

_PLACEHOLDER = re.compile(r"\{(box|node|kind)\}")
_URL = "Write redis://HOST:PORT, or rediss:// for TLS, and /NUMBER behind it for another database than 0"
_PLAIN = "Write other options beside it; in a user name or password write / ? # @ as %2F %3F %23 %40"


@dataclass(frozen=True, slots=True)
class Server:
    """What a connection string says. `str()` of it is HOST:PORT, and nothing shows the password."""

    host: str
    port: int
    database: int
    encrypted: bool
    username: str | None
    password: str | None = field(repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def server(url: str) -> Server:
    """The server that `url` names: redis[s]://[USER][:PASSWORD@]HOST[:PORT][/DATABASE]. Raises ValueError, with nothing
    of the URL in it: any part may be a password with a slash in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"connection_string is no URL. {_URL}") from None
    if parts.scheme not in ("redis", "rediss") or not host:
        raise ValueError(f"connection_string names no Redis server. {_URL}")
    database = parts.path.removeprefix("/") or "0"
    if parts.query or parts.fragment or not re.fullmatch(r"[0-9]{1,5}", database):
        raise ValueError(f"connection_string has more than host, port and a database's number. {_PLAIN}")
    username, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    return Server(host, PORT if port is None else port, int(database), parts.scheme == "rediss", username, password)


class RedisSettings(Settings):
    """Options of the driver redis."""

    connection_string: SecretStr = Field(
        description="redis://HOST:PORT/DATABASE, or rediss:// for TLS; may hold USER:PASSWORD@, which is never shown"
    )
    mode: Literal["stream", "pub_sub", "key_value"] = Field(
        "stream", description="stream: kept in order; pub_sub: told to who listens; key_value: the newest of each node"
    )
    channel_or_prefix: str = Field(
        "spectrophone:{box}",
        min_length=1,
        max_length=512,
        description="the stream, the channel, or what keys begin with; {box}, {node} and {kind} are filled in",
    )
    expiry_seconds: int | None = Field(
        3600, ge=0, le=31_536_000, description="mode key_value: seconds after which a key is gone; 0: it stays"
    )
    max_len: int = Field(
        100_000, ge=1, le=1_000_000_000, description="mode stream: about how many entries the server keeps"
    )
    username: str | None = Field(None, min_length=1, description="user name, where the server has users")
    password: SecretStr | None = Field(None, description="password; write it as !secret name")
    timeout_ms: int = Field(
        5000, ge=100, le=600_000, description="longest time for a batch, connecting included, before it is given up"
    )
    tls: Tls | None = Field(None, description="with rediss://: whom to trust, and this box's own certificate")

    @property
    def server(self) -> Server:
        """What connection_string says."""
        return server(self.connection_string.get_secret_value())

    @field_validator("connection_string")
    @classmethod
    def _is_url(cls, value: SecretStr) -> SecretStr:
        server(value.get_secret_value())
        return value

    @field_validator("channel_or_prefix")
    @classmethod
    def _known_placeholders(cls, value: str) -> str:
        if re.search(r"[{}]", _PLACEHOLDER.sub("", value)):
            raise ValueError(f"{value} has braces that mean nothing. Known: {{box}}, {{node}}, {{kind}}")
        return value

    @field_validator("expiry_seconds", "max_len")
    @classmethod
    def _of_this_mode(cls, value: int | None, info: ValidationInfo) -> int | None:
        mode = {"expiry_seconds": "key_value", "max_len": "stream"}[info.field_name or ""]
        if info.data.get("mode", mode) != mode:
            raise ValueError(f"{info.field_name} has no effect in mode {info.data['mode']}. Take it out, or use {mode}")
        return value

    @field_validator("username", "password")
    @classmethod
    def _once(cls, value: Any, info: ValidationInfo) -> Any:
        url = info.data.get("connection_string")
        if value is not None and url is not None and getattr(server(url.get_secret_value()), info.field_name or ""):
            raise ValueError(f"connection_string has a {info.field_name} too. Give it once")
        return value

    @field_validator("tls")
    @classmethod
    def _encrypted(cls, value: Tls | None, info: ValidationInfo) -> Tls | None:
        url = info.data.get("connection_string")
        if value is not None and url is not None and not server(url.get_secret_value()).encrypted:
            raise ValueError("tls has no effect on redis://. Begin connection_string with rediss://, or take tls out")
        return value


class RedisDriver:
    """Hands batches to a Redis server, over one connection that is made when it is wanted."""

    def __init__(self, settings: RedisSettings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._server = settings.server
        self._box = surroundings.box
        self._secrets = secrets_in(settings) | ({self._server.password} if self._server.password else set())
        self._tls: ssl.SSLContext | None = None
        self._connection: Connection | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        """See ActionDriver. The library is read in a thread: it takes a while."""
        await asyncio.to_thread(importlib.import_module, "redis.asyncio")
        if self._server.encrypted:
            self._tls = tls.context(self._settings.tls or Tls(), self._server.host, "tls")

    async def deliver(self, batch: Sequence[Entry]) -> None:
        """See ActionDriver."""
        from redis.exceptions import RedisError

        done = False
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1000):
                connection = await self._connected()
                await _transact(connection, self._commands(batch))
            done = True
        except (RedisError, OSError, ValueError) as error:
            raise self._verdict(error) from None
        finally:
            if not done:
                await self.close()

    def status(self) -> Mapping[str, Any]:
        """See ActionDriver."""
        return {"server": str(self._server), "mode": self._settings.mode, "connected": self._is_open()}

    async def close(self) -> None:
        """See ActionDriver. What is still in the connection's buffers is thrown away."""
        connection, writer = self._connection, self._writer
        self._connection = self._reader = self._writer = None
        if writer is not None:
            writer.transport.abort()
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _connected(self) -> Connection:
        """The connection: a new one where there is none, or where the server has closed it meanwhile."""
        from redis.asyncio import Connection, SSLConnection

        if self._connection is not None and self._is_open():
            return self._connection
        await self.close()
        password = self._settings.password
        options: dict[str, Any] = {
            "host": self._server.host,
            "port": self._server.port,
            "db": self._server.database,
            "username": self._settings.username or self._server.username,
            "password": self._server.password if password is None else password.get_secret_value(),
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": None,
        }
        if self._tls is None:
            made = Connection(**options)
        else:
            made = SSLConnection(**options)
            made.ssl_context.context = self._tls
        self._connection = made
        await made.connect()  # type: ignore[no-untyped-call]
        self._reader, self._writer = made._reader, made._writer
        return made

    def _is_open(self) -> bool:
        reader = self._reader
        return reader is not None and not reader.at_eof() and reader.exception() is None

    def _commands(self, batch: Sequence[Entry]) -> Iterable[Command]:
        settings, box = self._settings, self._box
        match settings.mode:
            case "stream":
                for entry in batch:
                    about = ("key", key(entry, box), "kind", entry.kind, "node", entry.subject)
                    time = entry.fields.get("time") or ""
                    yield ("XADD", self._name(entry), "*", *about, "time", time, "payload", text(entry, box))
                for name in dict.fromkeys(map(self._name, batch)):
                    yield ("XTRIM", name, "MAXLEN", "~", settings.max_len)
            case "pub_sub":
                for entry in batch:
                    yield ("PUBLISH", self._name(entry), text(entry, box))
            case "key_value":
                for name, entry in {self._key(entry): entry for entry in batch}.items():
                    stays = not settings.expiry_seconds or entry.fields.get("state") == "raised"
                    ends: Command = () if stays else ("EX", settings.expiry_seconds or 0)
                    yield ("SET", name, text(entry, box), *ends)

    def _key(self, entry: Entry) -> str:
        """Where key_value keeps an entry."""
        match entry.kind:
            case "alert":
                return f"{self._name(entry)}:alert:{entry.fields['rule']}"
            case "command":
                return f"{self._name(entry)}:command:{entry.subject}"
        return f"{self._name(entry)}:{entry.subject}"

    def _name(self, entry: Entry) -> str:
        known = {"box": self._box, "node": entry.subject, "kind": entry.kind}
        return _PLACEHOLDER.sub(lambda match: known[match[1]], self._settings.channel_or_prefix)

    def _verdict(self, error: Exception) -> Undelivered | Refused:
        """What has become of the batch. Only a key that holds something else will never take it; the rest an operator
        can mend, and the batch waits in the journal until he has."""
        reason = redact(_reason(error, self._server), self._secrets)
        return Refused(reason) if str(error).startswith("WRONGTYPE") else Undelivered(reason)


async def _transact(connection: Connection, commands: Iterable[Command]) -> None:
    """All of the commands, or none. Raises the first error among the server's answers."""
    from redis.exceptions import ResponseError

    rest = itertools.chain([("MULTI",)], commands, [("EXEC",)])
    sent = 0
    while some := list(itertools.islice(rest, SLICE)):
        await connection.send_packed_command(connection.pack_commands(some), check_health=False)
        sent += len(some)
        await asyncio.sleep(0)
    errors: list[ResponseError] = []
    answers: Any = []
    for number in range(sent):
        try:
            answers = await connection.read_response()
        except ResponseError as error:
            errors.append(error)
        if number % SLICE == 0:
            await asyncio.sleep(0)
    if not errors:
        errors = [answer for answer in answers if isinstance(answer, ResponseError)]
    if errors:
        raise errors[0]


def _reason(error: Exception, where: Server) -> str:
    """Why a batch was not taken: what is wrong, then what to do."""
    from redis import exceptions as redis

    cause = _cause(error)
    said = str(error).partition(", with args")[0][:LONGEST].rstrip(". ")
    match error:
        case redis.AuthenticationError():
            return f"the Redis server {where} refused the login: {said}. Check username and password"
        case redis.NoPermissionError():
            return f"the Redis server {where} does not permit it: {said}. Permit it in the user's ACL"
        case redis.OutOfMemoryError():
            return f"the Redis server {where} is out of memory: {said}. Raise its maxmemory, or lower max_len"
        case redis.ResponseError() if said.startswith("WRONGTYPE"):
            return f"the Redis server {where} holds something else there: {said}. Give another channel_or_prefix"
        case redis.ResponseError() | redis.BusyLoadingError():
            return f"the Redis server {where} answered: {said}. Check the server"
    return _unreachable(cause, where, said)


def _unreachable(cause: BaseException, where: Server, said: str) -> str:
    if isinstance(cause, ssl.SSLError):
        return tls.fault(cause, f"the Redis server {where}")
    if isinstance(cause, socket.gaierror):
        return f"the Redis server's name {where.host} is not known. Check connection_string and the network"
    if isinstance(cause, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(cause):
        return f"no Redis server listens at {where}. Check connection_string, and that the server runs"
    if isinstance(cause, TimeoutError):
        return (
            f"the Redis server {where} does not answer in time. Check the server and the network, or raise timeout_ms"
        )
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else said or type(cause).__name__
    wants = ", and whether it wants tls.certificate" if where.encrypted else ""
    return f"the connection to the Redis server {where} failed: {why}. Check the server and the network{wants}"


def _cause(error: BaseException) -> BaseException:
    """The system's error behind the library's; the error itself where there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return cause or error


KIND = DriverKind(RedisSettings, RedisDriver, durable=True, module="redis", extra="redis")
