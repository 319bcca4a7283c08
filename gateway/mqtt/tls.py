"""Encryption to the broker. The certificate and the name in it are always verified; there is no way to turn
that off."""

from __future__ import annotations

import socket
import ssl

from gateway.config.sections import Tls
from gateway.tls import load


class _Context(ssl.SSLContext):
    """A client's context that expects `server_name`, whatever name was dialled, and closes a socket whose
    handshake failed."""

    server_name: str

    def wrap_socket(  # type: ignore[override]
        self, sock: socket.socket, *, server_hostname: str, do_handshake_on_connect: bool = True
    ) -> ssl.SSLSocket:
        del server_hostname, do_handshake_on_connect
        return super().wrap_socket(sock, server_hostname=self.server_name, do_handshake_on_connect=True)


def context(tls: Tls, host: str) -> ssl.SSLContext:
    """The context for `host`. Raises LinkError naming the file that is missing, unreadable or not what it
    should be."""
    made = _Context(ssl.PROTOCOL_TLS_CLIENT)
    made.server_name = tls.server_name or host
    load(made, tls, "mqtt.tls")
    return made
