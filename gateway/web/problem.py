"""What is answered where something cannot be done: RFC 9457's problem details, and the headers on every answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

PROBLEM = "application/problem+json"
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "spectrophone",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Problem(Exception):
    """An answer that is a refusal: `detail` is a sentence with its remedy, `faults` are those of a configuration or of
    what was sent; `headers` go with it.
    """

    def __init__(
        self,
        status: HTTPStatus | int,
        detail: str,
        faults: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = HTTPStatus(status)
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """As it is sent."""
        said: dict[str, Any] = {"status": self.status.value, "title": self.status.phrase, "detail": self.detail}
        if self.faults:
            said["faults"] = self.faults
        text = json.dumps(said, ensure_ascii=False)
        body = text.encode("utf-8", "replace")
        return web.Response(status=self.status.value, body=body, content_type=PROBLEM, headers=self.headers)
