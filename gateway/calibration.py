"""The calibration file: TOML that people read, made by `spectrophone calibrate` or by hand (docs/calibration.md).

`id` is the beginning of the SHA-256 of the content, so a file that was changed after it was made is found out; an
empty id says that a person wrote it. A version is never overwritten: NODE-TIME-ID.toml stays, NODE.toml is a copy of
the newest.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from gateway import atomic
from gateway.config import toml
from gateway.config.sections import Name
from gateway.config.settings import Settings
from gateway.config.validate import validate
from gateway.dsp.calibrate import Curve, Fit
from gateway.errors import ConfigError
from gateway.tables import (
    Background,
    Checks,
    Conditions,
    CurveShape,
    Drift,
    GasLaw,
    Light,
    Reading,
    Resonance,
    Steering,
    Time,
    Water,
)

SCHEMA = 1
_HEADER = """\
# A calibration of Spectrophone; docs/calibration.md tells what every line means. Changed by hand it needs id = "".
"""


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
    light: Light | None = Field(None, description="the light of the calibration; no correction if absent")
    resonance: Resonance | None = Field(None, description="the cell's resonance; no correction if absent")
    water: Water | None = Field(None, description="what water does to the signal; no correction if absent")
    gas_law: GasLaw | None = Field(None, description="temperature and pressure; no correction if absent")
    steering: Steering | None = Field(None, description="how the gas reaches two microphones")
    drift: Drift | None = Field(None, description="how the calibration ages; not at all if absent")
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


def made(
    fit: Fit, points: tuple[Reading, ...], microphones: tuple[complex, complex] | None = None, **about: Any
) -> Calibration:
    """The calibration of a fit; `microphones` is the background at A and B, where it is known; `about` are the options
    that the fit does not know: node, created, operator, tables ...
    """
    curve = fit.curve
    alone = {
        f"{name}_{part}": getattr(phasor, whole)
        for name, phasor in zip("ab", microphones or (), strict=False)
        for part, whole in (("re", "real"), ("im", "imag"))
    }
    saturating = len(curve.covariance) == 3
    data = {
        "schema": SCHEMA,
        **about,
        "phase_deg": math.degrees(curve.phase_rad),
        "background": {
            "re": curve.background.real,
            "im": curve.background.imag,
            "sigma": fit.sigma_background,
            **alone,
        },
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
        atomic.write(version, text)
    atomic.write(current(directory, calibration.node), text)
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
