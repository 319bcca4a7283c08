"""Attacks on the real host: each a function of scripts/*.script, run in a worker of its own by the gateway's own parts.

`attack` runs one attack on a `Stage`, and lets the same script be called once more; `ordinary_scripts` runs those that
attack nothing.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.clock import RealClock
from gateway.scripts.messages import Functions
from gateway.scripts.permissions import Grant, Place
from gateway.scripts.running import Script
from gateway.scripts.work import Failure, Waiting, Work
from tests.hostile.stage import MEASUREMENT, PATIENCE_S, Hearing, Stage, clear
from tests.hostile.walls import NOBODY

SCRIPTS = Path(__file__).parent / "scripts"
CORPUS = Path(__file__).parents[1] / "unit/scripts/corpus/good"
HEAD = (SCRIPTS / "head.script").read_text()
FOUND_OTHERWISE = ("_posixsubprocess", "_socket", "multiprocessing", "subprocess", "gateway.scripts")
"""Modules that attacks name in texts."""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ENDLESS_S = 0.15


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
    """What came of it: the call in words, the next call, the loop's ticks, all that came out, what changed."""

    said: str
    after: str
    ticks: int
    log: tuple[str, ...]
    everything: str
    changed: tuple[str, ...]


def attacks() -> list[Attack]:
    """All attacks: the functions of the scripts whose docstring says "WHAT IT TRIES -> HOW IT ENDS"."""
    return [one for file in sorted(SCRIPTS.glob("*.script")) for one in _family(file)]


def _family(file: Path) -> Iterator[Attack]:
    """The attacks of one script, each with what it needs of the source: none of the others that it does not name."""
    source = file.read_text()
    given = re.match(r"# given:(.*)", source)
    body = ast.parse(source).body
    parts = {node: ast.get_source_segment(source, node) or "" for node in body}
    described = {
        node: (ast.get_docstring(node) or "").partition(" -> ") for node in body if isinstance(node, FUNCTIONS)
    }
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
            await asyncio.to_thread(clear, script.work.config["given"])
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
        "group": Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip(),
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
    found = subprocess.run(
        ["find", here / "given", "-printf", "%04m %U %y\\n"], capture_output=True, text=True, check=True
    )
    kinds = {tuple(line.split()) for line in found.stdout.splitlines()}
    changed = [f"mode {mode}" for mode, _, _ in kinds if int(mode, 8) & 0o6000]
    changed += [f"owner {owner}" for _, owner, kind in kinds if kind != "l" and int(owner) != NOBODY.pw_uid]
    changed += [f"a file of kind {kind}" for _, _, kind in kinds if kind not in "fdl"]
    secrets_there = subprocess.run(["grep", "-rlsF", secret, here / "given"], capture_output=True, text=True)
    return changed + secrets_there.stdout.split()


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
    source = source.replace("/data/reports", place)
    source = source.replace("https://hooks.example.com/x", f"http://127.0.0.1:{stage.ports['listed']}/")
    (here / "script.py").write_text(source)
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
        parameters={"smtp_server": "127.0.0.1", "smtp_port": stage.ports["mail"], "recipients": ["a@example.org"]},
        monitored=("co2",),
        allowed_imports=tuple(header.get("allowed", "").split()),
        outputs=("led",),
        network=tuple(Place("127.0.0.1", stage.ports[each]) for each in ("listed", "mail") if "network" in listed),
        files=(Grant(place, True),) if "files" in listed else (),
        paths=(str(here),) if "mylibrary" in source else (),
        timeout_s=PATIENCE_S,
        hot_reload=False,
        checks=stage.checks,
    )
    return await _every_hook(stage, work, file.stem)


async def _every_hook(stage: Stage, work: Work, name: str) -> dict[str, str]:
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
                said[f"{name} {hook}"] = f"returned {await script.call(hook, given)!r}"
            except (Failure, Waiting) as fault:
                said[f"{name} {hook}"] = fault.reason
    finally:
        await script.close()
    return said
