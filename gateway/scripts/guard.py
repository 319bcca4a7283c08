"""What tells a script early and in words what it may not do: its imports, an audit hook, and hints behind errors.

None of it is a wall. The walls are the kernel's (gateway/scripts/confine), and they stand whether this is on or off; a
script that wants to get around it can, and meets them. So only what the script itself does is judged: its own imports,
not those of the libraries that it uses; files that it opens, not those that a library does.
"""

from __future__ import annotations

import builtins
import errno
import os
import socket
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from types import FrameType, ModuleType
from typing import Any

from gateway.scripts import advice, errors
from gateway.scripts.confine.confine import Plan
from gateway.scripts.confine.namespaces import DEVICES
from gateway.scripts.policy import allows

_PROCESSES = (
    *("subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system"),
    *("os.startfile", "pty.spawn"),
)
_NETWORKS = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind")
"""Python's own sockets, which are changed to go to the broker (outside.py), say none of these."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_OPENERS = frozenset({"pathlib", "tempfile", "codecs", "tokenize", "io", "_pyio"})
"""Modules that open what their caller names."""

_NO_NETWORK = 'network access is only through what is listed: network: ["host:port"]'
_NO_PROCESS = "no new processes: do the work in the script itself"
_INSTALL = "correct the name, or install it into the environment that venv_path names"
_NO_DATABASE = (
    "isolation level C, all that this machine has, gives SQLite no files: keep the database on a server, or write the "
    "rows with open()"
)
_NO_CODE = "what a script maps it may read and write, not execute: leave out PROT_EXEC"
_REFUSED = "the kernel lets no script do this, and no option allows it"
_NATIVE = (
    "native packages load only from where the script cannot write; at isolation level L only if it may write no file"
)
_SEALED = "list it in allowed_imports by its full name: here modules are loaded before the worker is sealed (level C)"
_STARTERS = frozenset(
    {"fork", "forkpty", "system", "popen", "posix_spawn", "posix_spawnp"}
    | {f"{verb}{how}" for verb in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")}
)


class ActionPermissionError(PermissionError):
    """A script did what its node's configuration does not allow. The text names what, and the option."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.errno = errno.EACCES


class Guard:
    """The guard of one script; `path` is what its frames call the file, `plan` what the kernel lets it reach."""

    def __init__(self, path: str, plan: Plan, allowed_imports: Collection[str]) -> None:
        self._path = path
        scratch = (("/tmp", True),) if plan.level in ("A", "B") and plan.scratch_bytes else ()
        self._files = (*plan.files, *scratch, *((device, True) for device in DEVICES))
        self._readonly = plan.readonly
        self._level = plan.level
        self._allowed = frozenset(filter(None, allowed_imports)) | advice.ALWAYS
        self._parts: dict[str, ModuleType] = {}

    def builtins(self) -> dict[str, Any]:
        """The builtins of the script: all, with an import that knows the list. Its libraries have their own."""
        return {**vars(builtins), "__import__": self._import}

    def watch(self) -> None:
        """From now on, refuse what the script opens, connects to or starts. It cannot be taken back."""
        refusals: Mapping[str, Callable[..., None]] = {
            "open": self._opened,
            "sqlite3.connect": self._database,
            "ctypes.dlopen": self._library,
            **dict.fromkeys(_NETWORKS, _connected),
            **dict.fromkeys(_PROCESSES, _started),
        }

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            refuse = refusals.get(event)
            if refuse is not None:
                refuse(*arguments)

        sys.addaudithook(hook)

    def _import(
        self,
        name: str,
        namespace: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`__import__`. Raises ImportError for what is not in the list.

        C code imports with a list, empty, where the script's own statements bring None or a tuple: strftime its `time`,
        strptime its `_strptime`. That is the library's business.
        """
        if type(fromlist) is list and not fromlist:
            return builtins.__import__(name, namespace, local, fromlist, level)
        parts = tuple(fromlist or ())
        wanted = [f"{name}.{part}" for part in parts] or [name]
        if level == 0 and not all(allows(self._allowed, module) for module in wanted):
            raise ImportError(_refusal(name, sys._getframe(1).f_lineno), name=name)
        module = builtins.__import__(name, namespace, local, parts, level)
        if level or allows(self._allowed, name if parts else name.partition(".")[0]):
            return module
        return self._parts_of(name, module, parts) if parts else self._way_to(name)

    def _parts_of(self, name: str, module: ModuleType, parts: Sequence[str]) -> ModuleType:
        """A module with these parts only, and those that were imported of it before."""
        shim = self._parts.setdefault(name, ModuleType(name))
        for part in parts:
            if hasattr(module, part):
                setattr(shim, part, getattr(module, part))
        return shim

    def _way_to(self, name: str) -> ModuleType:
        """The topmost package of a module, with nothing in it but the way there."""
        module = sys.modules[name]
        while "." in name:
            name, _, part = name.rpartition(".")
            around = sys.modules[name]
            if not allows(self._allowed, name):
                around = self._parts.setdefault(name, ModuleType(name))
                setattr(around, part, module)
            module = around
        return module

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, str | bytes) or not self._asked(_OPENERS):
            return
        writing = bool(flags & _WRITING) if isinstance(flags, int) else any(mark in str(mode) for mark in "wax+")
        self._judge(_absolute(path), writing)

    def _database(self, path: Any) -> None:
        named = isinstance(path, str) and path not in ("", ":memory:") and not path.startswith("file:")
        if named and self._asked(frozenset({"sqlite3"})):
            if self._level == "C":
                raise ActionPermissionError(_NO_DATABASE)
            self._judge(_absolute(path), writing=True)

    def _judge(self, file: str, writing: bool) -> None:
        if not self._covers(file, writing) and not self._covers(os.path.realpath(file), writing):
            verb, entry = ("write", f"{file}:rw") if writing else ("read", file)
            raise ActionPermissionError(f'no permission to {verb} {file}: list it under file_access: ["{entry}"]')

    def _covers(self, file: str, writing: bool) -> bool:
        """Whether the file may be opened."""
        given = any(_under(file, tree) for tree, writable in self._files if writable or not writing)
        return given or (not writing and any(_under(file, tree) for tree in (*self._readonly, *sys.path)))

    def _library(self, name: Any) -> None:
        if name and not allows(self._allowed, "ctypes") and self._asked(frozenset({"ctypes"})):
            raise ActionPermissionError(f"no permission to load the library {name}: {advice.INSTEAD['ctypes']}")

    def _asked(self, between: frozenset[str]) -> bool:
        """Whether it is the script that does what is done now, by itself or through one of these modules."""
        frame: FrameType | None = sys._getframe(3)
        while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in between:
            frame = frame.f_back
        return frame is not None and frame.f_code.co_filename == self._path

    def hint(self, exception: BaseException) -> str:
        """What to do about an exception of the script's, if it is one of those that a missing permission makes."""
        match exception:
            case ActionPermissionError():
                return ""
            case MemoryError():
                return "keep less in memory, or raise max_memory_mb"
            case RecursionError():
                return "a function calls itself without end, or lists and dicts stand too deep in one another"
            case SystemExit():
                return "a script is not ended by exit(): use return"
            case ModuleNotFoundError():
                return _SEALED if self._level == "C" else _INSTALL
            case ImportError() if "failed to map segment" in str(exception):
                return _NATIVE
            case OSError():
                return self._denied(exception)
        return ""

    def _denied(self, error: OSError) -> str:
        said, through = str(error), errors.modules(error)
        if "file_access" in said or "network" in said:
            return ""  # the broker has told it
        if error.errno == errno.EFBIG or error.errno == errno.EDQUOT or error.errno == errno.ENOSPC:
            return "the action's disk quota is used up: delete or shorten its files"
        if isinstance(error, socket.gaierror) or ("socket" in through and error.errno in _CLOSED):
            return _NO_NETWORK
        unnamed = error.filename is None
        if through & {"subprocess", "multiprocessing.process", "pty"} or (unnamed and _names(error) & _STARTERS):
            return _NO_PROCESS
        if isinstance(error.filename, str | bytes) and error.errno in (*_CLOSED, errno.ENOENT, errno.EROFS):
            return self._file(_absolute(error.filename), error.errno != errno.ENOENT)
        if unnamed and error.errno == errno.EPERM:  # the filter has EACCES for sockets, EPERM for all else
            return _NO_CODE if "mmap" in _names(error) else _REFUSED
        if unnamed and error.errno == errno.EACCES:  # at level C also for what takes a path
            return _NO_NETWORK if self._level != "C" or _names(error) & {"socket", "_socket"} else _REFUSED
        return ""

    def _file(self, file: str, closed: bool) -> str:
        if not self._covers(file, writing=False):
            return f'list the file under file_access: ["{file}"], or with ":rw" to write it'
        if closed and not self._covers(file, writing=True):
            return f'it may only be read: list it under file_access: ["{file}:rw"]'
        return f"scripts run as user {os.getuid()}: let that user own the file and its directory" if closed else ""


_CLOSED = (errno.EACCES, errno.EPERM)


def _refusal(module: str, line: int) -> str:
    top = module.partition(".")[0]
    never = next((why for name, why in advice.NEVER.items() if allows((name,), module)), None)
    remedy = never or advice.INSTEAD.get(top, "add it to allowed_imports")
    return f"import of '{module}' is not allowed: {remedy} (line {line})"


def _connected(*arguments: Any) -> None:
    raise ActionPermissionError(_NO_NETWORK)


def _started(*arguments: Any) -> None:
    raise ActionPermissionError(_NO_PROCESS)


def _names(error: OSError) -> frozenset[str]:
    """The names in the function whose line failed."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return frozenset() if traceback is None else frozenset(traceback.tb_frame.f_code.co_names)


def _absolute(path: str | bytes) -> str:
    """The path from the root: a worker's directory is /."""
    return os.path.normpath(os.path.join("/", os.fsdecode(path)))  # noqa: PTH118


def _under(path: str, tree: str) -> bool:
    return bool(tree) and (path == tree or path.startswith(tree.rstrip("/") + "/"))
