"""The way in to a running box's page."""

from __future__ import annotations

from pathlib import Path

from gateway.web.access import Access, AccessFile


def token_of(file: Path) -> str:
    """A new token of scope read, for what that file lets in."""
    tokens: list[str] = []

    def with_token(access: Access) -> Access:
        access, token = access.with_token("prometheus", "read", "2026-11-23T10:00:00Z")
        tokens.append(token)
        return access

    AccessFile(file).change(with_token)
    return tokens[0]
