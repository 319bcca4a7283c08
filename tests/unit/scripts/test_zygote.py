"""What a zygote loads; its life is in tests/real/test_scripts.py."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.scripts import zygote
from gateway.scripts.confine.confine import Plan
from gateway.scripts.control import Spawn
from gateway.scripts.zygote import COMMON, Zygote


@pytest.fixture
def found() -> Iterator[Zygote]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield Zygote(theirs)


def test_only_the_standard_library_is_loaded(
    found: Zygote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "customers.py").write_text("print('outside of the walls')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert found._load(["customers", "antigravity", "this", "no_such_module", "colorsys"])
    assert {"customers", "antigravity", "this"} & set(sys.modules) == set()
    assert "colorsys" in sys.modules
    assert capsys.readouterr().out == ""
    assert not found._load(["colorsys"])


def test_what_is_common_can_be_loaded() -> None:
    assert all(zygote._imported(name) for name in COMMON)


def test_a_second_thread_is_noticed() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(OSError, match="has started"):
            zygote.one_thread()
    finally:
        done.set()
        thread.join()


def test_a_worker_that_its_control_group_does_not_take_in_is_ended(found: Zygote, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
    said = zygote.admitted(Spawn(1, Plan("C", ()), [], [], str(tmp_path / "gone")), child)
    assert said == "its control group does not take it in: No such file or directory"
    with pytest.raises(ChildProcessError):
        os.waitpid(child, 0)


def test_a_worker_that_has_ended_by_itself_is_not_said_to_be_refused(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max")
    child = os.fork()
    if child == 0:
        os._exit(7)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert zygote.admitted(Spawn(1, Plan("C", ()), [], [], str(tmp_path)), child) == ""
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_it_ends_when_the_gateway_hangs_up() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.close()
        Zygote(theirs).serve()
