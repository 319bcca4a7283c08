"""The system calls: the right numbers and arguments, and errors that name the call."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from pathlib import Path

import pytest

from gateway.scripts.confine import kernel, landlock
from gateway.scripts.confine.numbers import ARCHITECTURES, native


class Libc:
    """Notes what it is asked for and answers with a number."""

    def __init__(self, answer: int = 0) -> None:
        self.answer = answer
        self.asked: list[tuple[int, ...]] = []

    def syscall(self, *words: object) -> int:
        self.asked.append(tuple(word.value for word in words if hasattr(word, "value")))
        return self.answer


@pytest.fixture
def libc(monkeypatch: pytest.MonkeyPatch) -> Libc:
    fake = Libc()
    monkeypatch.setattr(kernel, "_LIBC", fake)
    return fake


def number(name: str) -> int:
    machine = native()
    assert machine is not None
    return machine.numbers[name]


def test_every_call_that_is_made_has_a_number_on_both_machines() -> None:
    sources = "".join(Path(module.__file__ or "").read_text() for module in (kernel, landlock))
    names = set(re.findall(r'\bcall\("(\w+)"', sources))
    assert len(names) > 12
    for machine in ARCHITECTURES:
        assert names - set(machine.numbers) == set()


def test_a_failing_call_is_named() -> None:
    with pytest.raises(OSError, match=f"prctl: {os.strerror(errno.EINVAL)}") as raised:
        kernel.prctl(-1)
    assert raised.value.errno == errno.EINVAL


def test_a_call_without_a_number_is_unsupported() -> None:
    with pytest.raises(OSError, match="no_such_call") as raised:
        kernel.call("no_such_call")
    assert raised.value.errno == errno.ENOSYS


def test_nothing_is_called_on_an_unknown_machine(monkeypatch: pytest.MonkeyPatch, libc: Libc) -> None:
    monkeypatch.setattr(kernel, "native", lambda: None)
    with pytest.raises(OSError, match="unshare") as raised:
        kernel.unshare(kernel.NEW_USERS)
    assert raised.value.errno == errno.ENOSYS
    assert libc.asked == []


def test_prctl_has_zeros_for_what_is_left_out(libc: Libc) -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    assert libc.asked == [(number("prctl"), 38, 1, 0, 0, 0)]


def test_the_structures_have_the_sizes_of_the_kernel() -> None:
    sizes = [ctypes.sizeof(each) for each in (kernel._Attributes, kernel._Header)]
    assert sizes == [32, 8]


def test_a_tmpfs_gets_its_options_and_its_context_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    context = os.open("/dev/null", os.O_RDONLY)

    def call(name: str, *arguments: object) -> int:
        asked.append((name, *arguments))
        return context if name == "fsopen" else 77

    monkeypatch.setattr(kernel, "call", call)
    assert kernel.new_tmpfs(size=4096, mode="0700") == 77
    assert asked[0][:2] == ("fsopen", b"tmpfs")
    assert [step[3:5] for step in asked[1:3]] == [(b"size", b"4096"), (b"mode", b"0700")]
    assert asked[-1] == ("fsmount", context, 1, kernel.NO_SET_ID | kernel.NO_DEVICES | kernel.NO_PROGRAMS)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(context)


def test_a_place_is_opened_through_links_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    os.close(kernel.open_place(str(tmp_path / "link"), links=True))
    for path in ("link", "link/hostname"):
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            kernel.open_place(str(tmp_path / path), links=False)
    before = sorted(os.listdir("/proc/self/fd"))
    for path, said in (("/..", errno.EXDEV), (f"{tmp_path}/none", errno.ENOENT), ("/proc/self/cwd", errno.ELOOP)):
        with pytest.raises(OSError, match=os.strerror(said)):
            kernel.open_place(path, links=False)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_place_is_opened_from_a_directory_or_the_root(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/file").write_text("here")
    directory = os.open(tmp_path, os.O_PATH)
    for path, beneath in (("below/file", directory), (f"{tmp_path}/below//./file", None)):
        with open(kernel.open_plain(path, os.O_RDONLY, directory=beneath)) as file:
            assert file.read() == "here"
    for path, found in (("", tmp_path), (".", tmp_path), ("below", tmp_path / "below")):
        place = kernel.open_plain(path, os.O_PATH, directory=directory)
        assert os.path.samestat(os.fstat(place), found.stat())
        os.close(place)
    os.close(directory)


def test_capabilities_are_those_that_the_kernel_tells() -> None:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    told = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Cap")}
    assert kernel.capabilities() == tuple(int(told[name], 16) for name in ("CapEff", "CapPrm", "CapInh"))
