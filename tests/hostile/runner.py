"""Attacks on the real host: each a function of scripts/*.script, run in a worker of its own by the gateway's own parts.

A `Stage` is what stands around them at one level: an event loop that ticks, zygotes, an ordinary script that goes on
being called, and canaries: a secret in the environment and in files that anybody may read, servers that nobody may
reach, names that nobody may resolve. `attack` runs one attack on it, and lets the same script be called once more.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import logging
import os
import re
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from gateway.clock import RealClock
from gateway.scripts import broker, host, process, quota
from gateway.scripts.host import Scripts
from gateway.scripts.messages import Functions
from gateway.scripts.permissions import Grant, Place
from gateway.scripts.running import Script
from gateway.scripts.work import Failure, Waiting, Work
from gateway.types import Command
from tests.hostile.walls import NOBODY

SCRIPTS = Path(__file__).parent / "scripts"
CORPUS = Path(__file__).parents[1] / "unit/scripts/corpus/good"
HEAD = (SCRIPTS / "head.script").read_text()
FOUND_OTHERWISE = ("_posixsubprocess", "_socket", "multiprocessing", "subprocess", "gateway.scripts")
ENDLESS_S, PATIENCE_S, LOADING_S = 0.15, 20.0, 1.5
AT_ONCE = 6
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
TICK_S = 0.01
MEASUREMENT = {"concentration_ppm": 412.0, "source_node_id": "co2"}
ORDINARY = """
def on_measurement(measurement):
    return measurement["concentration_ppm"] * 2
"""


@dataclass(frozen=True, slots=True)
class Attack:
    """One of them: what it tries, the words that say how it ends, and what its family is given."""

    family: str
    name: str
    tries: str
    ends: str
    given: frozenset[str]
    source: str
    imports: tuple[str, ...]

    @property
    def node(self) -> str:
        """What its action node is called."""
        return f"{self.family}.{self.name}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: the call in words, what the next call gave, the loop's ticks, all that came out, what changed."""

    said: str
    after: str
    ticks: int
    log: tuple[str, ...]
    everything: str
    changed: tuple[str, ...]


@dataclass(slots=True)
class Stage:
    """What stands around the attacks at one level."""

    level: str
    checks: bool
    place: Path
    scripts: Scripts
    secret: str
    ports: dict[str, int] = field(default_factory=dict)
    ticks: int = 0
    longest_gap_s: float = 0.0
    ordinary: int = 0
    neighbour: Script | None = None
    log: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


class Hearing:
    """An inbox that keeps what comes, and a newsroom with three old entries."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def put(self, command: Command) -> None:
        """See Inbox."""
        self.commands.append(command)

    def drain(self) -> tuple[Command, ...]:
        """See Inbox."""
        return ()

    def rows(self, after: int, most: int) -> tuple[list[dict[str, Any]], int]:
        """See Newsroom."""
        return [{**MEASUREMENT, "concentration_ppm": 398.0 + each} for each in range(after, 3)], 3

    def statistics(self) -> dict[str, Any]:
        """See Newsroom."""
        return {"co2": {"count": 3}}


def attacks() -> list[Attack]:
    """All attacks: the functions of the scripts whose docstring says "WHAT IT TRIES -> HOW IT ENDS"."""
    return [one for file in sorted(SCRIPTS.glob("*.script")) for one in _family(file)]


def _family(file: Path) -> Iterator[Attack]:
    """The attacks of one script, each with what it needs of the source: none of the others that it does not name."""
    source = file.read_text()
    given = re.match(r"# given:(.*)", source)
    body = ast.parse(source).body
    parts = {node: ast.get_source_segment(source, node) or "" for node in body}
    described = {node: (ast.get_docstring(node) or "").partition(" -> ") for node in body if isinstance(node, FUNCTIONS)}
    for node, (tries, arrow, ends) in described.items():
        if arrow and given:
            names = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)} | {node.name}
            used = [
                parts[each] for each in body if each not in described or not described[each][1] or each.name in names
            ]
            own = "\n\n\n".join((HEAD, *used)) + "\n"
            yield Attack(file.stem, node.name, tries, ends, frozenset(given[1].split()), own, _imports(own))


async def attack(stage: Stage, one: Attack) -> Outcome:
    """Run it, and call the same script once more."""
    async with stage.turns:
        here = stage.place / one.node
        _lay_out(here, stage.secret)
        hearing, ticks, lines = Hearing(), stage.ticks, len(stage.log)
        script = Script(_work(stage, one, here), stage.scripts, RealClock(), hearing, hearing)
        script.start()
        try:
            said = await _called(script, "on_measurement")
            after = await _calm(script)
            status = script.status()
        finally:
            await script.close()
        log = tuple(line for line in stage.log[lines:] if line.startswith(f"{one.node}:"))
        changed = _changed(here, stage.secret)
        if "files" in one.given:
            changed += await asyncio.to_thread(_given, here, stage.secret)
        everything = "\n".join((said, after, *log, repr(status), repr(hearing.commands)))
        return Outcome(said, after, stage.ticks - ticks, log, everything, tuple(changed))


async def _called(script: Script, hook: str) -> str:
    """A call in words: what it returned, or why not."""
    try:
        return f"returned {await script.call(hook, [dict(MEASUREMENT)])!r}"
    except (Failure, Waiting) as fault:
        return fault.reason


async def _calm(script: Script) -> str:
    """What an ordinary call says, on a fresh worker if need be; the attack may have left it a bomb or two."""
    until = time.monotonic() + PATIENCE_S
    said = ""
    while time.monotonic() < until and said != "returned 'calm'":
        script.reset()
        said = await _called(script, "on_alert")
        if script.work.config["family"] == "loading":
            return said
        if "quota" in said:  # as a person would, when told so
            given = Path(script.work.config["given"])
            await asyncio.to_thread(subprocess.run, ["find", given, "-mindepth", "1", "-delete"], check=True)
    return said


def _work(stage: Stage, one: Attack, here: Path) -> Work:
    files = (Grant(f"{here}/given", True), Grant(f"{here}/shown")) if "files" in one.given else ()
    endless = "stopped" in one.ends
    file = here / "script.py"
    file.write_text(one.source)
    return Work(
        one.node,
        str(file),
        "module",
        config=_surroundings(stage, one, here),
        monitored=("co2",),
        allowed_imports=one.imports,
        outputs=("relay/fan", "led/status") if "outputs" in one.given else (),
        network=(Place("127.0.0.1", stage.ports["listed"]),) if "network" in one.given else (),
        files=files,
        timeout_s=ENDLESS_S if endless else PATIENCE_S,
        memory_bytes=32 << 20,
        disk_bytes=1 << 20,
        hot_reload=False,
        checks=stage.checks,
    )


def _surroundings(stage: Stage, one: Attack, here: Path) -> Mapping[str, Any]:
    """What the attacker is told."""
    assert stage.neighbour is not None
    zygote = next(iter(stage.scripts._zygotes.values()))
    return {
        "attack": one.name,
        "family": one.family,
        "level": stage.level,
        "gateway": os.getpid(),
        "parent": zygote.pid,
        "neighbour": stage.neighbour.status()["pid"] or zygote.pid,
        "secret": f"{here}/secret",
        "given": f"{here}/given",
        "shown": f"{here}/shown",
        "unix": f"{stage.place}/socket",
        "abstract": stage.place.name,
        **stage.ports,
    }


def _imports(source: str) -> tuple[str, ...]:
    """What must be listed for it, and loaded before the walls are up."""
    names = set(FOUND_OTHERWISE)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names} | {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return tuple(sorted(names))


def _lay_out(here: Path, secret: str) -> None:
    """A secret that anybody may read and write, what is given beside it, and links that lead to it."""
    here.mkdir()
    (here / "secret").write_text(secret)
    (here / "secret").chmod(0o666)
    for name in ("given", "shown"):
        (here / name).mkdir()
        (here / name / "inside").write_text(name)
        os.chown(here / name, NOBODY.pw_uid, NOBODY.pw_gid)
        os.chown(here / name / "inside", NOBODY.pw_uid, NOBODY.pw_gid)
        (here / name / "inside").chmod(0o666)
    for name, target in (("laid", "../secret"), ("laid_directory", ".."), ("laid_root", "/")):
        (here / "given" / name).symlink_to(target)


def _changed(here: Path, secret: str) -> list[str]:
    """What is other than it was laid out, beyond what is given to be written."""
    expected = {"secret", "given", "shown", "script.py"}
    changed = [f"{path} is new" for path in sorted({path.name for path in here.iterdir()} - expected)]
    if (here / "secret").read_text() != secret:
        changed.append("the secret is another one")
    shown = sorted(path.name for path in (here / "shown").iterdir())
    if shown != ["inside"] or (here / "shown/inside").read_text() != "shown":
        changed.append("what is only shown is changed")
    return changed


def _given(here: Path, secret: str) -> list[str]:
    """The same of the directory that may be written: programs of their owner's, files of others, and the secret."""
    found = subprocess.run(["find", here / "given", "-printf", "%04m %U %y\\n"], capture_output=True, text=True, check=True)
    kinds = {tuple(line.split()) for line in found.stdout.splitlines()}
    changed = [f"mode {mode}" for mode, _, _ in kinds if int(mode, 8) & 0o6000]
    changed += [f"owner {owner}" for _, owner, kind in kinds if kind != "l" and int(owner) != NOBODY.pw_uid]
    changed += [f"a file of kind {kind}" for _, _, kind in kinds if kind not in "fdl"]
    secrets_there = subprocess.run(["grep", "-rlsF", secret, here / "given"], capture_output=True, text=True)
    return changed + secrets_there.stdout.split()


@contextlib.asynccontextmanager
async def staged(level: str, checks: bool) -> AsyncIterator[Stage]:
    """A stage at this level. When it is struck, `leaks` says what is left over."""
    place = Path(tempfile.mkdtemp(prefix="hostile-"))
    place.chmod(0o755)
    before, others = _descriptors(), set(_processes())
    secret = f"canary-{secrets.token_hex(8)}"
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as around:
        around.callback(subprocess.run, ["rm", "-rf", place], check=True)
        around.enter_context(mock.patch.dict(os.environ, {"GATEWAY_SECRET": secret}))
        around.enter_context(mock.patch.object(quota, "INTERVAL_NS", 50_000_000))
        stage = Stage(level, checks, place, Scripts(RealClock(), level), secret)  # type: ignore[arg-type]
        around.enter_context(_names_kept(stage))
        around.enter_context(_lines_kept(stage))
        await _open_canaries(stage, around)
        around.push_async_callback(stage.scripts.close)
        ticking = loop.create_task(_tick(stage))
        stage.neighbour = await _ordinary(stage)
        around.push_async_callback(stage.neighbour.close)
        calling = loop.create_task(_go_on(stage))
        around.enter_context(mock.patch.object(process, "LOAD_S", LOADING_S))
        yield stage
        for task in (calling, ticking):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await calling
    for _ in range(100):
        stage.leaks = [f"process {pid}" for pid in set(_processes()) - others]
        stage.leaks += [f"descriptor {each}" for each in _descriptors() - before]
        if not stage.leaks:
            break
        await asyncio.sleep(0.05)


async def _tick(stage: Stage) -> None:
    while True:
        begun = time.monotonic()
        await asyncio.sleep(TICK_S)
        stage.ticks += 1
        stage.longest_gap_s = max(stage.longest_gap_s, time.monotonic() - begun - TICK_S)


async def _ordinary(stage: Stage) -> Script:
    """The neighbour, once it runs; with numpy, so that both zygotes are there."""
    file = stage.place / "ordinary.py"
    file.write_text(ORDINARY)
    hearing = Hearing()
    for allowed in ((), ("numpy",)):
        work = Work("ordinary", str(file), "module", allowed_imports=allowed, timeout_s=PATIENCE_S, hot_reload=False)
        script = Script(work, stage.scripts, RealClock(), hearing, hearing)
        script.start()
        assert await script.call("on_measurement", [dict(MEASUREMENT)]) == 824.0
        if allowed:
            return script
        await script.close()
    raise AssertionError


async def _go_on(stage: Stage) -> None:
    """The ordinary script is called all the while, and answers as ever."""
    assert stage.neighbour is not None
    while True:
        assert await stage.neighbour.call("on_measurement", [dict(MEASUREMENT)]) == 824.0
        stage.ordinary += 1
        await asyncio.sleep(0.05)


@contextlib.contextmanager
def _names_kept(stage: Stage) -> Any:
    """Names that the broker resolves."""
    real = broker.resolve

    def resolve(host: str, port: int) -> list[Any]:
        if host != "127.0.0.1":
            stage.reached.append(f"the name {host}")
        return real(host, port)

    with mock.patch.object(broker, "resolve", resolve):
        yield


@contextlib.contextmanager
def _lines_kept(stage: Stage) -> Any:
    """The gateway's log, instead of where it goes."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            stage.log.append(record.getMessage())

    logger, kept = logging.getLogger("spectrophone.scripts"), Keep()
    before = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(kept)
    try:
        yield
    finally:
        logger.removeHandler(kept)
        logger.level, logger.propagate = before


async def _open_canaries(stage: Stage, around: contextlib.AsyncExitStack) -> None:
    """Servers: one that is listed, and others that must not be reached, by TCP, UDP and local sockets."""
    loop = asyncio.get_running_loop()

    def caught(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stage.reached.append(f"a server: {writer.get_extra_info('sockname')}")
        writer.close()

    async def listed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(4096)
        if b" /redirect " in head:
            there = f"http://127.0.0.1:{stage.ports['port']}/"
            writer.write(f"HTTP/1.0 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nlisted")
        writer.close()

    class Packets(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: Any) -> None:
            stage.reached.append(f"a datagram: {data!r}")

    for name, server in (
        ("listed", await asyncio.start_server(listed, "127.0.0.1", 0)),
        ("port", await asyncio.start_server(caught, None, 0)),
        ("unix", await asyncio.start_unix_server(caught, stage.place / "socket")),
        ("abstract", await asyncio.start_unix_server(caught, f"\0{stage.place.name}")),
    ):
        around.callback(server.close)
        if name in ("listed", "port"):
            stage.ports[name] = server.sockets[0].getsockname()[1]
    (stage.place / "socket").chmod(0o777)
    packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packets.bind(("127.0.0.1", 0))
    stage.ports["udp"] = packets.getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(Packets, sock=packets)
    around.callback(transport.close)


def _descriptors() -> set[str]:
    """What this process has open, by what it leads to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{name}: {os.readlink(f'/proc/self/fd/{name}')}")
    return found


def _processes() -> list[int]:
    """Zygotes, workers and whatever they have started: all have the zygote's command line, which names this tree."""
    mark = str(host._ROOT).encode()
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and mark in (line := Path("/proc", name, "cmdline").read_bytes()) and b"zygote.main" in line:
                found.append(int(name))
    return found


async def ordinary_scripts(stage: Stage) -> dict[str, str]:
    """Let the ordinary scripts of the unit tests' corpus work here: what each call of theirs said."""
    said = {}
    for file in sorted(CORPUS.glob("*.script")):
        source = file.read_text()
        header = dict(re.findall(r"^# (style|allowed|listed|functions): (.*)$", source, re.MULTILINE))
        said |= await _ordinary_calls(stage, file, source, header)
    return said


async def _ordinary_calls(stage: Stage, file: Path, source: str, header: dict[str, str]) -> dict[str, str]:
    here = stage.place / f"ordinary.{file.stem}"
    _lay_out(here, stage.secret)
    place = f"{here}/given"
    (here / "script.py").write_text(source.replace("/data/reports", place).replace("https://hooks.example.com/x", f"http://127.0.0.1:{stage.ports['listed']}/"))
    (here / "mylibrary").mkdir()
    (here / "mylibrary/__init__.py").write_text("")
    (here / "mylibrary/base.py").write_text("class Base:\n    def __init__(self, api): self.api = api\n")
    (here / "mylibrary/actions.py").write_text("class Base:\n    def on_update(self, data): return 1\n")
    style, _, class_name = header["style"].partition(" ")
    functions = Functions(**dict(pair.split("=") for pair in header.get("functions", "").split()))
    listed = header.get("listed", "").split()
    work = Work(
        f"ordinary.{file.stem}",
        str(here / "script.py"),
        style,  # type: ignore[arg-type]
        class_name,
        functions,
        monitored=("co2",),
        allowed_imports=tuple(header.get("allowed", "").split()),
        outputs=("led",),
        network=(Place("127.0.0.1", stage.ports["listed"]),) if "network" in listed else (),
        files=(Grant(place, True),) if "files" in listed else (),
        paths=(str(here),),
        timeout_s=PATIENCE_S,
        hot_reload=False,
        checks=stage.checks,
    )
    hearing = Hearing()
    script = Script(work, stage.scripts, RealClock(), hearing, hearing)
    script.start()
    trigger = {"type": "threshold", "value": 1200.0, "source_node_id": "co2", "severity": "warning", "timestamp": 1}
    calls = {
        "on_measurement": [{**MEASUREMENT, "timestamp": 1_700_000_000, "source_node_id": "co2-1"}],
        "on_update": [{**MEASUREMENT, "timestamp": 1_700_000_000}],
        "on_trigger": ["threshold", trigger],
        "on_alert": [{"message": "high", "severity": "warning"}],
        "get_status": [],
    }
    said = {}
    try:
        for hook, given in calls.items():
            try:
                said[f"{file.stem} {hook}"] = f"returned {await script.call(hook, given)!r}"
            except (Failure, Waiting) as fault:
                said[f"{file.stem} {hook}"] = fault.reason
    finally:
        await script.close()
    return said
