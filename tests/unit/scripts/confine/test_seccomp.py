"""The filters of both machines at every level, run by a simulator: against the table, and at the edges of each rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from errno import EACCES, ENOSYS, ENOTTY, EPERM
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.scripts.confine import bpf
from gateway.scripts.confine.numbers import AARCH64, ARCHITECTURES, X86_64, Architecture, native
from gateway.scripts.confine.seccomp import TABLE, Level, Rule, policy, program
from tests.support.bpf import Filter

LEVELS: tuple[Level, ...] = get_args(Level)
PID = 4321
HIGH = 1 << 32
GENERIC = Path("/usr/include/asm-generic/unistd.h")


@cache
def loaded(machine: Architecture, level: Level, network: bool) -> Filter:
    """What the simulator makes of the program."""
    return Filter(program(machine, level, network=network, pid=PID))


def verdict(machine: Architecture, level: Level, network: bool, number: int, arguments: Sequence[int] = ()) -> int:
    """0 where the call is allowed, else the errno."""
    action = loaded(machine, level, network).run(number, machine.audit, arguments)
    assert action == bpf.ALLOW or action & ~0xFFFF == bpf.ERROR
    return 0 if action == bpf.ALLOW else action & 0xFFFF


def expected(rules: Mapping[str, Rule], call: str, arguments: Sequence[int]) -> int:
    """The same by the policy as it is written."""
    if call not in rules:
        return ENOSYS
    for conditions in rules[call].when:
        if all(arguments[each.argument] & each.mask in each.values for each in conditions):
            return 0
    return rules[call].otherwise


def header(path: Path) -> dict[str, int]:
    """The numbers that the kernel's header gives."""
    assert path.exists(), f"{path} is missing: apt install linux-libc-dev"
    numbers = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", path.read_text())
    return {{"fstatat": "newfstatat"}.get(name, name): int(number) for name, number in numbers}


def agree(machine: Architecture, known: Mapping[str, int]) -> None:
    both = machine.numbers.keys() & known.keys()
    assert len(both) > 300
    assert {name: machine.numbers[name] for name in both} == {name: known[name] for name in both}


def test_aarch64_numbers_are_the_generic_header() -> None:
    agree(AARCH64, header(GENERIC))


def test_numbers_of_this_machine_are_its_header() -> None:
    machine = native()
    assert machine is not None
    own = Path(f"/usr/include/{machine.name}-linux-gnu/asm/unistd_64.h")
    agree(machine, header(own if own.exists() else GENERIC))


def test_a_32_bit_process_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.maxsize", (1 << 31) - 1)
    assert native() is None


@pytest.mark.parametrize("machine", ARCHITECTURES, ids=lambda machine: machine.name)
def test_each_number_has_one_name(machine: Architecture) -> None:
    assert len(set(machine.numbers.values())) == len(machine.numbers)


def test_the_table_names_real_calls_and_gives_one_errno_for_each() -> None:
    known = X86_64.numbers.keys() | AARCH64.numbers.keys()
    errors: dict[str, int] = {}
    for row in TABLE:
        for call in row.calls.split():
            assert call in known
            assert errors.setdefault(call, row.otherwise) == row.otherwise


@pytest.mark.parametrize("pid", [0, -1, -PID])
def test_a_pid_that_means_many_is_refused(pid: int) -> None:
    with pytest.raises(ValueError, match=str(pid)):
        policy("B", network=False, pid=pid)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("machine", ARCHITECTURES, ids=lambda machine: machine.name)
def test_what_the_table_does_not_allow_fails_whatever_its_arguments(machine: Architecture, level: Level) -> None:
    rules = policy(level, network=True, pid=PID)
    names = {number: name for name, number in machine.numbers.items()}
    denied = 0
    for number in range(1024):
        call = names.get(number, "")
        rule = rules.get(call, Rule((), ENOSYS))
        if not rule.when:
            denied += 1
            for value in (0, 1, PID, 0xFFFFFFFF, HIGH - 1 + HIGH * 0xFFFFFFFF):
                assert verdict(machine, level, True, number, [value] * 6) == rule.otherwise, call
    assert denied > 700


@st.composite
def calls(draw: st.DrawFn) -> tuple[Architecture, Level, bool, str, int, list[int]]:
    """Calls near the edges: arguments that the policy asks for, with a bit flipped now and then, among random ones."""
    machine, level, network = draw(st.sampled_from(ARCHITECTURES)), draw(st.sampled_from(LEVELS)), draw(st.booleans())
    call = draw(st.sampled_from(sorted(machine.numbers)))
    arguments = draw(st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6))
    rule = policy(level, network=network, pid=PID).get(call)
    if rule and rule.when and draw(st.booleans()):
        for each in draw(st.sampled_from(rule.when)):
            arguments[each.argument] &= ~each.mask
            arguments[each.argument] |= draw(st.sampled_from(each.values))
    for argument, bit in draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 63)), max_size=1)):
        arguments[argument] ^= 1 << bit
    return machine, level, network, call, machine.numbers[call], arguments


@settings(max_examples=1000)
@given(calls())
def test_the_filter_is_the_policy(given_call: tuple[Architecture, Level, bool, str, int, list[int]]) -> None:
    machine, level, network, call, number, arguments = given_call
    rules = policy(level, network=network, pid=PID)
    assert verdict(machine, level, network, number, arguments) == expected(rules, call, arguments)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("machine", ARCHITECTURES, ids=lambda machine: machine.name)
def test_calls_of_another_machine_kill(machine: Architecture, level: Level) -> None:
    other = {X86_64: AARCH64, AARCH64: X86_64}[machine]
    filtered = loaded(machine, level, True)
    for audit in (other.audit, 0x40000003, 0x40000028, 0, machine.audit ^ 1):  # AUDIT_ARCH_I386, AUDIT_ARCH_ARM
        assert filtered.run(machine.numbers["getpid"], audit) == bpf.KILL
    for number in (0x40000000, 0x40000000 + machine.numbers["read"], 0x40000200, 0xFFFFFFFF):
        assert filtered.run(number, machine.audit) == (bpf.KILL if machine is X86_64 else bpf.ERROR | ENOSYS)


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("machine", ARCHITECTURES, ids=lambda machine: machine.name)
def test_a_program_is_short_and_quick(machine: Architecture, level: Level, network: bool) -> None:
    filtered = loaded(machine, level, network)
    assert len(filtered) <= 640
    for number in machine.numbers.values():
        steps = filtered.trace(number.to_bytes(4, "little") + machine.audit.to_bytes(4, "little") + bytes(56))[1]
        assert steps <= 50


# As numbers of the kernel's headers, not by the names that the policy has for them.
THREAD = 0x3D0F00  # what pthread_create gives
EDGES: list[tuple[str, tuple[int, ...], dict[str, int]]] = [
    # call, arguments, errno by level ("" for all; 0 is allowed)
    ("clone", (THREAD,), {"": 0}),
    ("clone", (THREAD | 7 * HIGH,), {"": 0}),  # the kernel takes the low half
    ("clone", (THREAD & ~0x10000,), {"": EPERM}),  # CLONE_THREAD
    ("clone", (THREAD & ~0x400,), {"": EPERM}),  # CLONE_FILES: descriptors beside the limit
    ("clone", (THREAD | 17,), {"": EPERM}),  # SIGCHLD
    ("clone", (0x01200011,), {"": EPERM}),  # fork
    ("clone", (0x4111,), {"": EPERM}),  # vfork
    *(("clone", (THREAD | 1 << bit,), {"": EPERM}) for bit in (7, 12, 13, 14, 15, 17, 23, 25, 26, 27, 28, 29, 30, 31)),
    ("clone3", (0, 0), {"": ENOSYS}),
    ("openat2", (0, 0, 0, 24), {"": ENOSYS}),
    ("kill", (PID, 15), {"": 0}),
    ("kill", (PID | 5 * HIGH, 15), {"": 0}),
    *(("kill", (pid, 0), {"": EPERM}) for pid in (0, 1, PID - 1, PID + 1, -PID, -1, PID | 1 << 16)),
    ("tgkill", (PID, 99999, 6), {"": 0}),
    ("tgkill", (1, PID, 6), {"": EPERM}),
    ("tkill", (PID, 9), {"": EPERM}),
    *((call, (pid,), {"": 0}) for call in ("getpgid", "getsid") for pid in (0, PID)),
    *((call, (pid,), {"": EPERM}) for call in ("getpgid", "getsid") for pid in (1, -PID)),
    ("prlimit64", (0, 7, 0, 1), {"": 0}),
    ("prlimit64", (PID, 7, 0, 1), {"": 0}),
    ("prlimit64", (PID - 1, 7, 0, 1), {"": EPERM}),
    ("prlimit64", (0, 7, 0xDEAD0000, 0), {"": EPERM}),
    ("prlimit64", (0, 7, 3 * HIGH, 0), {"": EPERM}),  # a pointer whose low half is 0
    *(("prctl", (option,), {"": 0}) for option in (3, 15, 16, 21, 39, 0x53564D41)),
    *(("prctl", (option,), {"": EPERM}) for option in (0, 1, 4, 8, 22, 23, 24, 28, 36, 38, 47, 59, 65, 0x59616D61)),
    *(("ioctl", (1, request), {"": 0}) for request in (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
    *(("ioctl", (1, request), {"": ENOTTY}) for request in (0x5412, 0x541C, 0x5452, 0x8901, 0x8912, 0x40049409)),
    ("ioctl", (1, 0x5401 | HIGH), {"": 0}),
    *(("fcntl", (1, command), {"": 0}) for command in (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)),
    *(("fcntl", (1, command), {"": EPERM}) for command in (8, 10, 15, 1024, 1026, 1031, 1033, 1036)),
    *(("futex", (0, 0x180 | operation), {"": 0}) for operation in (0, 1, 3, 4, 5, 9, 10)),
    *(("futex", (0, 0x80 | operation), {"": EPERM}) for operation in (2, 6, 7, 8, 11, 12, 13)),
    ("close_range", (3, 0xFFFFFFFF, 0), {"": 0}),
    ("close_range", (3, 0xFFFFFFFF, 4), {"": 0}),
    ("close_range", (3, 0xFFFFFFFF, 2), {"": EPERM}),
    ("mmap", (0, 4096, 3, 0x22), {"": 0}),  # READ|WRITE, PRIVATE|ANONYMOUS
    ("mmap", (0, 4096, 5, 0x2, 3), {"": 0, "L": EPERM, "C": EPERM}),  # READ|EXEC of a file
    ("mmap", (0, 4096, 5, 0x22), {"": EPERM}),
    ("mmap", (0, 4096, 7, 0x2, 3), {"": EPERM}),
    ("mmap", (0, 4096, 6, 0x22), {"": EPERM}),
    ("mmap", (0, 4096, 4, 0x2, 3), {"": 0, "L": EPERM, "C": EPERM}),
    ("mprotect", (0, 4096, 3), {"": 0}),
    ("mprotect", (0, 4096, 5), {"": EPERM}),
    ("mprotect", (0, 4096, 7), {"": EPERM}),
    ("socket", (1, 1, 0), {"": EACCES}),
    ("socket", (2, 1, 0), {"": EACCES}),
    ("socket", (16, 3, 0), {"": EACCES}),
    ("socketpair", (1, 1, 0), {"": 0}),
    ("socketpair", (1, 1 | 0x80000 | 0x800, 0), {"": 0}),
    ("socketpair", (1, 2, 0), {"": EACCES}),
    ("socketpair", (1, 5, 0), {"": EACCES}),
    ("socketpair", (1, 2 | 0x80000, 0), {"": EACCES}),
    ("socketpair", (30, 1, 0), {"": EACCES}),
    ("sendto", (3, 1, 1, 0x4000, 0, 0), {"": 0}),
    ("sendto", (3, 1, 1, 0, 0x7F000000, 16), {"": EACCES}),
    ("sendto", (3, 1, 1, 0, 9 * HIGH, 16), {"": EACCES}),
    ("sendto", (3, 1, 1, 0x20000000, 0, 0), {"": EACCES}),
    ("sendto", (3, 1, 1, 0x4001, 0, 0), {"": EACCES}),
    ("sendmsg", (3, 1, 0x4000), {"": 0}),
    ("sendmsg", (3, 1, 0x4001), {"": EACCES}),
    ("sendmsg", (3, 1, 0x20004000), {"": EACCES}),
    ("getsockopt", (3, 1, 3), {"": 0}),
    ("getsockopt", (3, 1, 77), {"": EPERM}),  # SO_PEERPIDFD
    ("getsockopt", (3, 6, 11), {"": EPERM}),  # TCP_INFO
    ("openat", (0, 0, 0x80000, 0o666), {"": 0, "C": EACCES}),
    ("openat", (0, 0, 0x41, 0o4777), {"": EACCES}),
    ("openat", (0, 0, 0x41, 0o2777), {"": EACCES}),
    ("openat", (0, 0, 0x200, 0), {"": 0, "L": EACCES, "C": EACCES}),  # O_TRUNC|O_RDONLY
    ("openat", (0, 0, 0x203, 0), {"": 0, "L": EACCES, "C": EACCES}),
    ("openat", (0, 0, 0x241, 0o666), {"": 0, "C": EACCES}),
    ("openat", (0, 0, 0x242, 0o666), {"": 0, "C": EACCES}),
    ("fchmod", (3, 0o644), {"": 0, "L": EPERM, "C": EPERM}),
    ("fchmod", (3, 0o4755), {"": EPERM}),
    ("fchmodat", (3, 0, 0o755), {"": 0, "L": EPERM, "C": EPERM}),
    ("fchmodat", (3, 0, 0o6755), {"": EPERM}),
    ("fchmodat2", (3, 0, 0o2755, 0x1000), {"": EPERM}),
    ("renameat2", (0, 0, 0, 0, 1), {"": 0, "C": EACCES}),
    ("renameat2", (0, 0, 0, 0, 4), {"": EACCES}),
    *(
        (call, (), {"": 0, "C": EACCES})
        for call in ("newfstatat", "statx", "faccessat", "readlinkat", "getcwd", "chdir")
    ),
    *((call, (), {"": 0, "C": EACCES}) for call in ("fchdir", "mkdirat", "unlinkat", "statfs")),
    *((call, (), {"": 0, "L": EPERM, "C": EPERM}) for call in ("utimensat", "getxattr", "flistxattr")),
    ("truncate", (), {"": 0, "L": EACCES, "C": EACCES}),
]
OLD_EDGES: list[tuple[str, tuple[int, ...], dict[str, int]]] = [
    ("open", (0, 0x41, 0o4755), {"": EACCES}),
    ("open", (0, 0, 0), {"": 0, "C": EACCES}),
    ("open", (0, 0x200, 0), {"": 0, "L": EACCES, "C": EACCES}),
    ("open", (0, 0x241, 0o600), {"": 0, "C": EACCES}),
    ("open", (0, 0x242, 0o600), {"": 0, "C": EACCES}),
    ("creat", (0, 0o600), {"": 0, "C": EACCES}),
    ("creat", (0, 0o2600), {"": EACCES}),
    ("chmod", (0, 0o644), {"": 0, "L": EPERM, "C": EPERM}),
    ("chmod", (0, 0o4644), {"": EPERM}),
    *(
        (call, (), {"": 0, "C": EACCES})
        for call in ("stat", "lstat", "access", "readlink", "mkdir", "unlink", "rename")
    ),
    *((call, (), {"": 0, "L": EPERM, "C": EPERM}) for call in ("utime", "utimes", "futimesat")),
    *((call, (), {"": EPERM}) for call in ("fork", "vfork")),
    *((call, (), {"": ENOSYS}) for call in ("arch_prctl", "modify_ldt", "uselib", "iopl")),
]
WIDE = 0xDEADBEEF * HIGH
"""Bits above an int, which the kernel does not read."""


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("machine", "edges"), [(X86_64, EDGES + OLD_EDGES), (AARCH64, EDGES)], ids=["x86_64", "aarch64"]
)
def test_edges(
    machine: Architecture, edges: list[tuple[str, tuple[int, ...], dict[str, int]]], level: Level, network: bool
) -> None:
    found = {
        (call, arguments): verdict(machine, level, network, machine.numbers[call], arguments)
        for call, arguments, _ in edges
    }
    assert found == {(call, arguments): by_level.get(level, by_level[""]) for call, arguments, by_level in edges}


@pytest.mark.parametrize("machine", ARCHITECTURES, ids=lambda machine: machine.name)
def test_a_script_that_writes_no_file_loads_native_packages_without_mounts_too(machine: Architecture) -> None:
    number = machine.numbers["mmap"]
    for level, allowed in (("A", True), ("B", True), ("L", True), ("C", False)):
        filtered = Filter(program(machine, level, network=False, pid=PID, writes=False))
        for arguments, code in (
            ((0, 4096, 5, 0x2, 3), allowed),
            ((0, 4096, 7, 0x2, 3), False),
            ((0, 8, 5, 0x22), False),
        ):
            assert (filtered.run(number, machine.audit, arguments) == bpf.ALLOW) is code, (level, arguments)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("machine", ARCHITECTURES, ids=lambda machine: machine.name)
def test_options_of_sockets_are_set_where_there_is_network(machine: Architecture, level: Level) -> None:
    reading, setting = machine.numbers["getsockopt"], machine.numbers["setsockopt"]
    settable = {1: {2, 7, 8, 9, 13, 20, 21, 66, 67}, 6: {1, 3, 4, 5, 6, 12, 18}}
    readable = {1: settable[1] | {3, 4, 6, 30, 38, 39}, 6: settable[6]}
    for domain in (0, 1, 6, 17, 41, 255, 282, 284):  # IP, SOL_SOCKET, TCP, UDP, IPV6, RAW, TLS, MPTCP
        for option in range(100):
            arguments = (3, domain | WIDE, option | WIDE)
            read, settled = option in readable.get(domain, ()), option in settable.get(domain, ())
            assert verdict(machine, level, False, reading, arguments) == (0 if read else EPERM)
            assert verdict(machine, level, False, setting, arguments) == EPERM
            assert verdict(machine, level, True, setting, arguments) == (0 if settled else EPERM)


NEVER = """
    accept accept4 acct add_key adjtimex arch_prctl bind bpf chown chroot clock_adjtime clock_settime clone3 connect
    copy_file_range create_module delete_module execve execveat fanotify_init fanotify_mark fchown fchownat finit_module
    fork fremovexattr fsconfig fsetxattr fsmount fsopen fspick futex_requeue futex_wait futex_waitv get_robust_list
    init_module inotify_add_watch inotify_init inotify_init1 io_cancel io_setup io_submit io_uring_enter
    io_uring_register io_uring_setup ioperm iopl ioprio_set kcmp kexec_file_load kexec_load keyctl
    landlock_restrict_self lchown link linkat listen listns lookup_dcookie lsetxattr mbind memfd_create memfd_secret
    migrate_pages mincore mknod mknodat mlock mlock2 mlockall modify_ldt mount mount_setattr move_mount move_pages
    mq_notify mq_open mq_unlink msgctl msgget msgrcv msgsnd name_to_handle_at nfsservctl open_by_handle_at open_tree
    openat2 perf_event_open personality pidfd_getfd pidfd_open pidfd_send_signal pivot_root pkey_mprotect
    process_madvise process_mrelease process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot recvmmsg
    remap_file_pages removexattr request_key rt_sigqueueinfo rt_tgsigqueueinfo sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler seccomp semctl semget semop sendmmsg set_mempolicy setdomainname setfsgid setfsuid
    setgid setgroups sethostname setns setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid
    settimeofday setuid setxattr setxattrat shmat shmctl shmdt shmget signalfd signalfd4 socket splice swapoff swapon
    symlink symlinkat sync syncfs sysfs syslog tee timer_create tkill umount2 unshare uselib userfaultfd ustat vfork
    vhangup vmsplice
"""
PATHS = """
    access chdir chmod creat faccessat faccessat2 fchdir fchmod fchmodat fchmodat2 fgetxattr flistxattr futimesat getcwd
    getxattr getxattrat lgetxattr listxattr listxattrat llistxattr lstat mkdir mkdirat newfstatat open open_tree_attr
    openat readlink readlinkat rename renameat renameat2 rmdir stat statfs statmount statx truncate unlink unlinkat
    utime utimensat utimes file_getattr file_setattr inotify_add_watch
"""


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_never_allowed(level: Level) -> None:
    rules = policy(level, network=True, pid=PID)
    never = NEVER.split() + (PATHS.split() if level == "C" else [])
    assert not set(never) - X86_64.numbers.keys() - AARCH64.numbers.keys()
    assert [call for call in never if call in rules and rules[call].when] == []
