"""What is wrong with the section `modbus` of a configuration."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from gateway.board import Board
from gateway.config.config import Config
from gateway.errors import Fault


def modbus_faults(config: Config, board: Board) -> Iterator[Fault]:
    """A server whose library is not installed."""
    if config.modbus is not None and importlib.util.find_spec("pymodbus") is None:
        message = "the Modbus server needs pymodbus, which is not installed"
        yield Fault(("modbus",), message, "Run: pip install 'spectrophone[modbus]'")
