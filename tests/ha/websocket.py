"""As much of a WebSocket client (RFC 6455) as Home Assistant must be asked with: text frames of JSON, one by one.

Home Assistant tells its entity registry only so.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from types import TracebackType
from typing import Any

_TEXT, _PING = 0x1, 0x9
_LAST = 0x80
_MASKED = 0x80


class WebSocket:
    """A connection to ws://HOST:PORT/PATH. Raises ConnectionError when it is refused or ends."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self._socket = socket.create_connection((host, port), 20)
        self._stream = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade")
        self._socket.sendall(
            "\r\n".join((*lines, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", "")).encode()
        )
        answer = self._stream.readline()
        while self._stream.readline().strip():
            pass
        if b" 101 " not in answer:
            raise ConnectionError(f"no WebSocket at {path}: {answer!r}")

    def send(self, message: dict[str, Any]) -> None:
        """Send it; a client masks what it sends."""
        payload, mask = json.dumps(message).encode(), os.urandom(4)
        size = len(payload)
        length = struct.pack("!B", _MASKED | size) if size < 126 else struct.pack("!BH", _MASKED | 126, size)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self._socket.sendall(bytes((_LAST | _TEXT,)) + length + mask + masked)

    def receive(self) -> Any:
        """The next message."""
        while True:
            kind, size = self._read(2)
            if size == 126:
                (size,) = struct.unpack("!H", self._read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._read(8))
            payload = self._read(size)
            if kind == _LAST | _TEXT:
                return json.loads(payload)
            if kind != _LAST | _PING:
                raise ConnectionError(f"a frame of kind {kind:#x}")

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise ConnectionError("the WebSocket ended")
        return data

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._stream.close()
        self._socket.close()
