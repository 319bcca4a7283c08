"""A script's permissions as walls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.scripts.permissions import Grant, Place
from gateway.scripts.walls import walls
from gateway.scripts.work import NotLoaded, Work


def work(**about: Any) -> Work:
    return Work("mail", "mail.py", "module", **about)


def test_what_is_listed_is_given() -> None:
    given = {"files": (Grant("/a", True), Grant("/b")), "network": (Place("example.org", 25),), "paths": ("/opt/lab",)}
    plan = walls(work(**given, allowed_imports=("numpy", "json"), memory_bytes=9 << 20, disk_bytes=7 << 20), "B")
    assert (plan.level, plan.files, plan.network) == ("B", (("/a", True), ("/b", False)), True)
    assert (plan.memory_bytes, plan.file_bytes) == (9 << 20, 7 << 20)
    assert {"/opt/lab", str(Path(np.__file__).parent)} <= set(plan.readonly)
    assert (plan.uid not in (None, 0)) == (os.geteuid() == 0)


def test_at_level_c_the_broker_has_the_files_and_nothing_is_imported_from_elsewhere() -> None:
    assert walls(work(files=(Grant("/a", True),)), "C").files == ()
    with pytest.raises(NotLoaded, match="venv_path and python_paths need level B") as refused:
        walls(work(paths=("/opt/lab",)), "C")
    assert refused.value.final


def test_what_is_never_given_is_refused_for_good() -> None:
    with pytest.raises(NotLoaded, match="never given anything of /proc") as refused:
        walls(work(files=(Grant("/proc/self"),)), "B")
    assert refused.value.final
