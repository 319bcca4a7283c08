"""Where workers come from: the zygotes of the gateway, and how well this machine can fence a worker in.

Where systemd has delegated control groups, each worker has one (gateway/scripts/confine/cgroup.py).

One zygote has the standard library; one more is there for each set of packages of the gateway's own environment that
scripts may import (numpy), so that a script without them does not carry them. They start when first needed, end with
the gateway, and are started again with growing pauses if they die, which ends all their workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from gateway.clock import Clock
from gateway.errors import LinkError
from gateway.scripts.confine import cgroup, probe
from gateway.scripts.confine.cgroup import Group, Groups
from gateway.scripts.confine.confine import LEVELS, Plan, worker_user
from gateway.scripts.confine.probe import Capabilities
from gateway.scripts.confine.seccomp import Level
from gateway.scripts.control import LONGEST, Born, Ended, FromZygote, Spawn, Stillborn
from gateway.scripts.work import NotLoaded
from gateway.scripts.worker import NO_MEMORY

log = logging.getLogger("spectrophone.scripts")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 60.0
_ROOT = Path(__file__).parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from gateway.scripts import zygote; zygote.main()"
_PATIENCE_S = 20.0
_INSTALLED = {"site-packages", "dist-packages"}
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Newborn:
    """A worker that has just been forked. `ended` gives its exit status, -N for signal N, when it is reaped; None where
    nobody could ask. `pidfd` belongs to whom this is given; `group` is its control group, if it has one.
    """

    pid: int
    pidfd: int
    ended: asyncio.Future[int | None]
    group: Group | None = None


class Zygote:
    """One running zygote, seen from the gateway. It must be made by the main thread: it dies with its maker."""

    def __init__(self, extras: Sequence[str]) -> None:
        """Start it. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-I", "-B", "-c", _PROGRAM, str(_ROOT), str(theirs.fileno()), *extras]
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=_environment(), cwd="/",
                    pass_fds=(theirs.fileno(),),
                )  # fmt: skip
            except OSError:
                self._control.close()
                raise
        self.alive = True
        self._number = 0
        self._asked: dict[int, asyncio.Future[Newborn]] = {}
        self._living: dict[int, asyncio.Future[int | None]] = {}
        self._decoder = msgspec.msgpack.Decoder(FromZygote)
        self._encoder = msgspec.msgpack.Encoder()
        self._control.setblocking(False)
        self._loop.add_reader(self._control, self._readable)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def workers(self) -> int:
        """How many it has now."""
        return len(self._living)

    async def spawn(
        self, plan: Plan, modules: Sequence[str], paths: Sequence[str], fds: Sequence[int], group: Group | None = None
    ) -> Newborn:
        """Fork a worker. Raises NotLoaded."""
        self._number += 1
        number = self._number
        request = self._encoder.encode(
            Spawn(number, plan, list(modules), list(paths), "" if group is None else str(group.place))
        )
        if len(request) > LONGEST:
            raise NotLoaded("too much is listed for one script: shorten allowed_imports, file_access or python_paths")
        answer: asyncio.Future[Newborn] = self._loop.create_future()
        self._asked[number] = answer
        try:
            socket.send_fds(self._control, [request], list(fds))
            async with asyncio.timeout(_PATIENCE_S):
                return await answer
        except (OSError, TimeoutError):
            raise NotLoaded("the process that workers come from does not answer") from None
        finally:
            self._asked.pop(number, None)

    async def close(self) -> None:
        """End it and all its workers."""
        self._lost()
        try:
            await asyncio.to_thread(self._process.wait, 1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _readable(self) -> None:
        for _ in range(16):
            try:
                data, descriptors, _, _ = socket.recv_fds(self._control, LONGEST, 1)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._lost()
                return
            self._heard(self._decoder.decode(data), descriptors)

    def _heard(self, message: FromZygote, descriptors: Sequence[int]) -> None:
        match message:
            case Born(number, pid):
                ended: asyncio.Future[int | None] = self._loop.create_future()
                self._living[number] = ended
                answer = self._asked.get(number)
                if answer is None or answer.done():  # who asked has given up: without channels it ends at once
                    os.close(descriptors[0])
                else:
                    answer.set_result(Newborn(pid, descriptors[0], ended))
            case Stillborn(number, reason):
                if (answer := self._asked.get(number)) is not None and not answer.done():
                    answer.set_exception(NotLoaded(f"no worker could be started: {reason}"))
            case Ended(number, status):
                self._living.pop(number).set_result(status)

    def _lost(self) -> None:
        """It is gone, or is to go."""
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._control)
        self._control.close()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(NotLoaded("the process that workers come from has ended"))
        for ended in self._living.values():
            ended.set_result(None)
        self._living.clear()


class Scripts:
    """The zygotes of a gateway, and the level of its workers.

    `level` "auto" is the best that this machine has; another one is tried instead. Below `least` no script runs.
    `secrets` are masked in all that scripts say.
    """

    def __init__(
        self,
        clock: Clock,
        level: Literal["auto", "A", "B", "L", "C"] = "auto",
        least: Level = "C",
        secrets: Collection[str] = (),
    ) -> None:
        self.secrets = secrets
        self._clock = clock
        self._wanted, self._least = level, least
        self._found: asyncio.Future[Capabilities] | None = None
        self._groups = Groups(None)
        self._zygotes: dict[tuple[str, ...], Zygote] = {}
        self._pauses_s: dict[tuple[str, ...], float] = {}
        self._started_ns: dict[tuple[str, ...], int] = {}
        self._starting = asyncio.Lock()
        self._leaving: set[asyncio.Task[object]] = set()
        self.restarts = 0

    async def level(self) -> Level:
        """The level of all workers. Raises LinkError where it is below the least."""
        found = await self._capabilities()
        level = found.level if self._wanted == "auto" else self._wanted
        if level == "D" or LEVELS.index(level) > LEVELS.index(self._least):
            because = f": {'; '.join(found.notes)}" if found.notes else ""
            raise LinkError(
                f"scripts do not run: this machine fences a worker in at level {level}, and min_isolation is "
                f"{self._least}{because}",
                ""
                if level == "D"
                else f"Mend that, or set scripts.min_isolation to {level} (`isolation: required` makes it B)",
            )
        return level

    async def spawn(self, plan: Plan, allowed: Collection[str], paths: Sequence[str], fds: Sequence[int]) -> Newborn:
        """Fork a worker that may import `allowed`, into a control group of its own if there are any. Raises NotLoaded.

        That it was killed for want of memory is told as its own NO_MEMORY.
        """
        extras = installed(allowed, paths)
        zygote = await self._zygote(extras)
        modules = sorted(set(allowed) - set(extras))
        group = await self.group()
        if group is None:
            return await zygote.spawn(plan, modules, paths, fds)
        try:
            newborn = await zygote.spawn(plan, modules, paths, fds, group)
        except BaseException:
            self._later(asyncio.to_thread(group.remove))
            raise
        ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._later(_see_out(newborn, group, ended))
        return replace(newborn, ended=ended, group=group)

    async def group(self) -> Group | None:
        """A control group for one process, where there are any; whoever asks for it removes it. Raises NotLoaded."""
        try:
            return await asyncio.to_thread(self._groups.make)
        except OSError as error:
            raise NotLoaded(f"there is no control group for it: {error.strerror}") from None

    def status(self) -> Mapping[str, Any]:
        """Level, control groups, what the machine lacks, zygotes and workers, as JSON values."""
        found = self._found.result() if self._found is not None and _succeeded(self._found) else None
        alive = [zygote for zygote in self._zygotes.values() if zygote.alive]
        return {
            "isolation": None if found is None else found.level if self._wanted == "auto" else self._wanted,
            "best_isolation": None if found is None else found.level,
            "control_groups": list(self._groups.controllers),
            "lacking": [] if found is None else [*found.notes, *self._groups.notes],
            "min_isolation": self._least,
            "zygotes": len(alive),
            "zygote_restarts": self.restarts,
            "workers": sum(zygote.workers for zygote in alive),
        }

    async def close(self) -> None:
        """End all zygotes, and with them all workers."""
        zygotes, self._zygotes = list(self._zygotes.values()), {}
        await asyncio.gather(*(zygote.close() for zygote in zygotes))
        await asyncio.gather(*self._leaving)
        await asyncio.to_thread(self._groups.clear)

    async def _capabilities(self) -> Capabilities:
        if self._found is None:
            self._found = asyncio.ensure_future(self._look_around())
        return await asyncio.shield(self._found)

    async def _look_around(self) -> Capabilities:
        self._groups = await asyncio.to_thread(cgroup.take)
        return await asyncio.to_thread(probe.probe)

    def _later(self, work: Coroutine[Any, Any, object]) -> None:
        """Do it beside everything else, until `close` at the latest."""
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _zygote(self, extras: tuple[str, ...]) -> Zygote:
        async with self._starting:
            zygote = self._zygotes.get(extras)
            if zygote is not None and zygote.alive:
                return zygote
            if zygote is not None:
                await self._pause(extras, zygote)
            try:
                zygote = self._zygotes[extras] = Zygote(extras)
            except OSError as error:
                raise NotLoaded(f"the process that workers come from cannot be started: {error.strerror}") from None
            self._started_ns[extras] = self._clock.monotonic_ns()
            return zygote

    async def _pause(self, extras: tuple[str, ...], dead: Zygote) -> None:
        """Tell of a dead zygote, and wait: longer each time, unless it lived long."""
        self._later(dead.close())
        self.restarts += 1
        lived_s = (self._clock.monotonic_ns() - self._started_ns[extras]) / 1e9
        before_s = self._pauses_s.get(extras, 0.0) if lived_s < LONGEST_PAUSE_S else 0.0
        pause_s = self._pauses_s[extras] = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * before_s))
        log.error("the process that workers come from has ended; another one starts in %g s", pause_s)
        await self._clock.sleep_until(self._clock.monotonic_ns() + round(pause_s * 1e9))


async def _see_out(newborn: Newborn, group: Group, ended: asyncio.Future[int | None]) -> None:
    """Tell how a worker has ended, and remove its group."""
    status = await newborn.ended
    starved = status == -signal.SIGKILL and group.out_of_memory()
    ended.set_result(NO_MEMORY if starved else status)
    await asyncio.to_thread(group.remove)


def identity() -> tuple[int | None, int | None]:
    """Whom a worker becomes: user and group where the gateway is root. Raises NotLoaded if there is nobody."""
    try:
        return worker_user() if os.geteuid() == 0 else (None, None)
    except LookupError as error:
        raise NotLoaded(str(error), final=True) from None


def levels() -> tuple[str, ...]:
    """The names of the levels, strongest first."""
    return get_args(Level)


def _environment() -> dict[str, str]:
    """Language and time zone, and nothing that a library would start threads for."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    return {"TZ": ":/etc/localtime", "LC_CTYPE": "C.UTF-8", **kept, **_ONE_THREAD}


def installed(allowed: Collection[str], paths: Sequence[str]) -> tuple[str, ...]:
    """Those modules that come from the gateway's own environment: not the customer's, nor the standard library's."""
    return tuple(sorted({name for name in allowed if _place(name, paths)}))


def packages(allowed: Collection[str], paths: Sequence[str]) -> tuple[str, ...]:
    """Where they are, with the libraries beside them: parts of a package may be loaded late."""
    places = {place for name in allowed if (place := _place(name, paths))}
    beside = {f"{place}.libs" for place in places}
    return tuple(sorted(place for place in places | beside if Path(place).is_dir()))


def _place(name: str, paths: Sequence[str]) -> str:
    """The directory of a package, or the file of a module, of the gateway's own environment; "" for any other."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("gateway", "drivers", "__main__") or not top.isidentifier():
        return ""
    if any(Path(path, top).exists() or Path(path, f"{top}.py").exists() for path in paths):
        return ""
    with contextlib.suppress(ImportError, ValueError):
        found = importlib.util.find_spec(top)
        if found is not None and found.origin is not None and _INSTALLED & set(Path(found.origin).parts):
            return str(Path(found.origin).parent) if found.submodule_search_locations else found.origin
    return ""


def _succeeded(future: asyncio.Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
