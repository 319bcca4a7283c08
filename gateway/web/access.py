"""Who may come in: the owner's password and the machines' tokens, kept as hashes in one file that only the gateway's
user can read.

A password is hashed by scrypt (RFC 7914) with N = 2^14, r = 8, p = 5, which the OWASP Password Storage Cheat Sheet
holds equal to its first choice and which takes 16 MB for a moment, so that a Raspberry Pi can do it. A token has 256
random bits, which nobody guesses, so its hash is plain SHA-256.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from gateway import atomic
from gateway.errors import SpectrophoneError, UsageError

Scope = Literal["read", "control", "admin"]
"""What somebody may do, each what stands before it, too."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
SUFFIX = ".access.json"
OWNER = "owner"
SHORTEST, LONGEST = 10, 256
"""Characters of a password."""
MOST_TOKENS = 64
_N, _R, _P, _MEMORY = 2**14, 8, 5, 64 * 2**20
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Token:
    """A machine's way in; `digest` is the SHA-256 of the token in hexadecimal digits, `created` ISO 8601 in UTC."""

    name: str
    scope: Scope
    digest: str
    created: str


@dataclass(frozen=True, slots=True)
class Access:
    """The hash of the owner's password, "" where none is set yet, and the tokens."""

    password: str = ""
    tokens: tuple[Token, ...] = ()

    def holder(self, token: str) -> Token | None:
        """Whose token that is. Takes the same time whichever it is."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        held = [each for each in self.tokens if hmac.compare_digest(each.digest, digest)]
        return held[0] if held else None

    def with_token(self, name: str, scope: Scope, created: str) -> tuple[Access, str]:
        """With a new token, and the token itself, which nobody can be told again. Raises UsageError."""
        if any(each.name == name for each in self.tokens):
            raise UsageError(f"there is a token '{name}' already", "Give another name, or take that one back first")
        if len(self.tokens) >= MOST_TOKENS:
            raise UsageError(f"there are {MOST_TOKENS} tokens already", "Take one back that nobody uses")
        token = f"sp_{secrets.token_urlsafe(32)}"
        new = Token(name, scope, hashlib.sha256(token.encode()).hexdigest(), created)
        return replace(self, tokens=(*self.tokens, new)), token

    def without_token(self, name: str) -> Access:
        """Without that one. Raises UsageError where there is none."""
        left = tuple(each for each in self.tokens if each.name != name)
        if len(left) == len(self.tokens):
            known = ", ".join(each.name for each in self.tokens) or "none"
            raise UsageError(f"there is no token '{name}'", f"There are: {known}")
        return replace(self, tokens=left)


def allows(held: Scope, wanted: Scope) -> bool:
    """Whether who holds one scope may do what wants the other."""
    return SCOPES.index(held) >= SCOPES.index(wanted)


def hashed(password: str) -> str:
    """What is kept of a password; takes a while. Raises UsageError for one that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        message = f"the password has {len(password)} characters"
        raise UsageError(message, f"Take {SHORTEST} to {LONGEST}; a few words make a good one")
    salt = secrets.token_bytes(16)
    return "$".join(("scrypt", str(_N), str(_R), str(_P), _text(salt), _text(_scrypt(password, salt, _N, _R, _P))))


def matches(password: str, kept: str) -> bool:
    """Whether a password is the one of which that is kept; takes as long as hashed()."""
    _, n, r, p, salt, digest = kept.split("$")
    return hmac.compare_digest(_scrypt(password[:LONGEST], b64decode(salt), int(n), int(r), int(p)), b64decode(digest))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


class AccessFile:
    """The file. The running gateway and the command line may both change it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._access = Access()

    def read(self) -> Access:
        """What it says now; a file that is not there says nothing. Raises SpectrophoneError for one that is broken."""
        try:
            about = self.path.stat()
        except FileNotFoundError:
            self._seen, self._access = None, Access()
            return self._access
        seen = (about.st_mtime_ns, about.st_ino, about.st_size)
        if seen != self._seen:
            self._access = _parsed(self.path)
            self._seen = seen
        return self._access

    def change(self, changed: Callable[[Access], Access]) -> Access:
        """Put in its place what `changed` makes of it, whole; others wait meanwhile. Raises what `changed` raises, and
        OSError.
        """
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with os.fdopen(os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made = changed(self.read())
            atomic.write(self.path, json.dumps(_object(made)), 0o600)
        return made


def _object(access: Access) -> dict[str, Any]:
    tokens = [
        {"name": token.name, "scope": token.scope, "sha256": token.digest, "created": token.created}
        for token in access.tokens
    ]
    return {"format": _FORMAT, "password": access.password, "tokens": tokens}


def _parsed(path: Path) -> Access:
    try:
        data = json.loads(path.read_text("utf-8"))
        tokens = tuple(Token(each["name"], each["scope"], each["sha256"], each["created"]) for each in data["tokens"])
        if data["format"] != _FORMAT or any(token.scope not in SCOPES for token in tokens):
            raise ValueError(data["format"])
        return Access(data["password"], tokens)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpectrophoneError(
            f"{path} cannot be read as a file of passwords and tokens ({type(error).__name__})",
            "Remove it, and set the password anew: spectrophone web password",
        ) from None
