"""Which system calls a customer's script may make, and with which arguments: the kernel's own fence around a worker.

What the table does not name answers ENOSYS, so that libraries fall back on something older. What it refuses with EPERM
or EACCES becomes a PermissionError in Python. A call through another table of the machine (32 bits, x32) kills.

A filter sees numbers, never what a pointer leads to. Hence clone3 and openat2, whose flags lie in memory, are unknown
here; a path cannot be judged, so at level C, where nothing else fences paths, no call may take one; and sockets come
connected from the broker. An argument is compared as wide as the kernel reads it: an int by its low half, a pointer or
long by all 64 bits.

What is allowed must not reach another process, be counted by no limit, outlive the worker, or lift the fence. The levels
are A (namespaces and Landlock), B (namespaces), L (Landlock), C (this filter alone).
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from typing import Literal

from gateway.scripts.confine import bpf
from gateway.scripts.confine.numbers import Architecture, native

Level = Literal["A", "B", "L", "C"]
"""How a worker is fenced; with D no worker starts."""

_INT, _LONG = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_OWN = -1
"""Stands in the table for the worker's own process id."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An argument, 0 to 5, AND `mask` is one of the values."""

    argument: int
    values: tuple[int, ...]
    mask: int = _INT


@dataclass(frozen=True, slots=True)
class Rule:
    """A call is allowed if all conditions of one of the alternatives hold; otherwise it fails with this errno."""

    when: tuple[tuple[Condition, ...], ...]
    otherwise: int


@dataclass(frozen=True, slots=True)
class Row:
    """Calls that are allowed at these levels under these conditions. Rows of the same call add to each other."""

    reason: str
    calls: str
    levels: str = "ABLC"
    when: tuple[Condition, ...] = ()
    otherwise: int = errno.EPERM
    network: bool = False


_EXECUTABLE, _WRITABLE, _ANONYMOUS = 4, 2, 0x20
_SET_ID = 0o6000
_FAST_OPEN = 0x20000000
_THREAD, _THREAD_MAY = 0x00010F00, 0x013C0000
"""CLONE_VM|FS|FILES|SIGHAND|THREAD, and CLONE_SYSVSEM|SETTLS|PARENT_SETTID|CHILD_CLEARTID|CHILD_SETTID."""
_FUTEX = (0, 1, 3, 4, 5, 9, 10)
"""WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT_BITSET, WAKE_BITSET."""
_FUTEX_FLAGS = 0x180
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)
"""DUPFD, GETFD, SETFD, GETFL, SETFL, GETLK, SETLK, SETLKW, OFD_GETLK, OFD_SETLK, OFD_SETLKW, DUPFD_CLOEXEC, GETPIPE_SZ,
GET_SEALS."""
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
_PRCTL = (3, 15, 16, 21, 39, 0x53564D41)
"""GET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, GET_NO_NEW_PRIVS, SET_VMA."""
_SOL_SOCKET, _IPPROTO_TCP = 1, 6
_GET_OPTIONS = (2, 3, 4, 6, 7, 8, 9, 13, 20, 21, 30, 38, 39, 66, 67)
"""REUSEADDR, TYPE, ERROR, BROADCAST, SNDBUF, RCVBUF, KEEPALIVE, LINGER, RCVTIMEO and SNDTIMEO, ACCEPTCONN, PROTOCOL,
DOMAIN, RCVTIMEO_NEW and SNDTIMEO_NEW."""
_SET_OPTIONS = (2, 7, 8, 9, 13, 20, 21, 66, 67)
_TCP_OPTIONS = (1, 3, 4, 5, 6, 12, 18)
"""NODELAY, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, QUICKACK, USER_TIMEOUT."""

TABLE = (
    # What a process does with itself.
    Row("its own memory", "brk mremap munmap madvise msync membarrier"),
    Row("pages that hold data", "mmap", when=(Condition(2, (0,), _EXECUTABLE),)),
    Row(
        "code from a file, never writable: native packages loaded later",
        "mmap",
        levels="ABL",
        when=(Condition(2, (_EXECUTABLE,), _EXECUTABLE | _WRITABLE), Condition(3, (0,), _ANONYMOUS)),
    ),
    Row("no page becomes code that was written before", "mprotect", when=(Condition(2, (0,), _EXECUTABLE),)),
    Row("a thread of this process, not a process", "clone", when=(Condition(0, (_THREAD,), _INT ^ _THREAD_MAY),)),
    Row("threads and their ends", "set_robust_list rseq sched_yield exit exit_group restart_syscall"),
    Row("locks without priority inheritance", "futex", when=(Condition(1, _FUTEX, _INT ^ _FUTEX_FLAGS),)),
    Row("signals to itself", "kill tgkill", when=(Condition(0, (_OWN,)),)),
    Row("how it takes signals", "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait"),
    Row("and waits for them", "sigaltstack pause alarm getitimer setitimer wait4 waitid"),
    Row("time", "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times"),
    Row("who and where it is", "getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid getgroups"),
    Row("more of that", "getpgrp getrlimit getrusage getpriority uname sysinfo getcpu getrandom umask"),
    Row("its processors", "sched_getaffinity sched_get_priority_max sched_get_priority_min"),
    Row("its own process group", "getpgid getsid", when=(Condition(0, (0, _OWN)),)),
    Row("reading its limits", "prlimit64", when=(Condition(0, (0, _OWN)), Condition(2, (0,), _LONG))),
    Row("its name; never the death signal or dumpability", "prctl", when=(Condition(0, _PRCTL),)),
    # What it does with descriptors it has.
    Row(
        "reading and writing", "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek sendfile"
    ),
    Row("a file's extent, counted by its quota", "ftruncate fallocate fsync fdatasync fadvise64 flock"),
    Row("what it has open", "fstat fstatfs getdents64 close close_range dup dup2 dup3"),
    Row("not who gets signals, leases, pipe sizes", "fcntl", when=(Condition(1, _FCNTL),)),
    Row("not typing into a terminal", "ioctl", when=(Condition(1, _IOCTL),), otherwise=errno.ENOTTY),
    Row("pipes and events", "pipe pipe2 eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime"),
    Row(
        "waiting", "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2"
    ),
    # Sockets: those passed by the broker, and pairs.
    Row(
        "a pair for asyncio; a datagram could be sent to any path",
        "socketpair",
        otherwise=errno.EACCES,
        when=(Condition(0, (1,)), Condition(1, (1,), _INT ^ 0x80800)),
    ),
    Row("receiving", "recvfrom recvmsg getsockname getpeername shutdown", otherwise=errno.EACCES),
    Row(
        "sending on a connection",
        "sendto",
        otherwise=errno.EACCES,
        when=(Condition(3, (0,), _FAST_OPEN), Condition(4, (0,), _LONG)),
    ),
    Row(
        "sending on a connection; a stream ignores names",
        "sendmsg",
        otherwise=errno.EACCES,
        when=(Condition(2, (0,), _FAST_OPEN),),
    ),
    Row(
        "not SO_PEERPIDFD",
        "getsockopt",
        otherwise=errno.EACCES,
        when=(Condition(1, (_SOL_SOCKET,)), Condition(2, _GET_OPTIONS)),
    ),
    Row(
        "as below",
        "getsockopt",
        otherwise=errno.EACCES,
        when=(Condition(1, (_IPPROTO_TCP,)), Condition(2, _TCP_OPTIONS)),
    ),
    Row(
        "not a filter, mark or device",
        "setsockopt",
        otherwise=errno.EACCES,
        network=True,
        when=(Condition(1, (_SOL_SOCKET,)), Condition(2, _SET_OPTIONS)),
    ),
    Row(
        "not TCP_ULP, REPAIR, FASTOPEN",
        "setsockopt",
        otherwise=errno.EACCES,
        network=True,
        when=(Condition(1, (_IPPROTO_TCP,)), Condition(2, _TCP_OPTIONS)),
    ),
    # Paths: the mount namespace or Landlock judges them; at level C nothing does.
    Row(
        "looking",
        "stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat statfs getcwd chdir fchdir",
        "ABL",
        otherwise=errno.EACCES,
    ),
    Row("changing", "mkdir mkdirat rmdir unlink unlinkat rename renameat truncate", "ABL", otherwise=errno.EACCES),
    Row("not RENAME_WHITEOUT, a device", "renameat2", "ABL", (Condition(4, (0,), _INT ^ 3),), errno.EACCES),
    Row(
        "no program that runs as us when others start it", "creat", "ABL", (Condition(1, (0,), _SET_ID),), errno.EACCES
    ),
    Row("the same", "open", "ABL", (Condition(2, (0,), _SET_ID),), errno.EACCES),
    Row("the same", "openat", "ABL", (Condition(3, (0,), _SET_ID),), errno.EACCES),
    # Landlock does not judge these: they would reach all files of the same user.
    Row("permissions", "chmod fchmod", "AB", (Condition(1, (0,), _SET_ID),)),
    Row("permissions", "fchmodat fchmodat2", "AB", (Condition(2, (0,), _SET_ID),)),
    Row("times of a file", "utime utimes futimesat utimensat", "AB"),
    Row(
        "attributes, read only: no quota counts them",
        "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr",
        "AB",
    ),
    # Refused with a clear error.
    Row("no process", "fork vfork execve execveat", ""),
    Row(
        "no other process",
        "tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_send_signal pidfd_getfd ptrace",
        "",
    ),
    Row("nor its memory", "process_vm_readv process_vm_writev process_madvise process_mrelease kcmp", ""),
    Row("no socket: the broker connects", "socket connect bind listen accept accept4", "", otherwise=errno.EACCES),
    Row(
        "no limit lifted", "setrlimit setpriority sched_setaffinity sched_setscheduler sched_setparam sched_setattr", ""
    ),
    Row("no other priority, no pinned memory", "ioprio_set mlock mlock2 mlockall munlock munlockall", ""),
    Row("memory that no limit counts", "memfd_create memfd_secret", ""),
    Row(
        "no other identity",
        "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset",
        "",
    ),
    Row("no way out of the group", "setpgid setsid", ""),
    Row("no other world", "unshare setns chroot pivot_root mount umount2 open_tree move_mount mount_setattr", ""),
    Row("nor parts of one", "fsopen fsconfig fsmount fspick", ""),
    Row("nothing that leads elsewhere", "link linkat symlink symlinkat mknod mknodat open_by_handle_at", ""),
    Row("no owner, no attribute", "chown fchown lchown fchownat setxattr lsetxattr fsetxattr", ""),
    Row("nor without", "removexattr lremovexattr fremovexattr", ""),
    Row("no SD card held up", "sync syncfs", ""),
    Row("no clock", "settimeofday clock_settime clock_adjtime adjtimex", ""),
    Row("no kernel", "bpf perf_event_open userfaultfd keyctl add_key request_key seccomp personality syslog", ""),
    Row("no machine", "reboot swapon swapoff sethostname setdomainname init_module finit_module", ""),
)
"""The policy, all of it."""


def policy(level: Level, *, network: bool, pid: int) -> dict[str, Rule]:
    """The rule of each call that the table names; any other one fails with ENOSYS.

    `network` says that the broker may pass connected sockets in; `pid` is the worker's own, as it sees it itself.
    Raises ValueError for a pid that kill(2) would take for a group.
    """
    if pid <= 0:
        raise ValueError(f"{pid} is no process")
    rules: dict[str, Rule] = {}
    for row in TABLE:
        allowed = level in row.levels and (network or not row.network)
        for call in row.calls.split():
            before = rules.get(call, Rule((), row.otherwise))
            more = (tuple(_of(pid, condition) for condition in row.when),) if allowed else ()
            rules[call] = Rule(before.when + more, row.otherwise)
    return rules


def program(architecture: Architecture, level: Level, *, network: bool, pid: int) -> bytes:
    """The filter of `policy` for this machine, as `load` takes it."""
    rules = policy(level, network=network, pid=pid)
    unknown = bpf.verdict(bpf.ERROR | errno.ENOSYS)
    codes = {architecture.numbers[call]: _code(rule) for call, rule in rules.items() if call in architecture.numbers}
    starts: list[tuple[int, bpf.Code]] = []
    for number in range(max(codes) + 2):
        code = codes.get(number, unknown)
        if not starts or starts[-1][1] != code:
            starts.append((number, code))
    kill = bpf.verdict(bpf.KILL)
    if architecture.foreign is not None:
        starts.append((architecture.foreign, kill))
    calls = bpf.load(bpf.NUMBER, bpf.search(starts))
    return bpf.assemble(bpf.load(bpf.ARCHITECTURE, bpf.ask(bpf.EQUAL, (architecture.audit,), calls, kill)))


def load(filter_program: bytes) -> None:
    """Put this process, all its threads, under the filter; for ever. It must have no_new_privs set.

    Where seccomp(2) itself is not allowed, as under some systemd units, prctl(2) does the same for the calling thread:
    the worker must not have another one yet. Raises OSError where the kernel refuses.
    """
    machine = native()
    if machine is None:
        raise OSError(errno.ENOSYS, f"no filter for {os.uname().machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(filter_program, len(filter_program))
    given = _Program(len(filter_program) // 8, ctypes.cast(code, ctypes.c_void_p))
    zero = ctypes.c_ulong(0)
    number = ctypes.c_long(machine.numbers["seccomp"])
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(number, ctypes.c_ulong(_FILTER), ctypes.c_ulong(_ALL_THREADS), ctypes.byref(given))
    if result > 0:
        raise OSError(errno.EBUSY, f"thread {result} has a filter of its own")
    if result < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        result = libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(given), zero, zero)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"no seccomp filter: {os.strerror(ctypes.get_errno())}")


_FILTER, _ALL_THREADS = 1, 1
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _of(pid: int, condition: Condition) -> Condition:
    values = tuple(pid if value == _OWN else value for value in condition.values)
    return Condition(condition.argument, values, condition.mask)


def _code(rule: Rule) -> bpf.Code:
    code = bpf.verdict(bpf.ERROR | rule.otherwise)
    for alternative in reversed(rule.when):
        otherwise, code = code, bpf.verdict(bpf.ALLOW)
        for each in reversed(alternative):
            code = bpf.masked(each.argument, each.mask, each.values, code, otherwise)
    return code
