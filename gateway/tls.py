"""Encryption to servers: certificates always verified against named files, and what is wrong with one in words."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

from gateway.config.sections import Tls
from gateway.errors import LinkError

_EXPIRED, _TOO_EARLY, _SELF_SIGNED = 10, 9, 18
_OTHER_NAME = (62, 64)


class _Context(ssl.SSLContext):
    """A client's context that expects `server_name`, whatever name was dialled, and closes a socket whose handshake
    failed."""

    server_name: str

    def wrap_socket(  # type: ignore[override]
        self, sock: socket.socket, *, server_hostname: str, do_handshake_on_connect: bool = True
    ) -> ssl.SSLSocket:
        del server_hostname, do_handshake_on_connect
        return super().wrap_socket(sock, server_hostname=self.server_name, do_handshake_on_connect=True)

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *_: Any, **__: Any) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_hostname=self.server_name)


def context(tls: Tls, host: str, option: str) -> ssl.SSLContext:
    """The context of a client of `host`; `option` is where the files are named ("mqtt.tls"). Raises LinkError naming
    the file that is missing, unreadable or not what it should be."""
    made = _Context(ssl.PROTOCOL_TLS_CLIENT)
    made.server_name = tls.server_name or host
    load(made, tls, option)
    return made


def load(made: ssl.SSLContext, tls: Tls, option: str) -> None:
    """Put the files of `tls` into a client's context. Raises LinkError as context() does."""
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.ca is None:
        made.load_default_certs()
    else:
        _readable(tls.ca, f"{option}.ca")
        try:
            made.load_verify_locations(cafile=tls.ca)
        except ssl.SSLError:
            raise _unfit(tls.ca, f"{option}.ca", "holds no certificate in PEM form") from None
    if tls.certificate is not None:
        _own(made, tls.certificate, tls.key, option)
    elif tls.key is not None:
        raise LinkError(f"{option}.key is given without {option}.certificate", "Give both, or neither")


def fault(error: ssl.SSLError, where: str, option: str = "tls") -> str:
    """Why there is no encryption with the server at `where`, and what to do, in one plain sentence each."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        why = str(error.reason or "protocol error").lower().replace("_", " ")
        if "alert" in why and ("certificate" in why or "unknown ca" in why):
            return f"{where} does not take our certificate: {why}. Give one in {option}.certificate and {option}.key"
        return f"no TLS with {where}: {why}. Check that it is its TLS port"
    certificate = f"the certificate of {where}"
    if error.verify_code == _EXPIRED:
        return f"{certificate} has expired. It must be renewed there; check this box's clock too"
    if error.verify_code == _TOO_EARLY:
        return f"{certificate} is not valid yet. Check this box's clock"
    if error.verify_code in _OTHER_NAME:
        return f"{certificate} is for another name. Name the one it bears in {option}.server_name"
    if error.verify_code == _SELF_SIGNED:
        return f"{certificate} is signed by itself. Name it in {option}.ca"
    why = error.verify_message.rstrip(".")
    return f"{certificate} is not signed by an authority known here ({why}). Name its authority in {option}.ca"


def _own(made: ssl.SSLContext, certificate: Path, key: Path | None, option: str) -> None:
    _readable(certificate, f"{option}.certificate")
    if key is not None:
        _readable(key, f"{option}.key")
    try:
        made.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError):
        what = f"and {key} are no certificate and its key" if key else "holds no certificate with its key"
        remedy = "Give PEM files that belong together; a key must not be encrypted"
        raise LinkError(f"{certificate} {what} ({option})", remedy) from None


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
