"""The calibration file: TOML that people read, made by `spectrophone calibrate` or by hand (docs/calibration.md).

`id` is the beginning of the SHA-256 of the content, so a file that was changed after it was made is found out; an
empty id says that a person wrote it. A version is never overwritten: NODE-TIME-ID.toml stays, NODE.toml is a copy of
the newest.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from gateway.config import toml
from gateway.config.sections import Name
from gateway.config.settings import Settings
from gateway.config.validate import validate
from gateway.dsp.calibrate import Curve, Fit, Point
from gateway.errors import ConfigError

SCHEMA = 1
_HEADER = """\
# A calibration of Spectrophone; docs/calibration.md tells what every line means. Changed by hand it needs id = "".
"""


def _time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value} is no time. Write it as 2026-03-04T05:06:07Z") from None
    return time.replace(tzinfo=UTC) if re.fullmatch(r"\d{4}-\d\d-\d\d", value) else time


Time = Annotated[AwareDatetime, BeforeValidator(_time)]
"""A time with its zone; a date alone is its beginning in UTC."""


class Conditions(Settings):
    """What the calibration was made under, as far as it was known."""

    temperature_c: float | None = Field(None, ge=-100, le=200, description="temperature of the gas")
    pressure_pa: float | None = Field(None, gt=0, description="pressure of the gas")
    humidity_percent: float | None = Field(None, ge=0, le=100, description="relative humidity")
    frequency_hz: float | None = Field(None, gt=0, description="modulation frequency")
    duty: float | None = Field(None, gt=0, lt=1, description="part of the period that the laser is lit")
    power_w: float | None = Field(None, ge=0, description="optical power while lit")


class Background(Settings):
    """What is heard without gas: a phasor, full scale, as the lock_in gives it."""

    re: float = Field(description="its in-phase part")
    im: float = Field(description="its quadrature")
    sigma: float = Field(0.0, ge=0, description="one standard deviation of either, from the zero points")


class CurveShape(Settings):
    """ppm = y / (1 - bend y), y = x / slope, x the signal along the phase less the background."""

    type: Literal["line", "saturating"] = Field(description="line: bend is 0; saturating: y = 1 / bend is the most")
    slope: float = Field(gt=0, description="signal per ppm, full scale")
    bend: float = Field(0.0, description="1 / saturation, in 1/ppm")
    covariance: tuple[tuple[float, ...], ...] = Field(
        description="of background, slope and (saturating) bend: 2 x 2 or 3 x 3"
    )
    min_ppm: float = Field(0.0, description="lower end of the calibrated range")
    max_ppm: float = Field(gt=0, description="upper end of the calibrated range")

    @model_validator(mode="after")
    def _checked(self) -> CurveShape:
        size = 3 if self.type == "saturating" else 2
        if [len(row) for row in self.covariance] != [size] * size:
            raise ValueError(f"covariance must be {size} x {size} for a {self.type} curve. Write zeros where unknown")
        covariance = np.array(self.covariance)
        spread = np.sqrt(np.abs(np.outer(np.diag(covariance), np.diag(covariance))))
        scaled = covariance / np.where(spread > 0.0, spread, 1.0)
        if not np.allclose(scaled, scaled.T) or np.linalg.eigvalsh(scaled).min() < -1e-6:
            raise ValueError("covariance is none: it must be symmetric, with no negative variance in any direction")
        if self.type == "line" and self.bend:
            raise ValueError('a line has no bend. Write type = "saturating", or bend = 0')
        if self.min_ppm >= self.max_ppm:
            raise ValueError("min_ppm must be below max_ppm")
        if min(1.0 + self.bend * ppm for ppm in (self.min_ppm, self.max_ppm)) <= 0.0:
            pole = -1.0 / self.bend
            raise ValueError(f"the curve does not rise over the whole range: it has a pole at {pole:g} ppm")
        return self


class Checks(Settings):
    """How well the curve fits."""

    chi2: float = Field(ge=0, description="sum of the squared residuals in their standard deviations")
    dof: int = Field(ge=0, description="points less parameters")
    p_value: float | None = Field(None, ge=0, le=1, description="chance of a chi2 as large; none where dof is 0")


class Reading(Settings):
    """A point: what one gas gave."""

    ppm: float = Field(ge=0, description="concentration, 0 for zero gas")
    sigma_ppm: float = Field(0.0, ge=0, description="one standard deviation of it, from the certificate")
    re: float = Field(description="in-phase part of the phasor, full scale")
    im: float = Field(description="its quadrature")
    sigma: float = Field(gt=0, description="one standard deviation of either")
    records: int = Field(1, ge=1, description="how many records of the lock_in were averaged")
    taken: Time | None = Field(None, description="when")

    @property
    def point(self) -> Point:
        """As numbers for the fit."""
        return Point(self.ppm, self.sigma_ppm, complex(self.re, self.im), self.sigma)


class Calibration(Settings):
    """A calibration of one concentration node."""

    schema_: Literal[1] = Field(alias="schema", description="version of this format: 1")
    id: str = Field("", description="hash of the content; empty in a file written by hand")
    created: Time = Field(description="when, with the time zone")
    node: Name = Field(description="the concentration node it belongs to")
    operator: str = Field("", description="who made it")
    gas: str = Field("", description="what was in the bottles")
    certificate: str = Field("", description="their certificates, in words")
    valid_until: Time | None = Field(None, description="when it expires; never if absent")
    previous: str = Field("", description="id of the calibration before it")
    phase_deg: float = Field(description="phase of the gas's signal in the lock_in's phasor")
    conditions: Conditions = Field(default_factory=Conditions, description="what it was made under")
    background: Background = Field(description="what is heard without gas")
    curve: CurveShape = Field(description="from signal to ppm")
    checks: Checks | None = Field(None, description="how well the curve fits")
    points: tuple[Reading, ...] = Field((), description="what it was made from")

    @property
    def numbers(self) -> Curve:
        """The curve, ready to compute with."""
        return Curve(
            complex(self.background.re, self.background.im),
            math.radians(self.phase_deg),
            self.curve.slope,
            self.curve.bend,
            np.array(self.curve.covariance),
        )


def load(path: Path) -> Calibration:
    """The calibration in a file. Raises ConfigError with all its faults."""
    document = toml.read(path)
    if () not in document.broken:
        version = document.data.get("schema", SCHEMA)
        if version != SCHEMA:
            message = f"the calibration's format is version {version}, and this software knows version {SCHEMA}"
            raise ConfigError((document.fault(("schema",), message, "Update the software, or calibrate anew"),))
    calibration, faults = validate(document, Calibration)
    if calibration is None:
        raise ConfigError(faults)
    if calibration.id and calibration.id != content_id(document.data):
        message = f"the file was edited after it was made: its content does not give the id {calibration.id}"
        raise ConfigError((document.fault(("id",), message, 'Write id = "" if the change is wanted, or calibrate'),))
    return calibration


def made(fit: Fit, points: tuple[Reading, ...], **about: Any) -> Calibration:
    """The calibration of a fit; `about` are the options that the fit does not know: node, created, operator ..."""
    curve = fit.curve
    saturating = len(curve.covariance) == 3
    data = {
        "schema": SCHEMA,
        **about,
        "phase_deg": math.degrees(curve.phase_rad),
        "background": {"re": curve.background.real, "im": curve.background.imag, "sigma": fit.sigma_background},
        "curve": {
            "type": "saturating" if saturating else "line",
            "slope": curve.k,
            "bend": curve.bend,
            "covariance": curve.covariance.tolist(),
            "max_ppm": max(point.ppm for point in points),
        },
        "checks": {"chi2": fit.chi2, "dof": fit.dof, "p_value": fit.p_value},
        "points": points,
    }
    unnamed = Calibration.model_validate(data)
    return unnamed.model_copy(update={"id": content_id(tomllib.loads(text_of(unnamed)))})


def save(directory: Path, calibration: Calibration) -> Path:
    """Write a new version and make it the current one; returns the version's path. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    text = text_of(calibration)
    name = calibration.id or content_id(tomllib.loads(text))
    version = directory / f"{calibration.node}-{calibration.created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{name}.toml"
    if not version.exists():
        _write(version, text)
    _write(current(directory, calibration.node), text)
    return version


def current(directory: Path, node: str) -> Path:
    """The file of the newest calibration of a node."""
    return directory / f"{node}.toml"


def history(directory: Path, node: str) -> tuple[Path, ...]:
    """All versions of a node's calibration, oldest first; within one second the file system's time decides."""
    pattern = re.compile(rf"{re.escape(node)}-(\d{{8}}T\d{{6}}Z)-[0-9a-f]{{12}}\.toml")
    found = ((pattern.fullmatch(path.name), path) for path in directory.glob("*.toml"))
    return tuple(path for *_, path in sorted((name[1], path.stat().st_mtime_ns, path) for name, path in found if name))


def content_id(data: Mapping[str, Any]) -> str:
    """The id of a file's data: 12 hexadecimal digits of the SHA-256 of everything but the id."""
    content = {key: value for key, value in data.items() if key != "id"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_canonical)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def text_of(calibration: Calibration) -> str:
    """The file's text."""
    return _HEADER + "\n".join(_lines(calibration.model_dump(by_alias=True, exclude_none=True))) + "\n"


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    """TOML: single values, then tables, then lists of tables."""
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    lists = {key: value for key, value in data.items() if isinstance(value, tuple) and value}
    yield from (f"{key} = {_value(value)}" for key, value in data.items() if key not in tables and key != "points")
    for key, table in tables.items():
        yield from ("", f"[{key}]", *(f"{name} = {_value(value)}" for name, value in table.items()))
    for key, items in lists.items():
        for item in items:
            yield from ("", f"[[{key}]]", *(f"{name} = {_value(value)}" for name, value in item.items()))


def _value(value: Any) -> str:
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple() | list():
            return f"[{', '.join(_value(item) for item in value)}]"
        case bool():
            return str(value).lower()
    return repr(value)


def _canonical(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(path)
