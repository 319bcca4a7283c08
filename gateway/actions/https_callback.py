"""Delivery by HTTP: a batch is one POST, and the answer's status says what became of it.

2xx: the target has the batch. 408, 425, 429, 5xx and everything that goes wrong on the way: it is offered again, not
before the target's own Retry-After. Any other status: refused for good. Idempotency-Key tells the target a repeat.

307 and 308 are followed by hand, because what they name is not always ours: the token, the further headers and our
certificate go only to scheme, host and port of `callback_url`, and nothing goes from https to http. 301, 302 and 303
would make a GET of the POST, so they are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from pydantic import Field, SecretStr, field_validator, model_validator

from gateway import tls
from gateway.actions.driver import DriverKind, Refused, Surroundings, Undelivered
from gateway.actions.payload import body, key
from gateway.config.redact import redact, secrets_in
from gateway.config.sections import Tls
from gateway.config.settings import Settings
from gateway.journal.entry import Entry

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

_logger = logging.getLogger(__name__)

LONGEST_ANSWER = 65_536
"""Bytes of an answer that are read; what is longer costs the connection."""
LONGEST_QUOTE = 200
"""Characters of an answer that are repeated in a reason."""
LONGEST_WAIT_S = 86_400.0
HOPS = 5
"""Redirects that are followed."""

_LATER = frozenset({408, 425, 429})
_FOLLOWED = frozenset({307, 308})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset({"accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host"})
_OURS |= {"idempotency-key", "transfer-encoding", "user-agent"}
_REMEDY = {
    401: "Check auth_token",
    403: "Check auth_token",
    404: "Check callback_url",
    405: "Check callback_url: it does not take a POST",
    410: "Check callback_url",
}


class HttpsCallbackSettings(Settings):
    """POST to a web server: measurements and alerts as JSON."""

    callback_url: str = Field(description="where to; http:// only on this machine, unless allow_http is true")
    allow_http: bool = Field(False, description="let all be read on the way, the token too, where the URL is http://")
    auth_header: str = Field("Authorization", description="header that carries auth_token")
    auth_token: SecretStr | None = Field(
        None, description='its value, sent as it stands ("Bearer ..."); write it as !secret name'
    )
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="further headers; none is ever shown")
    timeout_ms: int = Field(10_000, ge=100, le=120_000, description="how long to wait for the complete answer")
    verify_ssl: bool = Field(True, description="false: anybody may pretend to be the server, and read the token")
    tls: Tls | None = Field(None, description="files for encryption; the system's authorities if absent")
    compress: bool = Field(False, description="send the body with gzip; not every server takes it")

    @field_validator("callback_url")
    @classmethod
    def _is_url(cls, text: str) -> str:
        from yarl import URL

        try:
            url = URL(text)
            fit = _is_web(url) and not re.search(r"[\s\x00-\x1f\x7f]", text)
        except ValueError:
            fit = False
        if not fit:
            raise ValueError("this is not the URL of a web server. Write https://HOST/PATH")
        if url.user is not None or url.password is not None:
            raise ValueError("user and password stand in the URL. Put them into auth_token: !secret name")
        return text

    @field_validator("auth_header")
    @classmethod
    def _is_name(cls, name: str) -> str:
        return _header(name)

    @field_validator("auth_token")
    @classmethod
    def _is_value(cls, token: SecretStr | None) -> SecretStr | None:
        return token and _value(token, "the token")

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            _value(value, f"the header {_header(name)}")
        return headers

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        from yarl import URL

        url = URL(self.callback_url)
        if url.scheme == "http" and not (self.allow_http or _is_loopback(url)):
            raise ValueError("callback_url is http://: all could be read on the way. Use https://, or allow_http: true")
        if url.scheme == "http" and self.tls is not None:
            raise ValueError("tls is given, but callback_url is http://. Use https://, or take tls out")
        if not self.verify_ssl and self.tls is not None and self.tls.ca is not None:
            raise ValueError("tls.ca is given, but verify_ssl is false. Take verify_ssl out")
        if self.auth_token is not None and self.auth_header.lower() in map(str.lower, self.headers):
            raise ValueError(f"{self.auth_header} is given by auth_token and in headers. Take one out")
        return self


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back, and from whom: the first 64 kB of text."""

    url: URL
    status: int
    headers: Mapping[str, str]
    text: str


class HttpsCallback:
    """An ActionDriver that POSTs to a web server. One connection, kept while the server keeps it."""

    def __init__(self, settings: HttpsCallbackSettings, surroundings: Surroundings) -> None:
        from yarl import URL

        self._settings = settings
        self._surroundings = surroundings
        self._secrets = secrets_in(settings)
        self._url = URL(settings.callback_url)
        self._session: aiohttp.ClientSession | None = None
        self._sockets = WeakSet[socket.socket]()
        self._http_status: int | None = None

    async def start(self) -> None:
        """See ActionDriver: reads the certificates, and loads aiohttp, without the event loop."""
        if not self._settings.verify_ssl:
            message = "%s: verify_ssl is false, so anybody may pretend to be %s. Name its authority in tls.ca instead"
            _logger.warning(message, self._surroundings.node, _place(self._url))
        self._own_context, self._strange_context = await asyncio.to_thread(_contexts, self._settings)
        self._version = await asyncio.to_thread(version, "spectrophone")
        import aiohttp

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, resolver=aiohttp.ThreadedResolver(), socket_factory=self._socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
        )

    async def deliver(self, batch: Sequence[Entry]) -> None:
        """See ActionDriver."""
        sent = await asyncio.to_thread(self._body, batch)
        box = self._surroundings.box
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{key(batch[0], box)}..{key(batch[-1], box)}",
            "User-Agent": f"spectrophone/{self._version}",
            "Accept-Encoding": "identity",
        }
        if self._settings.compress:
            headers["Content-Encoding"] = "gzip"
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_ms / 1000
        answer = await self._post(self._url, sent, headers, True, deadline)
        own, hops = True, 0
        while answer.status in _FOLLOWED:
            url = self._next(answer, hops)
            own = own and url.origin() == self._url.origin()
            hops += 1
            answer = await self._post(url, sent, headers, own, deadline)
        self._judge(answer)

    def status(self) -> Mapping[str, Any]:
        """See ActionDriver."""
        return {"target": _place(self._url), "http_status": self._http_status}

    async def close(self) -> None:
        """See ActionDriver."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        self._hang_up()

    def _body(self, batch: Sequence[Entry]) -> bytes:
        plain = body(batch, self._surroundings.box)
        return gzip.compress(plain, mtime=0) if self._settings.compress else plain

    async def _post(self, url: URL, sent: bytes, headers: Mapping[str, str], own: bool, deadline: float) -> _Answer:
        """One POST, with all that is secret only where it is `own`; `deadline` is of the event loop's time."""
        import aiohttp

        assert self._session is not None
        section = self._settings.tls
        try:
            async with (
                asyncio.timeout_at(deadline),
                self._session.post(
                    url,
                    data=sent,
                    headers={**headers, **self._own_headers()} if own else headers,
                    allow_redirects=False,
                    ssl=self._own_context if own else self._strange_context,
                    server_hostname=section.server_name if own and section else None,
                ) as response,
            ):
                text = await _text(response.content)
                if not response.content.at_eof():
                    self._hang_up()
                self._http_status = response.status
                return _Answer(url, response.status, response.headers, text)
        except asyncio.CancelledError:
            self._hang_up()
            raise
        except TimeoutError:
            wait = f"{self._settings.timeout_ms / 1000:g} s"
            reason = f"{_place(url)} gave no complete answer within {wait}. Check it, the network and timeout_ms"
        except (aiohttp.ClientError, OSError) as error:
            reason = _reason(error, url)
        self._hang_up()
        raise Undelivered(redact(reason, self._secrets))

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket for aiohttp, of which we know."""
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        return made

    def _hang_up(self) -> None:
        """End the connection now. By itself asyncio would wait 30 s for TLS's goodbye, which a server that hangs does
        not answer."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def _own_headers(self) -> dict[str, str]:
        settings = self._settings
        own = {name: value.get_secret_value() for name, value in settings.headers.items()}
        if settings.auth_token is not None:
            own[settings.auth_header] = settings.auth_token.get_secret_value()
        return own

    def _next(self, answer: _Answer, hops: int) -> URL:
        """Where a redirect leads. Raises Refused where it may not be followed."""
        from yarl import URL

        where = _place(answer.url)
        if hops == HOPS:
            raise Refused(f"{where} sends on again after {HOPS} redirects. Give the final address in callback_url")
        try:
            url = answer.url.join(URL(answer.headers["Location"])).with_fragment(None)
            fit = _is_web(url)
        except (KeyError, ValueError):
            fit = False
        if not fit:
            raise Refused(f"{where} sends on to nowhere (HTTP {answer.status}). Give the final address in callback_url")
        url = url.with_user(None)  # aiohttp would log in with it
        plain = url.scheme == "http"
        if plain and answer.url.scheme == "https":
            raise Refused(f"{where} sends on to http://{_place(url)}, unencrypted. Give an https:// address")
        if plain and not (self._settings.allow_http or _is_loopback(url)):
            raise Refused(f"{where} sends on to http://{_place(url)}. Use https://, or allow_http: true")
        return url

    def _judge(self, answer: _Answer) -> None:
        """Return where the batch was taken. Raises Undelivered or Refused."""
        status, where = answer.status, _place(answer.url)
        if 200 <= status < 300:
            return
        said = _quote(redact(answer.text, self._secrets))
        reason = f"HTTP {status} from {where}" + (f' "{said}"' if said else "")
        if status in _LATER or status >= 500:
            wait_s = _retry_after_s(answer.headers.get("Retry-After", ""), self._surroundings.clock.utc_ns())
            raise Undelivered(reason, wait_s)
        if 300 <= status < 400:
            raise Refused(f"HTTP {status} from {where}: it is elsewhere. Give the final address in callback_url")
        raise Refused(f"{reason}. {_REMEDY[status]}" if status in _REMEDY else reason)


def _contexts(settings: HttpsCallbackSettings) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for the server itself and for others to which it sends us on: these do not see our certificate."""
    import aiohttp  # noqa: F401 (half a second on a Raspberry Pi: loaded here, beside the event loop)

    section = settings.tls or Tls()
    made = []
    for files in (section, Tls(ca=section.ca)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.load(context, files, "tls")
        if not settings.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        made.append(context)
    return made[0], made[1]


async def _text(content: aiohttp.StreamReader) -> str:
    """The answer's text, its first 64 kB."""
    read = bytearray()
    while len(read) < LONGEST_ANSWER and (some := await content.read(LONGEST_ANSWER - len(read))):
        read += some
    return read.decode(errors="replace")


def _reason(error: Exception, url: URL) -> str:
    """Why there was no answer, and what to do."""
    import aiohttp

    where = _place(url)
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    cause = cause if isinstance(cause, ssl.SSLError) else cause.__cause__ or cause
    if isinstance(cause, ssl.SSLError):
        return tls.fault(cause, where)
    if isinstance(cause, socket.gaierror):
        return f"the name {url.host} is not found: {cause.strerror}. Check callback_url and the network"
    if isinstance(cause, ConnectionRefusedError):
        return f"no server listens at {where}. Check callback_url, and that the server runs"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"what {where} answers is not HTTP. Check callback_url"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f"{where} closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"{where} broke off its answer"
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause) or type(cause).__name__
    return f"{where} cannot be reached: {why}. Check callback_url and the network"


def _retry_after_s(text: str, now_ns: int) -> float | None:
    """Seconds that Retry-After asks for, which is a number or a date, at most a day; None if it says neither."""
    if re.fullmatch(r"[0-9]+", text):
        return min(float(text), LONGEST_WAIT_S)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max(date.timestamp() - now_ns / 1e9, 0.0), LONGEST_WAIT_S)


def _quote(text: str) -> str:
    """The start of a text as one line of characters that can be printed."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:LONGEST_QUOTE]


def _place(url: URL) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{url.host}]:{url.port}" if ":" in (url.host or "") else f"{url.host}:{url.port}"


def _is_web(url: URL) -> bool:
    """Whether it is the whole URL of a web server. Raises ValueError where its host can be no name."""
    return url.scheme in ("http", "https") and bool((url.host or "").encode("idna"))


def _is_loopback(url: URL) -> bool:
    try:
        return ip_address(url.host or "").is_loopback
    except ValueError:
        return url.host == "localhost"


def _header(name: str) -> str:
    """The name, if it may be a header of the user's. Raises ValueError."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("this is not the name of a header. Use letters, digits and -")
    if name.lower() in _OURS:
        raise ValueError(f"the header {name} is not free. Leave it out")
    return name


def _value(value: SecretStr, what: str) -> SecretStr:
    """The value, if a header can carry it. Raises ValueError, without the value."""
    if re.search(r"[^\t\x20-\x7e]", value.get_secret_value()):
        raise ValueError(f"{what} has characters that no header carries. Take line breaks and letters beyond ASCII out")
    return value


KIND = DriverKind(HttpsCallbackSettings, HttpsCallback, durable=True)
