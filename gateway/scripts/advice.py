"""What the static check knows of modules, names and attributes: tables only.

None of this is a wall. A script that wants to walk from an allowed module to `os` can; what it cannot do with `os` is
the kernel's affair. The tables exist so that an honest mistake is told before the script runs, with what to do.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALWAYS = frozenset({"__future__", "abc", "collections.abc", "dataclasses", "enum", "gateway.scripts.api", "typing"})
"""Importable without being listed: words for a program's own shape, which reach nothing outside it. Everything that
computes, keeps time, formats or talks (math, datetime, json, ...) is listed in allowed_imports, where an operator sees
it."""

_PROCESS = "a script cannot start programs or processes"
_OUTPUT = "use api.set_output(name, value), with the name under outputs"
_DEVICE = "a script reaches no devices of the box; read api.get_concentration_data and its like instead"

NEVER = {
    "subprocess": _PROCESS,
    "multiprocessing": _PROCESS,
    "concurrent.futures.process": _PROCESS,
    "concurrent.futures.ProcessPoolExecutor": _PROCESS,
    "pty": _PROCESS,
    "pexpect": _PROCESS,
    "RPi": _OUTPUT,
    "gpiozero": _OUTPUT,
    "lgpio": _OUTPUT,
    "pigpio": _OUTPUT,
    "gpiod": _OUTPUT,
    "rpi_ws281x": _OUTPUT,
    "smbus": _DEVICE,
    "smbus2": _DEVICE,
    "spidev": _DEVICE,
    "alsaaudio": _DEVICE,
    "sounddevice": _DEVICE,
}
"""Modules that have no use in a script even when they are listed, and what to do instead."""

INSTEAD = {
    "importlib": "write import statements, and list their modules in allowed_imports",
    "imp": "write import statements, and list their modules in allowed_imports",
    "runpy": "write import statements, and list their modules in allowed_imports",
    "signal": "each call is ended at the action's timeout without it",
    "ctypes": "use a Python package for it, listed in allowed_imports",
    "cffi": "use a Python package for it, listed in allowed_imports",
    "pickle": "keep data with json",
    "shelve": "keep data with json",
    "__main__": "use the script's own names",
    "gateway": "import from gateway.scripts.api only",
}
"""What to do instead of listing a module that is not listed."""

NETWORK = _words(
    """aiohttp aiosmtplib asyncpg boto3 ftplib http.client httpx imaplib influxdb influxdb_client minio mysql nntplib
    paho paramiko pg8000 poplib psycopg psycopg2 pymongo pymysql redis requests serial_asyncio slack_sdk smtplib socket
    socketserver telegram telnetlib urllib.request urllib3 websocket websockets xmlrpc.client"""
)
"""Modules of no use without the network."""

BUILTINS = {
    "eval": ("eval runs text as code, which no check can read", "use json.loads or ast.literal_eval for data"),
    "exec": ("exec runs text as code, which no check can read", "write the code into the script"),
    "compile": ("compile makes code of text, which no check can read", "write the code into the script"),
    "input": ("nobody can answer input()", "take the value from python_config by api.get_node_parameter"),
    "breakpoint": ("there is no terminal for breakpoint()", "use api.log_message"),
}
"""Builtin functions that a script may call and hardly means to: what is said, and what to do."""

WALKS = _words(
    """__base__ __bases__ __builtins__ __closure__ __code__ __globals__ __loader__ __mro__ __spec__ __subclasses__
    ag_frame cr_frame f_back f_builtins f_globals f_locals gi_code gi_frame tb_frame"""
)
"""Attributes that lead out of a script into the interpreter."""

PROCESSES = {
    "os": _words(
        """execl execle execlp execlpe execv execve execvp execvpe fork forkpty kill killpg popen posix_spawn
        posix_spawnp spawnl spawnle spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe startfile system"""
    ),
    "asyncio": frozenset({"create_subprocess_exec", "create_subprocess_shell"}),
}
"""Functions that start programs or end processes, by module."""
