"""The page's own files, and those of libraries that came with Python packages. Names are looked up, never joined to a
path, so there is nothing outside to reach.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from gateway.errors import SpectrophoneError
from gateway.web.problem import Problem

STATIC = Path(__file__).with_name("static")
VENDOR: Mapping[str, tuple[str, str]] = {
    "uplot.iife.min.js": ("youplot", "vendor/uplot.iife.min.js"),
    "uplot.min.css": ("youplot", "vendor/uplot.min.css"),
}
"""What /vendor/NAME is: a Python package, and the file's path in it."""
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
"""Whatever this machine's own table of types says."""


def page_files() -> dict[str, Path]:
    """The page's files by the path that browsers ask for."""
    found = {f"/{file.relative_to(STATIC).as_posix()}": file for file in STATIC.rglob("*") if file.is_file()}
    return {**found, "/": STATIC / "index.html"}


def vendor_files() -> dict[str, Path]:
    """The libraries' files, the same way. Their packages are looked up and not imported.

    Raises SpectrophoneError for one that is missing.
    """
    return {f"/vendor/{name}": _place(package) / path for name, (package, path) in VENDOR.items()}


def _place(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SpectrophoneError(f"the page's charts need {package}, which is not here", f"Run: pip install {package}")
    return Path(spec.origin).parent


def response(request: web.Request, known: Mapping[str, Path]) -> web.Response:
    """A file as it is on the disk; 304 where the browser has it. Raises Problem where there is none."""
    file = known.get(request.path)
    if file is None:
        raise Problem(404, f"There is no {request.path[:100]!r} here. The page is at /, the API at /api/v1")
    data = file.read_bytes()
    etag = hashlib.sha256(data).hexdigest()[:16]
    headers = {"Cache-Control": "no-cache", "ETag": f'"{etag}"'}
    if etag in (tag.value for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    charset = "utf-8" if kind.startswith("text/") else None
    return web.Response(body=data, content_type=kind, charset=charset, headers=headers)
