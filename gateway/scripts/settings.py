"""What a script is given, as options: hosts, files, memory, imports, outputs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from gateway.config.settings import Settings
from gateway.scripts.permissions import grant, locate, place
from gateway.scripts.wire import Unfit, plain

MOST_HISTORY = 10_000
"""Entries that a script's history holds at most: each is sent to every fresh worker."""


def _place(text: str) -> str:
    place(text)
    return text


def _grant(text: str) -> str:
    grant(text)
    return text


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    try:
        copy: dict[str, Any] = plain(config, "it has")
    except Unfit as unfit:
        raise ValueError(str(unfit)) from None
    return copy


Place = Annotated[str, AfterValidator(_place)]
Grant = Annotated[str, AfterValidator(_grant)]
Output = Annotated[str, Field(pattern=r"^(relay|led)/[A-Za-z0-9_-]{1,64}$")]
Import = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$", max_length=128)]
Function = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
PlainDict = Annotated[dict[str, Any], AfterValidator(_plain)]


class Reach(Settings):
    """What the customer's Python reaches beyond its own memory: nothing, unless it is listed."""

    network: tuple[Place, ...] = Field(
        (), max_length=100, description='hosts and ports that it may connect to, such as "smtp.example.org:587"'
    )
    file_access: tuple[Grant, ...] = Field(
        (), max_length=100, description='files and directories that it may read, or write with ":rw" behind the path'
    )
    max_memory_mb: int = Field(64, ge=8, le=512, description="memory that it may use beside the bare worker's")
    max_disk_mb: int = Field(16, ge=1, le=1024, description="how much it may leave in what it may write, in 1000 files")
    venv_path: Path | None = Field(
        None, description="a virtual environment, of the gateway's version of Python, whose packages it may import"
    )
    python_paths: tuple[Path, ...] = Field((), max_length=20, description="further directories to import from")

    @property
    def site(self) -> Path | None:
        """Where the packages of venv_path are."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return None if self.venv_path is None else self.venv_path.absolute() / "lib" / version / "site-packages"

    @property
    def import_paths(self) -> tuple[str, ...]:
        """Directories to import from, beside what the gateway has."""
        sites = () if self.site is None else (self.site,)
        return tuple(str(path.absolute()) for path in (*self.python_paths, *sites))

    def absent(self, script: str, path: Path) -> Iterator[tuple[str, str, str]]:
        """What is named and not there: option, message, remedy. `script` is the option that names the file `path`."""
        if not path.is_file():
            yield script, f"there is no file {path}", "Correct it, or put the script there"
        if self.site is not None and not self.site.is_dir():
            others = [found.parent.name for found in self.site.parents[2].glob("lib/python*/site-packages")]
            own = self.site.parent.name
            message = f"{self.venv_path} is an environment of {others[0]}, and the gateway runs {own}" if others else ""
            yield "venv_path", message or f"there is no {self.site}", f"Make it with `{own} -m venv {self.venv_path}`"
        for directory in self.python_paths:
            if not directory.is_dir():
                yield "python_paths", f"there is no directory {directory}", "Correct it, or make the directory"
        for text in self.file_access:
            try:
                locate(grant(text))
            except ValueError as fault:
                yield "file_access", str(fault), ""


class Permissions(Reach):
    """What a worker's script may do: reach what is listed, import, switch."""

    allowed_imports: tuple[Import, ...] = Field((), max_length=200, description="modules that it may import")
    outputs: tuple[Output, ...] = Field((), description='what api.set_output may switch: "relay/NAME", "led/NAME"')

    def lacking(self, script: str, path: Path, outputs: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
        """As `absent`; `outputs` are those of the board."""
        yield from self.absent(script, path)
        for name in self.outputs:
            if name not in outputs:
                there = ", ".join(known for known in outputs if known.startswith(("relay/", "led/")))
                yield "outputs", f"the board has no '{name}'", f"It has: {there}" if there else "It has none"
