"""The configuration: looked at, checked, put in its file's place with the one before kept, and taken back.

Nothing here touches the running gateway: that follows its file, whoever writes it (gateway/reload.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from gateway.check import Checked
from gateway.config.mask import has_mask, masked, unmasked
from gateway.config.redact import redact
from gateway.config.syntax import MAX_BYTES
from gateway.errors import Fault, SpectrophoneError
from gateway.web.desk import Desk
from gateway.web.problem import Problem
from gateway.web.routes import Asked, Told, Wish

PREVIOUS = ".previous"
_VALUE = 200


class TextWish(Wish):
    """A configuration."""

    text: str = Field(max_length=MAX_BYTES)


class PutWish(TextWish):
    """A configuration, and which one it is to follow."""

    etag: str = Field(max_length=64, description="that of GET /configuration")


class FaultTold(Told):
    """A fault, as `spectrophone check` tells it."""

    file: str = Field(description="empty for the configuration itself; a script, say")
    line: int
    column: int
    option: str
    value: str = Field(description="what stands there")
    message: str
    remedy: str


class FaultsTold(Told):
    """All faults; none, and it may be applied."""

    faults: list[FaultTold]


class ConfigurationTold(FaultsTold):
    """The configuration's file."""

    file: str
    text: str
    etag: str
    previous: bool = Field(description="whether there is one to go back to")


class AppliedTold(Told):
    """It stands in the file, and the gateway follows within a second or two."""

    applied: bool
    restart: list[str] = Field(description="the sections that wait for a restart")
    etag: str


async def look(desk: Desk, asked: Asked) -> dict[str, Any]:
    """GET /configuration."""
    file = _file(desk)
    return await desk.aside(_looked, desk, file)


def _looked(desk: Desk, file: Path) -> dict[str, Any]:
    text = _read(file)
    checked = desk.view.check(text)
    return {
        "file": str(file),
        "text": masked(text, {*desk.view.secrets, *checked.secrets}),
        "etag": _etag(text),
        "previous": _before(file).exists(),
        "faults": faults_of(checked, file),
    }


async def check(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /configuration/check."""
    file = _file(desk)

    def checked() -> list[dict[str, Any]]:
        text, found = _whole(desk, file, asked.body.text)
        return _left(text) or faults_of(found, file)

    return {"faults": await desk.aside(checked)}


async def put(desk: Desk, asked: Asked) -> dict[str, Any]:
    """PUT /configuration."""
    file = _file(desk)
    async with desk.configuring:
        return await desk.aside(_put, desk, file, asked.body.text, asked.body.etag)


def _put(desk: Desk, file: Path, given: str, etag: str) -> dict[str, Any]:
    before = _read(file)
    if etag != _etag(before):
        raise Problem(409, "The file has changed since it was read. Read it again, and make your change there")
    text, checked = _whole(desk, file, given)
    if faults := _left(text) or faults_of(checked, file):
        raise Problem(422, f"The configuration has {len(faults)} faults. Mend them, then apply it", faults)
    assert checked.config is not None
    try:
        shutil.copy2(file, _before(file))
        _write(file, text)
    except OSError as error:
        raise _unwritable(file, error) from None
    return {"applied": True, "restart": list(desk.view.restarting(checked.config)), "etag": _etag(text)}


async def revert(desk: Desk, asked: Asked) -> dict[str, Any]:
    """POST /configuration/revert: the one before, whatever is wrong with it; what was there is then the one before."""
    file = _file(desk)
    async with desk.configuring:
        return await desk.aside(_reverted, desk, file)


def _reverted(desk: Desk, file: Path) -> dict[str, Any]:
    if not _before(file).exists():
        raise Problem(409, "There is no configuration before this one. Nothing was applied here yet")
    now, then = _read(file), _read(_before(file))
    checked = desk.view.check(then)
    try:
        _write(_before(file), now)
        _write(file, then)
    except OSError as error:
        raise _unwritable(file, error) from None
    restart = [] if checked.config is None else list(desk.view.restarting(checked.config))
    return {"applied": checked.config is not None, "restart": restart, "etag": _etag(then)}


def faults_of(checked: Checked, file: Path) -> list[dict[str, Any]]:
    """All faults as objects, with what stands there, secrets blacked out."""
    return [_fault(fault, checked, file) for fault in checked.faults]


def _fault(fault: Fault, checked: Checked, file: Path) -> dict[str, Any]:
    written = checked.document.written.get(fault.loc, "")
    return {
        "file": "" if fault.file == str(file) else fault.file,
        "line": fault.line,
        "column": fault.column,
        "option": fault.option,
        "value": redact(written, checked.secrets)[:_VALUE],
        "message": fault.message,
        "remedy": fault.remedy,
    }


def _whole(desk: Desk, file: Path, given: str) -> tuple[str, Checked]:
    """The text with its secrets again, and what is to be said of it."""
    text = unmasked(given, _read(file), desk.view.secrets)
    return text, desk.view.check(text)


def _left(text: str) -> list[dict[str, Any]]:
    """The faults of a text in which a mask is left."""
    places = [(number, line.index("*" * 8)) for number, line in enumerate(text.split("\n"), 1) if has_mask(line)]
    message, remedy = "a mask stands where nobody knows the secret", "Write the secret, or !secret NAME"
    about = {"file": "", "option": "", "value": "********", "message": message, "remedy": remedy}
    return [{**about, "line": line, "column": column + 1} for line, column in places]


def _file(desk: Desk) -> Path:
    if desk.view.file is None:
        raise Problem(409, "This gateway runs without a configuration file. Start it with --config FILE")
    return desk.view.file


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SpectrophoneError(f"{file} cannot be read: {reason.lower()}", "Mend it on the box itself") from None


def _etag(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _before(file: Path) -> Path:
    return file.with_name(f"{file.name}{PREVIOUS}")


def _write(file: Path, text: str) -> None:
    """Whole or not at all, with the rights that it had."""
    new = file.with_name(f".{file.name}.new")
    try:
        with new.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if file.exists():
            shutil.copymode(file, new)
            with contextlib.suppress(PermissionError):
                shutil.chown(new, file.stat().st_uid, file.stat().st_gid)
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _unwritable(file: Path, error: OSError) -> SpectrophoneError:
    reason = (error.strerror or str(error)).lower()
    remedy = "Give the gateway's user the right to write there, or change it on the box itself"
    return SpectrophoneError(f"{file} cannot be written: {reason}", remedy)
