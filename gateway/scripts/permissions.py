"""What a script is given beyond its own memory: hosts with a port (`network`), files and directories (`file_access`).

`place` and `grant` read one entry of the configuration each and touch nothing; `locate` looks at the machine. What is
listed and what is asked for are both normalised by `normal`, so that spelling lets nothing through and shuts nothing
out. There are no wildcards and no networks: each host that a script talks to is written down.
"""

from __future__ import annotations

import encodings.idna
import ipaddress
import os
import re
import stat
import zoneinfo
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gateway.scripts.files import AUTHORITIES

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_IDNA = encodings.idna.Codec()
_EXAMPLE = '"smtp.example.com:587"'
_NEVER_GIVEN = ("/proc", "/sys", "/dev")


class Place(NamedTuple):
    """A host, normalised, and a port of TCP."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Grant(NamedTuple):
    """A file, or a directory with all that is in it, and whether a script may write there."""

    path: str
    writable: bool = False

    def __str__(self) -> str:
        return f"{self.path}:rw" if self.writable else self.path

    def covers(self, path: str) -> bool:
        """Whether `path` is the one that is given, or written as one beneath it."""
        return path == self.path or path.startswith(f"{self.path}/")


def normal(host: str) -> str:
    """The one spelling of a host: an address as the ipaddress module writes it, else the name in lower case, in
    Punycode, without the dot at the end. What is no host comes back as it was, in lower case.

    An address in another form than the usual (127.1, 0x7f000001) is no address but a name, which nobody has. An IPv4
    address in IPv6 (::ffff:127.0.0.1) is another address than the same in IPv4.
    """
    if not host.isascii():
        try:
            host = _IDNA.encode(host)[0].decode("ascii")  # NFKC, lower case, and the dots of other scripts
        except UnicodeError:
            return host.lower()
    host = host.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def place(text: str) -> Place:
    """The place that an entry of `network` names. Raises ValueError with a sentence that says what to write."""
    entry = text.strip()
    if "://" in entry:
        raise ValueError(f'"{text}" has a scheme: write host and port only, such as "{_without_scheme(entry)}"')
    if "*" in entry:
        raise ValueError(f'"{text}" has a wildcard: list each host with its port')
    if "@" in entry:
        raise ValueError(f'"{text}" has a user: write host and port only, and give passwords to the script otherwise')
    if "/" in entry:
        raise ValueError(f'"{text}" is a network or has a path: list each host with its port, such as {_EXAMPLE}')
    host, port = _split(entry, text)
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f'"{text}" has no port from 1 to 65535 at its end: write it so: {_EXAMPLE}')
    return Place(_host(host, text), int(port))


def _split(entry: str, text: str) -> tuple[str, str]:
    if entry.startswith("["):
        host, bracket, port = entry[1:].partition("]")
        if not bracket or not port.startswith(":") or ":" not in host:
            raise ValueError(f'"{text}" is not an IPv6 address with a port: write it so: "[fd00::5]:8080"')
        return host, port[1:]
    host, _, port = entry.rpartition(":")
    if ":" in host:
        raise ValueError(f'"{text}" has more than one colon: an IPv6 address stands in brackets: "[fd00::5]:8080"')
    if not host:
        raise ValueError(f'"{text}" lacks the host or the port: write both, such as {_EXAMPLE}')
    return host, port


def _host(host: str, text: str) -> str:
    host = normal(host)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        if len(host) > 128 or not all(_LABEL.match(label) for label in labels):
            raise ValueError(f'"{text}" has no host name: write it such as {_EXAMPLE}') from None
        if _NUMBER.match(labels[-1]):
            raise ValueError(f'"{text}" has no proper address: write it so: "10.0.0.5:5432"') from None
        return host
    if "%" in host:
        raise ValueError(f'"{text}" has a zone: only addresses without one can be listed')
    if address.is_unspecified or address.is_multicast or host == "255.255.255.255":
        raise ValueError(f'"{text}" is no address of one machine: list the host itself, such as "10.0.0.5:5432"')
    return host


def _without_scheme(entry: str) -> str:
    scheme, _, rest = entry.partition("://")
    known = {"http": 80, "https": 443, "smtp": 587, "smtps": 465, "postgresql": 5432, "redis": 6379, "mqtt": 1883}
    host = re.split("[/?#]", rest.rpartition("@")[2] if "@" in rest else rest)[0]
    port = re.search(":[0-9]+$", host)
    if not host or (not port and scheme.lower() not in known):
        return _EXAMPLE.strip('"')
    return host if port else f"{host}:{known[scheme.lower()]}"


def grant(text: str) -> Grant:
    """What an entry of `file_access` gives: "/path", or "/path:rw". Raises ValueError with a sentence."""
    path, writable = (text[:-3], True) if text.endswith(":rw") else (text.removesuffix(":ro"), False)
    pure = PurePosixPath(path)
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError(f'"{text}" is not absolute: write the whole path, such as "/var/lib/reports:rw"')
    if not path.isprintable() or ".." in pure.parts:
        raise ValueError(f'"{text}" must be written without ".." and control characters')
    if len(pure.parts) < 2 or any(pure.is_relative_to(never) for never in _NEVER_GIVEN):
        raise ValueError(f'"{text}" is never given to a script: give it a directory of its own')
    return Grant(str(pure), writable)


def locate(given: Grant, private: Sequence[str] = ()) -> Grant:
    """The same grant, looked at on this machine.

    `private` are the gateway's own files and directories (configuration, secrets, state). Raises ValueError with a
    sentence if the path is not there, is a link or neither file nor directory, or would open a private one.
    """
    path = given.path
    try:
        kind = Path(path).stat().st_mode
    except OSError as error:
        raise ValueError(f'"{given}" cannot be given to a script: {error.strerror}: create it first') from None
    real = os.path.realpath(path)
    if real != path:
        raise ValueError(f'"{given}" leads to {real}: write that')
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise ValueError(f'"{given}" is neither a file nor a directory')
    for own in map(os.path.realpath, private):
        if given.covers(own) or Grant(own).covers(path):
            raise ValueError(f'"{given}" would open {own}, which is the gateway\'s own: give a directory apart from it')
    return given


def authorities() -> tuple[Grant, ...]:
    """The machine's bundle of certificate authorities: at level C a script with `network` needs it for TLS."""
    return (Grant(AUTHORITIES),) if Path(AUTHORITIES).is_file() else ()


def zones() -> tuple[Grant, ...]:
    """The machine's time zones: at level C ZoneInfo needs them."""
    return tuple(Grant(path) for path in zoneinfo.TZPATH if Path(path).is_dir() and os.path.realpath(path) == path)
