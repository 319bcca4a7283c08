"""Encryption to the broker. The certificate and the name in it are always verified; there is no way to turn
that off."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from gateway.config.sections import Tls
from gateway.errors import LinkError


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
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.server_name = tls.server_name or host
    if tls.ca is None:
        made.load_default_certs()
    else:
        _readable(tls.ca, "mqtt.tls.ca")
        try:
            made.load_verify_locations(cafile=tls.ca)
        except ssl.SSLError:
            raise _unfit(tls.ca, "mqtt.tls.ca", "holds no certificate in PEM form") from None
    if tls.certificate is not None:
        _own(made, tls.certificate, tls.key)
    elif tls.key is not None:
        raise LinkError("mqtt.tls.key is given without mqtt.tls.certificate", "Give both, or neither")
    return made


def _own(made: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    _readable(certificate, "mqtt.tls.certificate")
    if key is not None:
        _readable(key, "mqtt.tls.key")
    try:
        made.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError):
        what = f"and {key} are no certificate and its key" if key else "holds no certificate with its key"
        remedy = "Give PEM files that belong together; a key must not be encrypted"
        raise LinkError(f"{certificate} {what} (mqtt.tls)", remedy) from None


def _no_password() -> str:
    """Stands in for OpenSSL's question at the terminal, which nobody would answer."""
    raise ValueError("encrypted")


def _readable(path: Path, option: str) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise _unfit(path, option, f"cannot be read: {error.strerror}") from None


def _unfit(path: Path, option: str, what: str) -> LinkError:
    return LinkError(f"{path} ({option}) {what}", f"Correct {option} or put the file there")
