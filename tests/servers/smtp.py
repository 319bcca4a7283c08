"""A real mail server for a test: STARTTLS, then a login, then mail; it keeps what it took and misbehaves as told."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import wraps
from threading import Thread

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from tests.servers.authority import Authority
from tests.servers.process import DEADLINE_S, HOST


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was taken: its envelope, and the message with headers and bodies decoded as they are read."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage


@dataclass(frozen=True, slots=True)
class Fault:
    """What comes instead of the proper answer, after a pause in s: this reply ("454 4.7.0 Try later"), or the end of
    the connection. With neither, the proper answer."""

    reply: str = ""
    pause_s: float = 0.0
    drop: bool = False


class MailServer:
    """A mail server that can be stopped, and started again on the same port.

    `mails` holds what was taken. `faults` goes by what the client said: EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, or END
    for the dot after the mail; a drop at DATA comes when the first bytes of the mail are there.
    """

    user, password = "box@example.org", "right horse"
    host = HOST

    def __init__(self, authority: Authority) -> None:
        self.port = 0
        self.ca = authority.file
        self.mails: list[Mail] = []
        self.faults: dict[str, Fault] = {}
        self.connections: set[_Connection] = set()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*authority.issue("smtp"))
        self._thread: Thread | None = None

    def start(self) -> None:
        """Start, and return when it listens."""
        assert self._thread is None, "the mail server runs already"
        started: Future[None] = Future()
        self._thread = Thread(target=asyncio.run, args=(self._serve(started),), name="mail server")
        self._thread.start()
        try:
            started.result(DEADLINE_S)
        except OSError:
            self._thread = None
            raise

    def stop(self) -> None:
        """Cut every connection and listen no more."""
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the mail server does not end"
        self._thread = None

    def __enter__(self) -> MailServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def handle_DATA(self, connection: _Connection, _session: object, envelope: Envelope) -> str:  # noqa: N802
        """aiosmtpd's hook for a whole mail."""
        if reply := await connection.fault("END"):
            return reply
        lines = (envelope.original_content or b"").replace(b"\r\n", b"\n")
        message = message_from_bytes(lines, policy=default)
        assert isinstance(message, EmailMessage)
        self.mails.append(Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), message))
        return "250 2.0.0 Taken"

    async def _serve(self, started: Future[None]) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await self._loop.create_server(self._connection, HOST, self.port)
        except OSError as error:
            started.set_exception(error)
            return
        self.port = server.sockets[0].getsockname()[1]
        started.set_result(None)
        await self._stopped.wait()
        server.close()
        for connection in self.connections:
            connection.drop()
        self.connections.clear()

    def _connection(self) -> _Connection:
        return _Connection(self, self._tls)


class _Connection(SMTP):
    """One client, with the server's faults put before aiosmtpd's answers."""

    def __init__(self, server: MailServer, tls: ssl.SSLContext) -> None:
        self._server, self._cut = server, False
        super().__init__(
            server, hostname="localhost", tls_context=tls, require_starttls=True,
            auth_required=True, authenticator=self._login,
        )  # fmt: skip

    async def fault(self, verb: str) -> str:
        """What to reply instead of the proper answer, if anything; does not return when the connection is dropped."""
        fault = self._server.faults.get(verb, Fault())
        await asyncio.sleep(fault.pause_s)
        if fault.drop:
            self.drop()
            await self.loop.create_future()  # until the end of the connection cancels this
        return fault.reply

    def drop(self) -> None:
        """End the connection with no goodbye, in TCP and in TLS."""
        with contextlib.suppress(AttributeError):  # of asyncio's TLS, whose transport forgets its protocol when it ends
            self.transport.abort()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        """Answer DATA; when told to drop, only once the mail has begun to come."""
        fault = self._server.faults.get("DATA", Fault())
        self._cut = fault.drop
        await asyncio.sleep(fault.pause_s)
        if fault.reply:
            await self.push(fault.reply)
        else:
            await super().smtp_DATA(arg)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client's, decrypted."""
        if self._cut:
            self.drop()
        else:
            super().data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there, or its TLS is."""
        self._server.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self._server.connections.discard(self)
        super().connection_lost(error)

    def _login(
        self, _self: SMTP, _session: object, _envelope: object, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        right = data == (self._server.user.encode(), self._server.password.encode())
        return AuthResult(success=right, handled=False)


def _with_fault(verb: str) -> Callable[[_Connection, str], Awaitable[None]]:
    proper = getattr(SMTP, f"smtp_{verb}")

    @wraps(proper)
    async def answer(self: _Connection, arg: str) -> None:
        if reply := await self.fault(verb):
            await self.push(reply)
        else:
            await proper(self, arg)

    return answer


for _verb in ("EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT"):
    setattr(_Connection, f"smtp_{_verb}", _with_fault(_verb))
