"""The gateway with faults in it: what /run/fault names happens at the next block. For tests/hil/test_safety.py only."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from drivers.alsa import Capture
from gateway.__main__ import main
from gateway.inputs import Inputs
from gateway.outputs import Outputs
from gateway.path import Path as Computation

FAULT = Path("/run/fault")


def wanted() -> str:
    """The fault that is wanted, "" for none."""
    return FAULT.read_text() if FAULT.exists() else ""


def faulty(owner: type, name: str, stage: str) -> None:
    """Let the method raise, hang, or hang without giving the interpreter back, when that is wanted."""
    well = getattr(owner, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        match wanted().split():
            case ["raise", at] if at == stage:
                raise RuntimeError(f"a fault in {stage}")
            case ["sleep", at] if at == stage:
                time.sleep(1000)
            case ["hold", at] if at == stage:
                re.match(r"(a+)+b", "a" * 60)  # exponential, in one call of C
        return well(self, *args, **kwargs)

    setattr(owner, name, method)


def read(self: Capture) -> Any:
    """A card that is there and delivers nothing, when that is wanted: it sleeps, for its descriptor stays readable."""
    if wanted() != "stall":
        return delivers(self)
    time.sleep(0.02)
    return 0, np.empty((0, 2), np.float32)


faulty(Inputs, "_read", "inputs")
faulty(Computation, "tick", "path")
faulty(Outputs, "apply", "outputs")
delivers = Capture.read
Capture.read = read  # type: ignore[method-assign]
sys.exit(main())
