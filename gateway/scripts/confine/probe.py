"""What this machine can fence a worker with: found out by doing it, and looked at again from outside.

`probe` starts a process that tries the levels from the strongest down, in one child each, and lets the child try to get
out. Versions and configuration of the kernel say nothing that the trial does not say better; they serve only to name
the remedy. `verify` reads what the kernel says of a worker that runs.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from gateway.scripts.confine.cgroup import Group
from gateway.scripts.confine.confine import LEVELS, Plan, Report, Unconfined, confine, worker_user
from gateway.scripts.confine.limits import Baseline, measure_baseline, only_descriptors
from gateway.scripts.confine.paths import interpreter_paths
from gateway.scripts.confine.seccomp import Level

_PATIENCE_S = 20.0
_ROOT = Path(__file__).parents[3]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from gateway.scripts.confine import probe; probe.main()"
_NAMESPACES = ("mnt", "net", "ipc", "uts")

Reached = Literal["A", "B", "L", "C", "D"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The best level that holds here, D for none, and what is lacking for a better one, each with its remedy."""

    level: Reached
    notes: tuple[str, ...]


def probe(python: str = sys.executable) -> Capabilities:
    """Try out the levels, in a fresh process of `python`; about 0.3 s. Blocks; never raises."""
    command = [python, "-I", "-B", "-c", _PROGRAM, str(_ROOT)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, env={}, check=True)
        found = json.loads(done.stdout)
        level, notes = found["level"], tuple(map(str, found["notes"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        said = getattr(error, "stderr", "") or str(error)
        return Capabilities("D", (f"the trial of the walls failed: {str(said).strip().splitlines()[-1]}",))
    return Capabilities(level if level in get_args(Reached) else "D", notes)


def main() -> None:
    """The process of `probe`: print what holds as JSON."""
    try:
        found = best(measure_baseline())
    except LookupError as error:
        found = Capabilities("D", (str(error),))
    sys.stdout.write(json.dumps({"level": found.level, "notes": found.notes}) + "\n")


def best(base: Baseline) -> Capabilities:
    """The strongest level that holds, from a process of one thread. Raises LookupError as `worker_user` does."""
    uid, gid = worker_user() if os.geteuid() == 0 else (None, None)
    notes: list[str] = []
    for level in LEVELS:
        said = attempt(Plan(level, interpreter_paths(), uid=uid, gid=gid), base)
        if not said:
            return Capabilities(level, tuple(notes))
        notes += [line for line in said if line not in notes]
    return Capabilities("D", tuple(notes))


def attempt(plan: Plan, base: Baseline) -> list[str]:
    """Confine a child by the plan and let it try to get out: what does not hold, in words; nothing if all holds."""
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            only_descriptors([2, tell])
            os.write(tell, json.dumps(_try_out(plan, base)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    try:
        text = _read(hear)
    finally:
        os.close(hear)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL) if not text else None
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if text:
        return [str(line) for line in json.loads(text)]
    ended = f"signal {-status}" if status < 0 else f"status {status}"
    return [f"level {plan.level}: the trial ended with {ended} before it could report"]


def _read(descriptor: int) -> bytes:
    text = b""
    while select.select([descriptor], [], [], _PATIENCE_S / 4)[0]:
        more = os.read(descriptor, 65536)
        if not more:
            return text
        text += more
    return b""


def _try_out(plan: Plan, base: Baseline) -> list[str]:
    try:
        confine(plan, base)
    except Unconfined as lacking:
        return [remedy(lacking.report)]
    return [f"behind the walls of level {plan.level} a worker {said}" for said in canaries(base.parent)]


def canaries(parent: int) -> list[str]:
    """Try what no worker may do: what succeeded, in words."""
    attempts: dict[str, Callable[[], object]] = {
        "opens /etc/passwd": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "reads the environment of its parent": lambda: os.open(f"/proc/{parent}/environ", os.O_RDONLY),
        "creates a socket": lambda: socket.socket(socket.AF_INET),
        "creates a local socket": lambda: socket.socket(socket.AF_UNIX),
        "signals its parent": lambda: os.kill(parent, 0),
        "starts a process": _fork,
        "becomes root": lambda: os.setuid(0),
    }
    return [name for name, do in attempts.items() if _succeeds(do)]


def _succeeds(do: Callable[[], object]) -> bool:
    try:
        do()
    except OSError:
        return False
    return True


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def remedy(report: Report) -> str:
    """Which wall did not stand, why, and what would help."""
    step = report.steps[-1]
    said = f"{step.name}: {step.detail}"
    if step.name == "Landlock":
        helps = _why_no_landlock(step.detail)
    elif step.name in ("user namespace", "process namespace", "namespaces", "root"):
        helps = _why_no_namespaces()
    elif step.name == "user":
        helps = "a gateway that runs as root needs CAP_SETUID and CAP_SETGID: in a systemd unit set User=spectrophone"
    elif step.name == "seccomp":
        helps = "it needs a 64-bit Linux on x86-64 or ARM with CONFIG_SECCOMP_FILTER, and a unit that lets it be used"
    else:
        helps = "no worker can be fenced without it"
    return f"{said}: {helps}"


def _why_no_landlock(detail: str) -> str:
    if os.strerror(errno.EOPNOTSUPP) in detail:
        return "it is in this kernel but switched off: add landlock to lsm= on the kernel's command line"
    if os.strerror(errno.EPERM) in detail:
        return "a filter of system calls forbids it: in a systemd unit add @sandbox to SystemCallFilter="
    return "not in this kernel, as in any stock kernel of a Raspberry Pi; level B does without"


def _why_no_namespaces() -> str:
    for name, forbids, helps in (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "set kernel.apparmor_restrict_unprivileged_userns to 0"),
        ("kernel/unprivileged_userns_clone", "0", "set kernel.unprivileged_userns_clone to 1"),
        ("user/max_user_namespaces", "0", "set user.max_user_namespaces to 1024"),
    ):
        with contextlib.suppress(OSError):
            if Path("/proc/sys", name).read_text().strip() == forbids:
                return f"{helps} with sysctl"
    return "in a systemd unit set RestrictNamespaces=user mnt net ipc uts and allow @mount; containers forbid it"


def verify(pid: int, level: Level, group: Group | None = None) -> list[str]:
    """What the kernel says of a worker that reported `level` and that does not fit it, in words; nothing if all fits.

    `pid` is Report.pid, `group` the control group that it must be in, if any. Landlock leaves no trace that others can
    read. A worker is not dumpable, so an ordinary user may not read the numbers of its namespaces; the mounts and
    routes that it has are judged in any case.
    """
    process = Path("/proc", str(pid))
    try:
        lines = (process / "status").read_text().splitlines()
        status = {name: value.split() for name, value in (line.split(":", 1) for line in lines if ":" in line)}
        wrong = _wrong_privileges(status)
        if level in ("A", "B"):
            wrong += _wrong_world(process)
    except OSError as error:
        hidden = ": leave ProtectProc= out of the systemd unit" if _lives(pid) else ""
        return [f"process {pid} cannot be looked at: {error.strerror}{hidden}"]
    if group is not None and not group.holds(pid):
        wrong.append("it is not in its control group")
    return wrong


def _lives(pid: int) -> bool:
    """Whether there is such a process, seen or not."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


def _wrong_privileges(status: dict[str, list[str]]) -> list[str]:
    wrong = []
    if status.get("NoNewPrivs") != ["1"]:
        wrong.append("it may gain privileges")
    if status.get("Seccomp") != ["2"]:
        wrong.append("no filter of system calls is loaded")
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(status.get(name, ["1"])[0], 16)]
    if held:
        wrong.append(f"it has capabilities ({', '.join(held)})")
    if "0" in status.get("Uid", ["0"]):
        wrong.append("it runs as root")
    if os.geteuid() == 0 and ("0" in status.get("Gid", ["0"]) or status.get("Groups")):
        wrong.append("it has groups of root's")
    return wrong


def _wrong_world(process: Path) -> list[str]:
    wrong = [f"it shares the {name} namespace of the gateway" for name in _NAMESPACES if _shares(process, name)]
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    roots = [fields for fields in mounts if fields[4] == "/"]
    kinds = {fields[fields.index("-") + 1] for fields in mounts}
    if not roots or any("ro" not in fields[5].split(",") or "tmpfs" not in fields for fields in roots):
        wrong.append("its root is not the empty one, or can be written")
    wrong += [f"it sees a {kind}" for kind in ("proc", "sysfs", "cgroup", "cgroup2", "devpts") if kind in kinds]
    if len((process / "net/route").read_text().splitlines()) > 1:
        wrong.append("it has a route into a network")
    return wrong


def _shares(process: Path, name: str) -> bool:
    try:
        return (process / "ns" / name).readlink() == Path("/proc/self/ns", name).readlink()
    except PermissionError:
        return False
