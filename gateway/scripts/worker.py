"""A worker's own work, from behind its walls: load one script, then call it as often as the gateway asks.

    Sealed    <- Load    Checked...    Loaded or Failed    (News, Call -> Result or Fault, Idle)...    Stop

One thread, the main one, reads the channel and calls; other threads are the script's, and may only tell. What the
script raises, SystemExit and the like included, becomes a Fault. What it does to the interpreter around it may end the
worker: the gateway sees the end of the channel, or no answer before the deadline, and starts another one. So nothing
here defends itself further than it takes to tell honest mistakes well.

The result's encoding, the exception's text and all that dies with the call belong to the call: the answer leaves last.
"""

from __future__ import annotations

import asyncio
import codecs
import gc
import json
import linecache
import os
import sys
import threading
import time  # noqa: TID251  -- what a call takes is measured where it runs; there is no Clock behind the walls
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict
from inspect import signature
from pathlib import PurePosixPath
from types import CoroutineType, ModuleType
from typing import Any

from gateway.scripts import api, errors, outside, policy, rates, wire
from gateway.scripts.confine.confine import Plan, Report
from gateway.scripts.guard import Guard
from gateway.scripts.messages import (
    FROM_GATEWAY_LIMIT,
    LONGEST_VALUE,
    Call,
    Checked,
    Failed,
    Fault,
    FromGateway,
    Idle,
    Load,
    Loaded,
    Log,
    News,
    Notify,
    Output,
    Plain,
    Record,
    Result,
    Sealed,
    escaped,
)
from gateway.scripts.messages import FromWorker as Answer

NO_MEMORY = 72
"""The exit status of a worker that has not even the memory to say so."""
RECURSION = 1000
RESERVE = 1 << 20
"""Bytes kept for telling of a MemoryError."""
_CHUNK = 64 * 1024
_FINDINGS = 20
_CLASS_HOOKS = ("on_trigger", "on_update", "get_status", "shutdown")
_MODULE_HOOKS = ("on_measurement", "on_alert", "get_status", "shutdown")

Hook = Callable[..., Any]

for _codec in ("utf-8-sig", "unicode_escape", "idna", "latin-1", "ascii"):
    codecs.lookup(_codec)  # which imports it; behind the walls of level C nothing can be


def serve(rpc_fd: int, broker_fd: int, report: Report, plan: Plan) -> None:
    """Be a worker on the channel `rpc_fd` until Stop, the end of the channel, or a script that cannot be loaded.

    The script's connections come over `broker_fd`. `report` says which walls stand, `plan` what they leave open, for
    the wording of errors. Standard output and error go out line by line. Who calls this ends the process after it by
    os._exit: the script may have left threads and exit handlers. Raises wire.Violation if the gateway says what it
    never says.
    """
    gc.enable()
    sys.stdout, sys.stderr = _lines(1), _lines(2)
    outside.install(broker_fd, plan.level)
    channel = Channel(rpc_fd)
    try:
        channel.send(Sealed(asdict(report)))
        load = channel.receive()
        if isinstance(load, Load):
            runner = _loaded(channel, load, plan)
            if runner is not None:
                runner.run()
    except (BrokenPipeError, ConnectionResetError):
        return  # the gateway is gone
    except MemoryError:  # the script has taken all for good
        os._exit(NO_MEMORY)


class Channel:
    """The worker's end of the channel. `send` may be called from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._receiver: wire.Receiver[FromGateway] = wire.Receiver(FromGateway, FROM_GATEWAY_LIMIT, trusted=True)
        self._received: list[FromGateway] = []
        self._buffer = memoryview(bytearray(_CHUNK))  # kept, so that a script without memory can be called and told so
        self._lock = threading.RLock()

    def receive(self) -> FromGateway | None:
        """The next message, waited for; None at the end of the channel."""
        while not self._received:
            length = os.readv(self._fd, [self._buffer])
            if not length:
                return None
            self._received = self._receiver.feed(bytes(self._buffer[:length]))[::-1]
        return self._received.pop()

    def send(self, *messages: Answer) -> None:
        """Send them as one piece. Raises BrokenPipeError when the gateway is gone, wire.Unfit for what is too long."""
        data = memoryview(b"".join(map(wire.frame, messages)))
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]


class Voice:
    """How the API's writing calls become messages. Whether a rate is kept is the gateway's to judge; this foretells it,
    so that the script gets an answer.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._notifications = rates.Bucket(rates.NOTIFICATIONS)
        self._outputs = rates.Bucket(rates.OUTPUTS)

    def tell(self, what: str, how: Any, said: Any) -> bool:
        """See api.Tell."""
        now_ns = time.monotonic_ns()
        if what == "log":
            self._channel.send(Log(how, _text(said)))
            return True
        if what == "notification":
            if not self._notifications.take(now_ns):
                return False
            self._channel.send(Notify(_text(said), how))
            return True
        if not self._outputs.take(now_ns):
            return False
        value = escaped(str.__str__(said), errors.LONGEST_NAME) if isinstance(said, str) else _number(said)
        self._channel.send(Output(escaped(str.__str__(how), errors.LONGEST_NAME), value))
        return True


class Script:
    """A script that is loaded and initialised: what of it can be called, and how its faults are told."""

    def __init__(self, load: Load, guard: Guard, given: api.GatewayAPI) -> None:
        self._load = load
        self._guard = guard
        self._api = given
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reserve = bytearray(RESERVE)
        self.source = errors.Source(load.path, load.source)
        self.hooks: dict[str, Hook] = {}

    def start(self) -> None:
        """Run the script from its first to its last line, and initialise it. Raises what it raises."""
        module = self._module()
        lines = [f"{line}\n" for line in self.source.lines]
        linecache.cache[self._load.path] = (len(self._load.source), None, lines, self._load.path)
        exec(compile(self._load.source, self._load.path, "exec", dont_inherit=True), vars(module))
        if self._load.style == "class":
            self._start_class(module)
        else:
            self._start_module(module)

    def call(self, hook: str, given: list[Any]) -> Plain:
        """Call a hook; what it returns, as plain data. Raises what it raises, and wire.Unfit."""
        function = self.hooks[hook]
        try:
            value = self._finished(function(*given))
        finally:
            sys.setrecursionlimit(RECURSION)
            sys.settrace(None)
            sys.setprofile(None)
        name = hook if self._load.style == "class" else getattr(self._load.functions, hook)
        return _status(value, name) if hook == "get_status" else wire.plain(value, f"{name} returned")

    def record(self, exception: BaseException, hook: str = "") -> Record:
        """The Record of an exception that came out of `start` or `call`; `replenish` when it is gone."""
        self._reserve = bytearray()
        line = errors.first_line(self.hooks.get(hook))
        if type(exception) is wire.Unfit:
            return Record("ValueError", escaped(str(exception)), line, escaped(self._load.path))
        return errors.describe(exception, self.source, self._guard.hint, line)

    def replenish(self) -> None:
        """Reserve memory for the next Record again, if there is any."""
        try:
            gc.collect()
            self._reserve = bytearray(RESERVE)
        except MemoryError:
            return

    def _module(self) -> ModuleType:
        """The script's module, known to sys.modules, where dataclasses look for it."""
        module = ModuleType(errors.SCRIPT + PurePosixPath(self._load.path).stem)
        sys.modules[module.__name__] = module
        vars(module).update(
            __file__=self._load.path,
            CustomPythonAction=api.CustomPythonAction,
            GatewayAPI=api.GatewayAPI,
            RustPhotoacousticAPI=api.GatewayAPI,
            api=self._api,
        )
        if self._load.checks:
            vars(module)["__builtins__"] = self._guard.builtins()
        return module

    def _start_class(self, module: ModuleType) -> None:
        name = self._load.class_name
        kind = vars(module).get(name)
        if not isinstance(kind, type):
            raise LookupError(f"{module.__file__} has no class '{name}': define it, or correct python_class_name")
        action = kind(self._api)
        for hook in _CLASS_HOOKS:
            inherited = getattr(kind, hook, None) is getattr(api.CustomPythonAction, hook, None)
            function = None if inherited else getattr(action, hook, None)
            if callable(function):
                self.hooks[hook] = function

    def _start_module(self, module: ModuleType) -> None:
        names = self._load.functions
        found = {hook: vars(module).get(getattr(names, hook)) for hook in _MODULE_HOOKS}
        self.hooks = {hook: function for hook, function in found.items() if callable(function)}
        initialize = vars(module).get(names.initialize)
        if callable(initialize):
            config = self._api.get_node_config()
            self._finished(initialize(config) if _takes(initialize, config) else initialize())

    def _finished(self, value: Any) -> Any:
        """What a hook returned, or what its coroutine returns; the event loop lives from call to call."""
        if type(value) is not CoroutineType:
            return value
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        coroutine: Coroutine[Any, Any, Any] = value
        return self._loop.run_until_complete(coroutine)


class Runner:
    """Calls a loaded script for as long as the gateway asks."""

    def __init__(self, channel: Channel, script: Script, readings: api.Readings) -> None:
        self._channel = channel
        self._script = script
        self._readings = readings

    def run(self) -> None:
        """Serve until Stop or the end of the channel."""
        while True:
            match self._channel.receive():
                case News(entries, statistics):
                    self._readings.take(entries, statistics)
                case Call() as call:
                    self._channel.send(self._answer(call), Idle(call.id))
                case _:
                    return

    def _answer(self, call: Call) -> Result | Fault:
        """Make the call. When this returns all that the call left is gone, but for what the script keeps."""
        begun_ns = time.process_time_ns()
        record = None
        try:
            value = self._script.call(call.hook, call.args)
        except BaseException as exception:
            record = self._script.record(exception, call.hook)
        call.args.clear()
        _flush()
        if record is None:
            return Result(call.id, value, time.process_time_ns() - begun_ns)
        self._script.replenish()
        return Fault(call.id, record)


def _loaded(channel: Channel, load: Load, plan: Plan) -> Runner | None:
    """Check and start the script, and tell what became of it; None if it is not to be run."""
    begun = time.monotonic()
    guard = Guard(load.path, plan, load.allowed_imports)
    readings = api.Readings(load.history_capacity)
    given = api.GatewayAPI(
        load.config,
        load.parameters,
        monitored=load.monitored,
        outputs=load.outputs,
        readings=readings,
        tell=Voice(channel).tell,
    )
    if load.checks:
        refused = _checked(channel, load, plan)
        if refused is not None:
            channel.send(Failed(refused))
            return None
        guard.watch()
    script = Script(load, guard, given)
    wrong = None
    try:
        script.start()
    except BaseException as exception:
        wrong = script.record(exception)
    _flush()
    if wrong is not None:
        channel.send(Failed(wrong))
        return None
    runner = Runner(channel, script, readings)
    channel.send(Loaded(list(script.hooks), time.monotonic() - begun))
    return runner


def _checked(channel: Channel, load: Load, plan: Plan) -> Record | None:
    """Tell what the static check finds; a Record of all errors if there are any."""
    found = policy.check(
        load.source,
        PurePosixPath(load.path).name,
        load.allowed_imports,
        load.style,
        load.class_name,
        load.functions,
        network=plan.network,
        files=bool(plan.files),
    )
    for start in range(0, len(found), _FINDINGS):
        channel.send(Checked(list(found[start : start + _FINDINGS])))
    wrong = [finding for finding in found if finding.severity == "error"]
    if not wrong:
        return None
    return Record("check", escaped("; ".join(map(str, wrong))), wrong[0].line, escaped(load.path))


def _takes(function: Hook, config: dict[str, Any]) -> bool:
    """Whether `function(config)` fits its signature. What has none is called with it."""
    try:
        signature(function).bind(config)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _status(value: Any, name: str) -> Plain:
    """What get_status returned as a dict. Raises wire.Unfit for what is none, and no JSON of one."""
    kind = errors.kind(type(value))
    if type(value) is str and len(value) <= LONGEST_VALUE:
        try:
            value = json.loads(value)
        except ValueError as fault:
            raise wire.Unfit(f"{name} returned a str that is no JSON ({fault}): return a dict") from None
        kind = f"JSON of a {type(value).__name__}"
    if value is not None and type(value) is not dict:
        raise wire.Unfit(f"{name} returned {kind}: return a dict, or the JSON of one")
    return wire.plain(value or {}, f"{name} returned")


def _text(said: Any) -> str:
    return escaped(str.__str__(said))


def _number(said: Any) -> bool | float:
    return bool(said) if isinstance(said, bool) else float(said)


def _lines(fd: int) -> Any:
    """A text stream to a descriptor, which goes out line by line."""
    return open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _flush() -> None:
    """Let out what the script has printed without ending the line."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
