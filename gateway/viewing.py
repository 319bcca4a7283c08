"""A running gateway as its page sees it (gateway/view.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gateway import build, configured, design
from gateway.board import Board
from gateway.clock import Clock
from gateway.config.config import Config
from gateway.mqtt.face import Face
from gateway.places import state_directory
from gateway.reload import restarting
from gateway.tuning import Tuning
from gateway.view import View


def view(
    config: Config,
    board: Board,
    parts: build.Parts,
    tuning: Tuning,
    clock: Clock,
    about: Callable[[], Mapping[str, Any]],
    file: Path | None,
    secrets: Collection[str],
) -> View:
    """The gateway that has begun with that configuration, out of that file."""
    return View(
        face=lambda: followed(parts, config, board, tuning.file),
        gas_lines=lambda: design.gas_lines(tuning.file),
        board=board.name,
        simulated=board.simulated,
        inbox=parts.inbox,
        clock=clock,
        about=about,
        journal=parts.journal,
        state=state_directory(os.environ),
        file=file,
        secrets=secrets,
        check=lambda text: configured.prepare(file, scripts=True, text=text),
        restarting=partial(restarting, config),
    )


def followed(parts: build.Parts, begun: Config, board: Board, config: Config) -> Face:
    """The box, begun with one configuration, that follows another as far as it can."""
    face = design.face(begun.model_copy(update={"rules": config.rules, "processing": config.processing}), board)
    there = tuple(output for output in face.outputs if parts.face.output(output.target) is not None)
    return replace(face, outputs=there)
