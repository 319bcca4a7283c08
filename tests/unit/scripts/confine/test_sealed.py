"""Real processes under the real filter of this machine: ordinary Python goes on, everything else has its errno."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from gateway.scripts.confine.seccomp import Level

ROOT = Path(__file__).parents[4]
NETWORK: dict[Level, bool] = {"A": False, "B": True, "L": False, "C": True}
"""The levels, each tried with or without."""
WORKS = "data dates threads loop pipes signals arrays"
FILES = {"files": "", "permissions": "", "native_package": "", "open": "", "stat": "", "getcwd": "", "listdir": ""}
NO_FILES = {
    "files": "ENOENT",  # no usable temporary directory
    "permissions": "ENOENT",
    "native_package": "OSError",  # the loader's own, without an errno
    "open": "EACCES",
    "stat": "EACCES",
    "getcwd": "EACCES",
    "listdir": "EACCES",
}
BY_LEVEL = {"A": FILES, "B": FILES, "L": FILES | {"permissions": "EPERM", "native_package": "OSError"}, "C": NO_FILES}
DENIED = {
    "EACCES": "socket inet,socket unix,socketpair datagram,connect,bind,listen,accept,sendto by name,sendmsg fast open,"
    "send out of band,a thread before",
    "EPERM": "fork,subprocess,posix_spawn,execv,kill 1,kill parent,kill group,kill all,tgkill parent,pidfd_open,"
    "prlimit parent,read the parent's limits,nice,affinity,memfd_create,setuid,setsid,chroot,symlink,mkfifo,syncfs,"
    "unshare,ptrace,process_vm_readv,userfaultfd,bpf,seccomp,PR_SET_DUMPABLE,PR_SET_PDEATHSIG,write and execute",
    "ENOSYS": "clone3,openat2,io_uring_setup,shmget,inotify_init1,no such call",
    "EISCONN": "sendmsg by name to unix",
    "": "sendmsg by name to tcp",  # TCP takes no notice of the name: it goes to whom it is connected with
    "ValueError": "setrlimit",  # what Python makes of EPERM
}


@cache
def tried(what: str, network: bool = False) -> dict[str, str]:
    """What the process told; it ended well and in time."""
    command = [sys.executable, "-I", "-B", str(ROOT / "tests/support/sealed.py"), str(ROOT), what, str(network)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("level", NETWORK)
def test_everything_at_a_level(level: Level) -> None:
    found = tried(level, NETWORK[level])
    denied = {name: error for error, names in DENIED.items() for name in names.split(",")}
    works = dict.fromkeys(WORKS.split(), "")
    assert found == works | BY_LEVEL[level] | denied | {"setsockopt": "" if NETWORK[level] else "EPERM"}


def test_where_a_unit_forbids_seccomp_prctl_does_it_and_without_either_nothing_is_claimed() -> None:
    assert tried("unit") == {"sealed by prctl": "EACCES", "neither": "EPERM"}
