"""Which system calls a customer's script may make, and with which arguments: the kernel's own fence around a worker.

What the table does not name answers ENOSYS, so that libraries fall back on something older. What it refuses with EPERM
or EACCES becomes a PermissionError in Python. A call through another table of the machine (32 bits, x32) kills.

A filter sees numbers, never what a pointer leads to. Hence clone3 and openat2, whose flags lie in memory, are unknown
here; a path cannot be judged, so at level C, where nothing else fences paths, no call may take one; and sockets come
connected from the broker. An argument is compared as wide as the kernel reads it: an int by its low half, a pointer or
long by all 64 bits.

What is allowed must not reach another process, evade the limits, outlive the worker, or lift the fence. The levels are
A (namespaces and Landlock), B (namespaces), L (Landlock), C (this filter alone).
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from errno import EACCES, EBUSY, ENOSYS, ENOTTY, EPERM
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
    """Calls that are allowed at these levels under these conditions. Rows of the same call add to each other.

    Those of `network` are for scripts that have some, those of `reader` for scripts that may write no file.
    """

    reason: str
    calls: str
    levels: str = "ABLC"
    when: tuple[Condition, ...] = ()
    otherwise: int = EPERM
    network: bool = False
    reader: bool = False


_FILTER, _ALL_THREADS = 1, 1
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
"""SECCOMP_SET_MODE_FILTER and SECCOMP_FILTER_FLAG_TSYNC of seccomp(2); the same by prctl(2)."""
_EXECUTABLE, _WRITABLE, _ANONYMOUS = 4, 2, 0x20
"""PROT_EXEC and PROT_WRITE; MAP_ANONYMOUS."""
_THREAD, _THREAD_MAY = 0x00010F00, 0x013C0000
"""CLONE_VM|FS|FILES|SIGHAND|THREAD, and CLONE_SYSVSEM|SETTLS|PARENT_SETTID|CHILD_CLEARTID|CHILD_SETTID."""
_FUTEX, _FUTEX_FLAGS = (0, 1, 3, 4, 5, 9, 10), 0x180
"""WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT_BITSET, WAKE_BITSET; PRIVATE_FLAG and CLOCK_REALTIME."""
_PRCTL = (3, 15, 16, 21, 39, 0x53564D41)
"""GET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, GET_NO_NEW_PRIVS, SET_VMA."""
_CLOSE_UNSHARE = 2
"""CLOSE_RANGE_UNSHARE: a thread with descriptors of its own."""
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)
"""DUPFD, GETFD, SETFD, GETFL, SETFL, GETLK, SETLK, SETLKW, OFD_GETLK, OFD_SETLK, OFD_SETLKW, DUPFD_CLOEXEC, GETPIPE_SZ,
GET_SEALS."""
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
_UNIX, _STREAM, _STREAM_MAY = 1, 1, 0x80800
"""AF_UNIX; SOCK_STREAM, and SOCK_CLOEXEC|NONBLOCK."""
_SEND_NEVER = 0x20000001
"""MSG_FASTOPEN, which connects while sending, and MSG_OOB, which AF_UNIX got wrong (CVE-2025-38236)."""
_SOL_SOCKET, _IPPROTO_TCP = 1, 6
_GET_OPTIONS = (2, 3, 4, 6, 7, 8, 9, 13, 20, 21, 30, 38, 39, 66, 67)
"""REUSEADDR, TYPE, ERROR, BROADCAST, SNDBUF, RCVBUF, KEEPALIVE, LINGER, RCVTIMEO and SNDTIMEO, ACCEPTCONN, PROTOCOL,
DOMAIN, RCVTIMEO_NEW and SNDTIMEO_NEW."""
_SET_OPTIONS = (2, 7, 8, 9, 13, 20, 21, 66, 67)
"""Of these, what concerns this one connection."""
_TCP_OPTIONS = (1, 3, 4, 5, 6, 12, 18)
"""NODELAY, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, QUICKACK, USER_TIMEOUT."""
_SET_ID = 0o6000
"""S_ISUID and S_ISGID in a mode."""
_TRUNCATE, _ACCESS, _WRITING = 0o1000, 3, (1, 2)
"""O_TRUNC; O_ACCMODE, and O_WRONLY and O_RDWR of it."""
_RENAME_MAY = 3
"""RENAME_NOREPLACE|EXCHANGE; not WHITEOUT, which makes a device."""
_CODE = (Condition(2, (_EXECUTABLE,), _EXECUTABLE | _WRITABLE), Condition(3, (0,), _ANONYMOUS))
"""mmap of a file as code that cannot be written."""

TABLE = (
    # What a process does with itself.
    Row("its own memory", "brk mremap munmap madvise msync membarrier"),
    Row("pages that hold data", "mmap", when=(Condition(2, (0,), _EXECUTABLE),)),
    Row(
        "code from a file, never writable: native packages loaded later",
        "mmap",
        "AB",
        _CODE,
    ),
    Row("where no mount is noexec, only if the script can have written none", "mmap", "L", _CODE, reader=True),
    Row("what was written never becomes code", "mprotect", when=(Condition(2, (0,), _EXECUTABLE),)),
    Row("a thread, never a process", "clone", when=(Condition(0, (_THREAD,), _INT ^ _THREAD_MAY),)),
    Row("a thread's life", "set_robust_list rseq sched_yield exit exit_group restart_syscall"),
    Row("locks without priority inheritance", "futex", when=(Condition(1, _FUTEX, _INT ^ _FUTEX_FLAGS),)),
    Row("signals to itself only", "kill tgkill", when=(Condition(0, (_OWN,)),)),
    Row("taking them", "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending sigaltstack"),
    Row("waiting for them, timers that send them", "rt_sigsuspend rt_sigtimedwait pause alarm getitimer setitimer"),
    Row("its children, of which it has none", "wait4 waitid"),
    Row("reading clocks, sleeping", "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times"),
    Row("who it is", "getpid gettid getppid getpgrp getuid geteuid getgid getegid getresuid getresgid getgroups"),
    Row("what it uses, and on which machine", "getrlimit getrusage getpriority uname sysinfo getcpu getrandom umask"),
    Row("its processors", "sched_getaffinity sched_get_priority_max sched_get_priority_min"),
    Row("its own group", "getpgid getsid", when=(Condition(0, (0, _OWN)),)),
    Row("reading its own limits", "prlimit64", when=(Condition(0, (0, _OWN)), Condition(2, (0,), _LONG))),
    Row("its name; not its death signal, not who may trace it", "prctl", when=(Condition(0, _PRCTL),)),
    # What it does with descriptors it has.
    Row(
        "reading and writing", "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek sendfile"
    ),
    Row("a file's size, which its quota counts", "ftruncate fallocate fsync fdatasync fadvise64 flock"),
    Row("what it has open", "fstat fstatfs getdents64 close dup dup2 dup3"),
    Row("one table of descriptors, so one limit", "close_range", when=(Condition(2, (0,), _CLOSE_UNSHARE),)),
    Row("not who gets its signals, no lease, no larger pipe", "fcntl", when=(Condition(1, _FCNTL),)),
    Row("nothing typed into a terminal", "ioctl", when=(Condition(1, _IOCTL),), otherwise=ENOTTY),
    Row("pipes and events", "pipe pipe2 eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime"),
    Row(
        "waiting", "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2"
    ),
    # Sockets: pairs of its own, and connections from the broker.
    Row("none: the broker connects", "socket connect bind listen accept accept4", "", otherwise=EACCES),
    Row(
        "pairs, for asyncio; not of datagrams, which go to any name",
        "socketpair",
        when=(Condition(0, (_UNIX,)), Condition(1, (_STREAM,), _INT ^ _STREAM_MAY)),
        otherwise=EACCES,
    ),
    Row("receiving", "recvfrom recvmsg getsockname getpeername shutdown"),
    Row("sending", "sendto", when=(Condition(3, (0,), _SEND_NEVER), Condition(4, (0,), _LONG)), otherwise=EACCES),
    Row("a connected stream takes no name", "sendmsg", when=(Condition(2, (0,), _SEND_NEVER),), otherwise=EACCES),
    Row("not SO_PEERPIDFD", "getsockopt", when=(Condition(1, (_SOL_SOCKET,)), Condition(2, _GET_OPTIONS))),
    Row("not TCP_INFO", "getsockopt", when=(Condition(1, (_IPPROTO_TCP,)), Condition(2, _TCP_OPTIONS))),
    Row(
        "no filter, mark or device",
        "setsockopt",
        when=(Condition(1, (_SOL_SOCKET,)), Condition(2, _SET_OPTIONS)),
        network=True,
    ),
    Row(
        "not TCP_ULP, REPAIR, FASTOPEN",
        "setsockopt",
        when=(Condition(1, (_IPPROTO_TCP,)), Condition(2, _TCP_OPTIONS)),
        network=True,
    ),
    # Paths: the mount namespace or Landlock judges them, and at level C nothing does.
    Row("looking", "stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat", "ABL", (), EACCES),
    Row("where", "getcwd chdir fchdir statfs", "ABL", (), EACCES),
    Row("changing", "mkdir mkdirat rmdir unlink unlinkat rename renameat", "ABL", (), EACCES),
    Row("no device", "renameat2", "ABL", (Condition(4, (0,), _INT ^ _RENAME_MAY),), EACCES),
    Row("no set-user-id program", "creat", "ABL", (Condition(1, (0,), _SET_ID),), EACCES),
    Row("no set-user-id program", "open", "AB", (Condition(2, (0,), _SET_ID),), EACCES),
    Row("no set-user-id program", "openat", "AB", (Condition(3, (0,), _SET_ID),), EACCES),
    # Landlock lets a process do these to all files of its user: the last four always, to cut them before Linux 6.2.
    Row("cutting by name", "truncate", "AB", (), EACCES),
    Row("not cutting", "open", "L", (Condition(2, (0,), _SET_ID), Condition(1, (0,), _TRUNCATE)), EACCES),
    Row("or for writing", "open", "L", (Condition(2, (0,), _SET_ID), Condition(1, _WRITING, _ACCESS)), EACCES),
    Row("not cutting", "openat", "L", (Condition(3, (0,), _SET_ID), Condition(2, (0,), _TRUNCATE)), EACCES),
    Row("or for writing", "openat", "L", (Condition(3, (0,), _SET_ID), Condition(2, _WRITING, _ACCESS)), EACCES),
    Row("permissions, not set-user-id", "chmod fchmod", "AB", (Condition(1, (0,), _SET_ID),)),
    Row("permissions, not set-user-id", "fchmodat fchmodat2", "AB", (Condition(2, (0,), _SET_ID),)),
    Row("a file's times", "utime utimes futimesat utimensat", "AB"),
    Row("reading attributes", "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr", "AB"),
    # Refused to all, with an error that Python shows well.
    Row("no process", "fork vfork execve execveat", ""),
    Row(
        "no other process",
        "tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_send_signal pidfd_getfd ptrace",
        "",
    ),
    Row("no other memory", "process_vm_readv process_vm_writev process_madvise process_mrelease kcmp", ""),
    Row(
        "no limit lifted", "setrlimit setpriority sched_setaffinity sched_setscheduler sched_setparam sched_setattr", ""
    ),
    Row("no other priority, no pinned memory", "ioprio_set mlock mlock2 mlockall munlock munlockall", ""),
    Row("no memory that no limit counts", "memfd_create memfd_secret", ""),
    Row(
        "no other identity",
        "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset",
        "",
    ),
    Row("no other group", "setpgid setsid", ""),
    Row("no other namespace or root", "unshare setns chroot pivot_root mount umount2 open_tree move_mount", ""),
    Row("no file system", "fsopen fsconfig fsmount fspick mount_setattr", ""),
    Row("no name that leads elsewhere", "link linkat symlink symlinkat mknod mknodat open_by_handle_at", ""),
    Row(
        "no owner; no attributes, which no quota counts",
        "chown fchown lchown fchownat setxattr lsetxattr fsetxattr",
        "",
    ),
    Row("no attribute taken away", "removexattr lremovexattr fremovexattr", ""),
    Row("no wait for the whole SD card", "sync syncfs", ""),
    Row("no clock set", "settimeofday clock_settime clock_adjtime adjtimex", ""),
    Row("no hooks of the kernel", "bpf perf_event_open userfaultfd seccomp personality syslog", ""),
    Row("no keys", "keyctl add_key request_key", ""),
    Row("no machine", "reboot swapon swapoff sethostname setdomainname init_module finit_module", ""),
)
"""The policy, all of it."""


def policy(level: Level, *, network: bool, pid: int, writes: bool = True) -> dict[str, Rule]:
    """The rule of each call that the table names; any other one fails with ENOSYS.

    `network` says that the broker may pass connected sockets in; `pid` is the worker's own, as it sees it itself;
    `writes` that the script may write some file. Raises ValueError for a pid that kill(2) would take for a group.
    """
    if pid <= 0:
        raise ValueError(f"{pid} is no process")
    rules: dict[str, Rule] = {}
    for row in TABLE:
        allowed = level in row.levels and network >= row.network and not (writes and row.reader)
        for call in row.calls.split():
            before = rules.get(call, Rule((), row.otherwise))
            more = (tuple(_of(pid, condition) for condition in row.when),) if allowed else ()
            rules[call] = Rule(before.when + more, row.otherwise)
    return rules


def program(architecture: Architecture, level: Level, *, network: bool, pid: int, writes: bool = True) -> bytes:
    """The filter of `policy` for this machine, as `load` takes it."""
    rules = policy(level, network=network, pid=pid, writes=writes)
    unknown = bpf.verdict(bpf.ERROR | ENOSYS)
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
        raise OSError(ENOSYS, f"no filter for {os.uname().machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(filter_program, len(filter_program))
    given = _Program(len(filter_program) // 8, ctypes.cast(code, ctypes.c_void_p))
    zero = ctypes.c_ulong(0)
    number = ctypes.c_long(machine.numbers["seccomp"])
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(number, ctypes.c_ulong(_FILTER), ctypes.c_ulong(_ALL_THREADS), ctypes.byref(given))
    if result > 0:
        raise OSError(EBUSY, f"thread {result} has a filter of its own")
    if result < 0 and ctypes.get_errno() in (EPERM, ENOSYS):
        result = libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(given), zero, zero)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"no seccomp filter: {os.strerror(ctypes.get_errno())}")


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
