"""The agent in the guest: it does what the host asks for on a serial line, one JSON object a line, and answers so.

Every request has an `id` and a verb `do`; its answer has the same `id` and `t_ns`, the guest's monotonic clock when the
thing was done. `start` answers twice, at the start and at the end. When the host is gone, so is the machine.
"""

import base64
import glob
import json
import os
import subprocess
import sys
import threading
import time
import tty

LINES = "/sys/devices/platform/pins/gpiochip*/sim_gpio"


class Agent:
    """Answers on one open terminal; `traces` are the recordings under way, by the request that began them."""

    def __init__(self, terminal):
        self._terminal = terminal
        self._writing = threading.Lock()
        self._traces = {}

    def serve(self):
        """Until the host closes its end."""
        with os.fdopen(os.dup(self._terminal), "rb") as stream:
            for line in stream:
                request = json.loads(line)
                if request["do"] == "start":
                    threading.Thread(target=self._start, args=(request,), daemon=True).start()
                else:
                    self._answer(request, self._do(request))

    def _answer(self, request, answer):
        data = json.dumps({"id": request["id"], "t_ns": time.monotonic_ns(), **answer}).encode() + b"\n"
        with self._writing:
            while data:
                data = data[os.write(self._terminal, data) :]

    def _do(self, request):
        try:
            return getattr(self, request["do"])(request)
        except OSError as error:
            return {"errno": error.errno, "error": str(error)}

    def _start(self, request):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 0)
        try:
            process = subprocess.Popen(
                request["argv"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **request["env"]},
                start_new_session=True,
            )
        except OSError as error:
            self._answer(request, {"errno": error.errno, "error": str(error)})
            return
        self._answer(request, {"pid": process.pid})
        out, err = process.communicate(base64.b64decode(request["input"]))
        out, err = base64.b64encode(out).decode(), base64.b64encode(err).decode()
        self._answer(request, {"code": process.returncode, "out": out, "err": err})

    def signal(self, request):
        os.kill(request["pid"], request["signal"])
        return {}

    def read(self, request):
        with open(request["path"], "rb") as file:
            return {"data": base64.b64encode(file.read()).decode()}

    def write(self, request):
        with open(request["path"], "wb", buffering=0) as file:
            file.write(base64.b64decode(request["data"]))
        return {}

    def glob(self, request):
        return {"paths": sorted(glob.glob(request["pattern"], recursive=True))}

    def trace(self, request):
        """Begin to write down every change of some lines, looked at every `every_s`, until `traced` asks for it."""
        trace = self._traces[request["id"]] = Trace(request["lines"], request["every_s"])
        return {"levels": trace.changes[0][1]}

    def traced(self, request):
        return {"changes": self._traces.pop(request["trace"]).stop()}


class Trace:
    """Changes of lines as [monotonic ns, levels], the first at the start, the last one when it was stopped."""

    def __init__(self, lines, every_s):
        self._files = [os.open(glob.glob(f"{LINES}{line}/value")[0], os.O_RDONLY) for line in lines]
        self._every_s = every_s
        self._stopped = threading.Event()
        self.changes = [[time.monotonic_ns(), self._levels()]]
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _levels(self):
        return [int(os.pread(file, 1, 0)) for file in self._files]

    def _watch(self):
        while not self._stopped.wait(self._every_s):
            levels = self._levels()
            if levels != self.changes[-1][1]:
                self.changes.append([time.monotonic_ns(), levels])

    def stop(self):
        self._stopped.set()
        self._thread.join()
        self.changes.append([time.monotonic_ns(), self._levels()])
        for file in self._files:
            os.close(file)
        return self.changes


if __name__ == "__main__":
    os.setpriority(os.PRIO_PROCESS, 0, -15)  # the agent itself answers however busy the only processor is
    terminal = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    tty.setraw(terminal)
    agent = Agent(terminal)
    agent._answer({"id": 0}, {})
    agent.serve()
    subprocess.run(["systemctl", "poweroff", "--force", "--force"])
