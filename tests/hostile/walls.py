"""Who can put up which walls on this machine, and real workers behind them (tests/hostile/nursery.py), for the tests.

Started by root, the tests try root's workers and those of an ordinary user, nobody; otherwise those of whoever started
them. A function that is handed to `Nursery.call` runs in the child and knows only what nursery.py imports.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.scripts.confine.confine import LEVELS

HERE = Path(__file__).parent
GATEWAY = HERE.parents[1] / "gateway"
NOBODY = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
PATHS = "from gateway.scripts.confine.paths import interpreter_paths; print(interpreter_paths(network=True))"


@functools.cache
def ground() -> Path:
    """A directory that every user can reach, with the parts of the gateway that a worker has."""
    place = Path(tempfile.mkdtemp(prefix="walls-"))
    place.chmod(0o755)
    package = place / "gateway/scripts/confine"
    package.mkdir(parents=True)
    for source in (GATEWAY / "__init__.py", *GATEWAY.glob("scripts/confine/*.py"), GATEWAY / "scripts/__init__.py"):
        shutil.copy(source, place / source.relative_to(GATEWAY.parent))
    shutil.copy(HERE / "nursery.py", place)
    for name in ("given", "shown"):
        (place / name).mkdir()
        (place / name / "inside").write_text("inside")
        os.chown(place / name, NOBODY.pw_uid, NOBODY.pw_gid)
    (place / "shown/inside").chmod(0o644)
    os.chown(place / "given/inside", NOBODY.pw_uid, NOBODY.pw_gid)
    (place / "secret").write_text("secret")
    (place / "secret").chmod(0o666)
    subprocess.run(["chmod", "-R", "a+rX", str(place / "gateway"), str(place / "nursery.py")], check=True)
    return place


def become(user: str) -> dict[str, Any]:
    """How subprocess starts something as this user."""
    if user == "root" or os.geteuid() != 0:
        return {}
    return {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}


@functools.cache
def python(user: str) -> str:
    """A Python that this user can start: this one may lie in a home directory."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            command = [candidate, "-I", "-c", "import sys, ssl, sqlite3, ctypes; sys.exit(sys.version_info < (3, 11))"]
            if subprocess.run(command, capture_output=True, **become(user)).returncode == 0:
                return candidate
    raise RuntimeError(f"no Python 3.11 that {user} can start: apt-get install python3")


class Nursery:
    """nursery.py, running as this user."""

    def __init__(self, user: str) -> None:
        self.as_root = user == "root"
        command = [python(user), "-I", "-B", str(ground() / "nursery.py"), str(ground())]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {"SECRET": "s3cret"}}
        self.process = subprocess.Popen(command, **pipes, **become(user))
        listed = [python(user), "-I", "-c", f"import sys; sys.path.insert(0, {str(ground())!r}); {PATHS}"]
        self.paths = eval(subprocess.run(listed, capture_output=True, text=True, check=True, **become(user)).stdout)

    def plan(self, level: str, **changed: Any) -> dict[str, Any]:
        """A plan of this level with a directory to write and one to read."""
        given = [(str(ground() / "given"), True), (str(ground() / "shown"), False)]
        whom = {"uid": NOBODY.pw_uid, "gid": NOBODY.pw_gid} if self.as_root else {}
        return {"level": level, "readonly": self.paths, "files": given, **whom, **changed}

    def call(
        self,
        plan: dict[str, Any] | None,
        function: Callable[..., Any],
        *arguments: Any,
        **more: Any,
    ) -> dict[str, Any]:
        """Let a child behind these walls call the function; what came of it."""
        source = inspect.getsource(function)
        request = {"plan": plan, "source": source, "name": function.__name__, "arguments": arguments}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request | more) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@functools.cache
def nursery(user: str) -> Nursery:
    return Nursery(user)


def end_everything() -> None:
    for user in USERS:
        nursery(user).close()
    nursery.cache_clear()
    shutil.rmtree(ground())
    ground.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def everything_ends() -> Iterator[None]:
    yield
    end_everything()


def try_nothing() -> str:
    return "done"


def reached(user: str, level: str) -> str:
    return str(nursery(user).call(nursery(user).plan(level), try_nothing)["report"]["level"])


def places() -> list[tuple[str, str]]:
    """Who reaches which level on this machine."""
    try:
        return [(user, level) for user in USERS for level in LEVELS if reached(user, level) == level]
    finally:
        end_everything()


USERS = ("root", "user") if os.geteuid() == 0 else ("user",)
PLACES = places()
WITH_ROOTS = [(user, level) for user, level in PLACES if level in "AB"]
WITH_PATHS = [(user, level) for user, level in PLACES if level in "ABL"]
everywhere = pytest.mark.parametrize(("user", "level"), PLACES)
where_paths_are = pytest.mark.parametrize(("user", "level"), WITH_PATHS)
where_roots_are = pytest.mark.parametrize(("user", "level"), WITH_ROOTS)
