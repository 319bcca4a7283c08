"""What a script is told it may not do: in workers without walls, so that nothing but the guard can refuse."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from gateway.scripts.confine.confine import Plan
from gateway.scripts.guard import ActionPermissionError, Guard
from tests.unit.scripts.forked import PATH, PLAN, Worker

GIVEN = Plan("B", ("/usr",), (("/given/read.csv", False), ("/given/write", True)))


def told(body: str, plan: Plan = PLAN, **fields: Any) -> Any:
    """What `attempt()` of a script gives, or the text of the OSError or ImportError that it raises."""
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    script = f"def on_alert(alert):\n    try:\n{lines}\n    except (OSError, ImportError) as e:\n        return str(e)"
    with Worker(script, plan, **fields) as worker:
        return worker.call("on_alert", {})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("import os", "import of 'os' is not allowed: add it to allowed_imports (line 3)"),
        ("from os import getcwd", "import of 'os' is not allowed: add it to allowed_imports (line 3)"),
        ("exec('from os.path import *')", "import of 'os.path' is not allowed: add it to allowed_imports (line 1)"),
        ("exec('import os')", "import of 'os' is not allowed: add it to allowed_imports (line 1)"),
    ],
)
def test_an_import_that_is_not_listed_says_what_to_do(body: str, text: str) -> None:
    assert told(body) == text  # the static check only warns of what an except catches


@pytest.mark.parametrize("module", ["subprocess", "pickle"])
def test_a_module_that_is_of_no_use_says_what_is(module: str) -> None:
    text = told(f"exec('import {module}')")
    assert text.startswith(f"import of '{module}' is not allowed: ")
    assert "allowed_imports" not in text


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        ("import json.decoder\nreturn json.dumps(1)", ["json"]),
        ("from os import path\nreturn path.basename('/a/1')", ["os.path"]),
        ("from os.path import basename\nreturn basename('/a/1')", ["os.path"]),
        ("import os.path as p\nreturn p.basename('/a/1')", ["os.path"]),
        ("from urllib.parse import quote\nfrom urllib import parse\nreturn parse.quote('1')", ["urllib.parse"]),
        ("from email.mime.text import MIMEText\nreturn MIMEText('1').get_payload()", ["email.mime"]),
        ("from datetime import date\nreturn date(1, 1, 1).strftime('%d')[1]", ["datetime"]),
        ("from datetime import datetime\nreturn str(datetime.strptime('1', '%d').day)", ["datetime"]),
        ("import time\nreturn str(time.strptime('1', '%d').tm_mday)", ["time"]),
        ("from gateway.scripts import api as a\nreturn str(a.GatewayAPI is GatewayAPI and 1)", []),
    ],
)
def test_listed_modules_are_imported(body: str, allowed: list[str]) -> None:
    assert told(body, allowed_imports=allowed) == "1"


def test_the_parent_of_a_listed_module_is_not_given() -> None:
    body = "exec('import os.path', space := {})\nreturn sorted(n for n in dir(space['os']) if n[0] != '_')"
    assert told(body, allowed_imports=["os.path"]) == ["path"]


def test_listed_parts_of_one_package_add_up() -> None:
    imports = "import urllib.parse; import urllib.response; from urllib import error; import urllib.error as e"
    body = f"exec('{imports}', s := {{}})\nreturn sorted(n for n in dir(s['urllib']) if n[0] != '_')"
    listed = ["urllib.parse", "urllib.response", "urllib.error"]
    assert told(body, allowed_imports=listed) == ["error", "parse", "response"]


def test_a_part_that_is_not_there_is_an_import_error() -> None:
    assert "cannot import name 'nothing'" in told("from json import nothing", allowed_imports=["json"])


def test_libraries_import_what_they_need() -> None:
    assert told("import tempfile\nreturn 1", allowed_imports=["tempfile"]) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("open('/other/x')", 'no permission to read /other/x: list it under file_access: ["/other/x"]'),
        ("import io; io.open_code('/x')", 'no permission to read /x: list it under file_access: ["/x"]'),
        ("open('x', 'a')", 'no permission to write /x: list it under file_access: ["/x:rw"]'),
        ("open(b'/given/../x', 'rb')", 'no permission to read /x: list it under file_access: ["/x"]'),
        (
            "open('/given/read.csv', 'r+')",
            'no permission to write /given/read.csv: list it under file_access: ["/given/read.csv:rw"]',
        ),
        (
            "open('/given/writeable')",
            'no permission to read /given/writeable: list it under file_access: ["/given/writeable"]',
        ),
    ],
)
def test_a_file_that_is_not_listed_is_named(body: str, text: str) -> None:
    assert told(body, GIVEN, allowed_imports=["io"]) == text


@pytest.mark.parametrize("call", ["Path('/x').read_text()", "Path('/x').write_text('')", "Path('/x').open()"])
def test_a_path_is_as_good_as_open(call: str) -> None:
    assert told(f"from pathlib import Path\n{call}", allowed_imports=["pathlib"]).startswith("no permission to ")


def test_a_database_is_a_file_that_is_written() -> None:
    body = "import sqlite3\nsqlite3.connect(':memory:').close()\nsqlite3.connect('/given/read.csv')"
    assert told(body, GIVEN, allowed_imports=["sqlite3"]).startswith("no permission to write /given/read.csv")


def test_listed_files_are_left_to_the_kernel(tmp_path: Path) -> None:
    inside = tmp_path / "sub" / "x.txt"
    inside.parent.mkdir()
    plan = Plan("B", ("/usr",), ((str(tmp_path), True),))
    assert told(f"open('{inside}', 'w').write('abc')\nreturn open('{inside}').read()", plan) == "abc"
    assert told(f"open('{tmp_path}/absent')", plan).startswith("[Errno 2] No such file")


def test_files_that_libraries_open_are_left_to_the_kernel() -> None:
    body = "import netrc\nnetrc.netrc('/absent/netrc')"
    assert told(body, allowed_imports=["netrc"]).startswith("[Errno 2] No such file")


@pytest.mark.parametrize("call", ["socket().connect(('10.0.0.1', 80))", "getaddrinfo('h.example', 25)"])
def test_the_network_past_the_broker_is_refused(call: str) -> None:
    text = told(f"import _socket\n_socket.{call}", allowed_imports=["_socket"])
    assert text == 'network access is only through what is listed: network: ["host:port"]'


@pytest.mark.parametrize("call", ["system('true')", "fork()", "popen('true')", "execv('/bin/true', ['x'])"])
def test_no_process_is_started(call: str) -> None:
    assert told(f"import os\nos.{call}", allowed_imports=["os"]) == "no new processes: do the work in the script itself"


def test_a_library_is_loaded_only_where_ctypes_is_listed() -> None:
    load = "import ctypes\nreturn ctypes.CDLL('libc.so.6').getpid() > 0"
    assert told(load, allowed_imports=["ctypes"]) is True
    body = "import sys\nreturn sys.modules['ctypes'].CDLL('libc.so.6').getpid()"
    assert "no permission to load the library libc.so.6" in told(body, allowed_imports=["sys"])


def test_the_refusal_is_a_permission_error() -> None:
    error = ActionPermissionError("no")
    assert (str(error), error.errno, isinstance(error, PermissionError)) == ("no", errno.EACCES, True)


def test_without_checks_nothing_is_refused() -> None:
    body = "import os\nimport socket\nos.system('true')\nopen('/dev/null').close()\nreturn 'done'"
    assert told(body, checks=False) == "done"


GUARD = Guard(PATH, GIVEN, [])


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (FileNotFoundError(errno.ENOENT, "no", "/other/x"), 'under file_access: ["/other/x"]'),
        (
            PermissionError(errno.EACCES, "no", "/given/read.csv"),
            'it may only be read: list it under file_access: ["/given',
        ),
        (OSError(errno.EROFS, "no", b"/given/read.csv"), 'file_access: ["/given/read.csv:rw"]'),
        (PermissionError(errno.EACCES, "no"), 'network: ["host:port"]'),
        (PermissionError(errno.EPERM, "no"), "the kernel lets no script do this"),
        (ImportError("/opt/x.so: failed to map segment from shared object"), "level L only if it may write no file"),
        (OSError(errno.EDQUOT, "no", "/given/write/x"), "quota"),
        (ModuleNotFoundError("No module named 'pg'"), "venv_path"),
        (SystemExit(), "use return"),
        (MemoryError(), "max_memory_mb"),
    ],
)
def test_an_error_of_the_kernels_gets_a_hint(error: BaseException, hint: str) -> None:
    assert hint in GUARD.hint(error)


def test_where_nothing_can_be_loaded_any_more_the_hint_is_another() -> None:
    guard = Guard(PATH, Plan("C", ("/usr",)), ["wave"])
    assert "list it in allowed_imports by its full name" in guard.hint(ModuleNotFoundError("No module named 'wave'"))


def test_where_paths_are_refused_too_not_every_refusal_is_the_networks() -> None:
    guard = Guard(PATH, Plan("C", ("/usr",)), [])
    assert "no script do this" in guard.hint(PermissionError(errno.EACCES, "no"))
    script = "def on_alert(alert):\n    import socket\n    raise PermissionError(13, socket.__name__)"
    with Worker(script, Plan("C", ("/usr",)), checks=False) as worker:
        assert 'network: ["host:port"]' in worker.fault("on_alert", {}).hint


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no", "/given/read.csv"),
        FileNotFoundError(errno.ENOENT, "no", "/given/write/x"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        TimeoutError(),
        ActionPermissionError("it has one"),
        ValueError("no"),
    ],
)
def test_other_errors_get_none(error: BaseException) -> None:
    assert GUARD.hint(error) == ""


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("import socket\n    socket.gethostbyname('')\n    raise socket.gaierror(-3, 'x')", "network"),
        ("import os\n    raise PermissionError(1, os.fork.__name__)", "no new processes"),
        ("import mmap\n    raise PermissionError(1, mmap.__name__)", "leave out PROT_EXEC"),
    ],
)
def test_a_hint_of_where_it_went_wrong(body: str, hint: str) -> None:
    script = f"def on_alert(alert):\n    {body}"
    with Worker(script, checks=False) as worker:
        assert hint in worker.fault("on_alert", {}).hint
