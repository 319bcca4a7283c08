"""Which walls the workers of a script have: its permissions as a Plan."""

from __future__ import annotations

from gateway.scripts.confine.confine import Plan
from gateway.scripts.confine.paths import interpreter_paths
from gateway.scripts.confine.seccomp import Level
from gateway.scripts.host import identity, packages
from gateway.scripts.work import NotLoaded, Work


def walls(work: Work, level: Level) -> Plan:
    """The walls of its workers at this level. Raises NotLoaded for what cannot be given there."""
    uid, gid = identity()
    if level == "C" and work.paths:
        raise NotLoaded("venv_path and python_paths need level B: at level C a worker cannot open files", final=True)
    readonly = {*interpreter_paths(network=bool(work.network)), *work.paths}
    readonly |= set(packages(work.allowed_imports, work.paths))
    try:
        return Plan(
            level,
            tuple(sorted(readonly)),
            () if level == "C" else tuple((grant.path, grant.writable) for grant in work.files),
            network=bool(work.network),
            memory_bytes=work.memory_bytes,
            file_bytes=work.disk_bytes,
            uid=uid,
            gid=gid,
        )
    except ValueError as fault:
        raise NotLoaded(str(fault), final=True) from None
